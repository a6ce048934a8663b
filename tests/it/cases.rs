//! What people have run into who read a password from a file, where no other test has it.

use std::fs;
use std::mem::MaybeUninit;
use std::path::PathBuf;

use akvfs_emulator::vault::Change;
use rustix::fs::inotify;
use rustix::fs::inotify::CreateFlags;
use rustix::fs::inotify::WatchFlags;
use rustix::io::Errno;

use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

/// Seen: a service started before its secrets were mounted, found an empty directory and filled it.
/// systemd drops the order of services after a line with `nofail`.
#[test]
fn every_line_that_is_shown_with_nofail_names_who_waits_for_it() {
    let mut paths = vec![PathBuf::from("README.md")];
    for folder in ["docs", "packaging"] {
        paths.extend(fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    }
    let mut lines = 0;
    for path in paths {
        let text = fs::read_to_string(&path).unwrap().replace("\\-", "-");
        for line in text.lines().filter(|line| line.contains(" akvfs  ") && !line.contains("$ ")) {
            assert!(line.contains("_netdev"), "{}: {line}", path.display());
            let orders = line.contains("x-systemd.before=") || !line.contains("nofail");
            assert!(orders, "{}: {line}", path.display());
            lines += 1;
        }
    }
    assert!(lines >= 6, "only {lines} lines were found");
}

/// Seen: a script with `set -e` ended where it read a value without a line feed; and two secrets
/// that cat(1) joined were one line.
#[test]
fn a_script_reads_a_line_with_newline_and_says_so_without() {
    let Some(world) = World::new() else { return };
    world.vault().put("user", "alice");
    world.vault().put("password", "s3cret");
    let (plain, ended) = (world.mount(&[]), world.mount(&["newline"]));
    let script = |directory: &std::path::Path| {
        let at = directory.display();
        let read = world.sh(&format!("set -e; read -r p < {at}/user; echo \"$p\""));
        (read.code, world.sh(&format!("cat {at}/user {at}/password")).ok())
    };
    assert_eq!(script(plain.directory()), (Some(1), "alices3cret".to_owned()));
    assert_eq!(script(ended.directory()), (Some(0), "alice\ns3cret\n".to_owned()));
    let at = plain.directory().display();
    assert_eq!(world.sh(&format!("p=$(cat {at}/user); echo \"$p\"")).ok(), "alice\n");
}

/// Seen: a label was cut at the comma between its categories.
#[test]
fn a_label_is_one_option_whatever_commas_it_has() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    world.install();
    let directory = world.directory();
    let at = directory.to_str().unwrap();
    let label = "system_u:object_r:httpd_sys_content_t:s0:c1,c2";
    let option = format!("rw,context=\"{label}\",dir-mode=0500");
    let ways: [&[&str]; 3] = [
        &["akvfs", "mount", "my-vault", at, "-o", &option],
        &["mount.akvfs", "my-vault", at, "-o", &option],
        &["akvfs", "mount", "my-vault", at, "--dir-mode=0500", "--context", label],
    ];
    let selinux = world.cat("/proc/filesystems").ok().contains("\tselinuxfs\n");
    for way in ways {
        let mounted = world.mounted_at(directory.clone());
        let ran = match way[0] {
            "akvfs" => world.akvfs(&way[1..]),
            helper => world.run(&format!("/sbin/{helper}"), &way[1..]),
        };
        let off = "akvfs: warning: SELinux is off, and no label is given to anything\n";
        let said = if selinux { "" } else { off };
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), said), "{way:?}");
        let shown = world.mounts()[0].options.iter().any(|option| option.starts_with("context="));
        assert_eq!(shown, selinux);
        let seen = world.run("stat", &["-c", "%a", mounted.directory().to_str().unwrap()]);
        assert_eq!(seen.ok(), "500\n");
    }
    // What asks for labels and attributes is told that there are none, and nobody is asked.
    let mounted = world.mount(&[]);
    assert_eq!((mounted.names().len(), mounted.text("ftpadmin").as_str()), (1, "s3cret"));
    let before = world.asked();
    let (from, to) = (mounted.directory().display(), world.directory());
    let to = to.display();
    for line in [
        format!("ls -laZ {from}"),
        format!("cp -a {from} {to}/cp"),
        format!("cp --preserve=all {from}/ftpadmin {to}/one"),
        format!("! command -v rsync > /dev/null || rsync -aX {from}/ {to}/rsync"),
    ] {
        world.sh(&line).ok();
    }
    assert_eq!(world.asked(), before);
}

/// Seen: a watcher that was told of nothing; and one that was told of its own reading.
#[test]
fn a_watcher_is_told_of_no_change_be_there_one_or_not() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "v");
    let mounted = world.mount(&["refresh=300ms"]);
    assert_eq!(mounted.text("ftpadmin"), "v");
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
    let changes = WatchFlags::MODIFY
        | WatchFlags::ATTRIB
        | WatchFlags::MOVE
        | WatchFlags::MOVE_SELF
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::DELETE_SELF;
    mounted.inside(|directory| {
        inotify::add_watch(&watch, directory, changes).unwrap();
        inotify::add_watch(&watch, directory.join("ftpadmin"), changes).unwrap();
    });
    let told = || {
        let mut buffer = [MaybeUninit::uninit(); 512];
        let mut reader = inotify::Reader::new(&watch, &mut buffer);
        let event = reader.next().map(|event| event.events());
        event.err().filter(|errno| *errno == Errno::WOULDBLOCK).is_none()
    };
    let refreshed = |times: usize| {
        let before = world.gets("ftpadmin");
        until("it was asked about", || {
            mounted.text("ftpadmin");
            world.gets("ftpadmin") >= before + times
        });
    };
    refreshed(3);
    assert!(!told(), "nothing has changed");
    let tags = [("owner".to_owned(), "ftp".to_owned())].into();
    assert!(world.vault().change("ftpadmin", Change { tags: Some(tags), ..Change::default() }));
    refreshed(2);
    assert!(!told(), "tags have changed");
    world.vault().put("ftpadmin", "new");
    mounted.until_shows("ftpadmin", "new");
    assert!(!told(), "it is the vault where that happened");
    drop(watch);
}

/// Seen: an unmount that hung, or a container that did, where one file was bound by itself.
#[test]
fn a_file_that_is_bound_by_itself_holds_nobody_up_when_the_mount_goes() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "v");
    let mounted = world.mount(&[]);
    let bound = world.directory().join("bound");
    let (from, to) = (mounted.path("ftpadmin"), bound.to_str().unwrap());
    world.sh(&format!(": > {to} && mount -n --bind {} {to}", from.display())).ok();
    let ran = world.akvfs(&["unmount", mounted.directory().to_str().unwrap()]);
    assert!(ran.took < LIMIT / 4, "{ran:?}");
    ran.ok();
    assert!(!mounted.is_mounted());
    let ran = world.cat(to);
    assert!(ran.took < LIMIT / 4, "{ran:?}");
    assert_eq!(ran.ok(), "v", "whoever has it bound goes on with it");
    world.run("umount", &["-n", to]).ok();
    until("its processes are gone", || world.akvfs_processes().is_empty());
}
