//! Where a mount can be, and that it is found again by every spelling of the path.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;
use rustix::mount::MountFlags;
use rustix::mount::UnmountFlags;
use rustix::mount::unmount;
use rustix::process::Signal;

use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

fn filled() -> Option<World> {
    let world = World::new()?;
    world.vault().put("ftpadmin", "s3cret");
    Some(world)
}

#[test]
fn every_spelling_of_a_path_leads_to_the_one_mount() {
    let Some(world) = filled() else { return };
    world.install();
    let parent = world.directory();
    let directory = parent.join("my vault");
    world.inside(|| {
        fs::create_dir(&directory).unwrap();
        std::os::unix::fs::symlink("my vault", parent.join("link")).unwrap();
    });
    let folder = parent.to_str().unwrap();
    let escaped = folder.to_owned() + r"/my\040vault";
    world.write("/etc/fstab", format!("my-vault {escaped} akvfs _netdev 0 0\n"));
    let ways = [
        "mount -a".to_owned(),
        format!("mount '{folder}/my vault'"),
        format!("mount -t akvfs my-vault '{folder}/my vault/'"),
        format!("mount -t akvfs my-vault {folder}/link"),
        format!("akvfs mount my-vault '{folder}/my vault/'"),
        format!("akvfs mount my-vault {folder}/link"),
        format!("cd {folder} && akvfs mount my-vault 'my vault'"),
        format!("cd {folder} && akvfs mount my-vault ./link/"),
        format!("cd '{folder}/my vault' && akvfs mount my-vault ."),
        format!("cd '{folder}/my vault' && akvfs mount my-vault '../link/../my vault/.'"),
    ];
    for (turn, way) in ways.iter().enumerate() {
        let mounted = world.mounted_at(directory.clone());
        assert_eq!(world.sh(way).ok(), "", "{way}");
        assert!(mounted.is_mounted(), "{way}: {:?}", world.mounts());
        assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret", "{way}");
        // Any way in goes with any way out.
        let spelling = ["my vault", "my vault/", "link", "link/", "./link/../my vault/."];
        let out = format!("cd {folder} && akvfs unmount '{}'", spelling[turn % spelling.len()]);
        assert_eq!(world.sh(&out).ok(), "", "{way}; {out}");
        assert_eq!(world.mounts().len(), 0, "{way}; {out}");
    }
    let _mounted = world.mounted_at(directory);
    assert_eq!(world.sh("mount -a && mount -a").ok(), "");
    assert_eq!(world.mounts().len(), 1, "{:?}", world.mounts());
    assert_eq!(world.sh(&format!("umount '{folder}/link'")).ok(), "");
}

#[test]
fn a_place_that_will_not_do_is_named_and_nothing_is_mounted() {
    let Some(world) = filled() else { return };
    let directory = world.directory();
    let at = directory.to_str().unwrap();
    world.sh(&format!("ln -s loop {at}/loop; ln -s nowhere {at}/dangling")).ok();
    let refused = |place: &str, why: &str| {
        let said = world.akvfs(&["mount", "my-vault", place]).failed(32);
        assert_eq!(said.lines().next(), Some(&*format!("akvfs: cannot mount on {place}: {why}")));
    };
    refused(&format!("{at}/missing"), "no such directory");
    refused(&format!("{at}/dangling"), "no such directory");
    refused(&format!("{at}/loop"), "too many levels of symbolic links");
    refused("/etc/passwd", "not a directory");
    refused("/etc/passwd/x", "not a directory");
    assert!(world.akvfs(&["mount", "my-vault", ""]).failed(1).contains("mount: DIR is empty\n"));
    assert_eq!(world.mounts().len(), 0);
    assert_eq!(world.emulator.requests().len(), 0, "nobody is asked");
    let refused = |place: &str, why: &str| {
        let said = world.akvfs(&["unmount", place]).failed(32);
        assert_eq!(said.lines().next(), Some(&*format!("akvfs: cannot unmount {place}: {why}")));
    };
    refused(&format!("{at}/missing"), "no such directory");
    refused(at, "akvfs is not mounted there");
    refused("/", "akvfs is not mounted there");
    refused("/proc", "akvfs is not mounted there");
}

#[test]
fn where_akvfs_is_mounted_it_is_not_mounted_again() {
    let Some(world) = filled() else { return };
    world.install();
    let mounted = world.mount(&[]);
    let at = mounted.directory().to_str().unwrap();
    let spellings = [at.to_owned(), format!("{at}/"), format!("{at}/../{}", &at[at.len() - 1..])];
    for spelling in &spellings {
        for command in ["akvfs mount", "mount -t akvfs"] {
            let said = world.sh(&format!("{command} my-vault {spelling}")).failed(32);
            assert!(said.contains("akvfs is mounted there already"), "{said}");
            assert!(said.contains(&format!("hint: akvfs unmount {at}\n")), "{said}");
        }
    }
    assert_eq!(world.mounts().len(), 1);
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    // Another directory is another mount.
    let other = world.mount(&[]);
    assert_eq!(other.cat("ftpadmin").ok(), "s3cret");
}

