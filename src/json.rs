//! JSON from outside: objects of a known shape, and the secret strings in them, taken into custody
//! with no copy left behind.
//!
//! serde_json finds where the string is; its escapes are undone here, into a buffer that is large
//! enough from the start. serde_json itself would undo them in a scratch buffer that nobody wipes.

use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::model::secret::SecretBytes;

/// Reads a whole body as one object, or `None` if it is anything else. Why is not told: the
/// parser's own words quote what they stumbled on.
pub(crate) fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    // A derived Deserialize takes the fields of an object from an array as well.
    let is_object = body.trim_ascii_start().first() == Some(&b'{');
    is_object.then(|| serde_json::from_slice(body).ok()).flatten()
}

/// The same for an array.
pub(crate) fn array<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<Vec<T>> {
    serde_json::from_slice(body).ok()
}

/// The text of a JSON string as UTF-8, or `None` if `raw` is no string or holds half of a
/// surrogate pair: such a text has no bytes.
pub(crate) fn secret(raw: &RawValue) -> Option<SecretBytes> {
    let quoted = raw.get().trim().as_bytes();
    let mut rest = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    // An escape is never shorter than what it stands for.
    let mut text = Zeroizing::new(Vec::with_capacity(rest.len()));
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
        let (plain, escape) = rest.split_at_checked(at)?;
        text.extend_from_slice(plain);
        let (&kind, after) = escape.get(1..)?.split_first()?;
        rest = after;
        let plain = match kind {
            b'"' | b'\\' | b'/' => kind,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (character, after) = unicode(rest)?;
                rest = after;
                let mut buffer = Zeroizing::new([0; 4]);
                text.extend_from_slice(character.encode_utf8(&mut *buffer).as_bytes());
                continue;
            }
            _ => return None,
        };
        text.push(plain);
    }
    text.extend_from_slice(rest);
    Some(SecretBytes::new(std::mem::take(&mut *text)))
}

/// The character whose four digits, or two times four, come next; and what follows.
fn unicode(text: &[u8]) -> Option<(char, &[u8])> {
    let (first, rest) = unit(text)?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, rest));
    }
    let (second, rest) = unit(rest.strip_prefix(b"\\u")?)?;
    let pair = (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(&second);
    let point = 0x10000 + ((first & 0x3ff) << 10) + (second & 0x3ff);
    pair.then(|| char::from_u32(point)).flatten().zip(Some(rest))
}

fn unit(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let mut value = 0;
    for &digit in digits {
        value = value << 4 | char::from(digit).to_digit(16)?;
    }
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::ProptestConfig;
    use proptest::proptest;

    use super::*;

    fn text(json: &str) -> Option<Vec<u8>> {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        secret(raw).map(|text| text.expose().to_vec())
    }

    #[test]
    fn every_escape_becomes_the_bytes_it_stands_for() {
        let json = r#""\"\\\/\b\f\n\r\t\u0000\u00e9\u20AC\ud83d\ude00 plain""#;
        let bytes = "\"\\/\u{8}\u{c}\n\r\t\0\u{e9}\u{20ac}\u{1f600} plain".as_bytes();
        assert_eq!(text(json).unwrap(), bytes);
    }

    #[test]
    fn half_of_a_surrogate_pair_is_no_text() {
        for json in [
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\ud83d\ud83d""#,
            r#""\ud83dx""#,
            r#""\ud83d\n""#,
            r#""\ude00\ud83d""#,
            r#""a\ud83d\u0041""#,
        ] {
            assert!(text(json).is_none(), "{json}");
        }
    }

    #[test]
    fn what_is_no_string_is_no_text() {
        for json in ["1", "true", "null", "[]", "{}", r#"["a"]"#] {
            assert!(text(json).is_none(), "{json}");
        }
    }

    #[test]
    fn an_array_is_no_object() {
        #[derive(Deserialize)]
        struct One {
            one: u8,
        }
        assert_eq!(object::<One>(b" {\"one\":1} ").map(|one| one.one), Some(1));
        assert!(object::<One>(b"[1]").is_none());
        assert!(object::<One>(b"\xef\xbb\xbf{\"one\":1}").is_none());
        assert!(object::<One>(b"{\"one\":1}x").is_none());
        assert!(object::<One>(b"").is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_text_comes_back_however_it_is_spelled(value: String) {
            let short = serde_json::to_string(&value).unwrap();
            let units = value.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
            let long = format!("\"{}\"", units.collect::<String>());
            assert_eq!(text(&short).unwrap(), value.as_bytes());
            assert_eq!(text(&long).unwrap(), value.as_bytes());
        }

        #[test]
        fn it_agrees_with_the_library_on_any_text(inner in r#"(\\u[dD][89a-fA-F][0-9a-f]{2}|\\[bfnrt"\\/]|[a-z]){0,12}"#) {
            let json = format!("\"{inner}\"");
            let theirs = serde_json::from_str::<String>(&json).ok().map(String::into_bytes);
            assert_eq!(text(&json), theirs);
        }
    }
}
