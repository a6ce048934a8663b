//! When a process that died is started again.

use std::time::Duration;

/// A process that lives shorter than this has died at its start.
pub const START: Duration = Duration::from_secs(1);
/// How many such deaths in a row are taken for an accident.
const ACCIDENTS: u32 = 5;
/// How long is waited then at first; each time twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How long is waited at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The deaths of one process and its successors.
#[derive(Clone, Copy, Debug, Default)]
pub struct CrashLoop {
    in_a_row: u32,
}

impl CrashLoop {
    /// Counts a death, and says how long to wait before the next start.
    pub fn died(&mut self, lived: Duration) -> Duration {
        self.in_a_row = if lived < START { self.in_a_row.saturating_add(1) } else { 0 };
        let Some(beyond) = self.in_a_row.checked_sub(ACCIDENTS) else {
            return Duration::ZERO;
        };
        FIRST_PAUSE.saturating_mul(1 << beyond.min(16)).min(LONGEST_PAUSE)
    }

    /// Whether the last deaths are no accident.
    #[must_use]
    pub fn is_looping(self) -> bool {
        self.in_a_row >= ACCIDENTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::from_millis(3);

    #[test]
    fn the_fifth_death_at_the_start_makes_the_next_wait_and_the_wait_doubles_to_ten_seconds() {
        let mut deaths = CrashLoop::default();
        let pauses = (0..14).map(|_| deaths.died(AT_ONCE).as_millis()).collect::<Vec<_>>();
        let expected = [0, 0, 0, 0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000];
        assert_eq!(pauses, expected);
        assert!(deaths.is_looping());
    }

    #[test]
    fn deaths_at_a_lower_rate_are_no_loop() {
        let mut deaths = CrashLoop::default();
        for _ in 0..100 {
            assert_eq!(deaths.died(START), Duration::ZERO);
        }
        for _ in 0..4 {
            assert_eq!(deaths.died(AT_ONCE), Duration::ZERO);
        }
        assert_eq!(deaths.died(START), Duration::ZERO);
        assert!(!deaths.is_looping());
        assert_eq!(deaths.died(AT_ONCE), Duration::ZERO);
    }
}
