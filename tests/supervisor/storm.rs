//! Rotations as fast as the kernel can be told of them, while everybody looks.
//!
//! To tell the kernel takes the lock that a look-up holds, and the look-up is answered by way of the
//! processes that tell. None may ever wait for itself by way of the others.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Signal;

use crate::Test;
use crate::world::World;
use crate::world::kill;
use crate::world::wait_for;

pub const TESTS: &[Test] = &[
    (
        "twenty_thousand_rotations_under_a_storm_of_stats_hang_nobody",
        twenty_thousand_rotations_under_a_storm_of_stats_hang_nobody,
    ),
    (
        "the_worker_after_one_that_was_killed_in_a_storm_is_heard",
        the_worker_after_one_that_was_killed_in_a_storm_is_heard,
    ),
];

pub const LONG: &[Test] = &[(
    "a_million_rotations_under_a_storm_of_stats_hang_nobody",
    a_million_rotations_under_a_storm_of_stats_hang_nobody,
)];

fn twenty_thousand_rotations_under_a_storm_of_stats_hang_nobody() {
    rage(20_000);
}

fn a_million_rotations_under_a_storm_of_stats_hang_nobody() {
    rage(1_000_000);
}

fn the_worker_after_one_that_was_killed_in_a_storm_is_heard() {
    let world = World::mounted();
    let version = world.path("version");
    let first = number(&version);
    for _ in 0..3 {
        assert!(fs::metadata(world.path("storm-100000000")).is_err());
        wait_for("a storm", || (number(&version) > first + 5_000).then_some(()));
        kill(world.child("akvfs-worker"), Signal::KILL);
        // It counts from the beginning, and the kernel has no reason to ask, unless it is told.
        wait_for("the next worker's word", || {
            assert!(fs::metadata(world.path("rotate")).is_err());
            (number(&version) < first + 5_000).then_some(())
        });
    }
    world.unmount().unwrap();
}

const THREADS: usize = 8;
/// So many rotations take no longer than anything else may.
const STEP: usize = 1_000;

fn rage(rotations: u64) {
    // Who waits for himself is not to be freed by the relay before somebody notices.
    let mut world = World::new();
    world.open_timeout = Duration::from_secs(100);
    world.mount().unwrap();
    let (done, since) = (Arc::new(AtomicBool::new(false)), Instant::now());
    let first = number(&world.path("version"));
    // Nobody waits for one that hangs: it is freed when the world ends.
    let threads = [(); THREADS].map(|()| {
        let (version, missing) = (world.path("version"), world.path("missing"));
        let done = Arc::clone(&done);
        thread::spawn(move || look(first, &version, &missing, &done))
    });
    assert!(fs::metadata(world.path(&format!("storm-{rotations}"))).is_err());
    for reached in (0..=rotations).step_by(STEP) {
        wait_for(&format!("rotation {reached}"), || {
            (number(&world.path("version")) >= first + reached).then_some(())
        });
    }
    done.store(true, Ordering::SeqCst);
    let stats: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    println!(
        "  {rotations} rotations, {stats} stats in {THREADS} threads: {:.1?}",
        since.elapsed()
    );
    assert_eq!(number(&world.path("version")), first + rotations);
    world.unmount().unwrap();
}

/// Looks until it is enough, and never sees what is older than what was seen before; says how often.
fn look(first: u64, version: &Path, missing: &Path, done: &AtomicBool) -> usize {
    let (mut newest, mut stats) = (first, 0);
    while !done.load(Ordering::SeqCst) {
        let seen = number(version);
        assert!(seen >= newest, "{seen} after {newest}");
        assert!(fs::metadata(missing).is_err());
        newest = seen;
        stats += 1;
    }
    stats
}

/// Each version is an inode of its own.
fn number(version: &Path) -> u64 {
    fs::metadata(version).unwrap().ino()
}
