//! The durations and counts that the cache promises by, each with its name.

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

/// The durations of one cache. Those that a person chooses are fields; the others follow.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Policy {
    /// How often a name in use is asked about again, at the latest.
    pub refresh: Duration,
    /// How long a value is served after the vault last confirmed it.
    pub stale: Duration,
    /// How long a caller waits for a value that is not here.
    pub open_timeout: Duration,
    /// How long a value that was read is held after its last use.
    pub keep: Duration,
    /// How often a name in use is asked about itself, where walks of the list confirm it in
    /// between.
    pub confirm: Duration,
    /// Whether a value is served only between the dates that the vault gives for it.
    pub enforce_dates: bool,
    /// Whether the vault's firewall takes nothing away before `stale` does.
    pub firewall_is_outage: bool,
}

impl Policy {
    /// A name not looked up for so long is idle.
    #[must_use]
    pub const fn idle_after(&self) -> Duration {
        self.refresh.saturating_mul(10)
    }

    /// How long a value that was read is held after its last use, in fact: never less than the
    /// name is in use.
    #[must_use]
    pub fn held_for(&self) -> Duration {
        self.keep.max(self.idle_after())
    }

    /// The longest that the kernel may answer by itself: the reference bit of a name in use, and
    /// how long a mount that nobody serves goes on.
    #[must_use]
    pub const fn kernel_ttl(&self) -> Duration {
        self.refresh.saturating_mul(5)
    }

    /// A confirmation younger than this is served without asking first. One refresh may be under
    /// way, so it takes two to be late; and where a refresh is short, it counts that the last
    /// request and this one may each take as long as a request may.
    #[must_use]
    pub fn trusted_for(&self) -> Duration {
        self.refresh.saturating_add(self.refresh.max(self.request_timeout() * 2))
    }

    /// How often an idle name that is held is asked about, before jitter shortens it to a quarter
    /// of `stale` or a little more: four times in each `stale` at the most.
    #[must_use]
    pub fn idle_refresh(&self) -> Duration {
        self.stale.mul_f64(0.25 / SHORTEST)
    }

    /// How long a caller waits for the vault's word on a value that is held but idle.
    #[must_use]
    pub fn idle_patience(&self) -> Duration {
        IDLE_PATIENCE.min(self.open_timeout)
    }

    /// How long one request may take: within a caller's time there is room for a second one.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        REQUEST_TIMEOUT.min(self.open_timeout.mul_f64(0.8))
    }
}

impl Default for Policy {
    /// The defaults that the manual gives.
    ///
    /// ```
    /// use akvfs::model::policy::Policy;
    /// use std::time::Duration;
    ///
    /// assert_eq!(Policy::default().kernel_ttl(), Duration::from_secs(5 * 60));
    /// ```
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(60),
            stale: Duration::from_secs(60 * 60),
            open_timeout: Duration::from_secs(10),
            keep: Duration::from_secs(8 * 24 * 60 * 60),
            confirm: Duration::from_secs(15 * 60),
            enforce_dates: false,
            firewall_is_outage: false,
        }
    }
}

/// Where names have their turn more often than this, several have it at once.
pub const TURNS_APART: Duration = Duration::from_secs(1);

/// A mount waits so long, at random, before it fetches what nobody asked for: many mounts may
/// start together.
pub const PREFETCH_WITHIN: Duration = Duration::from_secs(30);

/// How long a 404 for a name that is not held is remembered, and how long after a first 404 the
/// second one that ends a held value is asked for.
pub const MISSING_FOR: Duration = Duration::from_secs(5);

/// An older version is not believed for so long after a newer one was, unless it is seen twice:
/// two front ends of the service may disagree for a while.
pub const NO_GOING_BACK: Duration = Duration::from_secs(120);

/// How long after an older version was seen the vault is asked whether it means it.
pub const CONFIRM_AFTER: Duration = Duration::from_secs(2);

/// So many names that are missing or refused, and nothing else, are remembered.
pub const REFUSALS_REMEMBERED: usize = 1000;

/// So many requests may be under way at once.
pub const IN_FLIGHT: usize = 8;

/// Requests a second, after a burst.
pub const REQUESTS_PER_SECOND: u32 = 20;

/// So many requests may come at once after a quiet time.
pub const BURST: u32 = 200;

/// Requests a second for names that a fresh listing does not hold.
pub const STRANGERS_PER_SECOND: u32 = 2;

/// So many of those may come at once.
pub const STRANGERS_BURST: u32 = 20;

/// The list is learnt for the sake of those names if it has fewer pages than this.
pub const STRANGERS_PAGES: u32 = 40;

/// So many names that were never heard of, and that no listing holds, may be looked up within
/// `open_timeout`.
pub const UNHEARD_OF: usize = 2000;

/// The first pause after a failure; each further failure doubles it.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// The longest pause after failures.
pub const BACKOFF_LONGEST: Duration = Duration::from_secs(16);

/// The longest pause where somebody waits.
pub const BACKOFF_LONGEST_WAITED: Duration = Duration::from_secs(2);

/// So many failures in a row, with no answer between them, are an outage of the whole vault.
pub const OUTAGE_AFTER: u32 = 3;

/// So many names that follow in the directory are asked about before a caller comes for them.
pub const LOOK_AHEAD: usize = 8;

/// Whoever looks at names so soon after the directory was read goes through all of it.
pub const LOOKING_THROUGH: Duration = Duration::from_secs(10);

/// So many names are read from the directory at once: more than a page of the kernel's holds.
pub const LISTED_AT_ONCE: usize = 256;

/// The most that jitter shortens a span to.
pub const SHORTEST: f64 = 0.7;

const IDLE_PATIENCE: Duration = Duration::from_secs(1);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
