//! Each option of mount does what the table says, on a real mount.

use std::fs;
use std::time::Duration;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::identity::Identity;
use akvfs_emulator::record::Request;
use akvfs_emulator::record::Service;
use akvfs_emulator::vault::Refusal;

use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

fn filled() -> Option<World> {
    let world = World::new()?;
    world.vault().put("ftpadmin", "s3cret");
    Some(world)
}

#[test]
fn uid_gid_mode_and_dir_mode_are_those_of_files_and_directory() {
    let Some(world) = filled() else { return };
    let seen = |options: &[&str]| {
        let mounted = world.mount(options);
        let paths = [mounted.directory().to_owned(), mounted.path("ftpadmin")];
        let paths = paths.map(|path| path.to_str().unwrap().to_owned());
        let [directory, file] =
            paths.map(|path| world.run("stat", &["-c", "%u:%g %a", &path]).ok());
        (directory.trim().to_owned(), file.trim().to_owned())
    };
    let both = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    assert_eq!(seen(&[]), both("0:0 550", "0:0 400"));
    let owned = seen(&["allow_other", "uid=games", "gid=60", "mode=0440"]);
    let games = world.run("id", &["-u", "games"]).ok();
    let games = games.trim();
    assert_eq!(owned, both(&format!("{games}:60 550"), &format!("{games}:60 440")));
    let open = seen(&["allow_other", "mode=0444", "dir-mode=0555"]);
    assert_eq!(open, both("0:0 555", "0:0 444"));
}

#[test]
fn allow_other_lets_in_whom_the_modes_allow_and_nobody_else() {
    let Some(world) = filled() else { return };
    world.install();
    let alice = world.user("alice", 4242);
    let cat = |options: &[&str]| {
        let mounted = world.mount(options);
        let ran = alice.run("cat", &[mounted.path("ftpadmin")]);
        (ran.code == Some(0)).then(|| ran.ok())
    };
    assert_eq!(cat(&[]), None);
    assert_eq!(cat(&["allow_other"]), None);
    assert_eq!(cat(&["allow_other", "gid=60", "mode=0440"]), None);
    let value = Some("s3cret".to_owned());
    assert_eq!(cat(&["allow_other", "gid=4242", "mode=0440"]), value);
    assert_eq!(cat(&["allow_other", "uid=alice"]), value);
    assert_eq!(cat(&["allow_other", "mode=0444", "dir-mode=0555"]), value);
    // What is not let in is not fetched either.
    assert_eq!(world.emulator.count(|request| request.is_get() && request.was_answered(200)), 3);
    let (mounted, ran) = world.mount_with_complaints("uid=alice");
    assert!(ran.stderr.contains("hint: allow_other"), "{}", ran.stderr);
    assert_eq!(alice.run("cat", &[mounted.path("ftpadmin")]).code, Some(1));
}

#[test]
fn newline_ends_what_is_neither_empty_nor_ended() {
    let Some(world) = filled() else { return };
    let values = [("none", "alice"), ("one", "alice\n"), ("cr", "a\r\nb\r"), ("empty", "")];
    for (name, value) in values {
        world.vault().put(name, value);
    }
    let mounted = world.mount(&["newline"]);
    for (name, expected) in
        [("none", "alice\n"), ("one", "alice\n"), ("cr", "a\r\nb\r\n"), ("empty", "")]
    {
        assert_eq!(mounted.cat(name).ok(), expected, "{name}");
        let path = mounted.path(name);
        let size = world.run("stat", &["-c", "%s", path.to_str().unwrap()]).ok();
        assert_eq!(size.trim(), expected.len().to_string(), "{name}");
    }
}

#[test]
fn secrets_shows_the_names_that_match_and_asks_for_no_other() {
    let Some(world) = filled() else { return };
    for name in ["site-a", "site-b", "other", "Site-c"] {
        world.vault().put(name, name);
    }
    let mounted = world.mount(&["secrets=site-*:ftpadmin"]);
    let sites = world.mount(&["secrets=Site-?"]);
    let ls = |directory: &std::path::Path| world.run("ls", &[directory.to_str().unwrap()]).ok();
    assert_eq!(ls(mounted.directory()), "ftpadmin\nsite-a\nsite-b\n");
    assert_eq!(ls(sites.directory()), "Site-c\n");
    assert_eq!(mounted.cat("site-a").ok(), "site-a");
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    assert!(mounted.cat("other").failed(1).contains("No such file"));
    assert!(sites.cat("ftpadmin").failed(1).contains("No such file"));
    assert_eq!(world.emulator.count(|request| request.is_get_of("other")), 0);
}

