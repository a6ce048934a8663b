//! What is so once `start` has returned, and what it says where it cannot mount.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::chown;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;
use std::process::Output;

use akvfs::supervisor::living;
use akvfs::supervisor::mountinfo::Table;
use akvfs::supervisor::supervise;
use akvfs::supervisor::unmount;
use akvfs::supervisor::unmount::How;
use rustix::process::Signal;

use crate::Test;
use crate::toy::Beginning;
use crate::world::World;
use crate::world::child_of;
use crate::world::is_gone;
use crate::world::kill;
use crate::world::status;
use crate::world::wait_for;

pub const TESTS: &[Test] = &[
    ("a_mount_is_ready_when_start_returns", a_mount_is_ready_when_start_returns),
    (
        "the_table_of_mounts_shows_the_source_and_closed_flags",
        the_table_of_mounts_shows_the_source_and_closed_flags,
    ),
    (
        "relay_and_worker_have_no_rights_they_do_not_need",
        relay_and_worker_have_no_rights_they_do_not_need,
    ),
    ("a_living_mount_is_not_mounted_over", a_living_mount_is_not_mounted_over),
    ("a_dead_mount_is_ended_and_said", a_dead_mount_is_ended_and_said),
    (
        "a_directory_that_is_missing_or_a_file_is_named",
        a_directory_that_is_missing_or_a_file_is_named,
    ),
    ("a_directory_that_is_not_empty_is_a_warning", a_directory_that_is_not_empty_is_a_warning),
    (
        "every_spelling_of_the_path_mounts_and_unmounts",
        every_spelling_of_the_path_mounts_and_unmounts,
    ),
    ("a_worker_that_cannot_serve_leaves_no_mount", a_worker_that_cannot_serve_leaves_no_mount),
    (
        "a_worker_that_dies_at_its_start_leaves_no_mount",
        a_worker_that_dies_at_its_start_leaves_no_mount,
    ),
    (
        "a_worker_that_never_gets_ready_leaves_no_mount",
        a_worker_that_never_gets_ready_leaves_no_mount,
    ),
    (
        "a_mount_that_nobody_waits_for_any_more_is_ended",
        a_mount_that_nobody_waits_for_any_more_is_ended,
    ),
    ("a_path_that_is_no_text_is_mounted_on", a_path_that_is_no_text_is_mounted_on),
    ("a_user_mounts_for_himself", a_user_mounts_for_himself),
    ("a_user_may_not_allow_others", a_user_may_not_allow_others),
    (
        "a_notice_reaches_the_kernel_and_its_outcome_the_worker",
        a_notice_reaches_the_kernel_and_its_outcome_the_worker,
    ),
    (
        "a_listing_on_its_way_when_the_kernel_is_told_of_another_is_not_kept",
        a_listing_on_its_way_when_the_kernel_is_told_of_another_is_not_kept,
    ),
];

/// The user that every machine has.
const NOBODY: u32 = 65_534;

fn a_mount_is_ready_when_start_returns() {
    let world = World::new();
    let started = world.mount().unwrap();
    assert_eq!(started.warnings, [("the toy is a toy".to_owned(), None)]);
    assert_eq!(fs::read(world.path("at-once")).unwrap(), b"here");
    assert_eq!(fs::read(world.path("large")).unwrap().len(), 100_000);
    let missing = fs::read(world.path("missing")).unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    started.stay().unwrap();
    world.unmount().unwrap();
    assert_eq!(world.log(), "");
}

fn the_table_of_mounts_shows_the_source_and_closed_flags() {
    let world = World::mounted();
    let mount = world.table_entry().unwrap();
    assert_eq!((mount.fs_type.as_str(), mount.user()), ("fuse.akvfs", Some(0)));
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = table.lines().find(|line| line.contains("/a\\040vault fuse.akvfs ")).unwrap();
    let fields = line.split(' ').collect::<Vec<_>>();
    assert_eq!(fields[0], "my-vault");
    let options = fields[3].split(',').collect::<Vec<_>>();
    for option in ["ro", "nosuid", "nodev", "noexec", "default_permissions"] {
        assert!(options.contains(&option), "{option} in {options:?}");
    }
    assert!(!options.contains(&"allow_other"));
    world.unmount().unwrap();
}

