//! How soon a vault that fails is asked again: as it says, if that is sane, and else at a pace that
//! slows down and that is each mount's own.

use std::time::Duration;
use std::time::SystemTime;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::record::Request;
use akvfs_emulator::record::Service;
use rustix::io::Errno;

use crate::caller::pass;
use crate::together::together;
use crate::world::World;
use crate::world::try_until;
use crate::world::until;

/// What a vault says that is asked for too much, and after how long it is asked again.
struct Throttled {
    says: fn() -> Option<String>,
    at_least: Duration,
    at_most: Duration,
}

const fn throttled(says: fn() -> Option<String>, least: u64, most: u64) -> Throttled {
    let (at_least, at_most) = (Duration::from_millis(least), Duration::from_millis(most));
    Throttled { says, at_least, at_most }
}

/// What is believed is kept to; of what is not, the pause is that of a first failure.
const ROWS: [Throttled; 14] = [
    throttled(|| None, 700, 1000),
    throttled(|| text("0"), 700, 1000),
    throttled(|| text("3"), 3000, 3000),
    throttled(|| text(" 3 "), 3000, 3000),
    throttled(|| date(4), 3000, 4000),
    // Ten days, and what is longer than time.
    throttled(|| text("864000"), 60_000, 60_000),
    throttled(|| text("99999999999999999999999"), 60_000, 60_000),
    throttled(|| date(864_000), 60_000, 60_000),
    throttled(|| date(-600), 700, 1000),
    throttled(|| text("soon"), 700, 1000),
    throttled(|| text("-5"), 700, 1000),
    throttled(|| text("2.5"), 700, 1000),
    throttled(|| text("3 seconds"), 700, 1000),
    throttled(|| text(""), 700, 1000),
];

#[expect(clippy::unnecessary_wraps, reason = "one row has none")]
fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn date(seconds: i64) -> Option<String> {
    let now = SystemTime::now();
    let span = Duration::from_secs(seconds.unsigned_abs());
    let then = if seconds < 0 { now.checked_sub(span) } else { now.checked_add(span) };
    then.map(httpdate::fmt_http_date)
}

fn with_retry_after(code: u16, says: Option<String>) -> Kind {
    let mut kind = Kind::status(code);
    if let (Kind::Status { headers, .. }, Some(says)) = (&mut kind, says) {
        headers.push(("Retry-After".to_owned(), says));
    }
    kind
}

/// When requests arrived that were answered so.
fn arrivals(world: &World, status: u16) -> Vec<Duration> {
    let requests = world.emulator.requests();
    let like = |request: &&Request| request.is_get() && request.was_answered(status);
    requests.iter().filter(like).map(|request| request.at).collect()
}

/// A first open waits, is told 429 (or 503) once, and the next request comes when it may.
#[test]
fn retry_after_is_kept_to_if_it_is_sane_and_never_believed_for_more_than_a_minute() {
    let rows = [429, 503].into_iter().flat_map(|code| ROWS.map(|row| (code, row)));
    together(rows, |(code, row)| {
        let Some(world) = World::new() else { return };
        world.vault().put("ftpadmin", "value");
        let mounted = world.mount(&["open-timeout=90s"]);
        let says = (row.says)();
        let what = format!("{code}, Retry-After: {says:?}");
        world.emulator.inject(Fault::times(1, Scope::Get, with_retry_after(code, says)));

        let reader = mounted.reader("ftpadmin");
        let again = try_until(row.at_most + LATE, || world.answered("ftpadmin", 200) == 1);
        assert!(again, "{what}: nobody asks again");
        let apart = arrivals(&world, 200)[0] - arrivals(&world, code)[0];
        assert!(apart >= row.at_least - EARLY, "{what}: asked again after {apart:?}");
        assert!(apart <= row.at_most + LATE, "{what}: asked again after {apart:?}");
        assert_eq!(reader.result().0, Ok(b"value".to_vec()));
    });
}

/// Others do not ask in the meantime either, nor does a worker that comes after; and whoever waits
/// is told in his own time.
#[test]
fn a_vault_that_asks_to_be_left_alone_is_left_alone_by_everybody() {
    let Some(world) = World::new() else { return };
    for name in ["known", "cold", "other"] {
        world.vault().put(name, "value");
    }
    let mounted = world.mount(&["refresh=300ms", "open-timeout=1s"]);
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
    world.emulator.inject(Fault::times(1, Scope::Get, Kind::throttled("8")));
    until("it says so", || arrivals(&world, 429).len() == 1);
    // And is heard.
    pass(Duration::from_millis(500));

    for name in ["cold", "other"] {
        assert_eq!(mounted.outcome(name), Err(Errno::TIMEDOUT));
        assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
        world.replace("worker");
    }
    let told = arrivals(&world, 429)[0];
    until("all is well again", || mounted.outcome("cold") == Ok(b"value".to_vec()));
    let requests = world.emulator.requests();
    let asked = |request: &&Request| request.service == Service::Vault && request.at > told;
    let next = requests.iter().find(asked).unwrap();
    assert!(next.at - told >= Duration::from_secs(8) - EARLY, "{next:?}");
}

/// The pauses between the questions of a mount that nobody waits for, and of one where somebody does.
#[test]
fn pauses_double_and_each_mount_has_its_own() {
    let Some(world) = World::new() else { return };
    world.vault().put("known", "value");
    world.vault().put("cold", "value");
    let pauses = |options: &[&str], name: &str, waits: bool| {
        let mounted = world.mount(options);
        if !waits {
            assert_eq!(mounted.outcome(name), Ok(b"value".to_vec()));
        }
        let fault = world.emulator.inject(Fault::always(Scope::Get, Kind::status(503)));
        world.emulator.reset_requests();
        let reader = waits.then(|| mounted.reader(name));
        until("it was asked five times", || arrivals(&world, 503).len() >= 5);
        let at = arrivals(&world, 503);
        world.emulator.clear(fault);
        drop(reader);
        at.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>()
    };
    // One at a time, or the requests of one would be taken for the other's.
    let waited = [0, 1].map(|_| pauses(&["open-timeout=60s"], "cold", true));
    let unwaited = pauses(&["refresh=4s"], "known", false);

    for pauses in &waited {
        within(pauses, [1000, 2000, 2000, 2000]);
    }
    within(&unwaited, [1000, 2000, 4000, 8000]);
    let apart = waited[0].iter().zip(&waited[1]).map(|(one, other)| one.abs_diff(*other)).max();
    assert!(apart > Some(Duration::from_millis(20)), "two mounts keep step: {waited:?}");
}

/// Jitter shortens a pause to 70 to 95 % of itself; a request takes a moment.
#[track_caller]
fn within(pauses: &[Duration], full: [u64; 4]) {
    for (pause, full) in pauses.iter().zip(full.map(Duration::from_millis)) {
        assert!(*pause >= full * 7 / 10 - EARLY && *pause <= full + LATE, "{pauses:?}");
    }
}

/// What a timer may be too early for, in the eyes of another clock.
const EARLY: Duration = Duration::from_millis(50);
/// What a busy machine may be late.
const LATE: Duration = Duration::from_secs(3);
