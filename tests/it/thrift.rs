//! What a real mount asks of a vault, counted where it arrives.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use akvfs_emulator::record::Request;
use akvfs_emulator::vault::Refusal;

use crate::mounted::Mounted;
use crate::world::World;
use crate::world::until;

/// A name is in use for ten of these, and a machine that does other things as well is in time.
const REFRESH: Duration = Duration::from_secs(4);

fn name(number: usize) -> String {
    format!("secret-{number:03}")
}

impl World {
    fn fill(&self, names: usize) {
        for number in 0..names {
            self.vault().put(&name(number), "v");
        }
    }

    /// What a vault is asked in so many refreshes, while somebody looks at every name; and how many
    /// refreshes it was in the end, on a machine that does other things as well.
    fn asked_in(&self, refreshes: u32, mounted: &Mounted<'_>, names: usize) -> (Vec<Request>, f64) {
        self.emulator.reset_requests();
        let start = Instant::now();
        for _ in 0..refreshes {
            for number in 0..names {
                assert!(mounted.stat(&name(number)).is_ok());
            }
            sleep(REFRESH);
        }
        let passed = start.elapsed().as_secs_f64() / REFRESH.as_secs_f64();
        let requests = self.emulator.requests();
        (requests.into_iter().filter(|it| it.is_get() || it.is_list()).collect(), passed)
    }
}

#[test]
fn three_hundred_names_in_use_cost_an_eighth_where_the_list_can_be_walked() {
    let Some(world) = World::new() else { return };
    world.fill(300);
    // Made before this second, or the list would say nothing about them yet.
    sleep(Duration::from_millis(2100));
    let mounted = world.mount(&["refresh=4s,confirm=1m,prefetch=wait,open-timeout=1m"]);
    for number in 0..300 {
        assert_eq!(mounted.text(&name(number)), "v");
    }
    world.asked_in(1, &mounted, 300);

    let (asked, refreshes) = world.asked_in(5, &mounted, 300);
    let pages = asked.iter().filter(|it| it.is_list()).count();
    let eighth = refreshes * 300.0 / 8.0;
    assert!((asked.len() as f64) <= eighth, "{} requests, {pages} of them pages", asked.len());
    assert!(pages >= 4 * 12, "{pages} pages of {} requests", asked.len());

    for number in [7, 100, 299] {
        world.vault().put(&name(number), "w");
    }
    for number in [7, 100, 299] {
        mounted.until_shows(&name(number), "w");
    }
}

#[test]
fn with_confirm_as_short_as_refresh_each_name_in_use_is_asked_about() {
    let Some(world) = World::new() else { return };
    world.fill(40);
    let mounted = world.mount(&["refresh=4s,confirm=4s,prefetch=wait,open-timeout=1m"]);
    let (asked, _) = world.asked_in(3, &mounted, 40);
    assert!(asked.iter().filter(|it| it.is_get()).count() >= 3 * 40);
    assert_eq!(asked.iter().filter(|it| it.is_list()).count(), 0);
}

#[test]
fn without_the_right_to_list_twenty_names_in_use_are_asked_about_once_in_a_refresh() {
    let Some(world) = World::new() else { return };
    world.fill(20);
    world.vault().deny_list(Refusal::Rbac);
    let (mounted, _) = world.mount_with_complaints("refresh=4s");
    for number in 0..20 {
        assert_eq!(mounted.text(&name(number)), "v");
    }
    let (asked, _) = world.asked_in(4, &mounted, 20);
    let mut gets: BTreeMap<_, Vec<Duration>> = BTreeMap::new();
    for get in asked.iter().filter(|it| it.is_get()) {
        gets.entry(get.secret.clone()).or_default().push(get.at);
    }
    assert_eq!(gets.len(), 20);
    for (name, at) in &gets {
        let gaps = at.windows(2).map(|two| two[1] - two[0]);
        assert!(gaps.min() >= Some(REFRESH.mul_f64(0.8)), "{name:?}: {at:?}");
    }
    assert_eq!(asked.iter().filter(|it| it.is_list()).count(), 0);
}

#[test]
fn a_right_that_is_taken_from_all_is_noticed_though_the_list_goes_on() {
    let Some(world) = World::new() else { return };
    world.fill(60);
    sleep(Duration::from_millis(2100));
    let mounted = world.mount(&["refresh=4s,prefetch=wait,open-timeout=1m"]);
    let (asked, refreshes) = world.asked_in(2, &mounted, 60);
    let gets = asked.iter().filter(|it| it.is_get()).count();
    let all = refreshes * 60.0;
    assert!((gets as f64) < all / 2.0, "{gets} of {all}: the list confirms what is in use");

    world.emulator.reset_requests();
    for number in 0..60 {
        world.vault().deny_get(&name(number), Refusal::Policy);
    }
    for number in 0..60 {
        mounted.until_fails(&name(number), libc::EACCES);
    }
    let asked = world.emulator.requests();
    let (first, last) = (asked.first().unwrap().at, asked.last().unwrap().at);
    let refused: Vec<_> = asked.iter().filter(|it| it.was_answered(403)).collect();
    assert!(refused.len() >= 60);
    // All of them as soon as the first one is: nowhere near confirm, which is a quarter of an hour.
    assert!(last - first < REFRESH * 4, "{:?}", last - first);
}

#[test]
fn prefetch_fetches_everything_though_nobody_comes_and_waits_for_it_if_told_to() {
    let Some(world) = World::new() else { return };
    world.fill(30);
    world.vault().disable(&name(3));
    world.vault().deny_get(&name(4), Refusal::Rbac);
    // It begins within a refresh.
    let behind = world.mount(&["prefetch,refresh=1s"]);
    until("every value is fetched", || world.answered(&name(29), 200) > 0);
    drop(behind);

    world.emulator.reset_requests();
    let first = world.mount(&["prefetch=wait"]);
    let asked: Vec<usize> = (0..30).map(|number| world.gets(&name(number))).collect();
    assert_eq!(asked.iter().sum::<usize>(), 29, "{asked:?}");
    world.emulator.reset_requests();
    for number in (0..30).filter(|number| ![3, 4].contains(number)) {
        assert_eq!(first.text(&name(number)), "v");
    }
    assert_eq!(world.emulator.requests().len(), 0);
}

#[test]
fn prefetch_wait_does_not_wait_for_a_vault_that_is_away() {
    let Some(world) = World::new() else { return };
    world.fill(3);
    world.cut_network();
    let (mounted, ran) = world.mount_with_complaints("prefetch=wait,open-timeout=1s");
    assert!(ran.stderr.contains("prefetch: "), "{}", ran.stderr);
    world.mend_network();
    until("every value is fetched", || (0..3).all(|number| world.answered(&name(number), 200) > 0));
    assert_eq!(mounted.text(&name(0)), "v");
}
