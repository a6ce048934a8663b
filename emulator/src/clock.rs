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

/// A moment as Americans write it, in UTC.
pub(crate) fn american(seconds: u64) -> String {
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    // Sun, 06 Nov 1994 08:49:37 GMT
    let parts: Vec<&str> = date.split(' ').collect();
    let [_, day, month, year, time, _] = parts.as_slice() else {
        return date;
    };
    let month = "JanFebMarAprMayJunJulAugSepOctNovDec".find(month).unwrap_or_default() / 3 + 1;
    format!("{month:02}/{day}/{year} {time} +00:00")
}

/// The moment that ages are counted from.
#[expect(
    clippy::disallowed_methods,
    reason = "records and token lifetimes are on the clock that nobody sets"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
