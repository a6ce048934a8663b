//! How many requests may go out: a bucket that fills with time.

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::model::moment::Moment;

/// A token bucket: so many at once, so many a second after that.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Bucket {
    per_second: u32,
    burst: u32,
    /// When the bucket is, or was, full.
    full: Moment,
}

impl Bucket {
    /// A full bucket.
    ///
    /// ```
    /// use akvfs::model::budget::Bucket;
    /// use akvfs::model::moment::Moment;
    ///
    /// let now = Moment::default();
    /// let mut bucket = Bucket::full(2, 1);
    /// assert!(bucket.take(now));
    /// assert!(!bucket.take(now));
    /// assert!(bucket.take(bucket.ready(now)));
    /// ```
    #[must_use]
    pub fn full(per_second: u32, burst: u32) -> Self {
        Self { per_second: per_second.max(1), burst: burst.max(1), full: Moment::default() }
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, now: Moment) -> bool {
        if self.ready(now) > now {
            return false;
        }
        self.full = self.full.max(now) + self.each();
        true
    }

    /// When there is one to take: now, or later.
    #[must_use]
    pub fn ready(&self, now: Moment) -> Moment {
        let room = self.each().saturating_mul(self.burst - 1);
        let missing = self.full.since(now);
        now + missing.saturating_sub(room)
    }

    /// When one can be taken that leaves half of the bucket.
    #[must_use]
    pub fn half(&self, now: Moment) -> Moment {
        let room = self.each().saturating_mul(self.burst - self.burst / 2 - 1);
        now + self.full.since(now).saturating_sub(room)
    }

    fn each(&self) -> Duration {
        Duration::from_secs(1) / self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_its_rate() {
        let mut bucket = Bucket::full(20, 200);
        let start = Moment::after_boot(Duration::from_secs(1000));
        let burst = (0..1000).filter(|_| bucket.take(start)).count();
        assert_eq!(burst, 200);
        let later = (1..=100)
            .filter(|tenth| bucket.take(start + Duration::from_millis(100 * tenth)))
            .count();
        assert_eq!(later, 100, "one every 50 ms is there for one every 100 ms");
        let crowd = (0..1000).filter(|_| bucket.take(start + Duration::from_secs(20))).count();
        assert_eq!(crowd, 200, "a bucket holds no more than its burst");
    }
}
