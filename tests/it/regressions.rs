//! What the cache once did wrong: each test tells what was seen.

use std::time::Duration;

use akvfs::model::event::Answer;
use akvfs::model::event::Event;
use akvfs::model::event::Item;
use akvfs::model::event::Notice;
use akvfs::model::event::Page;
use akvfs::model::event::Word;
use akvfs::model::failure::Denial;
use akvfs::model::failure::Failure;
use akvfs::model::failure::Refusal;
use akvfs::model::policy::Policy;
use akvfs::model::secret::Version;

use crate::azure::DENIED;
use crate::desk::Desk;
use crate::desk::FAR;
use crate::desk::TestValue;
use crate::desk::name;
use crate::desk::seconds;
use crate::desk::version;

/// Seen: the caller gave up while its name was still in line, behind a vault that had asked for
/// half a minute of quiet; the model then went round its agenda for ever.
#[test]
fn a_caller_that_gives_up_takes_its_wish_along() {
    let mut desk = Desk::new();
    desk.open("away");
    let word = Word::No(Failure::Throttled.into());
    let retry_after = Some(seconds(30));
    desk.asked.clear();
    desk.tell(Event::Answered { name: name("away"), word, retry_after, date: Some(FAR) });
    let late = desk.open("late");
    desk.pass(seconds(20));
    let (at, answer) = desk.told.get(&late).unwrap();
    assert_eq!(*answer, Answer::No(Failure::Throttled.into()));
    assert_eq!(desk.now.since(*at), seconds(10));
    desk.pass(seconds(40));
    assert_eq!(desk.requests, 1, "nobody wants to know any more");
    assert!(desk.cache.wake(desk.now).is_none_or(|at| at > desk.now + Duration::from_secs(1)));
}

/// Seen: the caller got its attributes at the first 404, and its read was then made to wait, and
/// each read asked once more.
#[test]
fn between_two_404s_the_value_is_served_and_nobody_waits() {
    let mut desk = Desk::new();
    desk.first("job", 1);
    desk.pass(seconds(1200));
    let node = desk.sight("job").node;
    let caller = desk.stat(node);
    desk.refused("job", Refusal::Missing);
    assert_eq!(desk.got(caller), Some(1));
    let reader = desk.read(node);
    assert_eq!(desk.got(reader), Some(1));
    assert!(desk.asked.is_empty());
    desk.pass(seconds(6));
    let reader = desk.read(node);
    assert_eq!(desk.got(reader), Some(1), "the second time the vault hangs");
    desk.refused("job", Refusal::Missing);
    let late = desk.stat(node);
    assert_eq!(desk.told(late), Some(&Answer::No(Refusal::Missing.into())));
}

/// Seen: the second try for a stranger went in the line of those who are known.
#[test]
fn a_stranger_is_tried_again_as_a_stranger() {
    let mut desk = Desk::new();
    desk.open_directory();
    desk.listed(&["known"]);
    for number in 0..=20 {
        desk.open(&format!("stranger-{number}"));
    }
    desk.failed("stranger-0", Failure::Unreachable);
    while let Some(asked) = desk.asked.first().cloned() {
        desk.refused(asked.as_str(), Refusal::Missing);
    }
    assert_eq!(desk.requests, 1 + 20, "a page, and twenty strangers");
    desk.pass(Duration::from_millis(960));
    assert_eq!(desk.requests, 1 + 20 + 1, "two a second, the second try among them");
    desk.pass(Duration::from_millis(50));
    assert_eq!(desk.requests, 1 + 20 + 2);
}

/// Seen: an old failure put the question off for two seconds, and the caller was served what the
/// vault, which was there, would have refused.
#[test]
fn the_pause_after_a_failure_counts_from_the_failure() {
    let mut desk = Desk::new();
    desk.first("job", 1);
    desk.pass(seconds(1300));
    desk.failed("job", Failure::Nonsense);
    desk.pass(seconds(60));
    let node = desk.sight("job").node;
    let caller = desk.stat(node);
    desk.refused("job", DENIED);
    assert_eq!(desk.told(caller), Some(&Answer::No(DENIED.into())));
}

/// Seen: the kernel's word that it does not hold an inode was on its way while a look-up gave it
/// that inode, which was then lost.
#[test]
fn an_inode_given_since_the_kernel_was_asked_is_held() {
    let mut desk = Desk::new();
    let node = desk.first("a", 1);
    desk.sight("a");
    desk.tell(Event::Forget { node, lookups: 1 });
    assert_eq!(desk.notices, [Notice::Entry(name("a")), Notice::Attributes(node)]);
    desk.sight("a");
    desk.tell(Event::Told { node, held: false });
    desk.pass(seconds(3600));
    let caller = desk.stat(node);
    assert_ne!(desk.told(caller), Some(&Answer::Unknown));
}

