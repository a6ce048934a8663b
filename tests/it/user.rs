//! A mount by an ordinary user: through fusermount3, for himself, with no right that he lacks.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::installed::User;
use crate::mounted::Mounted;
use crate::namespace::Process;
use crate::world::World;
use crate::world::until;

/// A world with three users, of whom one has a directory to mount at; none where users cannot mount.
fn peopled(world: &World) -> [User<'_>; 2] {
    world.vault().put("ftpadmin", "s3cret");
    world.install();
    world.open_fuse_to_all();
    let users = [world.user("alice", 4242), world.user("bob", 4243)];
    for user in &users {
        assert_eq!(user.run("mkdir", &["vault"]).ok(), "");
    }
    users
}

/// A world, unless its machine has no fusermount3.
fn world() -> Option<World> {
    if !Path::new("/usr/bin/fusermount3").exists() {
        return World::skip("fusermount3 is not installed");
    }
    World::new()
}

/// Has a user mount in his home, with these options: it must work, and in silence.
#[track_caller]
fn mount<'a>(user: &User<'a>, options: &str) -> Mounted<'a> {
    let mounted = user.mounted("vault");
    assert_eq!(user.run("akvfs", &["mount", "my-vault", "vault", "-o", options]).ok(), "");
    mounted
}

fn ids(process: &Process, key: &str) -> Vec<String> {
    let pid = process.pid.as_raw_nonzero();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.split_whitespace().map(ToOwned::to_owned).collect()
}

#[test]
fn files_and_directory_are_the_users_and_nobody_else_gets_in() {
    let Some(world) = world() else { return };
    let [alice, bob] = peopled(&world);
    let mounted = mount(&alice, "rw");

    assert_eq!(alice.run("cat", &["vault/ftpadmin"]).ok(), "s3cret");
    let seen = alice.run("stat", &["-c", "%n %a %u %g", "vault", "vault/ftpadmin"]).ok();
    assert_eq!(seen, "vault 550 4242 4242\nvault/ftpadmin 400 4242 4242\n");
    let path = mounted.path("ftpadmin");
    for ran in [world.cat(&path), bob.run("cat", &[&path])] {
        assert!(ran.failed(1).contains("Permission denied"));
    }
    let line = &world.mounts()[0];
    assert_eq!((line.kind.as_str(), line.source.as_str()), ("fuse.akvfs", "my-vault"));
    for option in ["ro", "nosuid", "nodev", "noexec", "default_permissions", "user_id=4242"] {
        assert!(line.options.iter().any(|has| has == option), "{option}: {line:?}");
    }
    assert!(!line.options.iter().any(|has| has == "allow_other"), "{line:?}");
}

#[test]
fn all_its_processes_are_the_users_and_without_rights() {
    let Some(world) = world() else { return };
    let [alice, _] = peopled(&world);
    let _mounted = mount(&alice, "rw");
    for role in ["supervisor", "relay", "worker"] {
        let process = world.process(role).unwrap();
        assert_eq!(ids(&process, "Uid:"), ["4242"; 4], "{role}");
        assert_eq!(ids(&process, "Gid:"), ["4242"; 4], "{role}");
        assert_eq!(ids(&process, "CapEff:"), ["0000000000000000"], "{role}");
        // The supervisor must be able to run fusermount3 for the unmounting.
        let none_new = if role == "supervisor" { "0" } else { "1" };
        assert_eq!(ids(&process, "NoNewPrivs:"), [none_new], "{role}");
    }
    let said = alice.run("akvfs", &["mount", "my-vault", ".", "-o", "run-as=nobody"]).failed(1);
    assert_eq!(said, "akvfs: run-as=nobody: only root can choose\nhint: leave it away\n");
}

#[test]
fn allow_other_is_roots_to_grant() {
    let Some(world) = world() else { return };
    let [alice, bob] = peopled(&world);
    let options = "allow_other,mode=0444,dir-mode=0555";
    let line = ["mount", "my-vault", "vault", "-o", options];
    world.write("/etc/fuse.conf", "#user_allow_other\n");

    let said = alice.run("akvfs", &line).failed(32);

    assert_eq!(
        said,
        "akvfs: cannot mount on vault: users here may not mount with allow_other\n\
         hint: as root: add the line user_allow_other to /etc/fuse.conf\n"
    );
    assert_eq!(world.mounts().len(), 0);
    until("no process is left", || world.akvfs_processes().is_empty());
    assert_eq!(world.emulator.requests().len(), 0);

    world.write("/etc/fuse.conf", "user_allow_other\n");
    let mounted = mount(&alice, options);
    let path = mounted.path("ftpadmin");
    assert_eq!(bob.run("cat", &[&path]).ok(), "s3cret");
    assert_eq!(world.cat(&path).ok(), "s3cret");
}

/// Seen: the first open after a death was EACCES, once, because the kernel had not yet been told
/// whose the directory is, and did not count an answer that crossed the new worker's notices.
#[test]
fn a_mount_of_a_user_survives_the_death_of_worker_and_relay() {
    let Some(world) = world() else { return };
    let [alice, _] = peopled(&world);
    let _mounted = mount(&alice, "rw");
    for role in ["worker", "relay", "worker"] {
        let process = world.process(role).unwrap();
        process.kill();
        assert_eq!(alice.run("cat", &["vault/ftpadmin"]).ok(), "s3cret", "{role}");
        until("another one is there", || {
            world.process(role).is_some_and(|other| other.pid != process.pid)
        });
        assert_eq!(ids(&world.process(role).unwrap(), "Uid:"), ["4242"; 4], "{role}");
    }
}