#[test]
fn refresh_is_how_soon_a_change_is_seen() {
    let Some(world) = filled() else { return };
    let quick = world.mount(&["refresh=200ms"]);
    let slow = world.mount(&["refresh=1h"]);
    assert_eq!((quick.cat("ftpadmin").ok(), slow.cat("ftpadmin").ok()), both("s3cret"));
    world.vault().put("ftpadmin", "rotated");
    until("it is seen", || quick.read("ftpadmin").is_ok_and(|value| value == b"rotated"));
    assert_eq!(slow.cat("ftpadmin").ok(), "s3cret");
}

fn both(text: &str) -> (String, String) {
    (text.to_owned(), text.to_owned())
}

#[test]
fn stale_is_how_long_an_outage_may_last() {
    let Some(world) = filled() else { return };
    let short = world.mount(&["refresh=200ms", "stale=1s", "open-timeout=500ms"]);
    let long = world.mount(&["refresh=200ms", "open-timeout=500ms"]);
    assert_eq!((short.cat("ftpadmin").ok(), long.cat("ftpadmin").ok()), both("s3cret"));
    world.emulator.inject(Fault::always(Scope::Get, Kind::status(503)));
    assert_eq!(short.cat("ftpadmin").ok(), "s3cret");
    until("it is over", || short.read("ftpadmin").is_err());
    assert!(short.cat("ftpadmin").failed(1).contains("timed out"));
    assert_eq!(long.cat("ftpadmin").ok(), "s3cret");
}

#[test]
fn keep_is_how_long_an_unused_value_is_held() {
    let Some(world) = filled() else { return };
    world.vault().put("kept", "s3cret");
    let options = ["refresh=100ms", "stale=1s"];
    let short = world.mount(&[&options[..], &["keep=1s"]].concat());
    let long = world.mount(&[&options[..], &["keep=1h"]].concat());
    assert_eq!((short.cat("ftpadmin").ok(), long.cat("kept").ok()), both("s3cret"));
    let asked = |name: &'static str| world.emulator.count(move |request| request.is_get_of(name));
    // Of what is held it is asked every quarter of `stale`; of what is not, never.
    until("one is asked for no more, and the other is", || {
        let (forgotten, kept) = (asked("ftpadmin"), asked("kept"));
        let more = |request: &Request| request.is_get_of("kept");
        world.emulator.wait_for(LIMIT, kept + 4, more) && asked("ftpadmin") == forgotten
    });
    world.emulator.inject(Fault::always(Scope::Vault, Kind::status(503)));
    assert_eq!(long.cat("kept").ok(), "s3cret");
    assert_eq!(short.cat("ftpadmin").code, Some(1));
}

#[test]
fn open_timeout_is_how_long_a_first_open_waits() {
    let Some(world) = filled() else { return };
    world.emulator.inject(Fault::always(Scope::Get, Kind::Hang));
    let mounted = world.mount(&["open-timeout=300ms"]);
    let ran = mounted.cat("ftpadmin");
    assert!(ran.took >= Duration::from_millis(300), "{ran:?}");
    assert!(ran.took < Duration::from_secs(5), "{ran:?}");
    assert!(ran.failed(1).contains("timed out"));
}

#[test]
fn room_bounds_what_is_held_and_more_is_told_apart() {
    let Some(world) = filled() else { return };
    let large = "x".repeat(25_600);
    for number in 0..50 {
        world.vault().put(&format!("large-{number}"), &large);
    }
    let all = |room: &str| {
        let mounted = world.mount(&[room, "check=off"]);
        let read = (0..50).map(|number| mounted.read(&format!("large-{number}")));
        read.filter_map(Result::err).map(|error| error.raw_os_error()).collect::<Vec<_>>()
    };
    assert_eq!(all("room=2M"), []);
    let failed = all("room=1M");
    assert!(!failed.is_empty() && failed.len() < 40, "{failed:?}");
    assert!(failed.iter().all(|errno| *errno == Some(12)), "all ENOMEM: {failed:?}");
}

