//! The memory for values is full: what goes, and what is said then.

use rustix::io::Errno;

use crate::world::World;
use crate::world::until;

/// A mebibyte holds 40 of them, and not 60.
const LARGE: usize = 25_000;

fn large(name: &str) -> String {
    format!("{name} ").repeat(LARGE / (name.len() + 1))
}

fn names(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("large-{number}")).collect()
}

#[test]
fn where_nothing_is_idle_a_first_open_finds_no_memory_and_all_else_goes_on() {
    let Some(world) = World::new() else { return };
    for name in names(0, 60) {
        world.vault().put(&name, &large(&name));
    }
    world.vault().put("small", "value");
    let mounted = world.mount(&["room=1M"]);
    assert_eq!(mounted.outcome("small"), Ok(b"value".to_vec()));
    let worker = world.process("worker").unwrap();

    let (mut held, mut refused) = (Vec::new(), Vec::new());
    for name in names(0, 60) {
        match mounted.outcome(&name) {
            Ok(value) => {
                assert_eq!(value, large(&name).into_bytes());
                held.push(name);
            }
            Err(errno) => {
                assert_eq!(errno, Errno::NOMEM, "{name}");
                refused.push(name);
            }
        }
    }

    assert!(held.len() >= 30 && refused.len() >= 15, "{} and {}", held.len(), refused.len());
    assert_eq!(mounted.outcome("small"), Ok(b"value".to_vec()));
    for name in &held {
        assert_eq!(mounted.outcome(name), Ok(large(name).into_bytes()));
    }
    assert_eq!(world.process("worker").unwrap().pid, worker.pid);
    // The next worker finds it as full, and goes on as well.
    world.replace("worker");
    for name in &held {
        assert_eq!(mounted.outcome(name), Ok(large(name).into_bytes()));
    }
    assert_eq!(mounted.outcome(&refused[0]), Err(Errno::NOMEM));
}

#[test]
fn the_value_that_has_been_idle_for_the_longest_makes_room() {
    let Some(world) = World::new() else { return };
    for name in names(0, 60) {
        world.vault().put(&name, &large(&name));
    }
    // Idle is what was not used for a second.
    let mounted = world.mount(&["room=1M", "refresh=100ms"]);
    let worker = world.process("worker").unwrap();
    for name in names(0, 30) {
        assert_eq!(mounted.outcome(&name), Ok(large(&name).into_bytes()));
    }
    let since = std::time::Instant::now();
    until("they are idle", || since.elapsed() > std::time::Duration::from_millis(1300));

    for name in names(30, 60) {
        until(&name, || match mounted.outcome(&name) {
            Ok(value) => value == large(&name).into_bytes(),
            // Those before are in use until a second later.
            Err(errno) => {
                assert_eq!(errno, Errno::NOMEM);
                false
            }
        });
    }

    assert_eq!(world.process("worker").unwrap().pid, worker.pid);
    // The first went, and can be had again.
    let asked = world.emulator.count(|request| request.is_get_of("large-0"));
    until("there is room for it", || mounted.outcome("large-0").is_ok());
    assert!(world.emulator.count(|request| request.is_get_of("large-0")) > asked);
}

/// A value that is replaced again and again does not fill the memory with what it was.
#[test]
fn what_was_replaced_makes_room_at_once() {
    let Some(world) = World::new() else { return };
    world.vault().put("large", &large("large-0"));
    let mounted = world.mount(&["room=1M", "refresh=100ms"]);
    assert_eq!(mounted.outcome("large"), Ok(large("large-0").into_bytes()));

    for name in names(1, 60) {
        world.vault().put("large", &large(&name));
        until(&name, || mounted.outcome("large").unwrap() == large(&name).into_bytes());
    }
}
