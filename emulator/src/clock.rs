//! The only place of the emulator that reads a clock.

use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// Seconds since 1970, as the vault and the tokens count them.
#[expect(
    clippy::disallowed_methods,
    reason = "the emulator stamps versions and tokens with the hour of the wall"
)]
pub(crate) fn epoch_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// The moment that ages are counted from.
#[expect(
    clippy::disallowed_methods,
    reason = "records and token lifetimes are on the clock that nobody sets"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
