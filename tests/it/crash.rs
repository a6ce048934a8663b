//! Worker and relay die, hang or will not start: what callers notice of it.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::process::kill_process;

use crate::readers::Readers;
use crate::readers::value;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::try_until;
use crate::world::until;

const KILLS: usize = 20;
/// Five deaths in a row, none later than this after its start, would be a crash loop.
const A_LIFE: Duration = Duration::from_millis(1050);

/// Changes one secret after the other while something else happens.
fn while_rotating<T>(world: &World, names: &[&str], run: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1.. {
                for name in names {
                    world.vault().put(name, &value(name, number));
                    if try_until(Duration::from_millis(20), || stop.load(Ordering::Relaxed)) {
                        return;
                    }
                }
            }
        });
        // Also where a test fails the thread must end.
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        stop.store(true, Ordering::Relaxed);
        ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn kills(role: &str) {
    let Some(world) = World::new() else { return };
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        world.vault().put(name, &value(name, 0));
    }
    let mounted = world.mount(&["refresh=200ms"]);
    let readers = Readers::start(&mounted, 4, &names);

    while_rotating(&world, &names, || {
        for number in 0..KILLS {
            world.replace(role);
            let since = Instant::now();
            // Some die at their start, some in the middle of things, and every fourth grows old.
            let more = readers.opens() + 97 * (number % 4);
            until("the readers go on", || readers.opens() >= more);
            let old = || number % 4 != 3 || since.elapsed() > A_LIFE;
            until("it is old", old);
        }
    });

    let seen = readers.stop();
    assert_eq!(seen.wrong, Vec::<String>::new());
    assert!(seen.opens > 1000 && seen.rotations > 20, "{seen:?}");
}

#[test]
fn twenty_kills_of_the_worker_fail_no_open_and_tear_no_value() {
    kills("worker");
}

#[test]
fn twenty_kills_of_the_relay_fail_no_open_and_tear_no_value() {
    kills("relay");
}

#[test]
fn a_death_while_nothing_happens_is_not_noticed() {
    let Some(world) = World::new() else { return };
    world.vault().put("known", "value");
    world.vault().put("cold", "value");
    let mounted = world.mount(&[]);
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));

    for role in ["worker", "relay"] {
        world.replace(role);
        assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
    }
    world.process("relay").unwrap().kill();
    assert_eq!(mounted.outcome("cold"), Ok(b"value".to_vec()));
    assert_eq!(world.emulator.count(|request| request.is_get_of("known")), 1);
}

#[test]
fn an_open_that_waits_gets_its_value_from_the_next_worker() {
    let Some(world) = World::new() else { return };
    let (mounted, hold) = world.mount_that_waits(Kind::Hold);
    let caller = mounted.waiting_reader("slow");

    world.replace("worker");
    assert!(world.emulator.wait_for(LIMIT, 2, |request| request.is_get()), "nobody asks again");
    assert!(caller.waits());
    world.emulator.clear(hold);

    assert_eq!(caller.result().0, Ok(b"value".to_vec()));
}

#[test]
fn an_open_that_waits_gets_its_value_through_the_next_relay() {
    let Some(world) = World::new() else { return };
    let (mounted, hold) = world.mount_that_waits(Kind::Hold);
    let caller = mounted.waiting_reader("slow");
    let worker = world.process("worker").unwrap();

    world.replace("relay");
    assert!(caller.waits());
    world.emulator.clear(hold);

    assert_eq!(caller.result().0, Ok(b"value".to_vec()));
    assert_eq!(world.emulator.count(|request| request.is_get()), 1);
    assert_eq!(world.process("worker").unwrap().pid, worker.pid);
}

/// The wait is the caller's, not the worker's: a death does not begin it anew.
#[test]
fn an_open_over_a_death_still_ends_in_time() {
    let Some(world) = World::new() else { return };
    world.vault().put("slow", "value");
    world.emulator.inject(Fault::always(Scope::Get, Kind::Hang));
    let mounted = world.mount(&["open-timeout=2s"]);
    let caller = mounted.waiting_reader("slow");
    let since = Instant::now();
    until("most of the time is over", || since.elapsed() > Duration::from_millis(1500));

    world.replace("worker");

    let (outcome, took) = caller.result();
    assert_eq!(outcome, Err(Errno::TIMEDOUT));
    assert!(took < Duration::from_millis(3400), "{took:?}");
}

#[test]
fn a_worker_that_hangs_is_replaced_and_the_open_that_waits_for_it_succeeds() {
    let Some(world) = World::new() else { return };
    world.vault().put("known", "value");
    world.vault().put("cold", "value");
    let mounted = world.mount(&[]);
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
    let worker = world.process("worker").unwrap();

    worker.stop();
    let caller = mounted.reader("cold");
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
    let new = world.successor("worker", &worker);

    assert_eq!(caller.result().0, Ok(b"value".to_vec()));
    assert_eq!(world.process("worker").unwrap().pid, new.pid);
}

#[test]
fn a_relay_that_is_stopped_is_replaced_and_nobody_waits_for_it_to_go_on() {
    let Some(world) = World::new() else { return };
    world.vault().put("cold", "value");
    let mounted = world.mount(&[]);
    let relay = world.process("relay").unwrap();

    kill_process(relay.pid, Signal::STOP).unwrap();
    let caller = mounted.reader("cold");
    world.successor("relay", &relay);

    assert_eq!(caller.result().0, Ok(b"value".to_vec()));
    assert!(mounted.is_mounted());
}

