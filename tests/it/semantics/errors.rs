//! What a caller gets where the vault gives no value: its word, in the error number.

use akvfs_emulator::vault::Change;
use akvfs_emulator::vault::Refusal;
use akvfs_emulator::vault::Vault;

use crate::caller::errno;
use crate::world::World;
use crate::world::until;

/// A no of the vault: what brings it about, what takes it back, and its number.
struct No {
    name: &'static str,
    says: fn(&Vault, &str),
    takes_back: fn(&Vault, &str),
    number: i32,
}

const NOES: [No; 8] = [
    No { name: "disabled", says: disable, takes_back: enable, number: libc::EKEYREVOKED },
    No { name: "policy", says: policy, takes_back: allow, number: libc::EACCES },
    No { name: "old-policy", says: old_policy, takes_back: allow, number: libc::EACCES },
    No { name: "role", says: role, takes_back: allow, number: libc::EACCES },
    No { name: "firewall", says: firewall, takes_back: allow, number: libc::EACCES },
    No { name: "connection", says: connection, takes_back: allow, number: libc::EACCES },
    No { name: "deleted", says: delete, takes_back: recover, number: libc::ENOENT },
    No { name: "purged", says: purge, takes_back: put, number: libc::ENOENT },
];

#[test]
fn a_first_open_of_what_the_vault_refuses_says_why_and_is_remembered() {
    let Some(world) = World::new() else { return };
    for no in &NOES {
        world.vault().put(no.name, "v");
        (no.says)(&world.vault(), no.name);
    }
    let mounted = world.mount(&["check=off"]);

    for no in &NOES {
        assert_eq!(mounted.errno(no.name), no.number, "{}", no.name);
        assert_eq!(errno(mounted.stat(no.name).map(drop)), no.number, "{}", no.name);
        assert_eq!(mounted.errno(no.name), no.number, "{}", no.name);
        assert_eq!(world.gets(no.name) - world.answered(no.name, 401), 1, "{}", no.name);
    }
    assert_eq!(mounted.errno("never-there"), libc::ENOENT);
}

#[test]
fn a_refusal_ends_a_cached_value_within_a_refresh_and_its_end_brings_the_value_back() {
    let Some(world) = World::new() else { return };
    for no in &NOES {
        world.vault().put(no.name, "v");
    }
    let mounted = world.mount(&["refresh=1s"]);
    for no in &NOES {
        assert_eq!(mounted.text(no.name), "v");
    }

    for no in &NOES {
        (no.says)(&world.vault(), no.name);
    }
    world.emulator.reset_requests();
    for no in &NOES {
        mounted.until_fails(no.name, no.number);
        let noes = world.gets(no.name) - world.answered(no.name, 200);
        // One 404 may be a front end that has not heard of the secret yet.
        let enough = if no.number == libc::ENOENT { 2 } else { 1 };
        assert_eq!(noes, enough, "{}", no.name);
    }
    for no in &NOES {
        (no.takes_back)(&world.vault(), no.name);
    }
    for no in &NOES {
        mounted.until_shows(no.name, "v");
    }
}

#[test]
fn a_404_ends_a_cached_value_only_if_a_second_one_comes_five_seconds_later() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "v");
    let mounted = world.mount(&["refresh=1s"]);
    assert_eq!(mounted.text("ftpadmin"), "v");

    world.vault().delete("ftpadmin");
    until("the first 404", || world.answered("ftpadmin", 404) == 1);
    assert_eq!(mounted.text("ftpadmin"), "v");
    world.vault().recover("ftpadmin");
    let known = world.answered("ftpadmin", 200);
    until("it is there again", || world.answered("ftpadmin", 200) > known);
    assert_eq!(mounted.text("ftpadmin"), "v");

    world.vault().delete("ftpadmin");
    world.emulator.reset_requests();
    mounted.until_fails("ftpadmin", libc::ENOENT);
    let missing = world.emulator.requests();
    let missing: Vec<_> = missing.iter().filter(|it| it.was_answered(404)).collect();
    let apart = missing.last().unwrap().at - missing.first().unwrap().at;
    assert!(apart.as_millis() >= 4_900, "{apart:?}");
}

#[test]
fn a_value_outside_its_dates_is_served_as_the_vault_serves_it() {
    let Some(world) = World::new() else { return };
    for (name, exp, nbf) in [("expired", Some(1), None), ("not-yet", None, Some(4_000_000_000))] {
        world.vault().put(name, "v");
        assert!(world.vault().change(name, Change { exp, nbf, ..Change::default() }));
    }
    let mounted = world.mount(&[]);
    assert_eq!(mounted.text("expired"), "v");
    assert_eq!(mounted.text("not-yet"), "v");
}

