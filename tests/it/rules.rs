//! The rules of the cache one by one, as a person would say them.

use std::time::Duration;

use akvfs::model::event::Answer;
use akvfs::model::event::Event;
use akvfs::model::event::Notice;
use akvfs::model::event::Word;
use akvfs::model::failure::Failure;
use akvfs::model::failure::Refusal;
use akvfs::model::policy::Policy;
use akvfs::model::tree::Node;

use crate::azure::DENIED;
use crate::desk::Desk;
use crate::desk::FAR;
use crate::desk::name;
use crate::desk::seconds;
use crate::desk::version;

#[test]
fn an_older_version_is_believed_once_it_was_said_twice() {
    let mut desk = Desk::new();
    desk.first("a", 2);
    desk.pass(seconds(58));
    desk.found("a", 1);
    let caller = desk.open("a");
    assert_eq!(desk.got(caller), Some(2));
    desk.pass(seconds(2));
    desk.found("a", 1);
    let caller = desk.open("a");
    assert_eq!(desk.got(caller), Some(1));
}

#[test]
fn a_name_that_was_missing_takes_any_version() {
    let mut desk = Desk::new();
    desk.first("a", 2);
    desk.pass(seconds(58));
    desk.refused("a", Refusal::Missing);
    desk.pass(seconds(5));
    desk.refused("a", Refusal::Missing);
    desk.pass(seconds(5));
    let caller = desk.open("a");
    desk.found("a", 1);
    assert_eq!(desk.got(caller), Some(1));
}

#[test]
fn the_hour_long_job_gets_its_value_within_a_second_when_the_vault_is_away() {
    let mut desk = Desk::new();
    desk.first("job", 1);
    desk.pass(seconds(601));
    let node = desk.sight("job").node;
    let (read, stat) = (desk.read(node), desk.stat(node));
    assert_eq!(desk.asked, [name("job")], "the vault is asked first, once");
    desk.pass(Duration::from_millis(999));
    assert_eq!(desk.told(read), None);
    desk.pass(Duration::from_millis(1));
    assert_eq!((desk.got(read), desk.got(stat)), (Some(1), Some(1)));
    let next = desk.open("job");
    assert_eq!(desk.got(next), Some(1), "what is in use again does not wait");
}

#[test]
fn the_hour_long_job_is_refused_when_the_vault_is_there_and_refuses() {
    let mut desk = Desk::new();
    desk.first("job", 1);
    desk.pass(seconds(601));
    let caller = desk.open("job");
    desk.refused("job", DENIED);
    assert_eq!(desk.told(caller), Some(&Answer::No(DENIED.into())));
}

#[test]
fn a_failure_answers_the_hour_long_job_at_once() {
    let mut desk = Desk::new();
    desk.first("job", 1);
    desk.pass(seconds(601));
    let caller = desk.open("job");
    desk.failed("job", Failure::NoToken);
    assert_eq!(desk.got(caller), Some(1));
}

#[test]
fn one_request_serves_a_thousand_who_wait() {
    let mut desk = Desk::new();
    let node = desk.sight("a").node;
    let callers: Vec<u32> = (0..1000).map(|_| desk.read(node)).collect();
    desk.found("a", 1);
    assert!(callers.into_iter().all(|caller| desk.got(caller) == Some(1)));
    assert_eq!(desk.requests, 1);
}

#[test]
fn a_first_404_takes_nothing_away_and_the_second_does() {
    let mut desk = Desk::new();
    let node = desk.first("a", 1);
    desk.pass(seconds(57));
    desk.refused("a", Refusal::Missing);
    let sight = desk.sight("a");
    assert_eq!((sight.node, sight.ttl), (node, seconds(5)), "the kernel asks again in time");
    assert!(desk.notices.is_empty() && desk.asked.is_empty());
    desk.pass(Duration::from_millis(4_999));
    assert!(desk.asked.is_empty());
    desk.pass(Duration::from_millis(1));
    desk.refused("a", Refusal::Missing);
    assert_eq!(desk.notices, [Notice::Entry(name("a")), Notice::Attributes(node)]);
    assert_eq!(desk.lookup("a"), Answer::Missing(seconds(5)));
}

#[test]
fn a_yes_between_two_404s_starts_the_count_again() {
    let mut desk = Desk::new();
    desk.first("a", 1);
    desk.pass(seconds(57));
    desk.refused("a", Refusal::Missing);
    desk.pass(seconds(5));
    desk.found("a", 1);
    desk.pass(seconds(57));
    desk.refused("a", Refusal::Missing);
    let caller = desk.open("a");
    assert_eq!(desk.got(caller), Some(1));
}

