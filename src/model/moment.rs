//! A point in time on the machine's boot clock.
//!
//! The boot clock goes on in suspend and knows no leap, no step and no time zone, so a window
//! measured on it is as long as it says. What the wall shows is only ever displayed.

use std::ops::Add;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

/// A point in time: how long the machine has been up, suspend included.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
pub struct Moment(Duration);

impl Moment {
    /// The moment at which the machine had been up for so long.
    ///
    /// ```
    /// use akvfs::model::moment::Moment;
    /// use std::time::Duration;
    ///
    /// let start = Moment::after_boot(Duration::from_secs(5));
    /// assert_eq!((start + Duration::from_secs(2)).since(start), Duration::from_secs(2));
    /// ```
    #[must_use]
    pub const fn after_boot(uptime: Duration) -> Self {
        Self(uptime)
    }

    /// How long the machine had been up.
    #[must_use]
    pub const fn uptime(self) -> Duration {
        self.0
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }
}
