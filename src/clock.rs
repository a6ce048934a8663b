//! The only place that reads a clock.

use std::time::Duration;

use rustix::time::ClockId;
use rustix::time::clock_gettime;

use crate::model::moment::Moment;

/// Now, on the clock that goes on in suspend and that nobody can set.
#[must_use]
pub fn now() -> Moment {
    Moment::after_boot(read(ClockId::Boottime))
}

/// How long the machine has been awake since boot: [`now`] less the time in suspend.
#[must_use]
pub fn awake() -> Duration {
    read(ClockId::Monotonic)
}

/// The time of day: seconds since 1970. It is shown and never measured with.
#[must_use]
pub fn wall() -> i64 {
    clock_gettime(ClockId::Realtime).tv_sec
}

/// The time of day in milliseconds since 1970. It is shown and never measured with.
#[must_use]
pub fn wall_millis() -> i64 {
    let time = clock_gettime(ClockId::Realtime);
    time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
}

/// A number that differs from process to process and from time to time.
#[must_use]
pub fn seed() -> u64 {
    let time = clock_gettime(ClockId::Realtime);
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    u64::from(pid.unsigned_abs()).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ u64::from_ne_bytes(time.tv_nsec.to_ne_bytes())
}

/// Seconds since 1970 as RFC 3339 has them, in UTC: `2026-11-25T18:00:00Z`.
#[must_use]
pub fn rfc3339(seconds: i64) -> String {
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years begin in March here, so that the leap day is a year's last; 400 years are an era.
    let since_march_0000 = day + 719_468;
    let era = since_march_0000.div_euclid(146_097);
    let day_of_era = since_march_0000.rem_euclid(146_097);
    let leaps = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leaps) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_since_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * months_since_march + 2) / 5 + 1;
    let month = (months_since_march + 2) % 12 + 1;
    let year = year_of_era + 400 * era + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Milliseconds since 1970 as RFC 3339 has them, in UTC: `2026-11-25T18:00:00.123Z`.
#[must_use]
pub fn rfc3339_millis(millis: i64) -> String {
    let second = rfc3339(millis.div_euclid(1000));
    format!("{}.{:03}Z", second.trim_end_matches('Z'), millis.rem_euclid(1000))
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_date_writes_them() {
        let known = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ];
        for (seconds, text) in known {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
