//! Very many mounts on one machine, and very many readers of one secret.

use std::time::Duration;
use std::time::Instant;

use akvfs_emulator::fault::Kind;

use crate::namespace::Process;
use crate::world::World;
use crate::world::try_until;
use crate::world::until;

#[test]
fn a_hundred_mounts_come_up_fit_in_memory_serve_and_go() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "value");
    let before = world.run_files();
    let mut slowest = Duration::ZERO;
    let mounts: Vec<_> = (0..MOUNTS)
        .map(|_| {
            let since = Instant::now();
            let mounted = world.mount(&[]);
            slowest = slowest.max(since.elapsed());
            mounted
        })
        .collect();
    for mounted in &mounts {
        assert_eq!(mounted.read("ftpadmin").unwrap(), b"value");
    }

    let processes = world.akvfs_processes();
    assert_eq!(processes.len(), 3 * MOUNTS);
    let memory: u64 = processes.iter().map(Process::pss).sum();
    assert!(memory <= MEMORY, "{} MiB", memory >> 20);
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    for mounted in &mounts {
        let directory = mounted.directory().to_str().unwrap();
        assert_eq!(world.akvfs(&["unmount", directory]).ok(), "");
    }
    until("every process has ended", || world.akvfs_processes().is_empty());
    assert_eq!(world.run_files(), before);
}

#[test]
fn three_thousand_cold_readers_of_one_name_are_one_request() {
    let Some(world) = World::new() else { return };
    let (mounted, hold) = world.mount_that_waits(Kind::Hold);
    let crowd = mounted.crowd("slow", READERS);
    let all = try_until(LONG, || mounted.waiting() == READERS);
    assert!(all, "{} wait", mounted.waiting());
    world.emulator.clear(hold);

    assert_eq!(crowd.result(), vec![Ok(b"value".to_vec()); READERS]);
    assert_eq!(world.emulator.count(|request| request.is_get()), 1);
}

const MOUNTS: usize = 100;
const MEMORY: u64 = 3 << 29;
const READERS: usize = 3_000;
/// That is how long they may take to come, on a machine that does other things as well.
const LONG: Duration = Duration::from_secs(50);
