//! The values of options, as they are typed: durations, sizes, modes, globs.
//!
//! A parser answers with what is wrong in the words that follow `option=value: `, and with what
//! to type instead. None of them touches the machine.

use std::fmt::Write as _;
use std::time::Duration;

use glob::Pattern;

/// Why a value cannot be.
#[derive(Debug, Eq, PartialEq)]
pub struct Wrong {
    /// What is wrong with it.
    pub why: String,
    /// What to type instead.
    pub hint: Option<String>,
}

impl Wrong {
    /// A value that is wrong for this reason.
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), hint: None }
    }

    /// The same, with what to type instead.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A duration: a whole number and one unit, from `least` to `most`.
pub fn duration(text: &str, least: Duration, most: Duration) -> Result<Duration, Wrong> {
    let (number, unit) = number_and_unit(text);
    if number.is_empty() {
        return Err(Wrong::new("not a duration").hint("write it as 30s, 5m, 1h or 8d"));
    }
    if unit.is_empty() {
        return Err(Wrong::new("a duration needs a unit")
            .hint(format!("for seconds write {number}s; m, h and d are the others")));
    }
    let Some((_, millis)) = DURATIONS.iter().find(|(name, _)| *name == unit) else {
        return Err(Wrong::new(format!("{unit:?} is no unit of time"))
            .hint("write it as 30s, 5m, 1h or 8d: one whole number, one unit"));
    };
    let exact = number.parse().ok().and_then(|n: u64| n.checked_mul(*millis));
    let span = exact.map_or(Duration::MAX, Duration::from_millis);
    if span < least {
        return Err(Wrong::new(format!("the least is {}", spell(least))));
    }
    if span > most {
        return Err(Wrong::new(format!("the most is {}", spell(most))));
    }
    Ok(span)
}

/// A duration as one would type it.
#[must_use]
pub fn spell(span: Duration) -> String {
    let millis = span.as_millis();
    let unit = DURATIONS.iter().rev().find(|(_, unit)| {
        let unit = u128::from(*unit);
        millis >= unit && millis.is_multiple_of(unit)
    });
    unit.map_or_else(
        || format!("{millis}ms"),
        |(name, unit)| format!("{}{name}", millis / u128::from(*unit)),
    )
}

/// One of some words, as what it stands for. `option` takes no other.
pub fn one_of<T: Copy>(option: &str, text: &str, words: &[(&str, T)]) -> Result<T, Wrong> {
    if let Some((_, meant)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*meant);
    }
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let (last, others) = words.split_last().map_or(("", &[][..]), |(last, rest)| (*last, rest));
    Err(Wrong::new("there is no such choice")
        .hint(format!("{option}= takes {} or {last}", others.join(", "))))
}

/// A number of bytes: a whole number and one of K, M and G, from `least` to `most`.
pub fn size(text: &str, least: u64, most: u64) -> Result<u64, Wrong> {
    let (number, unit) = number_and_unit(text);
    if number.is_empty() {
        return Err(Wrong::new("not a size").hint("write it as 64M or 1G"));
    }
    if unit.is_empty() {
        return Err(Wrong::new("a size needs a unit")
            .hint(format!("for mebibytes write {number}M; K and G are the others")));
    }
    let Some((_, bytes)) = SIZES.iter().find(|(name, _)| *name == unit) else {
        return Err(Wrong::new(format!("{unit:?} is no unit of size"))
            .hint("write it as 64M or 1G: one whole number, one unit"));
    };
    let exact = number.parse().ok().and_then(|n: u64| n.checked_mul(*bytes));
    match exact.unwrap_or(u64::MAX) {
        bytes if bytes < least => Err(Wrong::new(format!("the least is {}M", least >> 20))),
        bytes if bytes > most => Err(Wrong::new(format!("the most is {}G", most >> 30))),
        bytes => Ok(bytes),
    }
}