#[test]
fn nothing_is_served_once_stale_is_over() {
    let policy = Policy { stale: seconds(400), ..Policy::default() };
    let mut desk = Desk::with(policy);
    let node = desk.first("a", 1);
    let verified = desk.now;
    desk.asked.clear();
    while desk.now.since(verified) < seconds(399) {
        desk.pass(seconds(1));
        if desk.asked.pop().is_some() {
            let retry_after = None;
            let word = Word::No(Failure::Unreachable.into());
            desk.tell(Event::Answered { name: name("a"), word, retry_after, date: Some(FAR) });
        }
        let sight = desk.sight("a");
        let left = seconds(400) - desk.now.since(verified);
        assert_eq!(sight.ttl, left.min(seconds(300)), "the kernel's time is part of stale");
    }
    desk.notices.clear();
    desk.asked.clear();
    desk.pass(seconds(1));
    assert!(desk.notices.contains(&Notice::Attributes(node)));
    let caller = desk.stat(node);
    assert_eq!(desk.got(caller), None);
    desk.pass(seconds(10));
    assert_eq!(desk.told(caller), Some(&Answer::No(Failure::Unreachable.into())));
}

#[test]
fn a_refusal_is_told_of_every_inode_of_the_name_and_a_yes_mends_them_all() {
    let mut desk = Desk::new();
    let nodes: Vec<Node> = (1..=3)
        .map(|number| {
            let node = desk.sight("a").node;
            let caller = desk.read(node);
            if number == 1 {
                desk.found("a", 1);
            }
            assert_eq!(desk.got(caller), Some(number));
            desk.pass(seconds(57));
            desk.found("a", number + 1);
            node
        })
        .collect();
    desk.pass(seconds(57));
    desk.notices.clear();
    desk.refused("a", Refusal::Disabled);
    for node in &nodes {
        assert!(desk.notices.contains(&Notice::Attributes(*node)));
        let caller = desk.stat(*node);
        assert_eq!(desk.told(caller), Some(&Answer::No(Refusal::Disabled.into())));
    }
    assert!(desk.asked.is_empty(), "a no is remembered for a refresh");
    desk.pass(seconds(60));
    let caller = desk.stat(nodes[0]);
    desk.found("a", 4);
    assert_eq!(desk.got(caller), Some(1), "an inode shows its version and no other");
    let caller = desk.stat(nodes[2]);
    assert_eq!(desk.got(caller), Some(3));
}

#[test]
fn cookies_stay_while_names_come_and_go() {
    let mut desk = Desk::new();
    desk.open_directory();
    desk.listed(&["a", "b", "c"]);
    let before = desk.names(0);
    desk.pass(seconds(60));
    desk.listed(&["x", "c", "a"]);
    let after = desk.names(before[0].cookie);
    let texts: Vec<&str> = after.iter().map(|listed| listed.name.as_str()).collect();
    assert_eq!(texts, ["c", "x"], "neither twice nor left out");
    assert_eq!(after[0], before[2]);
}

#[test]
fn an_opendir_waits_for_the_first_walk_and_no_longer_than_an_open() {
    let mut desk = Desk::new();
    let first = desk.open_directory();
    desk.pass(seconds(5));
    assert_eq!((desk.told(first), desk.pages), (None, 1));
    desk.no_list(Failure::Unreachable);
    desk.pass(seconds(5));
    assert_eq!(desk.told(first), Some(&Answer::No(Failure::Unreachable.into())));
    let second = desk.open_directory();
    desk.listed(&["a"]);
    assert_eq!(desk.told(second), Some(&Answer::Ready));
    let third = desk.open_directory();
    assert_eq!(desk.told(third), Some(&Answer::Ready));
}

#[test]
fn a_directory_whose_list_is_refused_shows_what_was_seen() {
    let mut desk = Desk::new();
    desk.first("a", 1);
    let caller = desk.open_directory();
    desk.no_list(DENIED);
    assert_eq!(desk.told(caller), Some(&Answer::Ready));
    assert_eq!(desk.names(0).len(), 1);
    desk.first("b", 2);
    assert_eq!(desk.names(0).len(), 2);
    desk.pass(seconds(57));
    desk.refused("a", DENIED);
    assert_eq!(desk.names(0).len(), 1);
}

#[test]
fn what_was_read_is_held_for_keep_and_what_was_looked_at_until_it_is_idle() {
    let policy = Policy { keep: seconds(3000), ..Policy::default() };
    let mut desk = Desk::with(policy);
    desk.first("read", 1);
    let node = desk.sight("seen").node;
    desk.stat(node);
    desk.found("seen", 2);
    for _ in 0..100 {
        desk.pass(seconds(6));
        while let Some(asked) = desk.asked.first().cloned() {
            let number = if asked.as_str() == "read" { 1 } else { 2 };
            desk.found(asked.as_str(), number);
        }
    }
    assert!(desk.cache.holds(&name("read")).is_some());
    assert!(desk.cache.holds(&name("seen")).is_none(), "idle after ten refreshes");
    let requests = desk.requests;
    for _ in 0..2400 {
        desk.pass(seconds(1));
        while let Some(asked) = desk.asked.first().cloned() {
            desk.found(asked.as_str(), 1);
        }
    }
    assert_eq!(desk.cache.holds(&name("read")), None, "kept for `keep` and no longer");
    let asked = desk.requests - requests;
    assert!((2..=3).contains(&asked), "asked {asked} times, every quarter of `stale`");
}

