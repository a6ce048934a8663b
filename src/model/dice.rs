//! Chance, as an argument: a generator that is seeded from outside and repeats itself.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A small generator (SplitMix64) for jitter. It guards nothing.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// A generator that throws what this seed throws.
    ///
    /// ```
    /// use akvfs::model::dice::Dice;
    /// use std::time::Duration;
    ///
    /// let span = Duration::from_secs(100);
    /// let shortened = Dice::seeded(7).shorten(span);
    /// assert!(shortened >= span * 7 / 10 && shortened <= span * 95 / 100);
    /// ```
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// 70 to 95 % of a span: jitter only shortens, so that no promise is broken by it.
    pub fn shorten(&mut self, span: Duration) -> Duration {
        self.thousandths(700..=950, span)
    }

    /// 85 to 95 % of a span: for what is done again and again, so that it is done little more often
    /// than once in a span.
    pub fn shorten_a_little(&mut self, span: Duration) -> Duration {
        self.thousandths(850..=950, span)
    }

    /// Some part of a span.
    pub fn part(&mut self, span: Duration) -> Duration {
        self.thousandths(0..=999, span)
    }

    fn thousandths(&mut self, range: RangeInclusive<u32>, span: Duration) -> Duration {
        let (least, most) = range.into_inner();
        let more = u32::try_from(self.throw() % u64::from(most - least + 1)).unwrap_or(0);
        span.saturating_mul(least + more) / 1000
    }

    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
