//! What is known of one name, and what may be served of it.
//!
//! An entry knows no other entry, no inode table and no request: [`cache`](super::cache) does
//! what an entry says is due.

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::model::failure::Failure;
use crate::model::failure::Why;
use crate::model::moment::Moment;
use crate::model::name::VersionId;
use crate::model::policy::MISSING_FOR;
use crate::model::policy::NO_GOING_BACK;
use crate::model::policy::Policy;
use crate::model::refresh::Seeker;
use crate::model::refresh::first_over;
use crate::model::secret::Version;
use crate::model::tree::Node;

/// One name.
#[derive(Debug)]
pub struct Entry<W, V> {
    /// The newest good value, if there is one that may still be served.
    pub held: Option<Held<V>>,
    /// The vault's no, while it is remembered.
    pub verdict: Option<Verdict>,
    /// When the first of two 404s for a held value came.
    pub struck: Option<Moment>,
    /// The version that was taken last. It is remembered for a while after its value is gone.
    pub newest: Option<Newest>,
    /// An older version than that, seen once.
    pub rival: Option<VersionId>,
    /// When a caller last asked for the name, or was given it.
    pub used: Moment,
    /// Whether a caller ever got to the bytes, and not only to the attributes.
    pub read: bool,
    /// In use, and the vault has been asked since it was idle.
    pub awake: bool,
    /// The inode that the next look-up is shown.
    pub node: Option<Node>,
    /// When the request that is under way was sent.
    pub asking: Option<Moment>,
    /// The last failure, and how many there were since the last word.
    pub failed: Option<(Moment, Failure)>,
    /// See `failed`.
    pub failures: u32,
    /// When the vault is asked next without a caller.
    pub next: Option<Moment>,
    /// Whether it was asked about before a caller came.
    pub ahead: Ahead,
    /// The callers that wait.
    pub waiters: Vec<Waiter<W>>,
    /// Those who want the vault's word on it now.
    pub seekers: Vec<Seeker<W>>,
    /// Under which time the entry stands in the cache's agenda.
    pub agenda: Option<Moment>,
}

/// Whether a name is asked about, or was, because the one before it in the directory was looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ahead {
    /// A caller came for it, or nobody cares.
    No,
    /// It is in line.
    Wanted,
    /// It was asked about, and no caller has come yet.
    Asked,
}

/// A value that may be served.
#[derive(Clone, Debug)]
pub struct Held<V> {
    /// Which version it is.
    pub version: Version,
    /// Its bytes.
    pub value: V,
    /// When the request was sent whose answer last confirmed it, be it a page of the list. A
    /// failure never moves it.
    pub verified: Moment,
    /// When the last request of its own was sent whose answer confirmed it.
    pub confirmed: Moment,
    /// Whether a later change would bear another time than `version.updated`: the vault's clock,
    /// which counts in whole seconds, had moved on when it said so.
    pub settled: bool,
    /// When the version's own time is over, where dates are enforced.
    pub ends: Option<Moment>,
}

/// What it takes to tell that a version is older.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Newest {
    /// When the version was made, by the vault's clock.
    pub created: i64,
    /// When it took the place of another one.
    pub taken: Moment,
    /// Whose place.
    pub replaced: Option<VersionId>,
}

/// A no, and how long it is remembered without asking again.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    /// What the vault said, or that what it said made no sense.
    pub why: Why,
    /// When it is asked again, if somebody wants to know.
    pub until: Moment,
}

/// A caller that waits.
#[derive(Debug)]
pub struct Waiter<W> {
    /// Who.
    pub to: W,
    /// For which inode.
    pub node: Node,
    /// For its bytes, and not only for its attributes.
    pub bytes: bool,
    /// Since when.
    pub since: Moment,
}

/// What a caller gets who comes now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// The value, and how long the kernel may answer by itself.
    Served(Duration),
    /// No value, and why.
    Refused(Why),
    /// A request, first.
    Asked,
}

impl<V> Held<V> {
    /// When it may be served no longer, unless the vault confirms it.
    #[must_use]
    pub fn over(&self, policy: &Policy) -> Moment {
        let stale = self.verified + policy.stale;
        self.ends.map_or(stale, |ends| ends.min(stale))
    }
}

