//! How a mount ends, and that nothing is left of it.

use std::fs;
use std::fs::File;
use std::io::Read;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use akvfs::supervisor::living;
use akvfs::supervisor::supervise;
use akvfs::supervisor::unmount;
use akvfs::supervisor::unmount::How;
use rustix::mount::UnmountFlags;
use rustix::process::Pid;
use rustix::process::Signal;

use crate::Test;
use crate::toy::Beginning;
use crate::world::World;
use crate::world::is_gone;
use crate::world::kill;
use crate::world::status;
use crate::world::wait_for;

pub const TESTS: &[Test] = &[
    ("an_unmount_from_outside_ends_all_processes", an_unmount_from_outside_ends_all_processes),
    (
        "an_unmount_waits_for_the_supervisor_to_be_gone",
        an_unmount_waits_for_the_supervisor_to_be_gone,
    ),
    (
        "a_mount_in_use_is_not_unmounted_and_the_user_is_named",
        a_mount_in_use_is_not_unmounted_and_the_user_is_named,
    ),
    (
        "a_lazy_unmount_serves_open_files_to_their_end",
        a_lazy_unmount_serves_open_files_to_their_end,
    ),
    ("a_forced_unmount_frees_whoever_waits", a_forced_unmount_frees_whoever_waits),
    (
        "sigterm_takes_the_path_away_and_serves_open_files",
        sigterm_takes_the_path_away_and_serves_open_files,
    ),
    (
        "sigterm_ends_after_five_seconds_whatever_is_open",
        sigterm_ends_after_five_seconds_whatever_is_open,
    ),
    (
        "a_second_sigterm_is_taken_and_changes_nothing",
        a_second_sigterm_is_taken_and_changes_nothing,
    ),
    (
        "relay_and_worker_ignore_the_signals_that_mean_the_supervisor",
        relay_and_worker_ignore_the_signals_that_mean_the_supervisor,
    ),
    (
        "in_the_foreground_a_signal_before_it_is_ready_ends_it_as_one_after",
        in_the_foreground_a_signal_before_it_is_ready_ends_it_as_one_after,
    ),
    (
        "in_the_foreground_the_process_stays_until_the_unmount",
        in_the_foreground_the_process_stays_until_the_unmount,
    ),
];

fn processes(world: &World) -> [Pid; 3] {
    [world.supervisor(), world.child("akvfs-relay"), world.child("akvfs-worker")]
}

fn all_end(processes: [Pid; 3]) {
    wait_for("the end of all processes", || processes.into_iter().all(is_gone).then_some(()));
}

fn an_unmount_from_outside_ends_all_processes() {
    let world = World::mounted();
    let processes = processes(&world);
    rustix::mount::unmount(&world.directory, UnmountFlags::empty()).unwrap();
    all_end(processes);
    assert!(!std::path::Path::new("/run/akvfs").exists());
    assert_eq!(world.log(), "");
}

fn an_unmount_waits_for_the_supervisor_to_be_gone() {
    let world = World::mounted();
    let processes = processes(&world);
    world.unmount().unwrap();
    assert!(processes.into_iter().all(is_gone));
}

fn a_mount_in_use_is_not_unmounted_and_the_user_is_named() {
    let world = World::mounted();
    let mut reading = Command::new("sleep");
    reading.arg("60").stdin(File::open(world.path("at-once")).unwrap());
    let mut standing = Command::new("sleep");
    standing.arg("60").current_dir(&world.directory);
    for mut user in [reading, standing] {
        let mut user = user.spawn().unwrap();
        let failed = world.unmount().unwrap_err();
        assert_eq!(failed.code, 32);
        assert!(failed.message.contains(&format!("sleep (pid {})", user.id())), "{failed}");
        assert!(failed.hint.is_some());
        user.kill().unwrap();
        user.wait().unwrap();
    }
    world.unmount().unwrap();
}

fn a_lazy_unmount_serves_open_files_to_their_end() {
    let world = World::mounted();
    let processes = processes(&world);
    let mut open = File::open(world.path("slow-1")).unwrap();
    unmount::unmount(&world.directory, How::Lazily).unwrap();
    assert!(world.table_entry().is_none());
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "late");
    assert!(!is_gone(processes[0]));
    drop(open);
    all_end(processes);
}

