//! `akvfs refresh`: what it asks, what it says, and what is so when it returns.

use std::thread;
use std::time::Duration;

use akvfs::model::event::Answer;
use akvfs::model::event::Event;
use akvfs::model::event::Notice;
use akvfs::model::failure::Failure;
use akvfs::model::failure::Refusal;
use akvfs::model::failure::Why;
use akvfs::model::refresh::Outcome;
use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::vault::Refusal as No;

use crate::caller::pass;
use crate::desk::Desk;
use crate::desk::name;
use crate::desk::seconds;
use crate::desk::version;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

impl Desk {
    /// Somebody wants the vault's word on a name now, under that number.
    fn refresh(&mut self, text: &str, to: u32) {
        self.tell(Event::Refresh { name: name(text), to });
    }

    fn outcome(&self, to: u32) -> Option<Outcome> {
        let Some(Answer::Refreshed(outcome)) = self.told(to) else { return None };
        Some(*outcome)
    }
}

#[test]
fn what_was_under_way_does_not_count() {
    let mut desk = Desk::new();
    desk.first("a", 1);
    desk.pass(seconds(58));
    assert_eq!(desk.asked.len(), 1);
    desk.refresh("a", 100);
    desk.found("a", 1);
    assert_eq!(desk.outcome(100), None);
    desk.found("a", 2);
    assert_eq!(desk.outcome(100), Some(Outcome::New(version(2).id)));
}

#[test]
fn an_idle_name_that_is_refreshed_stays_idle() {
    let mut desk = Desk::new();
    desk.first("a", 1);
    desk.pass(seconds(700));
    while !desk.asked.is_empty() {
        desk.confirm_first(1);
    }
    let before = desk.requests;
    desk.refresh("a", 100);
    desk.found("a", 1);
    assert_eq!(desk.outcome(100), Some(Outcome::Same(version(1).id)));
    desk.pass(seconds(300));
    assert_eq!(desk.requests, before + 1, "it is asked about once a refresh again");
}

#[test]
fn a_name_that_is_watched_stays_in_use() {
    let mut desk = Desk::new();
    desk.first("a", 1);
    for to in 100..130 {
        desk.tell(Event::Watch { name: name("a"), to });
        desk.pass(seconds(60));
        while !desk.asked.is_empty() {
            desk.confirm_first(1);
        }
    }
    assert!(desk.requests >= 30, "{}", desk.requests);
}

#[test]
fn a_first_404_of_what_is_held_is_asked_about_again() {
    let mut desk = Desk::new();
    desk.first("a", 1);
    desk.refresh("a", 100);
    desk.refused("a", Refusal::Missing);
    assert_eq!(desk.outcome(100), None);
    desk.pass(seconds(5));
    desk.refused("a", Refusal::Missing);
    assert_eq!(desk.outcome(100), Some(Outcome::No(Why::Refused(Refusal::Missing))));
}

#[test]
fn trouble_that_may_pass_is_asked_about_again_until_the_time_is_over() {
    let mut desk = Desk::new();
    desk.first("a", 1);
    desk.refresh("a", 100);
    desk.refresh("a", 101);
    desk.failed("a", Failure::Unreachable);
    desk.pass(seconds(3));
    desk.found("a", 1);
    assert_eq!(desk.outcome(100), Some(Outcome::Same(version(1).id)));
    desk.refresh("a", 102);
    desk.failed("a", Failure::Unreachable);
    desk.pass(seconds(10));
    assert_eq!(desk.outcome(102), Some(Outcome::No(Why::Failed(Failure::Unreachable))));
    assert_eq!(desk.outcome(101), desk.outcome(100));
}

/// The kernel may have been told for five seconds that it is missing.
#[test]
fn the_kernel_is_told_of_a_name_that_was_missing_and_is_there() {
    let mut desk = Desk::new();
    let caller = desk.open("a");
    desk.refused("a", Refusal::Missing);
    assert!(desk.told(caller).is_some());
    assert!(matches!(desk.lookup("a"), Answer::Missing(_)));
    desk.notices.clear();
    desk.refresh("a", 100);
    desk.found("a", 1);
    assert_eq!(desk.outcome(100), Some(Outcome::New(version(1).id)));
    assert!(desk.notices.contains(&Notice::Entry(name("a"))), "{:?}", desk.notices);
}

