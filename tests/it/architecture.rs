//! The map of the house: which rooms and packages a room may use, and the rules of its sources.
//!
//! The table is the diagram. The diagram in docs/ARCHITECTURE.md is drawn from it.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// A room, the rooms that it may use beside itself, and the packages.
pub(crate) type Room = (&'static str, &'static [&'static str], &'static [&'static str]);

pub(crate) const ROOMS: &[Room] = &[
    ("model", &[], &["serde", "zeroize"]),
    ("clock", &["model"], &["rustix"]),
    ("json", &["model"], &["serde", "serde_json", "zeroize"]),
    ("log", &["clock"], &["rustix", "serde"]),
    ("timer", &["model"], &["rustix"]),
    ("alarm", &["clock", "log"], &["serde"]),
    ("der", &[], &[]),
    ("tls", &["der"], &["aws_lc_rs", "rustls", "rustls_platform_verifier", "serde"]),
    (
        "http",
        &["model", "tls"],
        &["bytes", "httpdate", "hyper", "reqwest", "rustls", "serde", "tokio", "url", "zeroize"],
    ),
    (
        "identity",
        &["clock", "der", "http", "json", "log", "model", "tls"],
        &[
            "aws_lc_rs",
            "base64",
            "cbc",
            "des",
            "httpdate",
            "parking_lot",
            "rc2",
            "rustix",
            "serde",
            "serde_json",
            "tokio",
            "url",
            "zeroize",
        ],
    ),
    (
        "vault",
        &["clock", "http", "identity", "json", "log", "model", "tls"],
        &["base64", "httpdate", "serde", "serde_json", "tokio", "url"],
    ),
    ("arena", &["model", "sys"], &["parking_lot", "rustix"]),
    (
        "audit",
        &["alarm", "clock", "log", "model", "timer"],
        &["libc", "parking_lot", "rustix", "serde", "serde_json"],
    ),
    (
        "service",
        &["alarm", "arena", "clock", "http", "identity", "log", "model", "timer", "vault"],
        &["parking_lot", "rustix", "serde", "serde_json", "tokio", "zeroize"],
    ),
    (
        "fuse",
        &["audit", "clock", "log", "model", "service"],
        &["fuser", "glob", "libc", "parking_lot", "rustix", "serde"],
    ),
    ("control", &["alarm", "clock", "model"], &["rustix", "serde", "serde_json"]),
    ("control_server", &["clock", "control", "model", "service"], &["serde_json", "tokio"]),
    (
        "supervisor",
        &["alarm", "arena", "audit", "clock", "control", "log", "model", "sys"],
        &["libc", "parking_lot", "rustix", "serde", "serde_json", "zeroize"],
    ),
    ("sys", &[], &["libc", "parking_lot", "rustix"]),
    (
        "cli",
        &[
            "alarm",
            "arena",
            "audit",
            "clock",
            "control",
            "control_server",
            "fuse",
            "http",
            "identity",
            "log",
            "model",
            "service",
            "supervisor",
            "tls",
            "vault",
        ],
        &[
            "clap",
            "glob",
            "nix",
            "parking_lot",
            "rustix",
            "serde",
            "serde_json",
            "strsim",
            "tokio",
            "toml",
        ],
    ),
    ("main", &["akvfs"], &[]),
    ("lib", &[], &[]),
];

/// A file is one idea: this many lines, and then its tests.
const LONGEST: usize = 400;

/// All that is unsafe is in one file, which is worth more than that it is short.
const LONGEST_UNSAFE: usize = 500;

#[test]
fn every_room_keeps_to_the_map_and_to_the_rules() {
    let packages = dependencies();
    let mut wrong = vec![];
    let mut lines = 0;
    for path in sources("src").into_iter().filter(|path| is_shipped(path)) {
        let text = fs::read_to_string(&path).unwrap();
        lines += text.lines().count();
        let path = path.to_str().unwrap();
        wrong.extend(faults(path, &text, &packages).into_iter().map(|it| format!("{path}: {it}")));
    }
    assert!(lines > 1000, "only {lines} lines were looked at");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_supervisor_knows_no_vault_by_any_way_round() {
    let uses = |room: &str| ROOMS.iter().find(|(name, ..)| *name == room).unwrap().1;
    let mut known = vec!["supervisor"];
    for at in 0.. {
        let Some(room) = known.get(at) else { break };
        let new = uses(room).iter().filter(|used| !known.contains(used));
        let new: Vec<&str> = new.copied().collect();
        known.extend(new);
    }
    for stranger in ["vault", "identity", "http", "tls", "service", "fuse", "cli"] {
        assert!(!known.contains(&stranger), "{known:?}");
    }
}

#[test]
fn every_source_is_ascii() {
    for folder in ["src", "tests", "benches", "examples", "emulator/src", "emulator/tests"] {
        for path in sources(folder) {
            let text = fs::read_to_string(&path).unwrap();
            let at = text.lines().position(|line| !line.is_ascii());
            assert_eq!(
                at,
                None,
                "{}: a letter beyond ASCII, counting lines from 0",
                path.display()
            );
        }
    }
}

#[test]
fn the_emulator_does_not_know_what_it_tests() {
    let manifest = fs::read_to_string("emulator/Cargo.toml").unwrap();
    assert!(!manifest.lines().any(|line| line.starts_with("akvfs =")));
    for path in sources("emulator/src") {
        assert!(!names(&code(&fs::read_to_string(&path).unwrap()), "akvfs"), "{}", path.display());
    }
}

#[test]
fn what_is_planted_is_found() {
    let packages = dependencies();
    let planted = [
        ("src/model/x.rs", "use crate::cli::options;", "crate::cli"),
        ("src/model/x.rs", "use crate::{model::name, vault};", "crate::vault"),
        ("src/model/x.rs", "use crate::{\n    model::{name, cli},\n    sys,\n};", "crate::sys"),
        ("src/model/x.rs", "fn f() { crate::clock::now(); }", "crate::clock"),
        ("src/model/x.rs", "use super::super::clock;", "super::super"),
        ("src/model/x.rs", "use tokio::time;", "package tokio"),
        ("src/model/x.rs", "fn f() { ::libc::getpid(); }", "package libc"),
        ("src/model/x.rs", "use std::collections::*;", "glob"),
        ("src/model/x.rs", "use std::{fmt, io};", "one use a line"),
        ("src/model/x.rs", "pub use std::fmt;", "re-export"),
        ("src/vault/x.rs", "use reqwest::Client;", "package reqwest"),
        ("src/service.rs", "use fuser::Request;", "package fuser"),
        ("src/supervisor/x.rs", "use crate::vault::client;", "crate::vault"),
        ("src/supervisor/x.rs", "fn f() { unsafe { g() } }", "unsafe"),
        ("src/fuse/mod.rs", "pub mod a;\nfn f() {}", "mod.rs"),
        ("src/nowhere/x.rs", "", "no such room"),
    ];
    for (path, text, fault) in planted {
        let found = faults(path, &format!("//! Doc.\n\n{text}\n"), &packages);
        assert_eq!(found.len(), 1, "{path}: {text}: {found:?}");
        assert!(found[0].contains(fault), "{path}: {text}: {found:?}");
    }
    let long = format!("//! Doc.\n{}", "\n".repeat(LONGEST));
    assert_eq!(faults("src/http.rs", &long, &packages).len(), 1);
    assert_eq!(faults("src/sys.rs", "fn f() {}\n", &packages).len(), 1, "no doc");
}

#[test]
fn what_only_looks_wrong_is_not_found() {
    let packages = dependencies();
    let innocent = [
        "// use crate::cli::options; unsafe\n",
        "const A: &str = \"use crate::cli; unsafe \\\" tokio::time\";\n",
        "const A: &str = r#\"unsafe { \"crate::cli\" }\"#;\n",
        "const A: char = '\"';\nconst B: &str = \"crate::cli\";\n",
        "fn f<'a>(a: &'a str) -> &'a str { a }\n",
        "/* crate::cli */ use crate::model::name::SecretName;\n",
        "fn f() { model::tokio_like::x(); }\n",
        "#[cfg(test)]\nmod tests {\n    use super::*;\n    use proptest::prelude::*;\n}\n",
    ];
    for text in innocent {
        let text = format!("//! Doc.\n\n{text}");
        assert_eq!(faults("src/model/x.rs", &text, &packages), [""; 0], "{text}");
    }
}

/// All that is wrong with a source file.
fn faults(path: &str, text: &str, packages: &[String]) -> Vec<String> {
    let mut wrong = vec![];
    let (shipped, _tests) = text.split_once("#[cfg(test)]\nmod tests {").unwrap_or((text, ""));
    let lines = shipped.lines().count();
    let most = if path == "src/sys.rs" { LONGEST_UNSAFE } else { LONGEST };
    if lines > most {
        wrong.push(format!("{lines} lines before its tests; {most} are the most"));
    }
    if !text.starts_with("//! ") {
        wrong.push("it does not begin with what it is".to_owned());
    }
    let code = code(shipped);
    let room = path.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default();
    let Some((_, rooms, allowed)) = ROOMS.iter().find(|(name, ..)| *name == room) else {
        wrong.push(format!("there is no such room as {room} on the map"));
        return wrong;
    };
    for used in modules(&code) {
        if used != room && !rooms.contains(&used.as_str()) {
            wrong.push(format!("{room} may not use crate::{used}"));
        }
    }
    for package in packages {
        if names(&code, package) && !allowed.contains(&package.as_str()) {
            wrong.push(format!("{room} may not use the package {package}"));
        }
    }
    if names(&code, "super::super") {
        wrong.push("super::super".to_owned());
    }
    if room != "sys" && words(&code).any(|word| word == "unsafe") {
        wrong.push("unsafe outside sys.rs".to_owned());
    }
    wrong.extend(code.lines().filter_map(|line| import_fault(line.trim_start(), room)));
    if path.ends_with("/mod.rs") {
        let declared = |line: &str| line.ends_with(';') && line.split(' ').any(|it| it == "mod");
        let plain = |line: &&str| !line.is_empty() && !declared(line) && *line != "#[cfg(test)]";
        if let Some(line) = code.lines().map(str::trim).find(plain) {
            wrong.push(format!("mod.rs holds more than modules: {line}"));
        }
    }
    wrong
}

fn import_fault(line: &str, room: &str) -> Option<String> {
    let import = line.strip_prefix("use ").or_else(|| {
        let (visibility, rest) = line.split_once("use ")?;
        visibility.starts_with("pub").then_some(rest)
    })?;
    if line.starts_with("pub") {
        return Some(format!("a re-export: {line}"));
    }
    if import.ends_with("::*;") {
        return Some(format!("a glob: {line}"));
    }
    // Which rooms a group names has been said already.
    let grouped = import.contains('{') && !import.starts_with("crate::{");
    (grouped && room != "main").then(|| format!("one use a line: {line}"))
}

/// The rooms that follow a `crate::`, also in a group.
fn modules(code: &str) -> Vec<String> {
    let mut found = vec![];
    for (at, marker) in code.match_indices("crate::") {
        let rest = &code[at + marker.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.extend(words(rest).next().map(ToOwned::to_owned));
            continue;
        };
        let mut depth = 0;
        let mut fresh = true;
        for (at, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => fresh = true,
                _ if fresh && depth == 0 && letter.is_alphabetic() => {
                    found.extend(words(&group[at..]).next().map(ToOwned::to_owned));
                    fresh = false;
                }
                _ => {}
            }
        }
    }
    found
}

/// Whether a path begins with that name.
fn names(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let before = &code[..at];
        let inside = before.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
        let outer = before.strip_suffix("::").unwrap_or("");
        let under = outer.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
        code[at + path.len()..].starts_with("::") && !inside && !under
    })
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty())
}