/// Seen: a name that was looked up and never read got another number once it was forgotten, while
/// the kernel's copy of the directory still showed the first.
#[test]
fn the_directory_shows_the_number_that_a_stat_shows() {
    let mut desk = Desk::new();
    desk.open_directory();
    desk.listed(&["a", "b"]);
    desk.pass(seconds(1));
    let listed = desk.names(0);
    assert_eq!(desk.sight("a").node, listed[0].node);
    assert_eq!(desk.names(0), listed);
    desk.pass(seconds(20));
    desk.tell(Event::Forget { node: listed[0].node, lookups: 1 });
    assert_eq!(desk.sight("a").node, listed[0].node, "the kernel still shows this number");
    let node = desk.first("b", 1);
    assert_eq!(node, listed[1].node);
    desk.notices.clear();
    desk.pass(seconds(57));
    desk.listed(&["a", "b"]);
    desk.found("b", 2);
    assert!(desk.notices.contains(&Notice::Listing), "a rotation is another number");
    assert_ne!(desk.sight("b").node, node);
}

/// Seen: a refusal made the cache forget which version was the newest, and one lagging front end
/// then brought the older one back.
#[test]
fn no_version_goes_back_through_a_refusal() {
    let mut desk = Desk::new();
    desk.first("a", 2);
    desk.pass(seconds(58));
    desk.refused("a", DENIED);
    desk.pass(seconds(60));
    let caller = desk.open("a");
    desk.found("a", 1);
    assert_eq!(desk.told(caller), None, "an older version is believed the second time");
    desk.pass(seconds(2));
    desk.found("a", 2);
    assert_eq!(desk.got(caller), Some(2));
}

/// Seen: of two versions made within one second, a front end that lags behind brought the older one
/// back, and the next answer the newer, again and again.
#[test]
fn of_two_versions_made_in_one_second_the_older_does_not_come_back() {
    let mut desk = Desk::new();
    desk.first("a", 1);
    let second = |number| {
        let version = Version { created: 1, updated: 1, ..version(number) };
        Word::New(version, TestValue(number))
    };
    desk.pass(seconds(58));
    desk.answer("a", second(2));
    for _ in 0..2 {
        let caller = desk.open("a");
        assert_eq!(desk.got(caller), Some(2));
        desk.pass(seconds(58));
        desk.answer("a", second(1));
        let caller = desk.open("a");
        assert_eq!(desk.got(caller), Some(2), "said once, it is not believed");
        desk.pass(seconds(2));
        desk.found("a", 2);
    }
}

/// Seen: a vault of which `updated` never changed had every rotation go unnoticed until `confirm`.
#[test]
fn a_version_made_at_another_time_is_another_whenever_it_was_updated() {
    let mut desk = Desk::new();
    desk.first("a", 1);
    desk.first("b", 1);
    desk.first("c", 1);
    desk.open_directory();
    let item = |text: &str, created| Item { name: name(text), enabled: true, updated: 1, created };
    let items = vec![item("a", Some(1)), item("b", Some(2)), item("c", None)];
    desk.tell(Event::Paged(Ok(Page { items, more: false })));
    desk.pass(seconds(0));
    assert_eq!(desk.asked, [name("b")]);
}

/// Seen: the name was idle, and asked about every quarter of `stale`, while the kernel still
/// served what it had just been given.
#[test]
fn what_the_kernel_may_serve_is_in_use() {
    let policy = Policy { refresh: seconds(1), ..Policy::default() };
    let mut desk = Desk::with(policy);
    let node = desk.sight("slow").node;
    let caller = desk.stat(node);
    desk.pass(Duration::from_millis(9_500));
    desk.found("slow", 1);
    assert_eq!(desk.got(caller), Some(1));
    let requests = desk.requests;
    for _ in 0..4 {
        desk.pass(seconds(1));
        desk.found("slow", 1);
    }
    assert_eq!(desk.requests, requests + 4);
}

/// Seen: a directory read within a refresh of a walk that nobody had read was not walked again.
#[test]
fn a_directory_that_is_read_is_walked_every_refresh() {
    let mut desk = Desk::new();
    desk.open_directory();
    desk.listed(&["a"]);
    desk.pass(seconds(58));
    desk.names(0);
    for _ in 0..10 {
        desk.pass(seconds(57));
        desk.listed(&["a"]);
    }
    desk.pass(seconds(100));
    if desk.pages > 0 {
        desk.listed(&["a"]);
    }
    desk.pass(seconds(600));
    assert_eq!(desk.pages, 0, "and no longer once it is not read");
}

/// Seen: an empty vault's list was not recorded, so the next worker had nothing to show.
#[test]
fn a_later_worker_knows_that_a_vault_is_empty() {
    let mut desk = Desk::new();
    desk.open_directory();
    desk.listed(&[]);
    desk.restart();
    let caller = desk.open_directory();
    assert_eq!(desk.told(caller), Some(&Answer::Ready));
}

