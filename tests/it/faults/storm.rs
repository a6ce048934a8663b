//! Eight names, twenty rotations a second, eight readers, a minute: nothing is torn.

use std::time::Duration;

use crate::storm::rage;
use crate::world::World;

#[test]
fn a_minute_of_rotations_tears_nothing_takes_nobody_back_and_fails_no_open() {
    let Some(world) = World::new() else { return };
    let mounted = world.mount(&["refresh=1s", "check=off"]);

    let seen = rage(&mounted, &world.vault(), Duration::from_secs(60));

    let none = Vec::<String>::new();
    assert_eq!((&seen.torn, &seen.sizes, &seen.back), (&none, &none, &none));
    assert_eq!(seen.errors, none);
    assert!(seen.slowest < Duration::from_secs(1), "an open took {:?}", seen.slowest);
    assert!(seen.rotations > 600 && seen.opens > 10_000, "{} {}", seen.rotations, seen.opens);
    // What is read is the newest of a refresh ago, and of what a busy machine adds to that.
    assert!(seen.age(990) < Duration::from_secs(3), "{:?}", seen.age(990));
}
