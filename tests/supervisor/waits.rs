//! Who waits, for how long, and what ends it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use akvfs::supervisor::living;
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::process::Signal;

use crate::Test;
use crate::world::World;
use crate::world::kill;
use crate::world::status;
use crate::world::wait_for;

pub const TESTS: &[Test] = &[
    ("a_signal_that_ends_the_caller_ends_its_wait", a_signal_that_ends_the_caller_ends_its_wait),
    (
        "a_signal_that_the_caller_catches_to_stop_ends_its_wait",
        a_signal_that_the_caller_catches_to_stop_ends_its_wait,
    ),
    ("a_child_that_ends_does_not_end_the_wait", a_child_that_ends_does_not_end_the_wait),
    ("stopping_and_going_on_does_not_end_the_wait", stopping_and_going_on_does_not_end_the_wait),
    (
        "a_later_signal_ends_a_wait_that_an_earlier_one_did_not",
        a_later_signal_ends_a_wait_that_an_earlier_one_did_not,
    ),
    (
        "a_watched_caller_is_watched_by_the_next_relay_too",
        a_watched_caller_is_watched_by_the_next_relay_too,
    ),
    ("what_is_overdue_times_out", what_is_overdue_times_out),
    ("a_thousand_callers_wait_at_once", a_thousand_callers_wait_at_once),
    ("a_warm_read_moves_no_process", a_warm_read_moves_no_process),
    (
        "whether_a_file_is_a_terminal_is_no_question_for_the_worker",
        whether_a_file_is_a_terminal_is_no_question_for_the_worker,
    ),
    ("a_request_too_large_to_be_a_read_is_refused", a_request_too_large_to_be_a_read_is_refused),
];

/// Within which time a caller is free: the promise is 100 ms, and the machine may be busy.
const FREE: Duration = Duration::from_millis(400);

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Whether a process waits for an answer of the file system's.
pub fn is_waiting(child: &Child) -> bool {
    let state = fs::read_to_string(living::proc(pid(child)).join("wchan")).unwrap_or_default();
    state == "request_wait_answer"
}

fn waiting(mut command: Command) -> Child {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the caller to wait", || is_waiting(&child).then_some(()));
    child
}

fn cat(world: &World, name: &str) -> Child {
    let mut command = Command::new("cat");
    command.arg(world.path(name));
    waiting(command)
}

fn bash(world: &World, script: &str, name: &str) -> Child {
    let mut command = Command::new("bash");
    command.arg("-c").arg(script).arg("bash").arg(world.path(name));
    waiting(command)
}

fn a_signal_that_ends_the_caller_ends_its_wait() {
    let world = World::mounted();
    let signals =
        [Signal::INT, Signal::TERM, Signal::KILL, Signal::HUP, Signal::QUIT, Signal::USR1];
    for signal in signals {
        let mut cat = cat(&world, "never");
        let since = Instant::now();
        kill(pid(&cat), signal);
        assert!(!cat.wait().unwrap().success());
        println!("  {signal:?}: free after {:?}", since.elapsed());
        assert!(since.elapsed() < FREE, "{signal:?}");
    }
    world.unmount().unwrap();
}

fn a_signal_that_the_caller_catches_to_stop_ends_its_wait() {
    let world = World::mounted();
    let signals = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::ALARM];
    for signal in signals {
        let script = format!("trap 'exit 7' {}; : < \"$1\"", signal.as_raw());
        let mut bash = bash(&world, &script, "never");
        let since = Instant::now();
        kill(pid(&bash), signal);
        assert_eq!(bash.wait().unwrap().code(), Some(7));
        println!("  {signal:?}, caught: free after {:?}", since.elapsed());
        assert!(since.elapsed() < FREE, "{signal:?}");
    }
    world.unmount().unwrap();
}

fn a_child_that_ends_does_not_end_the_wait() {
    let world = World::mounted();
    let script = "sleep 0.1 & read -r word < \"$1\"; echo \"got $word\"";
    let bash = bash(&world, script, "slow-700");
    let output = bash.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"got late\n");
    world.unmount().unwrap();
}

fn stopping_and_going_on_does_not_end_the_wait() {
    let world = World::mounted();
    let cat = cat(&world, "slow-701");
    for _ in 0..3 {
        kill(pid(&cat), Signal::STOP);
        thread::sleep(Duration::from_millis(60));
        kill(pid(&cat), Signal::CONT);
    }
    let output = cat.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"late");
    world.unmount().unwrap();
}