#[test]
fn a_name_that_no_secret_can_have_is_missing_and_costs_no_request() {
    let Some(world) = World::new() else { return };
    let mounted = world.mount(&["check=off"]);
    let (long, longer) = ("x".repeat(128), "x".repeat(256));
    let impossible = [
        ".git",
        ".Trash-0",
        "a_b",
        "server.key",
        "a b",
        "a\nb",
        "a%2fb",
        "a?b",
        "a#b",
        "caf\u{e9}",
        "*",
        "~",
        "-\u{7f}",
        &long,
        &longer,
    ];
    for name in impossible {
        assert_eq!(mounted.errno(name), libc::ENOENT, "{name:?}");
        assert_eq!(mounted.errno(&format!("{name}/x")), libc::ENOENT, "{name:?}");
    }
    let raw = mounted.inside(|directory| {
        let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"a\xff\xfeb");
        errno(std::fs::read(directory.join(name)))
    });
    assert_eq!(raw, libc::ENOENT);
    assert_eq!(world.emulator.requests().len(), 0);

    world.vault().put(&"x".repeat(127), "longest");
    world.vault().put("-", "shortest");
    assert_eq!(mounted.text(&"x".repeat(127)), "longest");
    assert_eq!(mounted.text("-"), "shortest");
    assert_eq!(mounted.errno("-/x"), libc::ENOTDIR);
}

#[test]
fn a_look_up_is_exact_in_case() {
    let Some(world) = World::new() else { return };
    world.vault().put("FtpAdmin", "v");
    let mounted = world.mount(&[]);
    for other in ["ftpadmin", "FTPADMIN", "FtpadmiN"] {
        assert_eq!(mounted.errno(other), libc::ENOENT, "{other}");
    }
    assert_eq!(mounted.text("FtpAdmin"), "v");
    assert_eq!(mounted.errno("ftpadmin"), libc::ENOENT);
}

#[test]
fn a_missing_name_is_asked_for_once_and_seen_when_it_comes() {
    let Some(world) = World::new() else { return };
    let mounted = world.mount(&["check=off"]);
    for _ in 0..50 {
        assert_eq!(mounted.errno("to-come"), libc::ENOENT);
    }
    assert_eq!(world.answered("to-come", 404), 1);

    world.vault().put("to-come", "here");
    mounted.until_shows("to-come", "here");
}

#[test]
fn where_there_is_no_room_for_one_more_value_a_first_open_is_enomem_and_the_others_go_on() {
    let Some(world) = World::new() else { return };
    let value = "v".repeat(25_000);
    let names: Vec<String> = (0..60).map(|number| format!("secret-{number}")).collect();
    for name in &names {
        world.vault().put(name, &value);
    }
    let mounted = world.mount(&["room=1M"]);

    let errnos: Vec<i32> = names.iter().map(|name| mounted.errno(name)).collect();

    let fit = errnos.iter().take_while(|number| **number == 0).count();
    assert!((30..42).contains(&fit), "{errnos:?}");
    assert!(errnos[fit..].iter().all(|number| *number == libc::ENOMEM), "{errnos:?}");
    for name in &names[..fit] {
        assert_eq!(mounted.text(name), value, "{name}");
    }
}

fn delete(vault: &Vault, name: &str) {
    assert!(vault.delete(name));
}

fn recover(vault: &Vault, name: &str) {
    assert!(vault.recover(name));
}

fn purge(vault: &Vault, name: &str) {
    assert!(vault.purge(name));
}

fn put(vault: &Vault, name: &str) {
    vault.put(name, "v");
}

fn disable(vault: &Vault, name: &str) {
    assert!(vault.disable(name));
}

fn enable(vault: &Vault, name: &str) {
    assert!(vault.enable(name));
}

fn policy(vault: &Vault, name: &str) {
    vault.deny_get(name, Refusal::Policy);
}

fn old_policy(vault: &Vault, name: &str) {
    vault.deny_get(name, Refusal::AccessDenied);
}

fn role(vault: &Vault, name: &str) {
    vault.deny_get(name, Refusal::Rbac);
}

fn firewall(vault: &Vault, name: &str) {
    vault.deny_get(name, Refusal::Firewall);
}

fn connection(vault: &Vault, name: &str) {
    vault.deny_get(name, Refusal::Connection);
}

fn allow(vault: &Vault, name: &str) {
    vault.allow_get(name);
}