fn relay_and_worker_have_no_rights_they_do_not_need() {
    let world = World::mounted();
    let (relay, worker) = (world.child("akvfs-relay"), world.child("akvfs-worker"));
    let nobody = [NOBODY; 4].map(|id| id.to_string()).join("\t");
    assert_eq!((status(worker, "Uid"), status(worker, "Gid")), (nobody.clone(), nobody));
    assert_eq!(status(worker, "Groups"), "");
    for process in [relay, worker] {
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(u64::from_str_radix(&status(process, set), 16), Ok(0), "{set}");
        }
        assert_eq!(status(process, "NoNewPrivs"), "1");
        let limits = fs::read_to_string(living::proc(process).join("limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
        assert_eq!(fs::metadata(living::proc(process).join("environ")).unwrap().len(), 0);
    }
    for process in [relay, worker, world.supervisor()] {
        let arguments = fs::read(living::proc(process).join("cmdline")).unwrap();
        assert!(arguments.starts_with(b"akvfs\0") && arguments.len() < 20);
        assert_eq!(fs::read(living::proc(process).join("environ")).unwrap(), b"");
        let cwd = fs::read_link(living::proc(process).join("cwd")).unwrap();
        assert_eq!(cwd, Path::new("/"));
    }
    let open = fs::read_dir(living::proc(worker).join("fd")).unwrap();
    let open = open.map(|entry| fs::read_link(entry.unwrap().path()).unwrap());
    let open = open.map(|path| path.display().to_string()).collect::<Vec<_>>();
    assert!(!open.iter().any(|path| path.contains("fuse") || path.contains("ledger")), "{open:?}");
    world.unmount().unwrap();
}

fn a_living_mount_is_not_mounted_over() {
    let world = World::mounted();
    let failed = world.mount().unwrap_err();
    assert_eq!(failed.code, 32);
    assert!(failed.message.contains(&world.directory.display().to_string()), "{failed}");
    assert_eq!(fs::read(world.path("at-once")).unwrap(), b"here");
    let mount = world.table_entry().unwrap();
    let entries = Table::read().unwrap();
    assert_eq!(entries.of_device(mount.major, mount.minor).count(), 1);
    world.unmount().unwrap();
}

fn a_dead_mount_is_ended_and_said() {
    let world = World::mounted();
    let (relay, worker) = (world.child("akvfs-relay"), world.child("akvfs-worker"));
    kill(world.supervisor(), Signal::KILL);
    wait_for("the others to follow", || (is_gone(relay) && is_gone(worker)).then_some(()));
    assert!(world.table_entry().is_some());
    let started = world.mount().unwrap();
    let (warning, _) = &started.warnings[0];
    assert_eq!(*warning, format!("ended a dead mount on {}", world.directory.display()));
    assert_eq!(fs::read(world.path("at-once")).unwrap(), b"here");
    world.unmount().unwrap();
    assert!(world.table_entry().is_none());
}

fn a_directory_that_is_missing_or_a_file_is_named() {
    let mut world = World::new();
    fs::write(world.root.join("file"), "").unwrap();
    for (name, why) in [("missing", "no such directory"), ("file", "not a directory")] {
        world.directory = world.root.join(name);
        let failed = world.mount().unwrap_err();
        let message = format!("cannot mount on {}: {why}", world.directory.display());
        assert_eq!((failed.code, failed.message), (32, message));
    }
}

fn a_directory_that_is_not_empty_is_a_warning() {
    let world = World::new();
    fs::write(world.path("mine"), "").unwrap();
    let started = world.mount().unwrap();
    let (warning, hint) = &started.warnings[0];
    assert!(warning.contains(&world.directory.display().to_string()), "{warning}");
    assert!(hint.is_some());
    world.unmount().unwrap();
    assert!(world.path("mine").exists());
}

fn every_spelling_of_the_path_mounts_and_unmounts() {
    let mut world = World::new();
    let real = world.directory.clone();
    symlink("a vault", world.root.join("link")).unwrap();
    fs::create_dir(world.root.join("beside")).unwrap();
    let spellings = ["a vault/", "link", "link/", "beside/../a vault", "./beside/.././link/."];
    for spelling in spellings {
        world.directory = world.root.join(spelling);
        world.mount().unwrap();
        let table = Table::read().unwrap();
        assert!(table.at(&real).unwrap().is_akvfs(), "{spelling}");
        unmount::unmount(&world.directory, How::Politely).unwrap();
        assert!(Table::read().unwrap().at(&real).is_none(), "{spelling}");
    }
    world.directory = real;
    let failed = world.unmount().unwrap_err();
    assert_eq!(failed.code, 32);
    assert!(failed.message.ends_with("akvfs is not mounted there"), "{failed}");
}

fn a_worker_that_cannot_serve_leaves_no_mount() {
    let mut world = World::new();
    world.beginning = Beginning::Fatal;
    let failed = world.mount().unwrap_err();
    assert_eq!((failed.code, failed.message.as_str()), (7, "the toy is broken"));
    assert_eq!(failed.hint.as_deref(), Some("buy another"));
    assert!(world.table_entry().is_none());
}

fn a_worker_that_dies_at_its_start_leaves_no_mount() {
    let mut world = World::new();
    world.beginning = Beginning::Death;
    let failed = world.mount().unwrap_err();
    assert_eq!(
        (failed.code, failed.message.as_str()),
        (32, "cannot serve: the worker dies at its start")
    );
    assert!(world.table_entry().is_none());
}

fn a_worker_that_never_gets_ready_leaves_no_mount() {
    let mut world = World::new();
    world.beginning = Beginning::Silence;
    let failed = world.mount().unwrap_err();
    assert_eq!(failed.message, "cannot serve: the worker does not get ready");
    assert_eq!(failed.code, 32);
    assert!(world.table_entry().is_none());
}

fn a_mount_that_nobody_waits_for_any_more_is_ended() {
    let world = World::new();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut waiting = command.arg("mount-in-vain").arg(&world.directory).spawn().unwrap();
    wait_for("the mount", || world.table_entry());
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    wait_for("its end", || world.table_entry().is_none().then_some(()));
}

/// What the test's own program does for the test above.
pub fn in_vain(arguments: &[String]) -> ExitCode {
    let launch = crate::world::launch(arguments[0].as_ref(), Beginning::Silence);
    let _ = supervise::start(launch);
    ExitCode::FAILURE
}

fn a_path_that_is_no_text_is_mounted_on() {
    let mut world = World::new();
    world.directory = world.root.join(OsStr::from_bytes(b"caf\xe9 \\ \n#"));
    fs::create_dir(&world.directory).unwrap();
    world.mount().unwrap();
    assert_eq!(fs::read(world.path("at-once")).unwrap(), b"here");
    world.unmount().unwrap();
}

fn a_user_mounts_for_himself() {
    let world = World::new();
    chown(&world.directory, Some(NOBODY), Some(NOBODY)).unwrap();
    let output = run_as_user(&world, "mount");
    assert!(output.status.success(), "{output:?}");
    let mount = world.table_entry().unwrap();
    assert_eq!((mount.fs_type.as_str(), mount.user()), ("fuse.akvfs", Some(NOBODY)));
    let supervisor = world.supervisor();
    let users = [supervisor, world.child("akvfs-relay"), world.child("akvfs-worker")];
    for process in users {
        assert!(status(process, "Uid").starts_with("65534\t"));
    }
    let read = Command::new("cat").arg(world.path("at-once")).uid(NOBODY).gid(NOBODY).output();
    assert_eq!(read.unwrap().stdout, b"here");
    // The kernel's rule: not even root enters.
    let refused = fs::read(world.path("at-once")).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
    kill(users[2], Signal::KILL);
    let read = Command::new("cat").arg(world.path("slow-0")).uid(NOBODY).gid(NOBODY).output();
    assert_eq!(read.unwrap().stdout, b"late");
    let output = run_as_user(&world, "unmount");
    assert!(output.status.success(), "{output:?}");
    assert!(world.table_entry().is_none());
    wait_for("the supervisor's end", || is_gone(supervisor).then_some(()));
}

fn a_user_may_not_allow_others() {
    let world = World::new();
    chown(&world.directory, Some(NOBODY), Some(NOBODY)).unwrap();
    let config = fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
    if config.lines().any(|line| line.trim() == "user_allow_other") {
        println!("  skipped: here they may");
        return;
    }
    let output = run_as_user(&world, "mount-for-others");
    let message = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(32), "{message}");
    assert!(message.contains("/etc/fuse.conf"), "{message}");
    assert!(world.table_entry().is_none());
}

