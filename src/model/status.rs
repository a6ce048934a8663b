//! What can be said of a cache to a person: each name's state, and what is amiss.

use std::time::Duration;

use crate::model::cache::Cache;
use crate::model::economy::cost;
use crate::model::entry::Entry;
use crate::model::event::Value;
use crate::model::failure::Failure;
use crate::model::failure::Why;
use crate::model::listing::Source;
use crate::model::moment::Moment;
use crate::model::name::SecretName;
use crate::model::policy::Policy;
use crate::model::policy::REFUSALS_REMEMBERED;
use crate::model::policy::REQUESTS_PER_SECOND;
use crate::model::refresh::Said;
use crate::model::secret::Version;

/// What is known of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct NameStatus {
    /// The name.
    pub name: SecretName,
    /// How it stands.
    pub state: State,
    /// The version that is held, if one may be served.
    pub version: Option<Version>,
    /// When the request was sent whose answer last confirmed that version.
    pub verified: Option<Moment>,
    /// When the vault is asked next without a caller.
    pub next: Option<Moment>,
}

/// How a name stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// In use, and confirmed within two refreshes.
    Fresh,
    /// In use, and not confirmed for two refreshes.
    Late,
    /// Held, and not in use.
    Idle,
    /// Nothing is known yet: the vault is being asked.
    Asked,
    /// There is no value, and why.
    No(Why),
}

/// Whether the vault lets us list its names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum List {
    /// It did, when it was last asked.
    Allowed,
    /// It did not.
    Refused,
    /// It was not asked, or did not answer.
    Unknown,
}

/// What is amiss with a cache.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Troubles {
    /// The vault takes no token of ours.
    pub unauthorized: bool,
    /// The names in use that were not confirmed for two refreshes.
    pub late: Vec<SecretName>,
    /// The names in use whose value went, because it was not confirmed for `stale`.
    pub lost: Vec<SecretName>,
    /// How long it takes to ask for every name in use, where that is longer than a refresh.
    pub stretched: Option<Duration>,
}

impl<W, V: Value> Cache<W, V> {
    /// The state of every name of which something is known, in the order of the names.
    #[must_use]
    pub fn status(&self, now: Moment) -> Vec<NameStatus> {
        let known = self.entries.iter().map(|(name, entry)| self.status_of(now, name, entry));
        let mut known: Vec<NameStatus> = known.flatten().collect();
        known.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        known
    }

    /// The state of one name.
    #[must_use]
    pub fn status_of_name(&self, now: Moment, name: &SecretName) -> Option<NameStatus> {
        self.status_of(now, name, self.entries.get(name)?)
    }

    /// Whether the vault lets us list its names.
    #[must_use]
    pub fn list(&self) -> List {
        match self.listing.source {
            Source::Walk(_) => List::Allowed,
            Source::Seen => List::Refused,
            Source::Nothing => List::Unknown,
        }
    }

    /// What is amiss.
    #[must_use]
    pub fn troubles(&self, now: Moment) -> Troubles {
        let in_use = self.entries.iter().filter(|(_, entry)| self.serves(now, entry));
        let mut late: Vec<SecretName> = Vec::new();
        let mut count: u32 = 0;
        for (name, entry) in in_use {
            count = count.saturating_add(1);
            if is_late(now, entry, &self.policy) {
                late.push(name.clone());
            }
        }
        late.sort_unstable();
        let recent = |at: &Moment| now.since(*at) < self.policy.idle_after();
        let lost = self.lost.iter().filter(|(_, at)| recent(at));
        let turn = Duration::from_secs(self.turn(now, count).into()) / REQUESTS_PER_SECOND;
        Troubles {
            unauthorized: self.backoff.why() == Some(Failure::Unauthorized),
            late,
            lost: lost.map(|(name, _)| name.clone()).collect(),
            stretched: (turn > self.policy.refresh).then_some(turn),
        }
    }

    /// A name in use has no value any more, because it was not confirmed for `stale`.
    pub(super) fn lost(&mut self, now: Moment, name: &SecretName) {
        let awake = self.entries.get(name).is_some_and(|entry| entry.awake);
        if awake && self.lost.len() < REFUSALS_REMEMBERED {
            self.lost.insert(name.clone(), now);
        }
    }

    /// The vault answered, or could not be heard, when it was asked for a name.
    pub(super) fn heard(&mut self, now: Moment, name: &SecretName, said: Said) {
        match said {
            Said::Version(_) | Said::No(Why::Refused(_)) => drop(self.lost.remove(name)),
            Said::No(Why::Failed(_)) => {
                if let Some(at) = self.lost.get_mut(name) {
                    *at = now;
                }
            }
        }
    }

    /// How many requests it takes to confirm so many names.
    fn turn(&self, now: Moment, names: u32) -> u32 {
        if !self.walk_pays(now) {
            return names;
        }
        cost(self.listing.pages, usize::try_from(names).unwrap_or(usize::MAX), &self.policy)
    }

    fn serves(&self, now: Moment, entry: &Entry<W, V>) -> bool {
        entry.awake && entry.servable(now, &self.policy).is_some()
    }

    fn status_of(&self, now: Moment, name: &SecretName, entry: &Entry<W, V>) -> Option<NameStatus> {
        let held = entry.held.as_ref().filter(|_| entry.servable(now, &self.policy).is_some());
        let verdict = entry.verdict.filter(|verdict| verdict.until > now);
        let failed = entry.failed.map(|(_, failure)| failure).or(self.backoff.why());
        let state = match (verdict, held) {
            (Some(verdict), _) => State::No(verdict.why),
            (None, Some(_)) if !entry.awake => State::Idle,
            (None, Some(_)) if is_late(now, entry, &self.policy) => State::Late,
            (None, Some(_)) => State::Fresh,
            (None, None) => match failed {
                Some(failure) if !entry.empty() => State::No(failure.into()),
                None if !entry.empty() => State::Asked,
                Some(_) | None => return None,
            },
        };
        Some(NameStatus {
            name: name.clone(),
            state,
            version: held.map(|held| held.version.clone()),
            verified: held.map(|held| held.verified),
            next: entry.next.filter(|_| entry.asking.is_none()),
        })
    }
}

/// Whether a value was not confirmed for two refreshes. A request may be under way then, and takes
/// as long as it takes.
fn is_late<W, V>(now: Moment, entry: &Entry<W, V>, policy: &Policy) -> bool {
    entry.held.as_ref().is_some_and(|held| now.since(held.verified) > policy.trusted_for())
}
