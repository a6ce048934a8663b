//! The bytes: what the vault keeps is what a program reads, and their number is what stat says.

use std::os::unix::fs::MetadataExt;

use crate::world::World;
use crate::world::until;

/// Values as the vault keeps them.
fn values() -> Vec<(&'static str, String)> {
    let controls: String = (0..=0x1f).chain(0x7f..=0x9f).filter_map(char::from_u32).collect();
    vec![
        ("empty", String::new()),
        ("one-byte", "x".into()),
        ("a-blank", " ".into()),
        ("blanks", "  \t in and around \t ".into()),
        ("a-line-feed", "\n".into()),
        ("trailing-line-feeds", "line\n\n\n".into()),
        ("crlf", "one\r\ntwo\r\n".into()),
        ("carriage-return", "one\r".into()),
        ("nul", "before\0after\0".into()),
        ("controls", controls),
        ("byte-order-mark", "\u{feff}DB_USER=app\r\nDB_PASS=s3cret\r\n".into()),
        ("emoji", "\u{1f511}\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{1f1e9}\u{1f1ea}".into()),
        ("combining", "e\u{301} is not \u{e9}, and a\u{30a}\u{323} not \u{1ea1}\u{30a}".into()),
        ("right-to-left", "\u{5e1}\u{5d5}\u{5d3} \u{202e}\u{633}\u{631}\u{202c}".into()),
        ("noncharacters", "\u{fffe}\u{ffff}\u{fffd}\u{10ffff}\u{2028}\u{85}".into()),
        ("quotes", r#""double" 'single' `back` \ \\ \n \u0041 $HOME %s"#.into()),
        ("json", r#"{"user":"app","tags":["a","b"],"value":null, "x":"\""}"#.into()),
        (
            "pem",
            format!(
                "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
                "MIIE".repeat(16)
            ),
        ),
        ("base64", "MIIJ+/8=".repeat(64)),
        ("literal-escapes", r"one\ntwo\r\n".into()),
        ("a-page", "p".repeat(4096)),
        ("over-a-page", "p".repeat(4097)),
        ("largest-ascii", "0123456789abcdef".repeat(1600)),
        ("largest-two-byte", "\u{e9}\u{df}".repeat(6400)),
    ]
}

/// Values as they may stand in the reply, and what they mean.
const SPELLED: [(&str, &str, &str); 7] = [
    ("escaped-nul", r#""a\u0000b""#, "a\0b"),
    ("surrogate-pair", r#""\ud83d\uDD11""#, "\u{1f511}"),
    ("escaped-letters", r#""\u0041\u00e9\u20ac""#, "A\u{e9}\u{20ac}"),
    ("short-escapes", r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
    ("escaped-mark", r#""\ufeffx""#, "\u{feff}x"),
    ("escaped-separators", r#""\u2028\u2029\u007f""#, "\u{2028}\u{2029}\u{7f}"),
    ("bare-letters", "\"\u{e9}\u{1f511}\"", "\u{e9}\u{1f511}"),
];

/// No text has such a value, so there is none to show.
const BROKEN: [(&str, &str); 5] = [
    ("high-surrogate", r#""\ud800""#),
    ("low-surrogate", r#""x\udc00y""#),
    ("reversed-pair", r#""\udc00\ud800""#),
    ("high-before-letter", r#""\ud83d\u0041""#),
    ("two-high", r#""\ud83d\ud83d\udd11""#),
];

#[test]
fn a_file_holds_the_exact_bytes_and_its_size_is_their_number() {
    let Some(world) = World::new() else { return };
    let mut expected = values();
    for (name, value) in &expected {
        world.vault().put(name, value);
    }
    for (name, json, value) in SPELLED {
        world.vault().put_raw(name, json);
        expected.push((name, value.to_owned()));
    }
    let mounted = world.mount(&[]);

    for (name, value) in expected {
        assert_eq!(mounted.stat(name).unwrap().size(), value.len() as u64, "{name}");
        assert_eq!(mounted.read(name).unwrap(), value.as_bytes(), "{name}");
        let printed = mounted.cat(name);
        assert_eq!((printed.code, printed.stdout), (Some(0), value.into_bytes()), "{name}");
    }
}

#[test]
fn with_newline_a_value_that_does_not_end_in_a_line_feed_is_shown_with_one() {
    let Some(world) = World::new() else { return };
    for (name, value) in values() {
        world.vault().put(name, &value);
    }
    let mounted = world.mount(&["newline"]);

    for (name, mut value) in values() {
        if !value.is_empty() && !value.ends_with('\n') {
            value.push('\n');
        }
        assert_eq!(mounted.stat(name).unwrap().size(), value.len() as u64, "{name}");
        assert_eq!(mounted.read(name).unwrap(), value.as_bytes(), "{name}");
    }
    let script =
        format!("set -e; read -r value < {}; echo \"$value\"", mounted.path("one-byte").display());
    assert_eq!(world.sh(&script).ok(), "x\n");
}

#[test]
fn a_value_that_is_no_text_is_eio_and_nothing_else_suffers() {
    let Some(world) = World::new() else { return };
    world.vault().put("good", "g");
    world.vault().put("rotated", "old");
    for (name, json) in BROKEN {
        world.vault().put_raw(name, json);
    }
    let mounted = world.mount(&["refresh=200ms"]);
    assert_eq!(mounted.text("rotated"), "old");

    for (name, _) in BROKEN {
        assert_eq!(mounted.errno(name), libc::EIO, "{name}");
        assert_eq!(
            mounted.stat(name).map_err(|error| error.raw_os_error()).err(),
            Some(Some(libc::EIO))
        );
        assert_eq!(mounted.text("good"), "g");
    }
    // The last good value stays.
    world.vault().put_raw("rotated", r#""\ud800""#);
    let before = world.gets("rotated");
    until("it is asked about again", || world.gets("rotated") > before + 1);
    assert_eq!(mounted.text("rotated"), "old");
    world.vault().put("rotated", "new");
    mounted.until_shows("rotated", "new");
}
