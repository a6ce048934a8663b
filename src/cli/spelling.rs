//! What a misspelt word was meant to be.

/// The candidate that a misspelt word most resembles, letter case and `_` for `-` aside.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    let word = plain(word);
    candidates
        .map(|name| (likeness(&word, &plain(name)), name))
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

/// How much two words resemble each other, from 0 to 1: by the letters to be changed, and among
/// equals by a common beginning.
#[must_use]
pub fn likeness(one: &str, other: &str) -> f64 {
    let edits = strsim::normalized_damerau_levenshtein(one, other);
    0.75 * edits + 0.25 * strsim::jaro_winkler(one, other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::options::OPTIONS;

    #[test]
    fn a_misspelt_option_is_answered_with_the_one_that_was_meant() {
        let meant = [
            ("Mode", "mode"),
            ("refesh", "refresh"),
            ("allow-othre", "allow_other"),
            ("dirmode", "dir-mode"),
            ("dir_mode", "dir-mode"),
            ("opentimeout", "open-timeout"),
            ("timeout", "open-timeout"),
            ("cafile", "ca-file"),
            ("secret", "secrets"),
            ("runas", "run-as"),
            ("stall", "stale"),
        ];
        for (typed, name) in meant {
            let names = OPTIONS.iter().map(|opt| opt.name);
            assert_eq!(nearest(typed, names), Some(name), "{typed}");
        }
    }
}