/// The mode of the files: read bits and nothing else.
pub fn file_mode(text: &str) -> Result<u16, Wrong> {
    let mode = octal(text, "0440")?;
    let extra = mode & !0o444;
    if extra != 0 {
        return Err(Wrong::new(format!("secrets can only be read, and {}", named(extra)))
            .hint(format!("write mode=0{:03o}", mode & 0o444)));
    }
    Ok(mode)
}

/// The mode of the directory: no write bits, and search wherever there is read.
pub fn dir_mode(text: &str) -> Result<u16, Wrong> {
    let mode = octal(text, "0550")?;
    let extra = mode & !0o555;
    if extra != 0 {
        return Err(Wrong::new(format!("the directory cannot be changed, and {}", named(extra)))
            .hint(format!("write dir-mode=0{:03o}", mode & 0o555)));
    }
    let blind = (mode & 0o444) >> 2 & !mode;
    if blind != 0 {
        return Err(Wrong::new("who may list the directory must be able to enter it")
            .hint(format!("write dir-mode=0{:03o}", mode | blind)));
    }
    Ok(mode)
}

/// Globs with colons between them.
pub fn globs(text: &str) -> Result<Vec<String>, Wrong> {
    text.split(':').map(glob).collect()
}

/// One glob.
pub fn glob(text: &str) -> Result<String, Wrong> {
    if text.is_empty() {
        return Err(Wrong::new("an empty name matches nothing")
            .hint("leave the option away to show all secrets"));
    }
    let foreign = |letter: &char| !letter.is_ascii_alphanumeric() && !"-*?[]!".contains(*letter);
    if let Some(letter) = text.chars().find(foreign) {
        return Err(Wrong::new(format!("no secret's name has {letter:?} in it"))
            .hint("names are letters, digits and dashes; between globs stands a colon"));
    }
    match Pattern::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Wrong::new(format!("{text:?} is no glob: {}", error.msg))),
    }
}

/// An SELinux label, as the kernel takes it.
pub fn label(text: &str) -> Result<String, Wrong> {
    let is_good = |letter: char| letter.is_ascii_alphanumeric() || "_-.:,".contains(letter);
    if text.chars().all(is_good) && text.split(':').filter(|part| !part.is_empty()).count() >= 3 {
        return Ok(text.to_owned());
    }
    Err(Wrong::new("not an SELinux label").hint(
        "it is USER:ROLE:TYPE, and a range if there is one, in double quotes if that has a comma",
    ))
}

fn octal(text: &str, example: &str) -> Result<u16, Wrong> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let mode = u16::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o7777);
    mode.ok_or_else(|| {
        Wrong::new("not an octal mode").hint(format!("write it as chmod takes it: {example}"))
    })
}

/// The bits that are too many, in words.
fn named(extra: u16) -> String {
    let mut words = String::new();
    for (bits, word) in [(0o222, "write"), (0o111, "execute"), (0o7000, "special")] {
        if extra & bits != 0 {
            let comma = if words.is_empty() { "" } else { ", " };
            let _infallible = write!(words, "{comma}{word}");
        }
    }
    format!("0{extra:03o} are {words} bits")
}

fn number_and_unit(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(digits).unwrap_or((text, ""))
}

/// Units of time in milliseconds, the smallest first.
const DURATIONS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60 * 1000), ("h", 60 * 60 * 1000), ("d", 24 * 60 * 60 * 1000)];

