//! Deaths of relay and worker that nobody notices.

use std::fs;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Signal;

use crate::Test;
use crate::world::World;
use crate::world::is_gone;
use crate::world::kill;
use crate::world::wait_for;

pub const TESTS: &[Test] = &[
    ("an_idle_worker_killed_20_times_fails_no_open", an_idle_worker_killed_20_times_fails_no_open),
    ("an_idle_relay_killed_20_times_fails_no_open", an_idle_relay_killed_20_times_fails_no_open),
    (
        "a_worker_killed_under_an_open_20_times_fails_none",
        a_worker_killed_under_an_open_20_times_fails_none,
    ),
    (
        "a_relay_killed_under_an_open_20_times_fails_none",
        a_relay_killed_under_an_open_20_times_fails_none,
    ),
    ("a_relay_killed_under_load_fails_no_open", a_relay_killed_under_load_fails_no_open),
    ("a_worker_killed_under_load_fails_no_open", a_worker_killed_under_load_fails_no_open),
    (
        "a_stopped_worker_is_replaced_and_the_open_succeeds",
        a_stopped_worker_is_replaced_and_the_open_succeeds,
    ),
    (
        "deaths_in_a_row_slow_the_restart_and_keep_the_mount",
        deaths_in_a_row_slow_the_restart_and_keep_the_mount,
    ),
];

const KILLS: usize = 20;

fn an_idle_worker_killed_20_times_fails_no_open() {
    kill_idle("akvfs-worker");
}

fn an_idle_relay_killed_20_times_fails_no_open() {
    kill_idle("akvfs-relay");
}

fn kill_idle(comm: &str) {
    let world = World::mounted();
    let mut took = Vec::new();
    for kills in 0..KILLS {
        let victim = world.child(comm);
        let since = Instant::now();
        kill(victim, Signal::KILL);
        assert_eq!(fs::read(world.path("slow-0")).unwrap(), b"late");
        took.push(since.elapsed());
        assert!(is_gone(victim));
        stay_below_a_crash_loop(kills);
    }
    took.sort();
    println!(
        "  {comm} killed: the next open takes {:?}, at most {:?}",
        took[KILLS / 2],
        took[KILLS - 1]
    );
    world.unmount().unwrap();
}

/// Five deaths in a row, each within a second of a start, would be one.
fn stay_below_a_crash_loop(kills: usize) {
    if kills % 4 == 3 {
        thread::sleep(Duration::from_millis(1_050));
    }
}

fn a_worker_killed_under_an_open_20_times_fails_none() {
    kill_under_an_open("akvfs-worker");
}

fn a_relay_killed_under_an_open_20_times_fails_none() {
    kill_under_an_open("akvfs-relay");
}

fn kill_under_an_open(comm: &str) {
    let world = World::mounted();
    for kills in 0..KILLS {
        thread::scope(|scope| {
            let open = scope.spawn(|| fs::read(world.path("slow-300")));
            thread::sleep(Duration::from_millis(150));
            kill(world.child(comm), Signal::KILL);
            assert_eq!(open.join().unwrap().unwrap(), b"late");
        });
        stay_below_a_crash_loop(kills);
    }
    world.unmount().unwrap();
}

fn a_relay_killed_under_load_fails_no_open() {
    kill_under_load("akvfs-relay");
}

fn a_worker_killed_under_load_fails_no_open() {
    kill_under_load("akvfs-worker");
}

/// Four readers that never pause, so that a kill finds a request at every stage of its way.
fn kill_under_load(comm: &str) {
    let world = World::mounted();
    let done = std::sync::atomic::AtomicBool::new(false);
    let opens = thread::scope(|scope| {
        let readers = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut opens = 0_u64;
                    while !done.load(std::sync::atomic::Ordering::SeqCst) {
                        assert_eq!(fs::read(world.path("slow-0")).unwrap(), b"late");
                        opens += 1;
                    }
                    opens
                })
            })
            .collect::<Vec<_>>();
        for kills in 0..KILLS {
            thread::sleep(Duration::from_millis(70 + 7 * kills as u64));
            kill(world.child(comm), Signal::KILL);
            stay_below_a_crash_loop(kills);
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u64>()
    });
    println!("  {KILLS} kills of {comm}, {opens} opens, none failed");
    world.unmount().unwrap();
}

fn a_stopped_worker_is_replaced_and_the_open_succeeds() {
    let world = World::mounted();
    let stopped = world.child("akvfs-worker");
    kill(stopped, Signal::STOP);
    assert_eq!(fs::read(world.path("slow-0")).unwrap(), b"late");
    assert!(is_gone(stopped));
    assert!(world.log().contains("the worker does not answer, and is replaced"), "{}", world.log());
    world.unmount().unwrap();
}

fn deaths_in_a_row_slow_the_restart_and_keep_the_mount() {
    let world = World::mounted();
    for _ in 0..8 {
        let victim = world.child("akvfs-worker");
        kill(victim, Signal::KILL);
        wait_for("its end", || is_gone(victim).then_some(()));
    }
    assert_eq!(fs::read(world.path("slow-0")).unwrap(), b"late");
    let log = world.log();
    assert!(log.contains("again and again"), "{log}");
    wait_for("a worker", || world.log().contains("again and again").then_some(()));
    world.unmount().unwrap();
}
