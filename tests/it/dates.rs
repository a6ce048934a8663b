//! The dates of a secret enforced, and the vault's firewall taken for an outage, where that is
//! asked for.

use std::time::Duration;
use std::time::SystemTime;

use akvfs::model::event::Answer;
use akvfs::model::event::Event;
use akvfs::model::event::Word;
use akvfs::model::failure::Denial;
use akvfs::model::failure::Failure;
use akvfs::model::failure::Refusal;
use akvfs::model::policy::Policy;
use akvfs::model::secret::Version;
use akvfs_emulator::vault::Change;
use akvfs_emulator::vault::Refusal as No;

use crate::desk::Desk;
use crate::desk::TestValue;
use crate::desk::name;
use crate::desk::seconds;
use crate::desk::version;
use crate::world::World;
use crate::world::until;

/// What the vault's clock shows, whatever this machine's does.
const DATE: i64 = 1_000_000;

fn strict() -> Desk {
    Desk::with(Policy { enforce_dates: true, ..Policy::default() })
}

impl Desk {
    /// The vault has a version with these dates.
    fn dated(&mut self, not_before: Option<i64>, expires: Option<i64>) {
        let text = self.asked.remove(0);
        let version = Version { not_before, expires, ..version(1) };
        let word = if self.cache.holds(&text) == Some(version.id) {
            Word::Same(version)
        } else {
            Word::New(version, TestValue(1))
        };
        let date = Some(DATE + i64::try_from(self.now.uptime().as_secs()).unwrap() - 1000);
        self.tell(Event::Answered { name: text, word, retry_after: None, date });
    }
}

#[test]
fn a_value_ends_at_its_date_by_the_vaults_clock_and_not_before() {
    let mut desk = strict();
    let caller = desk.open("a");
    desk.dated(None, Some(DATE + 30));
    assert_eq!(desk.got(caller), Some(1));
    let ttl = desk.sight("a").ttl;
    assert!(ttl <= seconds(30), "the kernel keeps it for {ttl:?}");
    desk.pass(seconds(29));
    let caller = desk.open("a");
    assert_eq!(desk.got(caller), Some(1));
    desk.pass(seconds(1));
    let caller = desk.open("a");
    desk.dated(None, Some(DATE + 30));
    assert_eq!(desk.told(caller), Some(&Answer::No(Refusal::Expired.into())));
}

#[test]
fn a_value_whose_time_is_to_come_is_refused_until_then() {
    let mut desk = strict();
    let caller = desk.open("a");
    desk.dated(Some(DATE + 90), None);
    assert_eq!(desk.told(caller), Some(&Answer::No(Refusal::NotYet.into())));
    desk.pass(seconds(91));
    let caller = desk.open("a");
    desk.dated(Some(DATE + 90), None);
    assert_eq!(desk.got(caller), Some(1));
}

#[test]
fn a_firewall_that_is_an_outage_takes_nothing_away_before_stale_does() {
    let mut desk = Desk::with(Policy { firewall_is_outage: true, ..Policy::default() });
    desk.first("a", 1);
    let closed = Refusal::Denied(Denial::Firewall);
    let mut served = seconds(0);
    while served < seconds(3600) {
        desk.pass(seconds(30));
        served += seconds(30);
        while let Some(asked) = desk.asked.first().cloned() {
            desk.refused(asked.as_str(), closed);
        }
        let caller = desk.open("a");
        if served < seconds(3600) {
            assert_eq!(desk.got(caller), Some(1), "after {served:?}");
        }
    }
    desk.pass(seconds(5));
    let caller = desk.open("a");
    while let Some(asked) = desk.asked.first().cloned() {
        desk.refused(asked.as_str(), closed);
    }
    assert_eq!(desk.told(caller), Some(&Answer::No(closed.into())));
}

#[test]
fn the_list_behind_such_a_firewall_stays_as_it_was() {
    let mut desk = Desk::with(Policy { firewall_is_outage: true, ..Policy::default() });
    desk.open_directory();
    desk.listed(&["a", "b"]);
    desk.names(0);
    desk.pass(seconds(57));
    desk.no_list(Refusal::Denied(Denial::Firewall));
    let names: Vec<_> = desk.names(0).into_iter().map(|listed| listed.name).collect();
    assert_eq!(names, [name("a"), name("b")]);
    let first = desk.open("b");
    desk.failed("b", Failure::Nonsense);
    assert!(desk.told(first).is_some());
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn with_enforce_dates_a_secret_is_there_between_its_dates() {
    let Some(world) = World::new() else { return };
    for (name, exp, nbf) in [
        ("over", Some(now() - 60), None),
        ("to-come", None, Some(now() + 3600)),
        ("ends", Some(now() + 6), None),
        ("starts", None, Some(now() + 4)),
    ] {
        world.vault().put(name, "v");
        assert!(world.vault().change(name, Change { exp, nbf, ..Change::default() }));
    }
    let mounted = world.mount(&["enforce-dates,refresh=1s"]);
    assert_eq!(mounted.text("ends"), "v");
    assert_eq!(mounted.errno("over"), libc::EKEYEXPIRED);
    assert_eq!(mounted.errno("to-come"), libc::EACCES);
    mounted.until_fails("ends", libc::EKEYEXPIRED);
    mounted.until_shows("starts", "v");
}

#[test]
fn with_on_firewall_stale_a_value_outlives_a_closed_firewall_for_stale() {
    let Some(world) = World::new() else { return };
    world.vault().put("known", "v");
    world.vault().put("unknown", "v");
    let mounted = world.mount(&["on-firewall=stale,refresh=500ms,stale=6s"]);
    assert_eq!(mounted.text("known"), "v");
    for name in ["known", "unknown"] {
        world.vault().deny_get(name, No::Firewall);
    }
    until("the firewall is noticed", || world.answered("known", 403) >= 2);
    assert_eq!(mounted.text("known"), "v");
    assert_eq!(mounted.errno("unknown"), libc::EACCES);
    mounted.until_fails("known", libc::EACCES);
    let refused = world.emulator.requests();
    let refused: Vec<Duration> =
        refused.iter().filter(|it| it.was_answered(403)).map(|it| it.at).collect();
    let span = *refused.last().unwrap() - *refused.first().unwrap();
    assert!(span >= Duration::from_secs(4), "it was served for {span:?}");
    world.vault().allow_get("known");
    mounted.until_shows("known", "v");
}
