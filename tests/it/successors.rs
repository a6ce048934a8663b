//! What a new worker knows, because the one before left it.

use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use rustix::io::Errno;

use crate::mounted::Mounted;
use crate::readers::value;
use crate::together::together;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

/// The number that stat(1) gives for a secret, and the one in the listing.
fn numbers(mounted: &Mounted<'_>, name: &str) -> (String, String) {
    let world = mounted.world();
    let stat = world.run("stat", &["-c", "%i", mounted.path(name).to_str().unwrap()]).ok();
    let listed = world.run("ls", &["-i", mounted.directory().to_str().unwrap()]).ok();
    let line = listed.lines().find(|line| line.ends_with(name)).unwrap();
    (stat.trim().to_owned(), line.trim().split(' ').next().unwrap().to_owned())
}

#[test]
fn known_values_outlive_a_worker_that_dies_while_the_vault_is_away() {
    let Some(world) = World::new() else { return };
    world.vault().put("known", "value");
    let mounted = world.mount(&["refresh=200ms"]);
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));

    world.cut_network();
    world.replace("worker");

    // The kernel forgets within five refreshes, so it is the new worker who answers.
    let since = Instant::now();
    until("the kernel's copy is too old", || {
        assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
        since.elapsed() > Duration::from_millis(1500)
    });
    world.mend_network();
    world.vault().put("known", "new");
    until("it heals", || mounted.outcome("known") == Ok(b"new".to_vec()));
}

#[test]
fn a_new_worker_knows_the_numbers_that_the_old_one_gave() {
    let Some(world) = World::new() else { return };
    for name in ["one", "two", "three"] {
        world.vault().put(name, name);
    }
    let mounted = world.mount(&["refresh=200ms"]);
    let _ = mounted.outcome("two");
    let before = numbers(&mounted, "two");
    assert_eq!(before.0, before.1);

    world.replace("worker");
    let since = Instant::now();
    until("the kernel's copy is too old", || {
        assert_eq!(numbers(&mounted, "two"), before);
        since.elapsed() > Duration::from_millis(1500)
    });

    let fresh = world.run("stat", &["-c", "%i", mounted.path("one").to_str().unwrap()]).ok();
    assert_ne!(fresh.trim(), before.0);
    world.vault().put("two", "new");
    until("the new version is seen", || mounted.outcome("two") == Ok(b"new".to_vec()));
    assert_ne!(numbers(&mounted, "two").0, before.0);
}

#[test]
fn a_new_worker_refuses_what_the_old_one_refused() {
    let Some(world) = World::new() else { return };
    world.vault().put("known", "value");
    world.vault().put("never", "value");
    world.vault().disable("never");
    let mounted = world.mount(&["refresh=1s", "open-timeout=500ms"]);
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
    world.vault().disable("known");
    until("it is refused", || mounted.outcome("known") == Err(Errno::KEYREVOKED));
    assert_eq!(mounted.outcome("never"), Err(Errno::KEYREVOKED));

    world.cut_network();
    world.replace("worker");
    assert_eq!(mounted.outcome("never"), Err(Errno::KEYREVOKED));

    // The no is remembered for one refresh; the value is gone for good.
    let since = Instant::now();
    until("the no is forgotten", || {
        let outcome = mounted.outcome("known");
        assert!(matches!(outcome, Err(Errno::KEYREVOKED | Errno::NOKEY)), "{outcome:?}");
        since.elapsed() > Duration::from_secs(3)
    });
    world.mend_network();
    world.vault().enable("known");
    until("it is allowed again", || mounted.outcome("known") == Ok(b"value".to_vec()));
}

#[test]
fn an_open_file_keeps_its_version_over_deaths() {
    let Some(world) = World::new() else { return };
    let (old, new) = (value("file", 1), value("file", 2));
    world.vault().put("file", &old);
    let mounted = world.mount(&["refresh=200ms"]);
    let path = mounted.path("file");
    // Opened and not read: the bytes are the worker's to give.
    let file = world.call(move || std::fs::File::open(path).unwrap()).result();
    world.vault().put("file", &new);
    until("the new version is seen", || mounted.outcome("file") == Ok(new.clone().into_bytes()));

    world.replace("worker");
    world.replace("relay");

    let read = world.call(move || std::io::read_to_string(file).unwrap());
    assert_eq!(read.result(), old);
    assert!(!Path::new(mounted.directory()).exists());
}

/// A death renews nothing: what was confirmed last before it is as old as ever.
#[test]
fn a_new_worker_serves_nothing_for_longer_than_the_old_one_would_have() {
    let Some(world) = World::new() else { return };
    world.vault().put("known", "value");
    let mounted = world.mount(&["refresh=300ms", "stale=2s", "open-timeout=300ms"]);
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
    world.cut_network();
    let since = Instant::now();

    let mut served_until = Duration::ZERO;
    for second in 1..4 {
        world.replace("worker");
        until("a while is over", || {
            let asked = since.elapsed();
            if mounted.outcome("known").is_ok() {
                served_until = asked;
            }
            asked > Duration::from_secs(second)
        });
    }

    assert!(served_until > Duration::from_secs(1), "{served_until:?}");
    assert!(served_until < Duration::from_millis(2300), "{served_until:?}");
    world.mend_network();
    until("it heals", || mounted.outcome("known").is_ok());
}

/// The token died with the worker that had it.
#[test]
fn a_first_open_after_a_death_without_the_metadata_service_finds_no_key() {
    let Some(world) = World::new() else { return };
    world.vault().put("known", "value");
    world.vault().put("cold", "value");
    let mounted = world.mount(&["open-timeout=500ms"]);
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
    world.emulator.inject(Fault::always(Scope::Token, Kind::status(500)));

    world.replace("worker");

    assert_eq!(mounted.outcome("cold"), Err(Errno::NOKEY));
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
    world.emulator.clear_all();
    until("it heals", || mounted.outcome("cold") == Ok(b"value".to_vec()));
}

/// Whoever learnt of it may have died before the kernel was told.
#[test]
fn a_change_that_a_dying_worker_learnt_of_is_seen_all_the_same() {
    together(["worker", "relay"], |role| {
        let Some(world) = World::new() else { return };
        // The kernel would go on for ten seconds by itself.
        let mounted = world.mount(&["refresh=2s"]);
        for heard in 1..=2 {
            let name = |what: &str, number: usize| format!("{what}-{heard}-{number}");
            for number in 0..3 {
                for name in [name("refused", number), name("rotated", number)] {
                    world.vault().put(&name, "old");
                    assert_eq!(mounted.outcome(&name), Ok(b"old".to_vec()));
                }
            }
            world.emulator.reset_requests();
            for number in 0..3 {
                world.vault().disable(&name("refused", number));
                world.vault().put(&name("rotated", number), "new");
            }
            let since = Instant::now();
            assert!(world.emulator.wait_for(LIMIT, heard, |it| it.is_get() && it.status.is_some()));

            world.replace(role);

            for number in 0..3 {
                let (refused, rotated) = (name("refused", number), name("rotated", number));
                until(&refused, || mounted.outcome(&refused) == Err(Errno::KEYREVOKED));
                until(&rotated, || mounted.outcome(&rotated) == Ok(b"new".to_vec()));
            }
            assert!(since.elapsed() < Duration::from_secs(5), "{role}: {:?}", since.elapsed());
        }
    });
}
