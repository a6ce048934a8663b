//! The hourly job: a name that nobody uses for a while is asked about before it is served again.

use std::time::Duration;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;

use crate::caller::pass;
use crate::caller::within;
use crate::mounted::Mounted;
use crate::world::LIMIT;
use crate::world::World;

/// Ten of these, and a name is idle.
const REFRESH: &str = "refresh=100ms";

impl World {
    /// Waits until nobody has used a name for longer than ten refreshes, and nothing is asked about
    /// it any more.
    fn let_idle(&self) {
        pass(Duration::from_millis(1200));
        let quiet = within(LIMIT, || {
            let before = self.asked();
            pass(Duration::from_millis(200));
            self.asked() == before
        });
        assert!(quiet, "an idle name is asked about in every refresh");
    }
}

/// A mount on which one name was read, and then not used for a long time.
fn idle<'a>(world: &'a World, more: &[&str]) -> Mounted<'a> {
    world.vault().put("backup", "v");
    let mounted = world.mount(&[&[REFRESH], more].concat());
    assert_eq!(mounted.text("backup"), "v");
    world.let_idle();
    world.emulator.reset_requests();
    mounted
}

#[test]
fn an_idle_name_is_asked_about_first_and_served_from_memory_if_the_vault_is_silent() {
    let Some(world) = World::new() else { return };
    let mounted = idle(&world, &[]);

    world.emulator.inject(Fault::always(Scope::Everything, Kind::Hang));
    let printed = mounted.cat("backup");
    let took = printed.took;
    assert_eq!(printed.ok(), "v");

    assert_eq!(world.gets("backup"), 1, "the vault is asked first");
    // A second, and not the ten of open-timeout.
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(mounted.text("backup"), "v", "in use again, it waits no more");
}

#[test]
fn an_idle_name_is_served_from_memory_at_once_if_there_is_no_route() {
    let Some(world) = World::new() else { return };
    let mounted = idle(&world, &[]);
    world.cut_network();
    assert_eq!(mounted.text("backup"), "v");
}

#[test]
fn an_idle_name_that_was_revoked_is_never_served() {
    let Some(world) = World::new() else { return };
    let mounted = idle(&world, &[]);
    assert!(world.vault().disable("backup"));
    assert_eq!(mounted.errno("backup"), libc::EKEYREVOKED);
    assert_eq!(world.answered("backup", 403), 1);
}

#[test]
fn an_idle_name_that_was_rotated_is_served_as_it_is_now() {
    let Some(world) = World::new() else { return };
    let mounted = idle(&world, &[]);
    let file = mounted.open("backup").unwrap();
    world.let_idle();
    world.vault().put("backup", "new");
    assert_eq!(mounted.text("backup"), "new");
    assert_eq!(file.metadata().unwrap().len(), 1);
}

#[test]
fn an_idle_name_that_is_still_good_keeps_its_time_and_is_served_from_memory_afterwards() {
    let Some(world) = World::new() else { return };
    let mounted = idle(&world, &[]);
    assert_eq!(mounted.text("backup"), "v");
    let asked = world.gets("backup");
    assert_eq!(asked, 1);
    world.cut_network();
    assert_eq!(mounted.text("backup"), "v");
}

#[test]
fn an_idle_name_past_stale_is_not_served() {
    let Some(world) = World::new() else { return };
    let mounted = idle(&world, &["stale=4s", "open-timeout=1s"]);
    world.cut_network();
    pass(Duration::from_secs(4));
    assert_eq!(mounted.errno("backup"), libc::ETIMEDOUT);
    world.mend_network();
    mounted.until_shows("backup", "v");
}

#[test]
fn a_name_that_was_only_looked_at_is_dropped_when_it_is_idle() {
    let Some(world) = World::new() else { return };
    world.vault().put("looked-at", "v");
    let mounted = world.mount(&[REFRESH, "open-timeout=1s"]);
    assert_eq!(mounted.stat("looked-at").unwrap().len(), 1);
    world.let_idle();
    world.cut_network();
    assert_eq!(mounted.errno("looked-at"), libc::ETIMEDOUT);
}

#[test]
fn a_name_that_was_read_is_forgotten_when_keep_is_over() {
    let Some(world) = World::new() else { return };
    let mounted = idle(&world, &["keep=2s", "open-timeout=1s"]);
    pass(Duration::from_secs(2));
    world.cut_network();
    assert_eq!(mounted.errno("backup"), libc::ETIMEDOUT);
}