/// A source without its comments, strings and characters.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if letter == 'r' && (rest.starts_with("r\"") || rest.starts_with("r#")) {
            raw_string(rest)
        } else if letter == '"' {
            1 + literal(&rest[1..], '"')
        } else if letter == '\'' && is_character(rest) {
            1 + literal(&rest[1..], '\'')
        } else {
            code.push(letter);
            letter.len_utf8()
        };
        rest = &rest[skipped..];
    }
    code
}

fn raw_string(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|letter| *letter == '#').count();
    let end = format!("\"{}", "#".repeat(hashes));
    let body = &text[(2 + hashes).min(text.len())..];
    2 + hashes + body.find(&end).map_or(body.len(), |at| at + end.len())
}

/// How far it is to the end of a literal that has begun.
fn literal(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        if letter == quote && !escaped {
            return at + 1;
        }
        escaped = letter == '\\' && !escaped;
    }
    text.len()
}

/// Whether it is a character that begins here, and not a lifetime.
fn is_character(text: &str) -> bool {
    let mut letters = text.chars().skip(1);
    letters.next() == Some('\\') || letters.next() == Some('\'')
}

/// Whether a file is more than its folder's tests.
fn is_shipped(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let only_tests = format!("#[cfg(test)]\nmod {name};");
    ["mod.rs", "lib.rs"].into_iter().all(|folder| {
        let folder = fs::read_to_string(path.with_file_name(folder)).unwrap_or_default();
        !folder.contains(&only_tests)
    })
}

fn dependencies() -> Vec<String> {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let (_, rest) = manifest.split_once("\n[dependencies]\n").unwrap();
    let (section, _) = rest.split_once("\n[").unwrap();
    let named = section.lines().filter(|line| !line.starts_with('#'));
    let names = named.filter_map(|line| Some(line.split_once(" =")?.0.replace('-', "_")));
    names.chain(["proptest".to_owned(), "akvfs_emulator".to_owned()]).collect()
}

fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut folders = vec![Path::new(folder).to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
