//! Dates as token services have written them, beside plain seconds: the American way with and
//! without AM and PM, and ISO 8601.
//!
//! Without an offset a date is taken for UTC.

/// The seconds since 1970, or `None` if the text is no date.
pub(crate) fn seconds(text: &str) -> Option<i64> {
    let (date, rest) = text.trim().split_once([' ', 'T', 't'])?;
    let day = match date.split_once('/') {
        Some(_) => {
            let [month, day, year] = numbers(date, '/')?;
            days(year, month, day)?
        }
        None => {
            let [year, month, day] = numbers(date, '-')?;
            days(year, month, day)?
        }
    };
    let (time, rest) = rest.split_at(rest.find([' ', '+', '-', 'Z', 'z']).unwrap_or(rest.len()));
    // Fractions of a second make no difference to a token.
    let [hour, minute, second] = numbers(time.split('.').next()?, ':')?;
    let (half, offset) = half_of_day(rest.trim_start());
    let hour = match half {
        None => hour,
        // Twelve comes before one; and hours beyond twelve have been seen with PM as well.
        Some(half) if (0..=12).contains(&hour) => hour % 12 + half,
        Some(_) => hour,
    };
    let in_range =
        (0..24).contains(&hour) && (0..60).contains(&minute) && (0..=60).contains(&second);
    let of_day = (hour * 60 + minute) * 60 + second;
    in_range.then_some(day * DAY + of_day - offset_of(offset)?)
}

/// Three whole numbers with this between them.
fn numbers(text: &str, between: char) -> Option<[i64; 3]> {
    let mut parts = text.split(between).map(|part| {
        let digits = (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse().ok()).flatten()
    });
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

/// The hours before the half of the day that is named, if one is, and what follows.
fn half_of_day(text: &str) -> (Option<i64>, &str) {
    for (word, hours) in [("AM", 0), ("PM", 12)] {
        if let Some(rest) = text.strip_prefix(word) {
            return (Some(hours), rest.trim_start());
        }
    }
    (None, text)
}

/// The seconds by which a place is ahead.
fn offset_of(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first() {
        None => return Some(0),
        Some(b'Z' | b'z') => return (text.len() == 1).then_some(0),
        Some(b'+') => (1, text.get(1..)?),
        Some(b'-') => (-1, text.get(1..)?),
        Some(_) => return None,
    };
    let digits = digits.replacen(':', "", 1);
    let plain = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = plain.then(|| digits.parse().ok()).flatten()?;
    let (hours, minutes) = (number / 100, number % 100);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60)
}

/// The days from 1970 to a day of the Gregorian calendar. Years begin in March here, so that the
/// day that some years have more is their last.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    let year = if month < 3 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + of_year - BEFORE_1970;
    ((1970..10_000).contains(&year) && (1..=length).contains(&day)).then_some(days)
}

const DAY: i64 = 24 * 60 * 60;

/// The days from the first of March of the year 0 to the first of January 1970.
const BEFORE_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    use proptest::prelude::ProptestConfig;
    use proptest::proptest;

    use super::*;

    #[test]
    fn every_date_that_was_seen_is_read() {
        for (text, second) in [
            ("05/22/2021 17:14:33 +00:00", 1_621_703_673),
            ("1/16/2020 5:24:12 AM +00:00", 1_579_152_252),
            ("1/16/2020 5:24:12 PM +00:00", 1_579_195_452),
            ("06/20/2019 02:57:58 +00:00", 1_560_999_478),
            ("09/14/2017 00:00:00 PM +00:00", 1_505_390_400),
            ("9/14/2017 12:00:00 AM +00:00", 1_505_347_200),
            ("9/14/2017 12:00:00 PM +00:00", 1_505_390_400),
            ("05/22/2021 17:14:33 PM +00:00", 1_621_703_673),
            ("05/22/2021 19:14:33 +02:00", 1_621_703_673),
            ("05/22/2021 10:14:33 -0700", 1_621_703_673),
            ("2021-05-22 17:14:33", 1_621_703_673),
            ("2021-05-22 17:14:33.123456", 1_621_703_673),
            ("2021-05-22T17:14:33Z", 1_621_703_673),
            ("2021-05-22T17:14:33.9999999Z", 1_621_703_673),
            ("2021-05-22T19:14:33+02:00", 1_621_703_673),
            ("2024-02-29T00:00:00Z", 1_709_164_800),
            ("1970-03-01T00:00:00Z", 5_097_600),
        ] {
            assert_eq!(seconds(text), Some(second), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "tomorrow",
            "17:14:33",
            "05/22/2021",
            "05/22/2021 17:14",
            "22/05/2021 17:14:33 +00:00",
            "05/32/2021 17:14:33 +00:00",
            "02/29/2021 17:14:33 +00:00",
            "05/22/2021 24:14:33 +00:00",
            "05/22/2021 17:60:33 +00:00",
            "05/22/2021 17:14:33 +0",
            "05/22/2021 17:14:33 CEST",
            "05/22/2021 17:14:33 +99:00",
            "-5/22/2021 17:14:33 +00:00",
            "05/22/99999 17:14:33 +00:00",
            "0000-01-01T00:00:00Z",
            "Fri, 21 May 2021 17:14:34 GMT",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_is_too_odd(text: String, near in r"[0-9/:TZAPM +.-]{0,30}") {
            let _ = (seconds(&text), seconds(&near));
        }

        #[test]
        fn it_agrees_with_what_writes_dates_of_http(second in 5_097_600_u64..4_000_000_000) {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(second);
            let written = httpdate::fmt_http_date(time);
            let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
            let month = months.find(&written[8..11]).unwrap() / 3 + 1;
            let american = format!("{month:02}/{}/{} {}", &written[5..7], &written[12..16], &written[17..25]);
            assert_eq!(seconds(&american), i64::try_from(second).ok());
        }
    }
}
