//! The directory: which names it shows, with which numbers, and when a change is seen.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::vault::Refusal;

use crate::mounted::Mounted;
use crate::world::World;
use crate::world::until;

#[test]
fn ls_shows_the_names_that_are_enabled_and_fetches_no_value() {
    let Some(world) = World::new() else { return };
    for name in ["zebra", "Alpha", "ftpadmin", "x-1", "old"] {
        world.vault().put(name, "v");
    }
    assert!(world.vault().disable("old"));
    let mounted = world.mount(&["check=off"]);

    let printed = world.run("ls", &[mounted.directory().to_str().unwrap()]).ok();

    let names: BTreeSet<&str> = printed.lines().collect();
    assert_eq!(names, ["zebra", "Alpha", "ftpadmin", "x-1"].into());
    assert_eq!((world.lists() - challenged(&world), gets(&world)), (1, 0));
    assert_eq!(mounted.errno("old"), libc::EKEYREVOKED, "it can be asked for all the same");
}

#[test]
fn an_empty_vault_is_an_empty_directory() {
    let Some(world) = World::new() else { return };
    let mounted = world.mount(&[]);
    assert_eq!(mounted.names(), set(&[]));
    world.vault().put("first", "v");
    let mounted = world.mount(&[]);
    assert_eq!(mounted.names(), set(&["first"]));
}

#[test]
fn new_names_come_and_deleted_and_disabled_ones_go_within_a_refresh() {
    let Some(world) = World::new() else { return };
    for name in ["stays", "deleted", "purged", "disabled"] {
        world.vault().put(name, "v");
    }
    let mounted = world.mount(&["refresh=1s"]);
    assert_eq!(mounted.names(), set(&["stays", "deleted", "purged", "disabled"]));

    assert!(world.vault().delete("deleted"));
    assert!(world.vault().purge("purged"));
    assert!(world.vault().disable("disabled"));
    world.vault().put("new", "v");
    world.emulator.reset_requests();
    until_lists(&mounted, &["stays", "new"]);
    assert!(world.lists() <= 2, "one refresh is one walk: {}", world.lists());

    assert!(world.vault().recover("deleted"));
    assert!(world.vault().enable("disabled"));
    until_lists(&mounted, &["stays", "new", "deleted", "disabled"]);
    assert_eq!(gets(&world), 0);
}

#[test]
fn the_number_that_readdir_gives_is_the_one_that_stat_gives() {
    let Some(world) = World::new() else { return };
    for name in ["a", "b", "c", "d"] {
        world.vault().put(name, "v");
    }
    let mounted = world.mount(&["refresh=300ms"]);
    // Listed before anybody looked them up, and after.
    let listed = mounted.numbered();
    same_numbers(&mounted, &listed);
    assert_eq!(mounted.numbered(), listed);
    let old = mounted.stat("b").unwrap().ino();

    world.vault().put("b", "rotated");
    mounted.until_shows("b", "rotated");
    let listed = mounted.numbered();
    same_numbers(&mounted, &listed);
    assert!(listed.iter().all(|(_, number)| *number != old), "{old}: {listed:?}");

    // A name that is refused for a while.
    assert!(world.vault().disable("c"));
    mounted.until_fails("c", libc::EKEYREVOKED);
    assert!(world.vault().enable("c"));
    mounted.until_shows("c", "v");
    until("it is listed again", || mounted.names().contains("c"));
    same_numbers(&mounted, &mounted.numbered());
}

#[test]
fn without_the_right_to_list_any_name_can_be_opened_and_ls_shows_those_that_were() {
    let Some(world) = World::new() else { return };
    for name in ["ftpadmin", "web", "unseen"] {
        world.vault().put(name, "v");
    }
    world.vault().deny_list(Refusal::Policy);
    let mounted = world.mount(&["check=off", "refresh=500ms"]);
    assert_eq!(mounted.names(), set(&[]));

    assert_eq!(mounted.text("ftpadmin"), "v");
    assert_eq!(mounted.text("web"), "v");
    assert_eq!(mounted.errno("missing"), libc::ENOENT);
    until_lists(&mounted, &["ftpadmin", "web"]);
    same_numbers(&mounted, &mounted.numbered());

    // Revalidation goes on, one by one.
    world.vault().put("web", "new");
    mounted.until_shows("web", "new");
    assert!(world.vault().delete("ftpadmin"));
    mounted.until_fails("ftpadmin", libc::ENOENT);
    until_lists(&mounted, &["web"]);

    world.vault().allow_list();
    until_lists(&mounted, &["web", "unseen"]);
}

