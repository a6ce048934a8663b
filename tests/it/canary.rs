//! A text that must turn up nowhere, found in whatever spelling it hides.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::hash::RandomState;

/// The texts, and every spelling of every part of them.
#[derive(Debug, Default)]
pub(crate) struct Canaries {
    parts: HashSet<Vec<u8>>,
}

/// A text like a password, of letters that every encoding spells in its own way.
pub(crate) fn password() -> String {
    let [a, b, c] = [(); 3].map(|()| letters(20));
    format!("{a}\"{b}\\{c}+/&<%>")
}

/// A text like a token: three long words with dots between.
pub(crate) fn token() -> String {
    [(); 3].map(|()| letters(60)).join(".")
}

impl Canaries {
    /// Looks for this text as well from now on.
    pub(crate) fn add(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut spellings = vec![
            bytes.to_vec(),
            bytes.iter().rev().copied().collect(),
            serde_json::to_vec(text).unwrap(),
            text.chars()
                .map(|letter| format!("\\u{:04x}", u32::from(letter)))
                .collect::<String>()
                .into(),
            hex(bytes, false),
            hex(bytes, true),
            text.bytes().map(percent).collect::<String>().into(),
            format!("{bytes:?}").into(),
        ];
        for alphabet in [STANDARD, URL_SAFE] {
            for shift in 0..3 {
                let shifted = [&vec![b' '; shift], bytes].concat();
                let encoded = base64(&shifted, alphabet);
                // What comes before and after has a share in the first letters and the last.
                spellings.push(encoded[4..encoded.len() - 4].to_vec());
            }
        }
        for spelling in spellings {
            self.parts.extend(spelling.windows(PART).map(<[u8]>::to_vec));
        }
    }

    /// Fails if a part of a text is in there.
    #[track_caller]
    pub(crate) fn look_into(&self, what: &str, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        if let Some(found) = self.find(bytes) {
            let found = String::from_utf8_lossy(found);
            panic!("{found:?} is in {what}:\n{}", String::from_utf8_lossy(bytes));
        }
    }

    fn find<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        bytes.windows(PART).find(|window| self.parts.contains(*window))
    }
}

fn letters(length: usize) -> String {
    let random = RandomState::new();
    let letters = (0..length).map(|place| {
        let chosen = random.hash_one(place) % LETTERS.len() as u64;
        char::from(LETTERS[usize::try_from(chosen).unwrap()])
    });
    letters.collect()
}

fn hex(bytes: &[u8], upper: bool) -> Vec<u8> {
    let digits =
        bytes.iter().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") });
    digits.collect::<String>().into()
}

fn percent(byte: u8) -> String {
    match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    }
}

fn base64(bytes: &[u8], alphabet: &[u8; 64]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for chunk in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes(word);
        let letter = |place: u32| alphabet[(word >> (18 - 6 * place)) as usize & 63];
        encoded.extend((0..4).map(letter));
    }
    encoded
}

/// So many bytes of a text in a row are a leak. A dozen random letters are no accident.
const PART: usize = 12;
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

mod tests {
    use super::*;

    #[test]
    fn a_leak_is_found_in_every_spelling_and_in_part() {
        let text = password();
        let mut canaries = Canaries::default();
        canaries.add(&text);
        let half = &text[20..40];
        for leak in [
            format!("value={text}"),
            format!("value={half}"),
            format!("value={text:?}"),
            serde_json::to_string(&[&text]).unwrap(),
            text.chars().rev().collect(),
            String::from_utf8(hex(half.as_bytes(), true)).unwrap(),
            String::from_utf8(base64(format!("user:{text}").as_bytes(), STANDARD)).unwrap(),
            String::from_utf8(base64(format!("{{\"v\":\"{text}\"}}").as_bytes(), URL_SAFE))
                .unwrap(),
            format!("{:?}", text.as_bytes()),
        ] {
            assert!(canaries.find(leak.as_bytes()).is_some(), "{leak}");
        }
        assert_eq!(canaries.find(password().as_bytes()), None);
        assert_eq!(canaries.find(&text.as_bytes()[..8]), None);
    }
}