fn run_as_user(world: &World, what: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("as-user").arg(what).arg(&world.directory).current_dir("/");
    command.uid(NOBODY).gid(NOBODY).output().unwrap()
}

/// What the test's own program does as another user.
pub fn as_user(arguments: &[String]) -> ExitCode {
    let [what, directory] = arguments else {
        return ExitCode::FAILURE;
    };
    let directory = PathBuf::from(directory);
    let done = if what == "unmount" {
        unmount::unmount(&directory, How::Politely)
    } else {
        let mut launch = crate::world::launch(&directory, Beginning::Ready);
        launch.plan.allow_other = what == "mount-for-others";
        supervise::start(launch).map(drop)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            println!("{failed:?}");
            ExitCode::from(failed.code)
        }
    }
}

fn a_notice_reaches_the_kernel_and_its_outcome_the_worker() {
    let world = World::mounted();
    assert_eq!(fs::read(world.path("version")).unwrap(), b"00000001");
    assert_eq!(fs::read(world.path("version")).unwrap(), b"00000001");
    // Tells of the entry, of an inode that the kernel does not hold, and of the listing.
    assert!(fs::metadata(world.path("rotate")).is_err());
    let told = wait_for("three outcomes", || {
        let told = fs::read_to_string(world.path("told")).unwrap();
        (told.lines().count() == 3).then_some(told)
    });
    assert_eq!(told, "1 0\n1 2\n1 0\n");
    assert_eq!(fs::read(world.path("version")).unwrap(), b"00000002");
    assert!(child_of(world.supervisor(), "akvfs-worker").is_some());
    world.unmount().unwrap();
}

fn a_listing_on_its_way_when_the_kernel_is_told_of_another_is_not_kept() {
    let world = World::mounted();
    let listed = || {
        let entries = fs::read_dir(world.path("")).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
    };
    assert_eq!(listed(), ["00000001"]);
    let told = wait_for("an outcome", || {
        let told = fs::read_to_string(world.path("told")).unwrap();
        (!told.is_empty()).then_some(told)
    });
    assert_eq!(told, "1 0\n");
    assert_eq!(listed(), ["00000002"]);
    world.unmount().unwrap();
}