#[test]
fn run_as_is_whom_the_worker_is_and_nobody_is_root() {
    let Some(world) = filled() else { return };
    let alice = world.user("alice", 4242);
    assert!(alice.home.is_absolute());
    let nobody = world.run("id", &["-u", "nobody"]).ok().trim().to_owned();
    for (options, uid) in
        [(&[][..], nobody.as_str()), (&["run-as=alice"], "4242"), (&["run-as=4999"], "4999")]
    {
        let mounted = world.mount(options);
        let worker = world.process("worker").unwrap();
        let status = format!("/proc/{}/status", worker.pid.as_raw_nonzero());
        let status = fs::read_to_string(status).unwrap();
        let line = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("Uid:"), [uid; 4].join(" "), "{options:?}");
        assert_eq!((line("Groups:"), line("CapEff:")), (String::new(), "0".repeat(16)));
        assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    }
    // The user made for it is taken, once it is there.
    world.user("akvfs", 4300);
    let _mounted = world.mount(&[]);
    let worker = world.process("worker").unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", worker.pid.as_raw_nonzero()));
    assert!(status.unwrap().contains("Uid:\t4300\t4300"));
}

#[test]
fn ca_file_is_trusted_instead_of_the_systems_roots() {
    let Some(world) = filled() else { return };
    let directory = world.directory();
    let ca_file = directory.join("ca.pem");
    let ca_file = ca_file.to_str().unwrap();
    world.write(ca_file, world.emulator.authority_pem());
    world.sh("rm -r /etc/ssl /etc/pki").ok();
    let mounted = world.mount(&[&format!("ca-file={ca_file}")]);
    // It is read once, by whoever mounts.
    world.sh(&format!("rm {ca_file}")).ok();
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    world.process("worker").unwrap().kill();
    world.vault().put("other", "value");
    assert_eq!(mounted.cat("other").ok(), "value");
}

#[test]
fn resource_and_authority_open_a_vault_outside_the_known_clouds() {
    let Some(world) = World::new() else { return };
    let host = "my-vault.vault.stack.example";
    world.emulator.vault(host).put("ftpadmin", "s3cret");
    world.name_host(host);
    let directory = world.directory();
    let at = directory.to_str().unwrap();
    let said = world.akvfs(&["mount", host, at]).failed(1);
    assert!(said.contains("resource=") && said.contains("authority="), "{said}");
    let mounted = world.mounted_at(directory.clone());
    let options = "resource=https://vault.stack.example,\
                   authority=https://login.microsoftonline.com,check=strict";
    assert_eq!(world.akvfs(&["mount", host, at, "-o", options]).ok(), "");
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    assert_eq!(world.mounts()[0].source, host);
    let resource = "resource=https%3A%2F%2Fvault.stack.example";
    assert!(
        world.emulator.requests().iter().any(|it| it.is_token() && it.query.contains(resource))
    );
}

#[test]
fn identity_is_who_asks() {
    let Some(world) = filled() else { return };
    let [one, two] = [1, 2].map(Identity::numbered);
    world.emulator.imds().add_user(one.clone());
    world.emulator.imds().add_user(two.clone());
    let vault = world.vault();
    vault.deny_get("*", Refusal::Policy);
    vault.for_identity(&two.client_id).allow_get("*");
    let reads = |option: &str| {
        let mounted = world.mount(&[option]);
        let value = mounted.read("ftpadmin");
        value.is_ok_and(|value| value == b"s3cret")
    };
    assert!(!reads("identity=auto"));
    assert!(!reads("identity=system"));
    assert!(!reads(&format!("identity=client-id:{}", one.client_id)));
    assert!(reads(&format!("identity=client-id:{}", two.client_id)));
    assert!(!reads(&format!("identity=object-id:{}", one.object_id)));
    assert!(reads(&format!("identity=object-id:{}", two.object_id)));
    assert!(reads(&format!("identity=resource-id:{}", two.resource_id)));
    let directory = world.directory();
    let mounted = world.mounted_at(directory.clone());
    let mut command = world.command("akvfs");
    command.args(["mount", "my-vault", directory.to_str().unwrap()]);
    command.env("AZURE_CLIENT_ID", &two.client_id);
    assert_eq!(world.spawn(&mut command).wait(LIMIT).ok(), "");
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
}

#[test]
fn check_decides_whether_anybody_is_asked() {
    let Some(world) = filled() else { return };
    let asked = |check: &str| {
        world.emulator.reset_requests();
        drop(world.mount(&[check]));
        let list = world.emulator.count(Request::is_list);
        (world.emulator.count(Request::is_token), list > 0)
    };
    assert_eq!(asked("check=off"), (0, false));
    assert_eq!(asked("check=on"), (1, true));
    assert_eq!(asked("check=strict"), (1, true));
    assert_eq!(world.emulator.count(|it| it.service == Service::Elsewhere), 0);
}