fn a_forced_unmount_frees_whoever_waits() {
    let world = World::mounted();
    let processes = processes(&world);
    let mut cat =
        Command::new("cat").arg(world.path("never")).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the wait", || crate::waits::is_waiting(&cat).then_some(()));
    unmount::unmount(&world.directory, How::Forcibly).unwrap();
    assert!(!cat.wait().unwrap().success());
    all_end(processes);
}

fn sigterm_takes_the_path_away_and_serves_open_files() {
    let world = World::mounted();
    let processes = processes(&world);
    let mut open = File::open(world.path("slow-1")).unwrap();
    kill(processes[0], Signal::TERM);
    wait_for("the path to be taken away", || world.table_entry().is_none().then_some(()));
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "late");
    drop(open);
    let since = Instant::now();
    all_end(processes);
    assert!(since.elapsed() < Duration::from_secs(4));
}

fn sigterm_ends_after_five_seconds_whatever_is_open() {
    let world = World::mounted();
    let processes = processes(&world);
    let mut open = File::open(world.path("slow-2")).unwrap();
    kill(processes[0], Signal::TERM);
    all_end(processes);
    let mut text = String::new();
    assert!(open.read_to_string(&mut text).is_err());
}

/// A second SIGTERM was seen and never taken: the supervisor ran without a pause to its end.
fn a_second_sigterm_is_taken_and_changes_nothing() {
    let world = World::mounted();
    let processes = processes(&world);
    let open = File::open(world.path("slow-2")).unwrap();
    for _ in 0..2 {
        kill(processes[0], Signal::TERM);
        wait_for("the signal to be taken", || {
            (status(processes[0], "ShdPnd") == "0".repeat(16)).then_some(())
        });
    }
    drop(open);
    all_end(processes);
}

fn relay_and_worker_ignore_the_signals_that_mean_the_supervisor() {
    let world = World::mounted();
    let [_, relay, worker] = processes(&world);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill(relay, signal);
        kill(worker, signal);
    }
    assert_eq!(fs::read(world.path("slow-0")).unwrap(), b"late");
    assert_eq!([world.child("akvfs-relay"), world.child("akvfs-worker")], [relay, worker]);
    world.unmount().unwrap();
}

fn in_the_foreground_the_process_stays_until_the_unmount() {
    let world = World::new();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("in-the-foreground").arg(&world.directory).stdout(Stdio::piped());
    let mut foreground = command.spawn().unwrap();
    let mut ready = [0; 6];
    foreground.stdout.take().unwrap().read_exact(&mut ready).unwrap();
    assert_eq!(&ready, b"ready\n");
    assert_eq!(fs::read(world.path("at-once")).unwrap(), b"here");
    let supervisor = world.supervisor();
    assert_eq!(supervisor.as_raw_nonzero().get().unsigned_abs(), foreground.id());
    assert!(foreground.try_wait().unwrap().is_none());
    unmount::unmount(&world.directory, How::Politely).unwrap();
    assert!(foreground.wait().unwrap().success());
}

fn in_the_foreground_a_signal_before_it_is_ready_ends_it_as_one_after() {
    let world = World::new();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["in-the-foreground", "--silent"]).arg(&world.directory).stdout(Stdio::piped());
    let foreground = command.spawn().unwrap();
    wait_for("the supervisor", || living::supervisor(&world.table_entry()?));
    let mut open = File::open(world.path("slow-1")).unwrap();
    kill(Pid::from_child(&foreground), Signal::INT);
    wait_for("the path to be taken away", || world.table_entry().is_none().then_some(()));
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "late");
    drop(open);
    assert!(foreground.wait_with_output().unwrap().status.success());
}

/// What the test's own program does for the tests above.
pub fn in_the_foreground(arguments: &[String]) -> ExitCode {
    let (beginning, directory) = match arguments {
        [_, directory] => (Beginning::Silence, directory),
        _ => (Beginning::Ready, &arguments[0]),
    };
    let mut launch = crate::world::launch(directory.as_ref(), beginning);
    launch.foreground = true;
    let started = supervise::start(launch).unwrap();
    println!("ready");
    started.stay().unwrap();
    ExitCode::SUCCESS
}