fn a_later_signal_ends_a_wait_that_an_earlier_one_did_not() {
    let world = World::mounted();
    let script = "trap 'exit 7' TERM; trap : CHLD USR1; : < \"$1\"";
    for (signal, code) in [(Signal::TERM, Some(7)), (Signal::KILL, None)] {
        let mut bash = bash(&world, script, "never");
        kill(pid(&bash), Signal::USR1);
        thread::sleep(Duration::from_millis(150));
        assert!(is_waiting(&bash));
        let since = Instant::now();
        kill(pid(&bash), signal);
        assert_eq!(bash.wait().unwrap().code(), code);
        println!("  {signal:?} after SIGUSR1: free after {:?}", since.elapsed());
        assert!(since.elapsed() < FREE, "{signal:?}");
    }
    world.unmount().unwrap();
}

fn a_watched_caller_is_watched_by_the_next_relay_too() {
    let world = World::mounted();
    let mut bash = bash(&world, "trap : USR1; : < \"$1\"", "never");
    kill(pid(&bash), Signal::USR1);
    thread::sleep(Duration::from_millis(100));
    let relay = world.child("akvfs-relay");
    kill(relay, Signal::KILL);
    wait_for("the next relay", || (world.child("akvfs-relay") != relay).then_some(()));
    kill(pid(&bash), Signal::KILL);
    let since = Instant::now();
    bash.wait().unwrap();
    assert!(since.elapsed() < FREE);
    world.unmount().unwrap();
}

fn what_is_overdue_times_out() {
    let mut world = World::new();
    world.open_timeout = Duration::from_secs(1);
    world.mount().unwrap();
    let since = Instant::now();
    let late = fs::read(world.path("never")).unwrap_err();
    assert_eq!(late.raw_os_error(), Some(Errno::TIMEDOUT.raw_os_error()));
    let waited = since.elapsed();
    assert!(waited >= Duration::from_secs(2) && waited < Duration::from_secs(4), "{waited:?}");
    assert_eq!(world.log(), "", "a worker that is slow but alive is left alone");
    world.unmount().unwrap();
}

fn a_thousand_callers_wait_at_once() {
    let world = World::mounted();
    let path = world.path("slow-1500");
    let since = Instant::now();
    let callers = (0..1_000)
        .map(|_| {
            let path = path.clone();
            thread::Builder::new().stack_size(64 << 10).spawn(move || fs::read(path)).unwrap()
        })
        .collect::<Vec<_>>();
    for caller in callers {
        assert_eq!(caller.join().unwrap().unwrap(), b"late");
    }
    println!("  1,000 callers of one file that takes 1.5 s: {:?}", since.elapsed());
    world.unmount().unwrap();
}

fn a_warm_read_moves_no_process() {
    let world = World::mounted();
    assert_eq!(fs::read(world.path("at-once")).unwrap(), b"here");
    let processes = [world.supervisor(), world.child("akvfs-relay"), world.child("akvfs-worker")];
    let on_cpu = || {
        let times = processes
            .map(|process| fs::read_to_string(living::proc(process).join("schedstat")).unwrap());
        times.join("")
    };
    // What a process does after it has answered is still to be counted.
    let before = wait_for("the processes to rest", || {
        let before = on_cpu();
        thread::sleep(Duration::from_millis(100));
        (on_cpu() == before).then_some(before)
    });
    for _ in 0..250 {
        assert_eq!(fs::read(world.path("at-once")).unwrap(), b"here");
        fs::metadata(world.path("at-once")).unwrap();
    }
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(on_cpu(), before);
    world.unmount().unwrap();
}

fn whether_a_file_is_a_terminal_is_no_question_for_the_worker() {
    let world = World::mounted();
    let worker = world.child("akvfs-worker");
    assert_eq!(fs::read(world.path("at-once")).unwrap(), b"here");
    kill(worker, Signal::STOP);
    let is_stopped = || status(worker, "State").starts_with('T').then_some(());
    wait_for("the worker to stop", is_stopped);
    let stty = Command::new("stty").arg("-F").arg(world.path("at-once")).output().unwrap();
    let words = String::from_utf8(stty.stderr).unwrap();
    assert!(words.contains("Inappropriate ioctl"), "{words}");
    assert!(is_stopped().is_some(), "nobody missed it");
    kill(worker, Signal::CONT);
    world.unmount().unwrap();
}

/// The toy says EPERM, as it knows nothing of links.
fn a_request_too_large_to_be_a_read_is_refused() {
    let world = World::mounted();
    let mut remount = Command::new("mount");
    remount.args(["-i", "-o", "remount,rw"]).arg(&world.directory);
    assert!(remount.status().unwrap().success());
    let refused = symlink("x".repeat(2_000), world.path("link")).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let unknown = symlink("short", world.path("link")).unwrap_err();
    assert_eq!(unknown.raw_os_error(), Some(Errno::PERM.raw_os_error()));
    world.unmount().unwrap();
}