/// Seen: one took the other's mount, which had no name yet, for a dead one, and both failed.
#[test]
fn of_several_who_mount_on_one_directory_at_once_one_does() {
    let Some(world) = filled() else { return };
    for _ in 0..5 {
        let mounted = world.mounted_at(world.directory());
        let at = mounted.directory().to_str().unwrap();
        let mount = || world.spawn(world.command("akvfs").args(["mount", "my-vault", at]));
        let ran = [mount(), mount(), mount(), mount()].map(|running| running.wait(LIMIT));
        let (well, others): (Vec<_>, Vec<_>) = ran.into_iter().partition(|it| it.code == Some(0));
        assert_eq!(well.len(), 1, "{well:#?} {others:#?}");
        for ran in others {
            let said = ran.failed(32);
            assert!(said.contains("akvfs is mounted there already"), "{said}");
        }
        assert_eq!(world.mounts().len(), 1, "{:?}", world.mounts());
        assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    }
}

/// Seen in the field: a program wants `server.key` where the vault has `server-key`, and another
/// tries `.ocsp` and `.issuer` beside each certificate.
#[test]
fn a_link_from_outside_gives_a_secret_another_name() {
    let Some(world) = filled() else { return };
    world.vault().put("server-key", "first");
    let mounted = world.mount(&["refresh=200ms"]);
    let link = world.directory().join("server.key");
    world.inside(|| std::os::unix::fs::symlink(mounted.path("server-key"), &link).unwrap());
    assert_eq!(world.cat(&link).ok(), "first");
    world.vault().put("server-key", "second");
    until("it follows", || world.read(&link).is_ok_and(|value| value == b"second"));
    let gets =
        || world.emulator.count(|request| request.is_get() && !request.is_get_of("server-key"));
    let before = gets();
    for name in ["server-key.ocsp", ".server-key", "server_key", "server-key.issuer"] {
        assert!(mounted.cat(name).failed(1).contains("No such file"), "{name}");
    }
    assert_eq!(gets(), before);
}

#[test]
fn what_a_mount_hides_is_named_once_and_comes_back() {
    let Some(world) = filled() else { return };
    let directory = world.directory();
    world.write(directory.join("theirs").to_str().unwrap(), "written too early");
    let at = directory.to_str().unwrap();
    let ran = world.akvfs(&["mount", "my-vault", at]);
    let mounted = world.mounted_at(directory.clone());
    assert_eq!((ran.code, ran.stdout.len()), (Some(0), 0), "{ran:?}");
    let warning = format!("akvfs: warning: {at} is not empty: what it holds is hidden\n");
    let hint = "hint: unmount to see it again\n";
    assert_eq!(ran.stderr, warning + hint);
    assert_eq!(world.run("ls", &[at]).ok(), "ftpadmin\n");
    drop(mounted);
    assert_eq!(world.run("ls", &[at]).ok(), "theirs\n");
}

#[test]
fn a_mount_that_nobody_serves_is_ended_by_the_next_one_or_by_unmount() {
    let Some(world) = filled() else { return };
    world.install();
    let dead = || {
        let mounted = world.mount(&[]);
        for process in world.akvfs_processes() {
            // The others may have gone with the supervisor.
            let _ = rustix::process::kill_process(process.pid, Signal::KILL);
        }
        until("all are gone", || world.akvfs_processes().is_empty());
        assert!(mounted.is_mounted());
        mounted
    };
    for command in ["akvfs mount", "mount -t akvfs"] {
        let mounted = dead();
        let at = mounted.directory().to_str().unwrap();
        let ran = world.sh(&format!("{command} my-vault {at}"));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.stderr, format!("akvfs: warning: ended a dead mount on {at}\n"));
        assert_eq!(world.mounts().len(), 1);
        assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    }
    for command in ["akvfs unmount", "akvfs unmount --force", "umount"] {
        let mounted = dead();
        let at = mounted.directory().to_str().unwrap();
        assert_eq!(world.sh(&format!("{command} {at}")).ok(), "", "{command}");
        assert!(!mounted.is_mounted(), "{command}");
        if command == "umount" {
            world.sweep();
        }
    }
}

/// systemd's automount: the directory is there, and whoever looks into it waits for us.
#[test]
fn where_a_mount_is_awaited_nobody_is_made_to_wait_for_it() {
    let Some(world) = filled() else { return };
    let directory = world.directory();
    let (requests, kernel) = std::io::pipe().unwrap();
    let group = rustix::process::getpgrp().as_raw_nonzero();
    let options = format!(
        "fd={},pgrp={group},minproto=5,maxproto=5,direct",
        std::os::fd::AsRawFd::as_raw_fd(&kernel)
    );
    let options = std::ffi::CString::new(options).unwrap();
    let awaited = world.inside(|| {
        rustix::mount::mount("auto", &directory, "autofs", MountFlags::empty(), &*options)
    });
    if awaited == Err(rustix::io::Errno::NODEV) {
        drop(World::skip("the kernel has no autofs"));
        return;
    }
    awaited.unwrap();
    let asked = || {
        let mut ready = [PollFd::new(&requests, PollFlags::IN)];
        poll(&mut ready, Some(&Timespec::default())).unwrap() > 0
    };
    // Of another group than the one that awaits, as the mount is.
    let mut command = world.command("ls");
    let looks = world.spawn(command.arg(&directory).process_group(0));
    until("it is asked for", asked);
    drop(looks);
    assert!((&requests).read(&mut [0; 1024]).unwrap() > 0);

    let mut command = world.command("akvfs");
    command.args(["mount", "my-vault", directory.to_str().unwrap()]).process_group(0);
    let mounted = world.mounted_at(directory.clone());
    assert_eq!(world.spawn(&mut command).wait(LIMIT).ok(), "");
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    assert!(!asked(), "somebody was made to wait");
    drop(mounted);
    world.inside(|| unmount(&directory, UnmountFlags::DETACH).unwrap());
}
