//! docs/TROUBLESHOOTING.md, taken at its word: each symptom is brought about, what the page shows is
//! typed, and what is printed is what the page shows.
//!
//! `UPDATE=1 cargo test troubleshooting` writes what is printed into the page. Numbers of three and
//! more digits, GUIDs and versions are others each time; every one is as good as another.

use std::fs;

use akvfs_emulator::record::Request;
use parking_lot::Mutex;

use crate::recipes::kitchen::Kitchen;
use crate::recipes::kitchen::NIGHTLY;
use crate::recipes::page::Recipe;
use crate::symptoms::LOGGED;
use crate::symptoms::MOUNTING;
use crate::symptoms::PROGRAMS;
use crate::symptoms::READING;
use crate::symptoms::Symptom;
use crate::together::together;
use crate::world::World;

/// Brings a symptom about, types what the page shows, and compares.
fn see(symptom: &Symptom) {
    let Some(kitchen) = Kitchen::bare(symptom.programs) else { return };
    kitchen.world.vault().put("ftpadmin", "s3cret\n");
    let kept = (symptom.given)(&kitchen);
    let shown = Recipe::of(PAGE, symptom.heading).consoles();
    assert!(!shown.is_empty(), "{} shows nothing", symptom.heading);
    for shown in shown {
        let seen: String = typed(&shown).map(|line| seen(&kitchen, line)).collect();
        let same = plain(&seen) == plain(&shown);
        if !same && std::env::var_os("UPDATE").is_some() {
            update(symptom.heading, &shown, &seen);
        } else {
            assert!(same, "{}:\nseen:\n{seen}\nshown:\n{shown}", symptom.heading);
        }
    }
    drop(kept);
}

/// The lines of a session that are typed, with their prompts.
fn typed(session: &str) -> impl Iterator<Item = &str> {
    session.lines().filter(|line| line.starts_with("$ ") || line.starts_with("# "))
}

/// Types one, and gives it with what was printed.
fn seen(kitchen: &Kitchen, line: &str) -> String {
    let who = if line.starts_with('$') { NIGHTLY } else { "root" };
    let ran = kitchen.type_in(who, &format!("{{ {}; }} 2>&1", &line[2..]));
    assert_eq!(ran.stderr, "");
    // Some end their lines as a terminal in raw mode wants it.
    let printed = String::from_utf8(ran.stdout).unwrap().replace("\r\n", "\n");
    let end = if printed.is_empty() || printed.ends_with('\n') { "" } else { "\n" };
    format!("{line}\n{printed}{end}")
}

/// Numbers of processes, requests and versions are others each time.
fn plain(session: &str) -> String {
    let ends = |letter: char| !letter.is_ascii_alphanumeric() && letter != '-';
    let words = session.split_inclusive(ends);
    let plain = words.map(|word| {
        let (word, end) = word.split_at(word.trim_end_matches(ends).len());
        format!("{}{end}", stood_for(word))
    });
    plain.collect()
}

/// What stands for a word.
fn stood_for(word: &str) -> &str {
    let dashes = word.match_indices('-').map(|(at, _)| at);
    if word.len() == 36 && dashes.eq([8, 13, 18, 23]) {
        return "GUID";
    }
    if word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return "VERSION";
    }
    let number = word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_digit());
    if number { "NUMBER" } else { word }
}

fn update(heading: &str, shown: &str, seen: &str) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock();
    let page = fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(&format!("\n### {heading}\n")).unwrap();
    let rest = rest.replacen(&format!("```console\n{shown}"), &format!("```console\n{seen}"), 1);
    // Others read it meanwhile.
    let new = format!("{PAGE}.new");
    fs::write(&new, format!("{before}\n### {heading}\n{rest}")).unwrap();
    fs::rename(&new, PAGE).unwrap();
}

#[test]
fn what_is_seen_of_a_file_that_cannot_be_read_is_what_the_page_shows() {
    together(READING, see);
}

#[test]
fn what_programs_say_of_a_file_is_what_the_page_shows() {
    together(PROGRAMS, see);
}

#[test]
fn what_is_said_of_a_mount_is_what_the_page_shows() {
    together(MOUNTING, see);
}

#[test]
fn whoever_looks_at_each_file_makes_each_be_fetched_and_secrets_bounds_it() {
    for (options, fetched) in [("rw", 30), ("secrets=site-*", 10)] {
        let Some(world) = World::new() else { return };
        for number in 0..30 {
            let kind = if number < 10 { "site" } else { "other" };
            world.vault().put(&format!("{kind}-{number}"), "s3cret");
        }
        let mounted = world.mount(&[options]);
        let at = mounted.directory().to_str().unwrap();
        for crawl in [&["find", at, "-size", "+100k"][..], &["du", "-a", at]] {
            world.run(crawl[0], &crawl[1..]).ok();
        }
        let answered = |it: &Request| it.is_get() && it.was_answered(200);
        assert_eq!(world.emulator.count(answered), fetched, "{options}");
    }
}

#[test]
fn what_is_logged_is_what_the_page_shows() {
    together(LOGGED, see);
}

/// Every session on the page is typed, and every symptom without one names its test.
#[test]
fn nothing_is_on_the_page_that_was_not_seen() {
    let page = fs::read_to_string(PAGE).unwrap();
    let sections: Vec<&str> = page.split("\n### ").skip(1).collect();
    for section in &sections {
        let heading = section.lines().next().unwrap();
        let seen = [READING, PROGRAMS, MOUNTING, LOGGED]
            .into_iter()
            .flatten()
            .any(|it| it.heading == heading);
        assert_eq!(seen, section.contains("```console\n"), "{heading}");
        assert!(seen || section.contains("\nTest: `"), "{heading}: what stands behind it?");
    }
    assert!(sections.len() > 40, "{}", sections.len());
}

const PAGE: &str = "docs/TROUBLESHOOTING.md";
