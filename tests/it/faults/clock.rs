//! Clocks that jump and machines that sleep: every window is as long as it says.

use std::time::Duration;
use std::time::Instant;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use rustix::io::Errno;

use crate::faults::lasting::confirmed_after;
use crate::mounted::Mounted;
use crate::shifted::CAN_SHIFT;
use crate::shifted::Clock;
use crate::together::together;
use crate::world::World;
use crate::world::until;

const HOUR: i64 = 3600;
const TEN_YEARS: i64 = 10 * 365 * 24 * HOUR;
const STALE: Duration = Duration::from_secs(3);
const OPTIONS: [&str; 3] = ["refresh=300ms", "stale=3s", "open-timeout=1s"];
const LATE: Duration = Duration::from_millis(700);

/// None, and said aloud, where no clock can be shifted.
fn world() -> Option<World> {
    if CAN_SHIFT { World::new() } else { World::skip("no clock can be shifted on this machine") }
}

fn a_mount(world: &World) -> Mounted<'_> {
    for name in ["known", "no-more", "cold"] {
        world.vault().put(name, "old");
    }
    let mounted = world.mount(&OPTIONS);
    assert_eq!(mounted.outcome("known"), Ok(b"old".to_vec()));
    assert_eq!(mounted.outcome("no-more"), Ok(b"old".to_vec()));
    mounted
}

/// An outage is served through until `stale` is over, and not longer.
fn outlasts_an_outage(world: &World, mounted: &Mounted<'_>, what: &str, begins: fn(&World)) {
    let known = mounted.outcome("known");
    let confirmed = confirmed_after(world, "known");
    begins(world);
    let began = Instant::now();
    until("it ends", || {
        let asked = Instant::now();
        match mounted.outcome("known") {
            Err(error) => {
                assert_eq!(error, Errno::TIMEDOUT, "{what}");
                assert!(Instant::now() > confirmed + STALE - LATE / 4, "{what}: too early");
                true
            }
            value => {
                assert_eq!(value, known, "{what}");
                assert!(asked < began + STALE + LATE, "{what}: for too long");
                false
            }
        }
    });
}

#[test]
fn a_wall_clock_that_jumps_moves_no_window() {
    together([HOUR, -HOUR, TEN_YEARS], |seconds| {
        let Some(world) = world() else { return };
        let mounted = a_mount(&world);
        let what = format!("{seconds} s");
        world.shift(Clock::Wall, seconds);

        world.vault().put("known", "new");
        assert!(world.vault().disable("no-more"));
        until(&what, || mounted.outcome("known") == Ok(b"new".to_vec()));
        until(&what, || mounted.outcome("no-more") == Err(Errno::KEYREVOKED));
        assert_eq!(mounted.outcome("cold"), Ok(b"old".to_vec()), "{what}");
        outlasts_an_outage(&world, &mounted, &what, |world| {
            world.emulator.inject(Fault::always(Scope::Vault, Kind::Hang));
        });

        // And back again, in the middle of the outage.
        world.shift(Clock::Wall, 0);
        world.emulator.clear_all();
        until(&what, || mounted.outcome("known") == Ok(b"new".to_vec()));
        outlasts_an_outage(&world, &mounted, &what, World::cut_network);
        world.mend_network();
    });
}

/// Every certificate is of the future then: it is an outage like another, and no refusal.
#[test]
fn a_wall_clock_before_the_certificates_time_is_an_outage_that_ends_with_it() {
    let Some(world) = world() else { return };
    let mounted = a_mount(&world);
    outlasts_an_outage(&world, &mounted, "ten years ago", |world| {
        world.shift(Clock::Wall, -TEN_YEARS);
        world.emulator.cut_connections();
    });
    assert_eq!(mounted.outcome("cold"), Err(Errno::TIMEDOUT));
    world.shift(Clock::Wall, 0);
    until("it heals", || mounted.outcome("known") == Ok(b"old".to_vec()));
}

/// The boot clock runs ahead of the monotonic one, which is what a sleep is to a process.
#[test]
fn after_a_sleep_the_first_open_asks_again() {
    let Some(world) = world() else { return };
    world.vault().put("known", "old");
    world.vault().put("other", "value");
    let mounted = world.mount(&[]);
    assert_eq!(mounted.outcome("known"), Ok(b"old".to_vec()));

    world.vault().put("known", "new");
    assert_eq!(mounted.outcome("known"), Ok(b"old".to_vec()), "the kernel answers, for minutes");
    world.shift(Clock::Boot, HOUR / 6);
    // Something happens, as it would: timers go off, or somebody asks.
    assert_eq!(mounted.outcome("other"), Ok(b"value".to_vec()));
    until("the kernel asks again", || mounted.outcome("known") == Ok(b"new".to_vec()));
}

/// Its own clock stood still: by that, it would answer from its memory for some minutes yet.
#[test]
fn after_a_sleep_the_kernel_answers_nothing_by_itself() {
    let Some(world) = world() else { return };
    world.vault().put("known", "value");
    let log = world.directory().join("log");
    let mounted = world.mount(&[&format!("log={},verbose", log.display()), "open-timeout=1s"]);
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
    world.emulator.inject(Fault::always(Scope::Vault, Kind::Hang));
    let slept = || world.sh(&format!("grep -c slept {} || true", log.display())).ok();
    assert_eq!(slept(), "0\n");

    world.shift(Clock::Boot, HOUR / 30);
    assert_eq!(mounted.outcome("other"), Err(Errno::TIMEDOUT));
    let rested = world.relay_at_rest();
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
    assert!(world.relay_at_rest() > rested, "nobody was asked");
    assert_eq!(slept(), "1\n");
}

#[test]
fn a_sleep_longer_than_stale_ends_what_nobody_could_confirm_since() {
    let Some(world) = world() else { return };
    world.vault().put("known", "value");
    let mounted = world.mount(&["open-timeout=1s"]);
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));

    world.cut_network();
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
    world.shift(Clock::Boot, 2 * HOUR);
    assert!(mounted.outcome("other").is_err());
    until("the kernel asks again", || mounted.outcome("known") == Err(Errno::TIMEDOUT));
    world.mend_network();
    until("it heals", || mounted.outcome("known") == Ok(b"value".to_vec()));
}

/// In a time namespace the boot clock is far ahead from the start.
#[test]
fn a_boot_clock_that_was_always_ahead_is_no_sleep() {
    let Some(world) = World::new() else { return };
    world.vault().put("known", "old");
    let log = world.directory().join("log");
    let mounted = world.mounted_at(world.directory());
    let options = format!("{},verbose,log={}", OPTIONS.join(","), log.display());
    let directory = mounted.directory().to_str().unwrap();
    let ahead = TEN_YEARS.to_string();
    let akvfs = crate::world::AKVFS;
    let line = ["--time", "--boottime", &ahead, "--fork", akvfs, "mount", "my-vault", directory];
    world.run("unshare", &[&line[..], &["-o", &options]].concat()).ok();

    assert_eq!(mounted.outcome("known"), Ok(b"old".to_vec()));
    world.vault().put("known", "new");
    until("the new version is seen", || mounted.outcome("known") == Ok(b"new".to_vec()));
    outlasts_an_outage(&world, &mounted, "ahead", World::cut_network);
    world.mend_network();
    until("it heals", || mounted.outcome("known") == Ok(b"new".to_vec()));
    let said = String::from_utf8(world.read(&log).unwrap()).unwrap();
    assert!(!said.contains("slept"), "{said}");
}