/// Seen: the directory gave the number of an inode that no look-up was shown any more; it was
/// then bound to a version, and a look-up after a rotation was shown that one.
#[test]
fn a_number_that_the_directory_keeps_is_never_an_older_versions() {
    let mut desk = Desk::new();
    let node = desk.sight("a").node;
    desk.pass(seconds(20));
    desk.open_directory();
    desk.listed(&["a"]);
    assert_eq!(desk.names(0)[0].node, node);
    let caller = desk.stat(node);
    desk.found("a", 1);
    assert_eq!(desk.got(caller), Some(1));
    desk.pass(seconds(57));
    desk.found("a", 2);
    let sight = desk.sight("a");
    assert_eq!(sight.bound.map(|(_, value)| value.0), Some(2));
    assert_ne!(sight.node, node);
}

/// Seen: `sed -i` in the directory tried 238,328 names, for a minute and a half, and each became an
/// inode that stayed.
#[test]
fn names_that_nobody_has_heard_of_are_too_many_at_last_and_are_forgotten_again() {
    let mut desk = Desk::new();
    desk.open_directory();
    desk.listed(&["known"]);
    let refused = Answer::No(Failure::Unreachable.into());
    let tried = (0..).find(|number| desk.lookup(&format!("sed{number}")) == refused);
    assert_eq!(tried, Some(2000));
    assert!(matches!(desk.lookup("known"), Answer::Entry(_)));
    assert!(matches!(desk.lookup("sed7"), Answer::Entry(_)), "a name once seen as there");
    assert_eq!(desk.requests, 1, "nobody was asked about any of them");

    desk.notices.clear();
    desk.pass(seconds(10));
    let dropped = |number| desk.notices.contains(&Notice::Entry(name(&format!("sed{number}"))));
    assert!((0..2000).all(dropped));
    assert!(matches!(desk.lookup("sed2000"), Answer::Entry(_)));
}

/// Seen: callers for names that no list could tell apart kept the line of those who wait full, and
/// a name in use was not asked about any more: what the vault had refused was served on.
#[test]
fn a_crowd_does_not_keep_the_vault_from_being_asked_about_what_is_in_use() {
    let mut desk = Desk::new();
    desk.first("a", 1);
    let mut asked_at = desk.now;
    for number in 0..6000 {
        desk.pass(Duration::from_millis(33));
        desk.open(&format!("stranger-{number}"));
        while let Some(asked) = desk.asked.first().cloned() {
            if asked.as_str() == "a" {
                asked_at = desk.now;
                desk.found("a", 1);
            } else {
                desk.refused(asked.as_str(), Refusal::Missing);
            }
        }
        desk.sight("a");
        assert!(desk.now.since(asked_at) < seconds(62), "not asked since {asked_at:?}");
    }
}

/// Seen: thousands of idle names came due together, and a name in use waited its turn among them.
#[test]
fn a_name_in_use_is_asked_about_before_those_that_are_idle() {
    let mut desk = Desk::new();
    for number in 0..20 {
        desk.first(&format!("idle-{number}"), 1);
    }
    for _ in 0..601 {
        desk.pass(seconds(1));
        if desk.pages > 0 {
            desk.no_list(Refusal::Denied(Denial::Policy));
        }
        while !desk.asked.is_empty() {
            desk.confirm_first(1);
        }
    }
    desk.pass(seconds(1250));
    assert_eq!(desk.asked.len(), 8, "and twelve are in line");
    let caller = desk.open("busy");
    desk.confirm_first(1);
    desk.found("busy", 2);
    assert_eq!(desk.got(caller), Some(2));
    desk.pass(seconds(57));
    desk.confirm_first(1);
    assert_eq!(desk.asked.last(), Some(&name("busy")));
}

/// Seen: the first `ls` after a `cat` fetched the value once more.
#[test]
fn a_walk_fetches_what_moved_and_nothing_else() {
    let mut desk = Desk::new();
    desk.first("a", 1);
    desk.first("b", 2);
    desk.open_directory();
    let item =
        |text: &str, updated| Item { name: name(text), enabled: true, updated, created: None };
    let items = vec![item("a", 1), item("b", 7), item("c", 7)];
    desk.tell(Event::Paged(Ok(Page { items, more: false })));
    desk.pass(seconds(0));
    assert_eq!(desk.asked, [name("b")]);
}

/// Seen: during an outage one name at a time is tried; when the vault answered for one, those in
/// use that had not been tried for two refreshes were made to wait.
#[test]
fn the_end_of_an_outage_makes_nobody_wait() {
    let mut desk = Desk::new();
    desk.first("a", 1);
    desk.first("b", 2);
    desk.pass(seconds(57));
    desk.failed("a", Failure::NoToken);
    desk.failed("b", Failure::NoToken);
    while desk.asked != [name("a")] {
        if desk.asked.pop().is_some() {
            let word = Word::No(Failure::NoToken.into());
            desk.tell(Event::Answered {
                name: name("b"),
                word,
                retry_after: None,
                date: Some(FAR),
            });
        }
        desk.pass(seconds(1));
    }
    desk.pass(seconds(130));
    let caller = desk.open("b");
    assert_eq!(desk.got(caller), Some(2));
    desk.found("a", 1);
    let caller = desk.open("b");
    assert_eq!(desk.got(caller), Some(2));
    assert!(desk.asked.contains(&name("b")), "and it is asked about behind");
}