#[test]
fn the_user_and_root_unmount_and_nobody_else() {
    let Some(world) = world() else { return };
    let [alice, bob] = peopled(&world);
    let ways: [&[&str]; 5] = [
        &["akvfs", "unmount", "vault"],
        &["akvfs", "unmount", "vault", "--lazy"],
        &["akvfs", "unmount", "vault", "--force"],
        &["fusermount3", "-u", "vault"],
        &["fusermount3", "-u", "-z", "vault"],
    ];
    for way in ways {
        let mounted = mount(&alice, "rw");
        let at = mounted.directory().to_str().unwrap();
        for how in [&["unmount", at][..], &["unmount", at, "--lazy"], &["unmount", at, "--force"]] {
            let said = bob.run("akvfs", how).failed(32);
            let expected = format!("akvfs: cannot unmount {at}: ");
            assert!(said.starts_with(&expected) && said.lines().count() <= 2, "{said}");
        }
        assert!(mounted.is_mounted());
        assert_eq!(alice.run(way[0], &way[1..]).ok(), "", "{way:?}");
        assert!(!mounted.is_mounted(), "{way:?}");
        until("no process is left", || world.akvfs_processes().is_empty());
    }
    let mounted = mount(&alice, "rw");
    assert_eq!(world.akvfs(&["unmount", mounted.directory().to_str().unwrap()]).ok(), "");
    until("no process is left", || world.akvfs_processes().is_empty());
    let mounted = mount(&alice, "rw");
    let supervisor = world.process("supervisor").unwrap();
    rustix::process::kill_process(supervisor.pid, Signal::TERM).unwrap();
    until("it leaves", || !mounted.is_mounted() && world.akvfs_processes().is_empty());
}

#[test]
fn a_dead_mount_of_the_user_is_ended_by_the_next() {
    let Some(world) = world() else { return };
    let [alice, bob] = peopled(&world);
    let mounted = mount(&alice, "rw");
    for process in world.akvfs_processes() {
        let _ = rustix::process::kill_process(process.pid, Signal::KILL);
    }
    until("all are gone", || world.akvfs_processes().is_empty());
    assert!(mounted.is_mounted());
    let at = mounted.directory().to_str().unwrap();
    assert!(bob.run("akvfs", &["mount", "my-vault", at]).failed(32).contains(at));
    let ran = alice.run("akvfs", &["mount", "my-vault", "vault"]);
    assert_eq!((ran.code, world.mounts().len()), (Some(0), 1), "{ran:?}");
    assert_eq!(ran.stderr, format!("akvfs: warning: ended a dead mount on {at}\n"));
    assert_eq!(alice.run("cat", &["vault/ftpadmin"]).ok(), "s3cret");
}

#[test]
fn where_a_user_may_not_mount_he_is_told_why() {
    let Some(world) = world() else { return };
    let [alice, bob] = peopled(&world);
    let refused = |user: &User<'_>, place: &str, why: &str| {
        let said = user.run("akvfs", &["mount", "my-vault", place]).failed(32);
        let line = said.lines().next().unwrap().to_owned();
        assert!(line.starts_with(&format!("akvfs: cannot mount on {place}: ")), "{said}");
        assert!(line.contains(why) && !line.contains("bin/fusermount3"), "{said}");
        assert_eq!(world.mounts().len(), 0);
    };
    refused(&alice, "/etc", "user has no write access to mountpoint");
    refused(&alice, "missing", "no such directory");
    refused(&alice, ".profile", "no such directory");
    refused(&bob, alice.home.join("vault").to_str().unwrap(), "user has no write access");
    until("no process is left", || world.akvfs_processes().is_empty());
}

/// Seen in containers: the user is a number that /etc/passwd does not know.
#[test]
fn a_user_without_a_name_is_told_what_fusermount_wants() {
    let Some(world) = world() else { return };
    let [alice, _] = peopled(&world);
    let passwd = String::from_utf8(world.read("/etc/passwd").unwrap()).unwrap();
    world.write("/etc/passwd", passwd.replace("alice:", "alicia:").replace(":4242:", ":4244:"));
    let said = alice.run("akvfs", &["mount", "my-vault", "vault"]).failed(32);
    assert!(said.contains("vault: the user who mounts has no name here\nhint: "), "{said}");
    assert!(said.contains("/etc/passwd"), "{said}");
    assert_eq!(world.mounts().len(), 0);
}

#[test]
fn a_device_that_a_user_may_not_open_is_named() {
    let Some(world) = world() else { return };
    let [alice, _] = peopled(&world);
    world.sh("chmod 0600 /dev/fuse").ok();
    let said = alice.run("akvfs", &["mount", "my-vault", "vault"]).failed(2);
    assert!(said.contains("/dev/fuse") && said.contains("\nhint: mount as root"), "{said}");
}

/// A line with `user` lets everybody mount by mount(8), which runs the helper as that user.
#[test]
fn a_line_with_user_is_mounted_by_mount_8_for_whoever_asks() {
    let Some(world) = world() else { return };
    let [alice, bob] = peopled(&world);
    let mounted = alice.mounted("vault");
    let at = mounted.directory().to_str().unwrap();
    world.write("/etc/fstab", format!("my-vault {at} akvfs user,noauto,_netdev 0 0\n"));
    assert_eq!(alice.run("mount", &[at]).ok(), "");
    assert_eq!(alice.run("cat", &["vault/ftpadmin"]).ok(), "s3cret");
    assert_eq!(ids(&world.process("supervisor").unwrap(), "Uid:"), ["4242"; 4]);
    assert_eq!(bob.run("umount", &[at]).code, Some(32));
    assert!(mounted.is_mounted());
    assert_eq!(alice.run("umount", &[at]).ok(), "");
    assert!(!mounted.is_mounted());
}