const SIZES: [(&str, u64); 3] = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30)];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANY: (Duration, Duration) = (Duration::ZERO, Duration::MAX);

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn a_duration_is_read_back_as_it_is_spelled(millis in 1_u64..10_000_000_000) {
            let span = Duration::from_millis(millis);
            prop_assert_eq!(duration(&spell(span), ANY.0, ANY.1), Ok(span));
        }

        #[test]
        fn no_text_makes_a_parser_panic_or_pass_its_bounds(text in "\\PC{0,12}|[0-9]{0,22}[a-zA-Z]{0,2}") {
            let (least, most) = (Duration::from_secs(1), Duration::from_secs(60));
            if let Ok(span) = duration(&text, least, most) {
                prop_assert!((least..=most).contains(&span));
            }
            if let Ok(bytes) = size(&text, 1 << 20, 1 << 30) {
                prop_assert!((1 << 20..=1 << 30).contains(&bytes));
            }
            let _ = globs(&text);
        }

        #[test]
        fn a_mode_taken_never_lets_anybody_write(bits in 0_u16..0o10000) {
            let text = format!("{bits:04o}");
            if let Ok(mode) = file_mode(&text) {
                prop_assert_eq!(mode, bits);
                prop_assert_eq!(mode & !0o444, 0);
            }
            if let Ok(mode) = dir_mode(&text) {
                prop_assert_eq!(mode & !0o555, 0);
                prop_assert_eq!((mode & 0o444) >> 2 & !mode, 0);
            }
        }

        #[test]
        fn what_a_hint_says_to_type_is_taken(bits in 0_u16..0o10000) {
            let text = format!("{bits:04o}");
            if let Err(Wrong { hint: Some(hint), .. }) = file_mode(&text) {
                prop_assert!(file_mode(hint.trim_start_matches("write mode=")).is_ok());
            }
            if let Err(Wrong { hint: Some(hint), .. }) = dir_mode(&text) {
                let once = hint.trim_start_matches("write dir-mode=").to_owned();
                let twice = dir_mode(&once).err().and_then(|wrong| wrong.hint);
                let text = twice.map_or(once, |hint| hint.replace("write dir-mode=", ""));
                prop_assert!(dir_mode(&text).is_ok());
            }
        }
    }

    #[test]
    fn a_duration_has_one_whole_number_and_one_unit() {
        let minute = Duration::from_secs(60);
        for good in ["60s", "1m", "60000ms", "060s"] {
            assert_eq!(duration(good, ANY.0, ANY.1), Ok(minute), "{good}");
        }
        for bad in ["", "60", "s", "-60s", "+60s", "1.5h", "1h30m", "60 s", "1M", "60sec", " 60s"] {
            assert!(duration(bad, ANY.0, ANY.1).is_err(), "{bad:?}");
        }
        let endless = "99999999999999999999999d";
        assert_eq!(duration(endless, ANY.0, minute).unwrap_err().why, "the most is 1m");
    }

    #[test]
    fn modes_are_octal_and_read_only() {
        for (good, mode) in [("0400", 0o400), ("440", 0o440), ("0", 0), ("00444", 0o444)] {
            assert_eq!(file_mode(good), Ok(mode), "{good}");
        }
        for bad in ["", "u=r", "0x1", "888", "-1", "+4", "0600", "0500", "4400", "1777", "77777"] {
            assert!(file_mode(bad).is_err(), "{bad:?}");
        }
        for (good, mode) in [("0550", 0o550), ("0555", 0o555), ("0511", 0o511), ("0110", 0o110)] {
            assert_eq!(dir_mode(good), Ok(mode), "{good}");
        }
        for bad in ["0440", "0755", "0554", "1555"] {
            assert!(dir_mode(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_label_holds_nothing_that_ends_an_option_of_the_kernels() {
        for good in ["system_u:object_r:etc_t:s0", "system_u:object_r:a-b.c_t:s0:c1,c2", "a:b:c"] {
            assert_eq!(label(good), Ok(good.to_owned()));
        }
        for bad in
            ["", "etc_t", "a:b", "a::b", "a:b:c\"", "a:b:c d", "a:b:c=d", "a:b:c\\", "a:b:c\n"]
        {
            assert!(label(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_glob_that_no_name_can_match_is_refused() {
        assert_eq!(globs("site-*:ftpadmin").unwrap(), ["site-*", "ftpadmin"]);
        for bad in ["", "a:", "a,b", "a_b", "[", "[]", "***", "a b", "{a,b}", "site.key"] {
            assert!(globs(bad).is_err(), "{bad:?}");
        }
    }
}