#[test]
fn who_waits_for_a_value_goes_before_a_refresh_of_everything() {
    let mut desk = Desk::new();
    for number in 0..12 {
        desk.first(&format!("b{number}"), 1);
    }
    for number in 0..12 {
        desk.refresh(&format!("b{number}"), 100 + number);
    }
    let caller = desk.open("cold");
    assert_eq!(desk.asked.len(), 8);
    desk.confirm_first(1);
    assert_eq!(desk.asked.last().unwrap().as_str(), "cold");
    desk.found("cold", 1);
    assert_eq!(desk.got(caller), Some(1));
}

#[test]
fn what_is_not_asked_about_in_time_is_said_to_be_so() {
    let mut desk = Desk::new();
    for number in 0..9 {
        desk.first(&format!("b{number}"), 1);
    }
    for number in 0..9 {
        desk.refresh(&format!("b{number}"), 100 + number);
    }
    desk.pass(seconds(10));
    let outcomes: Vec<_> = (0..9).map(|number| desk.outcome(100 + number)).collect();
    let silent = Some(Outcome::No(Why::Failed(Failure::Unreachable)));
    assert_eq!(outcomes[..8], [silent; 8]);
    assert_eq!(outcomes[8], Some(Outcome::Unasked));
}

#[test]
fn when_refresh_returns_every_open_sees_what_it_said() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "0");
    let mounted = world.mount(&["refresh=1h", "stale=2h"]);
    assert_eq!(mounted.text("ftpadmin"), "0");
    for number in 1..=20 {
        let value = number.to_string();
        let id = world.vault().put("ftpadmin", &value);
        let said = mounted.control("refresh", &["ftpadmin"]).ok();
        assert_eq!(mounted.text("ftpadmin"), value, "{said}");
        assert_eq!(said, format!("ftpadmin: new version {id}\n"));
    }
    assert_eq!(world.gets("ftpadmin"), 21, "a refresh is one request");
    world.vault().disable("ftpadmin");
    let said = mounted.control("refresh", &["ftpadmin"]);
    assert_eq!(mounted.errno("ftpadmin"), libc::EKEYREVOKED);
    assert_eq!(said.failed(4), "akvfs: ftpadmin: refused: it is disabled\n");
    world.vault().enable("ftpadmin");
    mounted.control("refresh", &["ftpadmin"]).ok();
    assert_eq!(mounted.text("ftpadmin"), "20");
}

#[test]
fn a_name_that_was_missing_is_there_when_refresh_returns() {
    let Some(world) = World::new() else { return };
    let mounted = world.mount(&[]);
    assert_eq!(mounted.errno("late"), libc::ENOENT);
    assert_eq!(mounted.errno("late"), libc::ENOENT);
    world.vault().put("late", "value");
    assert!(mounted.control("refresh", &["late"]).ok().starts_with("late: new version "));
    assert_eq!(mounted.text("late"), "value");
}

#[test]
fn each_name_has_a_line_and_the_first_that_is_amiss_decides_the_exit_code() {
    let Some(world) = World::new() else { return };
    for name in ["good", "off", "denied", "gone"] {
        world.vault().put(name, "value");
    }
    let mounted = world.mount(&["open-timeout=20s"]);
    for name in ["good", "off", "denied", "gone"] {
        assert_eq!(mounted.text(name), "value");
    }
    world.vault().disable("off");
    world.vault().deny_get("denied", No::Rbac);
    world.vault().delete("gone");
    let said = |names: &[&str], code| {
        let ran = mounted.control("refresh", names);
        assert_eq!(ran.code, Some(code), "{ran:#?}");
        let mut lines: Vec<String> =
            String::from_utf8(ran.stdout).unwrap().lines().map(ToOwned::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(said(&["good"], 0), ["good: unchanged"]);
    assert_eq!(said(&["off"], 4), ["off: refused: it is disabled"]);
    assert_eq!(said(&["gone"], 3), ["gone: missing"]);
    assert_eq!(said(&["never-was"], 3), ["never-was: missing"]);
    let refused = "denied: refused: no permission, by policy, role or firewall";
    assert_eq!(said(&["denied", "good"], 4), [refused, "good: unchanged"]);
}

#[test]
fn without_names_it_asks_for_all_in_use_and_for_the_list() {
    let Some(world) = World::new() else { return };
    for name in ["one", "two", "unused"] {
        world.vault().put(name, "value");
    }
    let mounted = world.mount(&[]);
    for name in ["one", "two"] {
        assert_eq!(mounted.text(name), "value");
    }
    assert_eq!(mounted.errno("mistyped"), libc::ENOENT);
    assert_eq!(mounted.names().len(), 3);
    world.vault().put("three", "value");
    world.vault().delete("unused");
    let said = mounted.control("refresh", &[]).ok();
    let names: Vec<String> = mounted.names().into_iter().collect();
    assert_eq!(names, ["one", "three", "two"]);
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["one: unchanged", "two: unchanged"]);
    assert_eq!(world.gets("unused"), 0);
}

#[test]
fn an_outage_is_exit_5_when_open_timeout_is_over() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "value");
    let mounted = world.mount(&["open-timeout=2s"]);
    assert_eq!(mounted.text("ftpadmin"), "value");
    for kind in [Kind::status(503), Kind::Hang, Kind::Reset] {
        let fault = world.emulator.inject(Fault::always(Scope::Get, kind));
        let ran = mounted.control("refresh", &["ftpadmin"]);
        assert!(ran.took < LIMIT / 2, "{:?}", ran.took);
        assert_eq!(ran.failed(5), "akvfs: ftpadmin: unreachable\n");
        assert_eq!(mounted.text("ftpadmin"), "value");
        world.emulator.clear(fault);
    }
    until("it is over", || mounted.control("refresh", &["ftpadmin"]).code == Some(0));
    world.emulator.inject(Fault::times(1, Scope::Get, Kind::status(503)));
    assert_eq!(mounted.control("refresh", &["ftpadmin"]).ok(), "ftpadmin: unchanged\n");
}

