//! When to try again after failures.

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::model::dice::Dice;
use crate::model::failure::Failure;
use crate::model::moment::Moment;
use crate::model::policy::BACKOFF_FIRST;
use crate::model::policy::BACKOFF_LONGEST;
use crate::model::policy::BACKOFF_LONGEST_WAITED;
use crate::model::policy::OUTAGE_AFTER;

/// The pauses of a whole mount. While it is open, requests go out one by one, as probes; any
/// word of the vault, a refusal too, ends it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Backoff {
    failures: u32,
    last: Moment,
    outage: bool,
    until: Moment,
    until_waited: Moment,
    /// What the last request failed of.
    why: Option<Failure>,
    /// When the last outage ended.
    over: Option<Moment>,
}

impl Backoff {
    /// The vault spoke.
    pub fn answered(&mut self, now: Moment) {
        let over = if self.outage { Some(now) } else { self.over };
        *self = Self { over, ..Self::default() };
    }

    /// A request sent at `asked` failed. The failures of requests that were under way together
    /// count once. `retry_after` is what the service asked for.
    pub fn failed(
        &mut self,
        now: Moment,
        asked: Moment,
        failure: Failure,
        retry_after: Option<Duration>,
        dice: &mut Dice,
    ) {
        let whole = match failure {
            Failure::NoToken | Failure::NoIdentity | Failure::Unauthorized | Failure::Throttled => {
                true
            }
            Failure::Unreachable => false,
            Failure::Nonsense | Failure::Firewall | Failure::NoRoom => return,
        };
        if self.failures == 0 || asked >= self.last {
            self.failures = self.failures.saturating_add(1);
            self.last = now;
        }
        self.why = Some(failure);
        // Whoever asks to be left alone, with whatever status, is not asked for other names either.
        self.outage |= whole || retry_after.is_some() || self.failures >= OUTAGE_AFTER;
        if self.outage {
            let asked_for = retry_after.unwrap_or_default();
            let pause = dice.shorten(pause(self.failures)).max(asked_for);
            self.until = self.until.max(now + pause);
            let waited = pause.min(BACKOFF_LONGEST_WAITED).max(asked_for);
            self.until_waited = self.until_waited.max(now + waited);
        }
    }

    /// When the next request may go: `now` or later.
    #[must_use]
    pub fn ready(&self, now: Moment, somebody_waits: bool) -> Moment {
        let until = if somebody_waits { self.until_waited } else { self.until };
        now.max(until)
    }

    /// Why nobody is asked just now, for a caller whose turn does not come in time.
    #[must_use]
    pub fn why(&self) -> Option<Failure> {
        self.why.filter(|_| self.outage)
    }

    /// Whether the vault is away, or was so lately that not every name was asked about since.
    #[must_use]
    pub fn outage(&self, now: Moment, lately: Duration) -> bool {
        self.outage || self.over.is_some_and(|over| now.since(over) < lately)
    }

    /// Whether requests go out one by one.
    #[must_use]
    pub fn probing(&self) -> bool {
        self.outage
    }
}

/// The pause after so many failures in a row.
#[must_use]
pub fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(10);
    BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(count: u64) -> Moment {
        Moment::after_boot(Duration::from_secs(count))
    }

    #[test]
    fn a_pause_doubles_up_to_the_longest() {
        let pauses: Vec<u64> = (1..8).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 16, 16]);
    }

    #[test]
    fn one_name_that_fails_is_no_outage_and_three_failures_in_a_row_are() {
        let mut backoff = Backoff::default();
        let mut dice = Dice::seeded(1);
        for count in 0..2 {
            backoff.failed(second(count), second(count), Failure::Unreachable, None, &mut dice);
            assert_eq!(backoff.ready(second(count), false), second(count));
        }
        backoff.failed(second(2), second(2), Failure::Unreachable, None, &mut dice);
        assert!(backoff.probing() && backoff.ready(second(2), true) > second(2));
        backoff.answered(second(3));
        assert!(!backoff.probing());
    }

    #[test]
    fn failures_under_way_together_count_once() {
        let mut backoff = Backoff::default();
        let mut dice = Dice::seeded(1);
        for _ in 0..8 {
            backoff.failed(second(5), second(0), Failure::Unreachable, None, &mut dice);
        }
        assert!(!backoff.probing());
    }

    #[test]
    fn a_vault_is_left_alone_for_as_long_as_it_asks() {
        let asked_for = Some(Duration::from_secs(30));
        for failure in [Failure::Throttled, Failure::Unreachable] {
            let mut backoff = Backoff::default();
            backoff.failed(second(0), second(0), failure, asked_for, &mut Dice::seeded(1));
            assert_eq!(backoff.ready(second(1), true), second(30), "{failure:?}");
        }
    }
}
