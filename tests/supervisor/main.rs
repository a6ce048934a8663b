//! Supervisor, relay and ledger on real mounts, with a toy behind them instead of a vault.
//!
//! Needs root and /dev/fuse; without them it says so and ends well, unless AKVFS_REQUIRE_FUSE=1.
//! What takes minutes runs with `--ignored`, and then nothing else does.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test"
)]

mod ends;
mod kills;
mod mounting;
mod storm;
mod toy;
mod waits;
mod world;

use std::fs::Permissions;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::Command;
use std::process::ExitCode;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;

use akvfs::supervisor::relay;
use akvfs::supervisor::supervise;
use parking_lot::Mutex;
use rustix::fs::CWD;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::mknodat;
use rustix::mount::mount_bind;

/// A promise and its test.
pub type Test = (&'static str, fn());

/// Says that the process is in a mount namespace of its own: what a test might leave behind ends
/// with it.
const IN_NAMESPACE: &str = "--in-namespace";

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    match arguments.first().map(String::as_str) {
        Some("supervisor") => return supervise::main(),
        Some("relay") => return relay::main(),
        Some("worker") => return toy::main(),
        Some("as-user") => return mounting::as_user(&arguments[1..]),
        Some("mount-in-vain") => return mounting::in_vain(&arguments[1..]),
        Some("in-the-foreground") => return ends::in_the_foreground(&arguments[1..]),
        _ => {}
    }
    let tests = match arguments.iter().any(|argument| argument == "--ignored") {
        true => storm::LONG.to_vec(),
        false => [mounting::TESTS, kills::TESTS, waits::TESTS, storm::TESTS, ends::TESTS].concat(),
    };
    if arguments.iter().any(|argument| argument == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if !Path::new("/dev/fuse").exists() || !rustix::process::geteuid().is_root() {
        println!("skipped: no /dev/fuse here, or not root");
        let is_required = std::env::var_os("AKVFS_REQUIRE_FUSE").is_some_and(|value| value == "1");
        return ExitCode::from(u8::from(is_required));
    }
    if arguments.last().map(String::as_str) != Some(IN_NAMESPACE) {
        return enter_namespace(&arguments);
    }
    everybody_may_open_dev_fuse();
    let filters = arguments.iter().filter(|argument| !argument.starts_with("--"));
    let filters = filters.collect::<Vec<_>>();
    let wanted = |(name, _): &Test| {
        filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
    };
    let tests = tests.into_iter().filter(wanted).collect::<Vec<_>>();
    // Those that measure a wait want the machine for themselves.
    let (alone, together) = tests.into_iter().partition::<Vec<_>, _>(is_timed);
    let failed = run(together, TOGETHER) + run(alone, 1);
    println!("{failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

/// How many tests run at once.
const TOGETHER: usize = 6;

fn is_timed((name, _): &Test) -> bool {
    waits::TESTS.iter().any(|(timed, _)| timed == name)
}

fn run(tests: Vec<Test>, at_once: usize) -> usize {
    let (tests, failed) = (Mutex::new(tests.into_iter()), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let Some((name, test)) = tests.lock().next() else {
                        return;
                    };
                    let verdict = if catch_unwind(test).is_ok() { "ok" } else { "FAILED" };
                    failed.fetch_add(usize::from(verdict != "ok"), Ordering::SeqCst);
                    println!("test {name} ... {verdict}");
                }
            });
        }
    });
    failed.into_inner()
}

fn enter_namespace(arguments: &[String]) -> ExitCode {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]);
    command.arg(std::env::current_exe().unwrap()).args(arguments).arg(IN_NAMESPACE);
    println!("cannot run unshare: {}", command.exec());
    ExitCode::FAILURE
}

/// As udev has it on most machines.
fn everybody_may_open_dev_fuse() {
    let node = std::env::temp_dir().join(format!("akvfs-device-{}", std::process::id()));
    let number = std::fs::metadata("/dev/fuse").unwrap().rdev();
    mknodat(CWD, &node, FileType::CharacterDevice, Mode::empty(), number).unwrap();
    std::fs::set_permissions(&node, Permissions::from_mode(0o666)).unwrap();
    mount_bind(&node, "/dev/fuse").unwrap();
    std::fs::remove_file(&node).unwrap();
}
