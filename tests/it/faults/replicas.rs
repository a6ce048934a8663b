//! Front ends that disagree, and a version that comes back: what a reader may see of it.

use std::time::Duration;

use crate::caller::pass;
use crate::readers::Readers;
use crate::readers::value;
use crate::world::World;
use crate::world::until;

/// The vault counts in whole seconds when a version was made.
const A_SECOND: Duration = Duration::from_millis(1100);

#[test]
fn two_front_ends_that_disagree_take_no_reader_back_and_fail_no_open() {
    let Some(world) = World::new() else { return };
    let vault = world.vault();
    for name in ["rotated", "deleted"] {
        vault.put(name, &value(name, 1));
    }
    let mounted = world.mount(&["refresh=200ms"]);
    let readers = Readers::start(&mounted, 2, &["rotated", "deleted"]);
    until("both are in use", || readers.opens() > 10);

    // One front end has not heard of the new version, and the other not of the deleted secret.
    pass(A_SECOND);
    vault.delete("deleted");
    vault.fall_behind();
    vault.recover("deleted");
    vault.put("rotated", &value("rotated", 2));
    until("the new version is seen", || {
        mounted.outcome("rotated") == Ok(value("rotated", 2).into_bytes())
    });
    let asked = world.gets("rotated");
    // A dozen answers of each, and a time in which two 404s could be five seconds apart.
    until("they are asked", || world.gets("rotated") >= asked + 24);
    pass(Duration::from_secs(6));
    assert!(world.answered("deleted", 404) >= 2, "no front end said that it is missing");
    vault.catch_up();

    let seen = readers.stop();
    assert_eq!(seen.wrong, Vec::<String>::new());
    assert!(seen.rotations > 0, "{seen:?}");
}

#[test]
fn an_older_version_that_is_the_newest_again_is_served_once_it_was_said_twice() {
    let Some(world) = World::new() else { return };
    let vault = world.vault();
    let first = vault.put("ftpadmin", "first");
    pass(A_SECOND);
    vault.put("ftpadmin", "second");
    let mounted = world.mount(&["refresh=500ms"]);
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"second".to_vec()));

    assert!(vault.restore("ftpadmin", &first));
    world.emulator.reset_requests();
    until("it is served", || {
        let outcome = mounted.outcome("ftpadmin");
        let said = world.answered("ftpadmin", 200);
        match outcome.as_deref() {
            Ok(b"second") => false,
            Ok(b"first") => {
                assert!(said >= 2, "believed at once");
                true
            }
            other => panic!("{other:?}"),
        }
    });
}
