//! A mount comes up whatever is away.

use std::time::Duration;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use rustix::io::Errno;

use crate::faults::table::imds;
use crate::faults::table::mend;
use crate::together::together;
use crate::world::World;
use crate::world::until;

fn vault(world: &World, kind: Kind) {
    world.emulator.inject(Fault::always(Scope::Vault, kind));
}

/// What is away while somebody mounts.
type Away = (&'static str, fn(&World));

const AWAY: [Away; 10] = [
    ("IMDS hangs", |world| imds(world, Kind::Hang)),
    ("IMDS is updated", |world| imds(world, Kind::status(410))),
    (NO_IDENTITY, |world| world.emulator.imds().set_system(None)),
    ("the vault hangs", |world| vault(world, Kind::Hang)),
    ("the vault resets", |world| vault(world, Kind::Reset)),
    ("no route", World::cut_network),
    ("no such name", World::lose_name),
    ("no resolver", |world| {
        world.lose_resolver();
        world.lose_name();
    }),
    ("names are swallowed", World::swallow_names),
    ("packets are swallowed", World::swallow_vaults),
];

/// It heals as the others do, but the service is asked every half minute only.
const NO_IDENTITY: &str = "no identity yet";

fn mounts_all_the_same((what, break_it): Away) {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "value");
    break_it(&world);

    let (mounted, ran) = world.mount_with_complaints("open-timeout=700ms");

    assert!(ran.took < Duration::from_secs(5), "{what}: {:?}", ran.took);
    let (warnings, hints): (Vec<&str>, Vec<&str>) =
        ran.stderr.lines().partition(|line| line.starts_with("akvfs: warning: "));
    assert_eq!(warnings.len(), 1, "{what}: {}", ran.stderr);
    assert!(hints.iter().all(|line| line.trim_start().starts_with("hint: ")), "{}", ran.stderr);
    let refused = mounted.outcome("ftpadmin");
    assert!(matches!(refused, Err(Errno::TIMEDOUT | Errno::NOKEY)), "{what}: {refused:?}");

    mend(&world);
    if what != NO_IDENTITY {
        until(what, || mounted.outcome("ftpadmin") == Ok(b"value".to_vec()));
    }
}

#[test]
fn a_mount_comes_up_whatever_is_away_with_one_warning_and_heals() {
    together(AWAY, mounts_all_the_same);
}
