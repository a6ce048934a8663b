//! A simulated vault: a truth that changes, replicas that lag, outages, and answers that take
//! their time. What it will answer is settled when it is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use akvfs::model::event::Item;
use akvfs::model::event::Page;
use akvfs::model::failure::Denial;
use akvfs::model::failure::Failure;
use akvfs::model::failure::Refusal;
use akvfs::model::failure::Why;
use akvfs::model::moment::Moment;

use crate::desk::name;
use crate::reference::Said;

#[derive(Debug)]
pub(crate) struct Azure {
    secrets: BTreeMap<String, Secret>,
    versions: u64,
    /// Why nobody is answered at present, and for how long the vault asks to be left alone.
    pub(crate) outage: Option<(Failure, Option<Duration>)>,
    /// So many answers fail, one by one, though there is no outage.
    pub(crate) hiccups: u32,
    pub(crate) latency: Duration,
    pub(crate) no_list: bool,
    /// How many names a page holds.
    page: usize,
    pages: Vec<Page>,
}

#[derive(Debug)]
struct Secret {
    version: u64,
    older: Option<u64>,
    /// When the older version had last changed.
    older_updated: i64,
    /// So many answers come from a replica that does not know the newest version.
    lag: u32,
    refusal: Option<Refusal>,
    since: Moment,
    updated: i64,
}

/// What becomes of a secret.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Rotate,
    Refuse(Refusal),
    Allow,
    /// Somebody restored a backup.
    Revert,
    Lag(u32),
}

pub(crate) const DENIED: Refusal = Refusal::Denied(Denial::Policy);

impl Azure {
    pub(crate) fn new(now: Moment, names: &[&str]) -> Self {
        let mut azure = Self {
            secrets: BTreeMap::new(),
            versions: 0,
            outage: None,
            hiccups: 0,
            latency: Duration::from_millis(20),
            no_list: false,
            page: 4,
            pages: Vec::new(),
        };
        for name in names {
            let fresh = Secret {
                version: 0,
                older: None,
                older_updated: 0,
                lag: 0,
                refusal: None,
                since: now,
                updated: 0,
            };
            azure.secrets.insert((*name).to_owned(), fresh);
            azure.befall(now, name, Fate::Rotate);
        }
        azure
    }

    pub(crate) fn befall(&mut self, now: Moment, name: &str, fate: Fate) {
        let Some(secret) = self.secrets.get_mut(name) else { return };
        let before = secret.refusal;
        match fate {
            Fate::Rotate => {
                self.versions += 1;
                secret.older = Some(secret.version).filter(|version| *version > 0);
                secret.older_updated = secret.updated;
                secret.version = self.versions;
            }
            Fate::Refuse(refusal) => secret.refusal = Some(refusal),
            Fate::Allow => secret.refusal = None,
            Fate::Revert => secret.version = secret.older.unwrap_or(secret.version),
            Fate::Lag(answers) => secret.lag = answers,
        }
        let role = DENIED;
        let about_rights = match fate {
            Fate::Refuse(refusal) => refusal == role,
            Fate::Allow => before == Some(role),
            Fate::Lag(_) => true,
            Fate::Rotate | Fate::Revert => false,
        };
        if !about_rights {
            secret.updated = clock(now);
        }
        if before.is_some() != secret.refusal.is_some() {
            secret.since = now;
        }
    }

    /// Since when a name has been refused, in truth, and whether it is the right that went.
    pub(crate) fn refused_since(&self, name: &str) -> Option<(Moment, bool)> {
        let secret = self.secrets.get(name)?;
        secret.refusal.map(|refusal| (secret.since, refusal == DENIED))
    }

    /// What the vault will say, and how long it takes to.
    pub(crate) fn ask(&mut self, now: Moment, name: &str, patience: Duration) -> Spoken {
        if let Some(failed) = self.fails(patience) {
            return failed;
        }
        let stamp = |secret: &Secret| {
            let lags = secret.lag > 0 && secret.older.is_some();
            if lags { secret.older_updated } else { secret.updated }
        };
        let updated = self.secrets.get(name).map_or(0, stamp);
        let said = match self.secrets.get_mut(name) {
            None => Said::No(Refusal::Missing),
            Some(Secret { refusal: Some(refusal), .. }) => Said::No(*refusal),
            Some(secret) if secret.lag > 0 => {
                secret.lag -= 1;
                Said::Is(secret.older.unwrap_or(secret.version))
            }
            Some(secret) => Said::Is(secret.version),
        };
        let after = self.latency;
        Spoken { said, updated, date: clock(now), failure: None, retry_after: None, after }
    }

    pub(crate) fn page(&mut self, first: bool, patience: Duration) -> (Paged, Duration) {
        if let Some(failed) = self.fails(patience) {
            let why = Why::Failed(failed.failure.unwrap_or(Failure::Unreachable));
            return (Err((why, failed.retry_after)), failed.after);
        }
        if self.no_list {
            return (Err((Why::Refused(DENIED), None)), self.latency);
        }
        if first {
            self.pages = self.list();
        }
        (Ok(self.pages.pop().unwrap_or_default()), self.latency)
    }

    fn list(&self) -> Vec<Page> {
        let there = |secret: &Secret| secret.refusal != Some(Refusal::Missing);
        let listed = self.secrets.iter().filter(|(_, secret)| there(secret));
        let items: Vec<Item> = listed
            .map(|(text, secret)| Item {
                name: name(text),
                enabled: secret.refusal != Some(Refusal::Disabled),
                updated: secret.updated,
                created: None,
            })
            .collect();
        let mut pages: Vec<Page> = items
            .chunks(self.page)
            .map(|items| Page { items: items.to_vec(), more: true })
            .collect();
        pages.push(Page::default());
        pages.reverse();
        pages
    }

    fn fails(&mut self, patience: Duration) -> Option<Spoken> {
        let hiccup = self.hiccups > 0 && self.outage.is_none();
        self.hiccups -= u32::from(hiccup);
        let hiccup = hiccup.then_some((Failure::Unreachable, None));
        let (failure, retry_after) = self.outage.or(hiccup)?;
        let hangs = failure == Failure::Unreachable && retry_after.is_none();
        let after = if hangs { patience } else { self.latency };
        let said = Said::Nothing;
        Some(Spoken { said, updated: 0, date: 0, failure: Some(failure), retry_after, after })
    }
}

/// The vault's clock: whole seconds.
fn clock(now: Moment) -> i64 {
    i64::try_from(now.uptime().as_secs()).unwrap_or(i64::MAX)
}

/// A page, or why there is none.
pub(crate) type Paged = Result<Page, (Why, Option<Duration>)>;

/// An answer, and how long it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spoken {
    pub(crate) said: Said,
    /// When the secret last changed, by the vault's clock, and what that showed.
    pub(crate) updated: i64,
    pub(crate) date: i64,
    pub(crate) failure: Option<Failure>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) after: Duration,
}