#[test]
fn a_worker_that_dies_at_each_start_does_not_take_the_mount_away() {
    let Some(world) = World::new() else { return };
    world.vault().put("known", "value");
    world.vault().put("cold", "value");
    let log = world.directory().join("log");
    let option = format!("log={}", log.display());
    let mounted = world.mount(&[&option, "open-timeout=60s"]);
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));

    // The pauses begin after the fifth, and double.
    for _ in 0..8 {
        world.replace("worker");
    }
    world.process("worker").unwrap().kill();
    let caller = mounted.reader("cold");
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
    assert!(mounted.is_mounted());

    assert_eq!(caller.result().0, Ok(b"value".to_vec()));
    let said = String::from_utf8(world.read(&log).unwrap()).unwrap();
    assert_eq!(said.matches("again and again").count(), 1, "{said}");
}

/// Requests are under way in every place there is when they die.
#[test]
fn first_opens_of_many_names_all_succeed_while_worker_and_relay_die_together() {
    let Some(world) = World::new() else { return };
    let names: Vec<String> = (0..120).map(|number| format!("cold-{number}")).collect();
    for name in &names {
        world.vault().put(name, &value(name, 1));
    }
    world.emulator.inject(Fault::always(Scope::Get, Kind::Delay(Duration::from_millis(40))));
    let mounted = world.mount(&["open-timeout=30s"]);

    let callers: Vec<_> = names.iter().map(|name| mounted.reader(name)).collect();
    for _ in 0..4 {
        let (relay, worker) = (world.process("relay"), world.process("worker"));
        for process in [relay, worker].into_iter().flatten() {
            // Either may be gone, since the other's death may have been its own.
            let _gone = kill_process(process.pid, Signal::KILL);
        }
        world.emulator.reset_requests();
        assert!(world.emulator.wait_for(LIMIT, 8, |request| request.is_get()));
    }

    for (name, caller) in names.iter().zip(callers) {
        assert_eq!(caller.result().0, Ok(value(name, 1).into_bytes()), "{name}");
    }
}

/// Nobody has to wait for longer because so many do.
#[test]
fn a_thousand_callers_who_wait_outlive_a_worker_and_a_relay() {
    let Some(world) = World::new() else { return };
    let (mounted, hold) = world.mount_that_waits(Kind::Hold);
    let callers: Vec<_> = (0..1000).map(|_| mounted.reader("slow")).collect();
    until("all of them wait", || mounted.waiting() == 1000);

    world.replace("worker");
    assert!(world.emulator.wait_for(LIMIT, 2, |request| request.is_get()), "nobody asks again");
    world.replace("relay");
    assert_eq!(mounted.waiting(), 1000);
    world.emulator.clear(hold);

    for caller in callers {
        assert_eq!(caller.result().0, Ok(b"value".to_vec()));
    }
    assert_eq!(world.emulator.count(|request| request.is_get()), 2);
}

#[test]
fn a_listing_that_somebody_waits_for_outlives_the_worker() {
    let Some(world) = World::new() else { return };
    world.vault().put("one", "value");
    let mounted = world.mount(&["open-timeout=60s", "check=off"]);
    let hold = world.emulator.inject(Fault::always(Scope::List, Kind::Hold));
    let listing = world.spawn(world.command("ls").arg(mounted.directory()));
    assert!(world.emulator.wait_for(LIMIT, 1, |request| request.is_list()));

    world.replace("worker");
    assert!(world.emulator.wait_for(LIMIT, 2, |request| request.is_list()), "nobody asks again");
    world.emulator.clear(hold);

    assert_eq!(listing.wait(LIMIT).ok(), "one\n");
}

#[test]
fn a_mount_outlives_deaths_before_it_is_ready() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "value");
    for role in ["worker", "relay"] {
        let hold = world.emulator.inject(Fault::always(Scope::Token, Kind::Hold));
        world.emulator.reset_requests();
        let mounted = world.mounted_at(world.directory());
        let mut command = world.command("akvfs");
        let mounting = world.spawn(command.args(["mount", "my-vault"]).arg(mounted.directory()));
        assert!(world.emulator.wait_for(LIMIT, 1, |request| request.is_token()));

        world.replace(role);
        world.emulator.clear(hold);

        assert_eq!(mounting.wait(LIMIT).ok(), "", "{role}");
        assert_eq!(mounted.outcome("ftpadmin"), Ok(b"value".to_vec()));
    }
}

#[test]
fn a_caller_of_a_worker_that_hangs_can_be_killed() {
    let Some(world) = World::new() else { return };
    world.vault().put("cold", "value");
    let mounted = world.mount(&[]);
    let worker = world.process("worker").unwrap();
    worker.stop();
    let caller = world.spawn(world.command("cat").arg(mounted.path("cold")));
    until("it waits", || mounted.waiting() == 1);

    caller.signal(Signal::KILL);

    assert_eq!(caller.wait(LIMIT).signal, Some(9));
    assert_eq!(world.process("worker").unwrap().pid, worker.pid, "it was not for the worker to do");
}