#[test]
fn without_the_right_to_list_configured_names_are_shown_before_they_were_seen() {
    let Some(world) = World::new() else { return };
    world.vault().put("site-a", "v");
    world.vault().deny_list(Refusal::Rbac);
    let mounted = world.mount(&["check=off", "secrets=ftpadmin:site-*"]);
    assert_eq!(mounted.names(), set(&["ftpadmin"]));
    assert_eq!(mounted.text("site-a"), "v");
    until_lists(&mounted, &["ftpadmin", "site-a"]);
}

#[test]
fn secrets_chooses_what_is_listed_and_what_can_be_opened() {
    let Some(world) = World::new() else { return };
    for name in ["site-a", "site-b", "Site-c", "ftpadmin", "ftpadmin2", "other"] {
        world.vault().put(name, "v");
    }
    let mounted = world.mount(&["check=off", "secrets=site-*:ftpadmin"]);

    assert_eq!(mounted.names(), set(&["site-a", "site-b", "ftpadmin"]));
    assert_eq!(mounted.text("site-a"), "v");
    for name in ["other", "ftpadmin2", "Site-c", "missing"] {
        assert_eq!(mounted.errno(name), libc::ENOENT, "{name}");
        assert_eq!(world.gets(name), 0, "{name}");
    }
}

#[test]
fn ten_thousand_names_come_in_short_and_empty_pages() {
    let Some(world) = World::new() else { return };
    let vault = world.vault();
    let all: BTreeSet<String> = (0..10_000).map(|number| format!("secret-{number:05}")).collect();
    for name in &all {
        vault.put(name, "v");
    }
    vault.page_sizes(vec![0, 3, 0, 0, 25, 1, 0]);
    let mounted = world.mount(&["check=off", "open-timeout=1m"]);

    let listed = mounted.numbered();

    let names: BTreeSet<String> = listed.iter().map(|(name, _)| name.clone()).collect();
    let numbers: BTreeSet<u64> = listed.iter().map(|(_, number)| *number).collect();
    assert_eq!((listed.len(), numbers.len()), (10_000, 10_000), "none twice");
    assert_eq!(names, all);
    assert_eq!(gets(&world), 0);
    same_numbers(&mounted, &listed[4990..5010]);
    assert_eq!(mounted.numbered(), listed);
}

#[test]
fn a_listing_outlives_an_outage() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "v");
    let mounted = world.mount(&["refresh=300ms", "open-timeout=1s"]);
    assert_eq!(mounted.names(), set(&["ftpadmin"]));
    world.cut_network();
    // The kernel's copy ends, and what is read again comes from memory.
    let before = world.work();
    until("it was read again", || {
        assert_eq!(mounted.names(), set(&["ftpadmin"]));
        world.work().1 > before.1
    });
    assert_eq!(mounted.names(), set(&["ftpadmin"]));
}

#[test]
fn a_first_ls_without_a_vault_says_why() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "v");
    let mounted = world.mount(&["check=off", "open-timeout=1s"]);
    world.emulator.inject(Fault::always(Scope::Vault, Kind::status(503)));
    let failed = world.run("ls", &[mounted.directory().to_str().unwrap()]);
    let said = failed.failed(2);
    assert!(said.contains("timed out"), "{said}");
    world.emulator.clear_all();
    until("it is there again", || {
        let listed = world.run("ls", &[mounted.directory().to_str().unwrap()]);
        listed.code == Some(0) && listed.stdout == b"ftpadmin\n"
    });
}

#[track_caller]
fn until_lists(mounted: &Mounted<'_>, names: &[&str]) {
    until("the names that there are now", || mounted.names() == set(names));
}

#[track_caller]
fn same_numbers(mounted: &Mounted<'_>, listed: &[(String, u64)]) {
    for (name, number) in listed {
        assert_eq!(mounted.stat(name).unwrap().ino(), *number, "{name}");
    }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn gets(world: &World) -> usize {
    world.emulator.count(|request| request.is_get())
}

fn challenged(world: &World) -> usize {
    world.emulator.count(|request| request.was_answered(401))
}