impl<W, V> Entry<W, V> {
    /// A name of which nothing is known.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        Self {
            held: None,
            verdict: None,
            struck: None,
            newest: None,
            rival: None,
            used: now,
            read: false,
            awake: false,
            node: None,
            asking: None,
            failed: None,
            failures: 0,
            next: None,
            ahead: Ahead::No,
            waiters: Vec::new(),
            seekers: Vec::new(),
            agenda: None,
        }
    }

    /// What a caller gets who comes now; `outage` if the vault is known to be away.
    #[must_use]
    pub fn standing(&self, now: Moment, policy: &Policy, outage: bool) -> Standing {
        if let Some(verdict) = self.verdict.filter(|verdict| verdict.until > now) {
            return Standing::Refused(verdict.why);
        }
        match self.servable(now, policy) {
            Some(ttl) if self.trusted(now, policy, outage) => Standing::Served(ttl),
            _ => Standing::Asked,
        }
    }

    /// How long the kernel may serve the value that is held, if it may be served at all.
    #[must_use]
    pub fn servable(&self, now: Moment, policy: &Policy) -> Option<Duration> {
        let held = self.held.as_ref()?;
        let left = held.over(policy).since(now);
        if left.is_zero() {
            return None;
        }
        let ttl = left.min(policy.kernel_ttl());
        Some(if self.struck.is_some() { ttl.min(MISSING_FOR) } else { ttl })
    }

    /// Whether the value may be served without asking first: the name is in use, and either it
    /// was confirmed of late, or a first 404 waits for the second, or it is known that the vault
    /// cannot be asked.
    fn trusted(&self, now: Moment, policy: &Policy, outage: bool) -> bool {
        let Some(held) = &self.held else { return false };
        let confirmed = now.since(held.verified) <= policy.trusted_for()
            || self
                .struck
                .is_some_and(|first| now.since(first) < MISSING_FOR + policy.request_timeout());
        let failed = self
            .failed
            .is_some_and(|(at, _)| at > held.verified && now.since(at) <= policy.trusted_for());
        self.awake && (confirmed || failed || outage)
    }

    /// Whether the vault said something of the name that it has to say once more.
    #[must_use]
    pub const fn in_doubt(&self) -> bool {
        self.struck.is_some() || self.rival.is_some()
    }

    /// Whether a page of the list would show that what is held is no longer the newest.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.settled)
    }

    /// Whether the name is in use, and something is held of it.
    #[must_use]
    pub const fn in_use(&self) -> bool {
        self.awake && self.held.is_some()
    }

    /// Whether a request before its time does no harm: the name is in use, none is under way, and no
    /// second word is waited for, which has its own time.
    #[must_use]
    pub const fn may_be_asked_early(&self) -> bool {
        self.in_use() && self.asking.is_none() && !self.in_doubt()
    }

    /// Whether nobody has asked for the name for so long.
    #[must_use]
    pub fn unused_for(&self, now: Moment, span: Duration) -> bool {
        self.waiters.is_empty() && now.since(self.used) >= span
    }

    /// Why there is no value, for a caller whose time is over; `outage` is why the vault was not
    /// asked, where it was not.
    #[must_use]
    pub fn why(&self, outage: Option<Failure>) -> Why {
        let failed = self.failed.map(|(_, failure)| failure).or(outage);
        Why::Failed(failed.unwrap_or(Failure::Unreachable))
    }

    /// Whether this version may take the place of the newest one. An older one may only if the
    /// newer is no longer young, or if the vault said it twice.
    #[must_use]
    pub fn takes(&self, now: Moment, version: &Version) -> bool {
        self.newest.is_none_or(|newest| {
            // The vault counts in whole seconds: of two made in one, the later is the one that came.
            let older = version.created < newest.created
                || (version.created == newest.created && newest.replaced == Some(version.id));
            !older || now.since(newest.taken) >= NO_GOING_BACK || self.rival == Some(version.id)
        })
    }

    /// When a caller that waits since then must be answered.
    #[must_use]
    pub fn patience(&self, since: Moment, now: Moment, policy: &Policy) -> Moment {
        if self.servable(now, policy).is_some() {
            since + policy.idle_patience()
        } else {
            since + policy.open_timeout
        }
    }

    /// When the next thing is due, if anything ever is.
    #[must_use]
    pub fn due(&self, now: Moment, policy: &Policy) -> Option<Moment> {
        let first = self.waiters.iter().map(|waiter| waiter.since).min();
        let patience = first.map(|since| self.patience(since, now, policy));
        let over = self.held.as_ref().map(|held| held.over(policy));
        let quiet = self.waiters.is_empty();
        let idle = (quiet && self.awake).then(|| self.used + policy.idle_after());
        let kept = self.held.as_ref().filter(|_| quiet).map(|_| self.used + policy.held_for());
        let next = self.next.filter(|_| self.asking.is_none());
        let verdict = self.verdict.map(|verdict| verdict.until);
        let forgotten = self.empty().then(|| self.lingers(policy));
        let sought = first_over(&self.seekers, policy.open_timeout);
        [patience, over, idle, kept, next, verdict, forgotten, sought].into_iter().flatten().min()
    }

    /// Whether an answer about the name is of use to anybody.
    #[must_use]
    pub fn wanted(&self) -> bool {
        let sought = !self.waiters.is_empty() || !self.seekers.is_empty();
        sought || self.held.is_some() || self.ahead == Ahead::Wanted
    }

    /// Whether there is nothing left to know.
    #[must_use]
    pub fn empty(&self) -> bool {
        self.held.is_none()
            && self.verdict.is_none()
            && self.waiters.is_empty()
            && self.seekers.is_empty()
            && self.asking.is_none()
            && self.ahead != Ahead::Wanted
    }

    /// Until when an entry is kept that is empty: its inode's number may still be asked for, and
    /// an older version still be told.
    #[must_use]
    pub fn lingers(&self, policy: &Policy) -> Moment {
        let number = self.node.map(|_| self.used + policy.open_timeout);
        let young = self.newest.map(|newest| newest.taken + NO_GOING_BACK);
        number.max(young).unwrap_or_default()
    }
}
