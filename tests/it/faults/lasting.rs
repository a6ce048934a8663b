//! Faults that last: a known value goes on until `stale` is over, a first open says what is wrong,
//! and all heals by itself.

use std::time::Duration;
use std::time::Instant;

use akvfs_emulator::record::Request;
use rustix::io::Errno;

use crate::caller::pass;
use crate::faults::table::IMDS;
use crate::faults::table::Lasting;
use crate::faults::table::VAULT;
use crate::faults::table::mend;
use crate::together::together;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

const STALE: Duration = Duration::from_secs(2);
const OPEN_TIMEOUT: Duration = Duration::from_millis(1500);
/// What a request fails of is known a fifth of `open-timeout` before whoever waits must be told.
const OPTIONS: [&str; 3] = ["refresh=200ms", "stale=2s", "open-timeout=1500ms"];
/// By so much a kernel that counts in ticks, and a busy machine, may be late.
const LATE: Duration = Duration::from_millis(300);
const EARLY: Duration = Duration::from_millis(20);
/// By so much a machine may be late on which a dozen mounts heal at once.
const BUSY: Duration = Duration::from_secs(3);

/// A moment after which the vault has confirmed the secret.
pub(crate) fn confirmed_after(world: &World, name: &str) -> Instant {
    let is_confirmed = |request: &Request| request.is_get_of(name) && request.was_answered(200);
    let since = Instant::now();
    // The first of them may have been sent before.
    let two_more = world.emulator.count(is_confirmed) + 2;
    until("it is confirmed", || world.emulator.count(is_confirmed) >= two_more);
    since
}

/// A known value is served at once until `stale` is over since it was last confirmed, and not
/// longer; then, and at a first open, the error says why; and all is well again by itself.
fn outlives(Lasting { what, begins, errno, step }: Lasting) {
    let Some(world) = World::new() else { return };
    world.vault().put("known", "old");
    world.vault().put("cold", "value");
    let mounted = world.mount(&OPTIONS);
    assert_eq!(mounted.outcome("known"), Ok(b"old".to_vec()));

    let confirmed = confirmed_after(&world, "known");
    begins(&world);
    let broken = Instant::now();
    let cold = mounted.reader("cold");
    let mut served = 0;
    until("it ends", || {
        let asked = Instant::now();
        let outcome = mounted.outcome("known");
        match &outcome {
            Ok(value) => {
                assert_eq!(value, b"old");
                assert!(asked < broken + STALE + LATE, "{what}: for too long");
                served += 1;
            }
            Err(error) => {
                assert!(Instant::now() > confirmed + STALE - EARLY, "{what}: {error} too early");
                assert_eq!(*error, errno, "{what}");
            }
        }
        asked > broken + STALE + LATE + LATE
    });
    // Whoever waited for the vault each time would have been served twice.
    assert!(served > 20, "{what}: only {served} opens");
    let (outcome, took) = cold.result();
    assert_eq!(outcome, Err(errno), "{what}");
    assert!(took < OPEN_TIMEOUT + BUSY, "{what}: a first open took {took:?}");
    assert_eq!(mounted.outcome("cold"), Err(errno), "{what}");
    assert_eq!(mounted.outcome("never-there"), Err(errno), "{what}: no word is no ENOENT");

    mend(&world);
    let mended = Instant::now();
    world.vault().put("known", "new");
    until(what, || mounted.outcome("known") == Ok(b"new".to_vec()));
    until(what, || mounted.outcome("cold") == Ok(b"value".to_vec()));
    assert!(mended.elapsed() < step + BUSY, "{what}: healed after {:?}", mended.elapsed());
    assert_eq!(mounted.outcome("never-there"), Err(Errno::NOENT), "{what}");
}

#[test]
fn a_known_value_outlives_the_vault_until_stale_ends_and_all_heals_by_itself() {
    together(VAULT, outlives);
}

#[test]
fn a_known_value_outlives_the_metadata_service_until_stale_ends_and_all_heals_by_itself() {
    together(IMDS, outlives);
}

/// In an outage that is known, opens of what is known are the kernel's alone, as they are without
/// one: a relay that does not run has passed no request.
#[test]
fn in_an_outage_a_warm_open_costs_no_more_than_without_one() {
    together(VAULT.into_iter().chain(IMDS), |Lasting { what, begins, errno, .. }| {
        let Some(world) = World::new() else { return };
        world.vault().put("known", "value");
        world.vault().put("cold", "value");
        let mounted = world.mount(&["open-timeout=1500ms"]);
        let reads = |times| {
            mounted.inside(|directory| {
                let path = directory.join("known");
                (0..times).for_each(|_| assert_eq!(std::fs::read(&path).unwrap(), b"value"));
            });
        };
        reads(2);
        begins(&world);
        assert_eq!(mounted.outcome("cold"), Err(errno), "{what}");

        // The kernel may still give back what it held of the name that failed.
        until(what, || {
            let rested = world.relay_at_rest();
            reads(250);
            world.relay_at_rest() == rested
        });
    });
}

impl World {
    /// For how long the relay has run, once it has come to rest.
    pub(crate) fn relay_at_rest(&self) -> Duration {
        let relay = self.process("relay").unwrap();
        let mut before = Duration::MAX;
        until("the relay rests", || {
            pass(Duration::from_millis(100));
            let ran = relay.ran();
            std::mem::replace(&mut before, ran) == ran
        });
        before
    }
}

/// The C library asks a name server for ten seconds, and cannot be stopped.
#[test]
fn a_name_service_that_is_silent_keeps_no_more_than_four_threads() {
    let Some(world) = World::new() else { return };
    world.vault().put("known", "value");
    let mounted = world.mount(&["refresh=200ms", "open-timeout=1s"]);
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
    let worker = world.process("worker").unwrap();
    let threads = || {
        let tasks = format!("/proc/{}/task", worker.pid.as_raw_nonzero());
        std::fs::read_dir(tasks).unwrap().count()
    };
    let before = threads();

    world.swallow_names();
    let since = Instant::now();
    let mut most = 0;
    until("six seconds", || {
        assert!(mounted.outcome("cold").is_err());
        assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
        most = most.max(threads());
        since.elapsed() > Duration::from_secs(6)
    });
    // One may have been there before.
    assert!(most > before && most <= before + 4, "{before} threads have become {most}");
    mend(&world);
}

/// The service would have to be asked again for half a minute before that heals.
#[test]
fn an_identity_that_was_taken_away_is_an_outage_and_no_refusal() {
    let Some(world) = World::new() else { return };
    world.vault().put("known", "value");
    let mounted = world.mount(&["refresh=200ms", "open-timeout=500ms"]);
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));

    world.emulator.imds().set_system(None);
    world.emulator.imds().expire_tokens();

    assert!(world.emulator.wait_for(LIMIT, 1, |it| it.is_token() && it.was_answered(400)));
    assert_eq!(mounted.outcome("cold"), Err(Errno::NOKEY));
    let since = Instant::now();
    until("the kernel's copy is too old", || {
        assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
        since.elapsed() > Duration::from_millis(1500)
    });
}