#[test]
fn a_request_that_was_under_way_is_followed_by_another() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "old");
    let mounted = world.mount(&[]);
    let hold = world.emulator.inject(Fault::times(1, Scope::Get, Kind::Hold));
    let reader = mounted.waiting_reader("ftpadmin");
    let said = thread::scope(|scope| {
        let asked = scope.spawn(|| mounted.control("refresh", &["ftpadmin"]));
        pass(A_MOMENT);
        world.vault().put("ftpadmin", "new");
        world.emulator.clear(hold);
        asked.join().unwrap().ok()
    });
    assert!(said.starts_with("ftpadmin: new version "), "{said}");
    assert!(reader.result().0.is_ok());
    assert_eq!(mounted.text("ftpadmin"), "new");
    assert!(world.gets("ftpadmin") >= 2);
}

#[test]
fn what_cannot_be_is_an_error_and_nobody_is_asked() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "value");
    let mounted = world.mount(&["secrets=site-*", "check=off"]);
    let at = mounted.directory().to_str().unwrap().to_owned();
    let fails = |arguments: &[&str], code| world.akvfs(arguments).failed(code);
    assert!(fails(&["refresh", &at, "a_b"], 1).contains("no secret can be called that"));
    assert!(fails(&["refresh"], 1).contains("DIR is missing"));
    let elsewhere = world.directory();
    let elsewhere = elsewhere.to_str().unwrap();
    for command in ["refresh", "status", "watch"] {
        let said = fails(&[command, elsewhere], 2);
        assert_eq!(said, format!("akvfs: {elsewhere}: akvfs is not mounted there\n"));
        let said = fails(&[command, "/no/such/place"], 2);
        assert_eq!(said, "akvfs: /no/such/place: No such file or directory\n");
    }
    assert_eq!(fails(&["refresh", &at, "ftpadmin"], 3), "akvfs: ftpadmin: missing\n");
    assert_eq!(
        fails(&["watch", &at, "ftpadmin"], 5),
        format!("akvfs: {at}: secrets= does not show ftpadmin\n")
    );
    let crowd: Vec<String> = (0..1000).map(|number| format!("{number:0>100}")).collect();
    let crowd: Vec<&str> =
        ["refresh", &at].into_iter().chain(crowd.iter().map(|it| &**it)).collect();
    assert_eq!(
        fails(&crowd, 1),
        format!("akvfs: {at}: more names than can be asked about at once\n")
    );
    assert_eq!(world.emulator.requests().len(), 0);
    world.kill_all();
    for command in ["refresh", "watch"] {
        let said = fails(&[command, &at], 2);
        assert!(
            said.starts_with(&format!("akvfs: {at}: nobody serves this mount any more\nhint: ")),
            "{said}"
        );
    }
    world.sh("rm -rf /run/akvfs").ok();
    assert!(fails(&["status", &at], 2).contains("nobody serves this mount"));
}

/// By when what was started has begun; nothing tells when.
const A_MOMENT: Duration = Duration::from_millis(500);