#[test]
fn a_missing_name_is_remembered_for_five_seconds() {
    let mut desk = Desk::new();
    let caller = desk.open("typo");
    desk.refused("typo", Refusal::Missing);
    assert_eq!(desk.told(caller), Some(&Answer::No(Refusal::Missing.into())));
    assert_eq!(desk.notices, [Notice::Entry(name("typo"))]);
    desk.pass(seconds(2));
    assert_eq!(desk.lookup("typo"), Answer::Missing(seconds(3)));
    desk.pass(seconds(3));
    desk.open("typo");
    assert_eq!(desk.requests, 2);
}

#[test]
fn only_a_value_that_is_idle_is_given_up_and_the_oldest_first() {
    let mut desk = Desk::new();
    desk.first("oldest", 1);
    desk.pass(seconds(1));
    desk.first("older", 2);
    assert!(!desk.cache.give_up_idle(desk.now), "both are in use");
    desk.pass(seconds(700));
    desk.first("new", 3);
    assert!(desk.cache.give_up_idle(desk.now));
    assert!(desk.cache.holds(&name("oldest")).is_none());
    assert!(desk.cache.give_up_idle(desk.now));
    assert!(!desk.cache.give_up_idle(desk.now));
    assert!(desk.cache.holds(&name("new")).is_some());
}

/// Seen: a name that was only looked at went idle while it was asked about again; the answer was
/// held until `keep` was over.
#[test]
fn an_answer_for_a_name_that_was_only_looked_at_and_is_idle_by_now_is_not_held() {
    let mut desk = Desk::new();
    let node = desk.sight("seen").node;
    desk.stat(node);
    desk.found("seen", 1);
    for _ in 0..540 {
        desk.pass(seconds(1));
        if !desk.asked.is_empty() {
            desk.found("seen", 1);
        }
    }
    desk.pass(seconds(60));
    assert_eq!(desk.asked.len(), 1, "it was asked about in its last minute");

    desk.found("seen", 1);

    assert_eq!(desk.cache.holds(&name("seen")), None);
}

#[test]
fn a_restart_forgets_no_refusal_and_gives_no_new_burst() {
    let mut desk = Desk::new();
    let node = desk.first("a", 1);
    desk.pass(seconds(57));
    desk.refused("a", Refusal::Disabled);
    for number in 0..300 {
        desk.open(&format!("crowd-{number}"));
        while let Some(asked) = desk.asked.first().cloned() {
            desk.refused(asked.as_str(), Refusal::Disabled);
        }
    }
    let requests = desk.requests;
    desk.restart();
    let caller = desk.stat(node);
    assert_eq!(desk.told(caller), Some(&Answer::No(Refusal::Disabled.into())));
    for number in 300..400 {
        desk.open(&format!("crowd-{number}"));
    }
    assert_eq!(desk.requests, requests, "the burst was spent before");
}

#[test]
fn a_confirmation_of_a_version_that_is_not_held_is_asked_for_again() {
    let mut desk = Desk::new();
    let caller = desk.open("a");
    desk.answer("a", Word::Same(version(1)));
    assert_eq!(desk.told(caller), None);
    desk.pass(seconds(0));
    desk.found("a", 1);
    assert_eq!(desk.got(caller), Some(1));
}

#[test]
fn a_thousand_names_that_are_refused_are_remembered_and_the_oldest_goes() {
    let mut desk = Desk::with(Policy { refresh: seconds(600), ..Policy::default() });
    for number in 0..=1000 {
        desk.open(&format!("no-{number}"));
        desk.pass(Duration::from_millis(50));
        desk.refused(&format!("no-{number}"), DENIED);
    }
    desk.open("no-1");
    assert!(desk.asked.is_empty());
    desk.open("no-0");
    assert_eq!(desk.asked, [name("no-0")]);
}

#[test]
fn what_slept_is_asked_for_again() {
    let mut desk = Desk::new();
    let node = desk.first("a", 1);
    desk.now = desk.now + seconds(3000);
    desk.tell(Event::Slept);
    let told = [Notice::Entry(name("a")), Notice::Attributes(node), Notice::Listing];
    assert!(told.iter().all(|notice| desk.notices.contains(notice)));
    let caller = desk.open("a");
    assert_eq!(desk.told(caller), None, "the vault is asked before the value is served");
}
