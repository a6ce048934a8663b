//! How fast a mount is beside tmpfs, measured in one run: `cargo bench --bench read`, with the names
//! of parts behind it if others do not matter.
//!
//! The production program on its defaults, in a world of its own, whose emulator answers at once.
//! A figure is the median of 21 rounds, in which the sides take turns; a round's is the fastest of
//! its slices, so that what else the machine does meanwhile is nobody's fault. Where a counter can
//! tell, it is a counter.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a measurement that cannot go on has failed, and needs a clock"
)]

use std::fs;
use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;
use rustix::fs::RawDir;
use rustix::fs::stat;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::PidfdGetfdFlags;
use rustix::process::pidfd_getfd;
use rustix::process::pidfd_open;
use rustix::thread::gettid;

use crate::measure::Board;
use crate::measure::line;
use crate::mounted::Mounted;
use crate::namespace::Process;
use crate::world::World;
use crate::world::try_until;

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/child.rs"]
mod child;
mod measure;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/mounted.rs"]
mod mounted;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/namespace.rs"]
mod namespace;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/world.rs"]
mod world;

/// Rows that are measured together, and their name.
type Part = (&'static str, fn(&mut Board));

fn main() -> ExitCode {
    let parts: [Part; 5] = [
        ("few", few),
        ("rotation", rotation),
        ("first", first),
        ("many", many),
        ("mounts", mounts),
    ];
    // Those that are named, or all.
    let named: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let mut board = Board::default();
    for (name, part) in parts {
        if named.is_empty() || named.iter().any(|it| it == name) {
            part(&mut board);
        }
    }
    match board.missed() {
        0 => line("\nall goals reached"),
        missed => line(&format!("\n{missed} goals missed")),
    }
    ExitCode::SUCCESS
}

/// Ten secrets in one world: memory, and single calls.
fn few(board: &mut Board) {
    let Some(world) = World::new() else { return };
    drop(memory(board, &world, 10, 10, 10.0));
    warm(board, &world);
    audited(board, &world);
}

/// What is in use: single calls, beside the same files on tmpfs.
fn warm(board: &mut Board, world: &World) {
    let sizes = [("size-64", 64), ("size-2k", 2 * KB), ("size-25k", 25 * KB)];
    for (name, size) in sizes {
        world.vault().put(name, &"v".repeat(size));
    }
    let mount = world.mount(&[]);
    let tmpfs = tmpfs(world);
    world.inside(|| {
        for (name, _) in sizes {
            let value = fs::read(mount.path(name)).unwrap();
            fs::write(tmpfs.join(name), value).unwrap();
        }
        let beside = Beside { mount: mount.directory(), tmpfs: &tmpfs };
        board.title("warm, as a multiple of tmpfs");
        beside.row(board, "open, read, close: 64 B", 1.5, "size-64", open_read_close);
        beside.row(board, "open, read to the end, close: 2 KB", 1.4, "size-2k", read);
        beside.row(board, "open, read to the end, close: 25 KB", 1.35, "size-25k", read);
        // std's own asks for the time of birth as well, which is another system call.
        beside.row(board, "stat", 1.15, "size-64", |path| assert!(stat(path).is_ok()));
        beside.row(board, "stat of a name that is missing", 0.6, "missing", |path| {
            assert!(stat(path).is_err());
        });
        beside.processes(board, "cat, the whole process", 1.02, &["cat", "size-2k"]);
    });
    untouched(board, world, &mount);
}

/// What is in use, where each open is recorded in a file.
fn audited(board: &mut Board, world: &World) {
    world.vault().put("size-2k", &"v".repeat(2 * KB));
    let records = world.directory().join("audit");
    let mount = world.mount(&[&format!("audit={}", records.display())]);
    let tmpfs = tmpfs(world);
    world.inside(|| {
        let value = fs::read(mount.path("size-2k")).unwrap();
        fs::write(tmpfs.join("size-2k"), value).unwrap();
        let beside = Beside { mount: mount.directory(), tmpfs: &tmpfs };
        board.title("warm, with audit=FILE, as a multiple of tmpfs");
        beside.row(board, "open, read, close", 30.0, "size-2k", open_read_close);
        beside.row(board, "stat", 1.15, "size-2k", |path| assert!(stat(path).is_ok()));
        beside.processes(board, "cat, the whole process", 1.2, &["cat", "size-2k"]);
    });
}

/// Warm operations, counted where they would be served: the relay does not run, the worker neither.
fn untouched(board: &mut Board, world: &World, mount: &Mounted<'_>) {
    let relay = world.process("relay").unwrap().pid.as_raw_nonzero().get();
    let worker = world.process("worker").unwrap().pid.as_raw_nonzero().get();
    board
        .title("warm, counted over 1,000 operations: the relay's turns, and the worker's CPU time");
    let path = mount.path("size-2k");
    let operations: [(&str, &(dyn Fn() + Sync)); 4] = [
        ("open, fstat, read, close", &|| drop(black_box(fs::read(&path).unwrap()))),
        ("stat", &|| assert!(fs::metadata(&path).unwrap().is_file())),
        ("stat of a name that is missing", &|| {
            assert!(fs::metadata(mount.path("missing")).is_err())
        }),
        ("readdir", &|| assert!(fs::read_dir(mount.directory()).unwrap().count() > 0)),
    ];
    for (what, operation) in operations {
        // A refresh may fall into a thousand operations, but not into three times a thousand.
        let tries = (0..3).map(|_| {
            world.inside(|| {
                operation();
                thread::sleep(Duration::from_millis(20));
                let before = (turns(relay), cpu(worker));
                (0..1000).for_each(|_| operation());
                let after = (turns(relay), cpu(worker));
                (after.0 - before.0, after.1 - before.1)
            })
        });
        let (turns, cpu) = tries.min().unwrap();
        board.at_most(&format!("{what}: requests"), turns as f64, 0.0, "", "");
        board.at_most(&format!("{what}: worker"), cpu as f64, 0.0, " ns", "");
    }
}

/// How long it takes from the moment at which the worker says that there is a new version to the one
/// from which no open sees the old. It says so on a socket whose other end the supervisor holds: that
/// there is something to be read is seen before it is read.
///
/// Whoever watches never sleeps. He has a processor of his own, and the three processes have the
/// others, before everybody else, and the one that is told before the one that tells, as if there
/// were enough processors: what is measured is the way, and not who else wants to run.
fn rotation(board: &mut Board) {
    let Some(world) = World::new() else { return };
    world.vault().put("key", "value 0");
    let mount = world.mount(&["refresh=100ms"]);
    let path = mount.path("key");
    assert_eq!(mount.read("key").unwrap(), b"value 0");
    let sockets = sockets(world.process("supervisor").unwrap().pid);
    let mut sockets: Vec<PollFd<'_>> =
        sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
    let apart = thread::available_parallelism().unwrap().get() > 1
        && world.akvfs_processes().iter().all(|process| {
            let pid = process.pid.as_raw_nonzero().to_string();
            let priority = if process.arguments[1] == "supervisor" { "2" } else { "1" };
            ran("chrt", &["--all-tasks", "--fifo", "--pid", priority, &pid])
                && ran("taskset", &["--all-tasks", "--cpu-list", "--pid", "1-1023", &pid])
        });
    let mut times = Vec::new();
    for number in 0..101 {
        let value = format!("value {}", number + 1);
        let seen = world.inside(|| {
            // The name stays in use, and the kernel holds it.
            let old = fs::read(&path).unwrap();
            if apart {
                let thread = gettid().as_raw_nonzero().to_string();
                assert!(ran("taskset", &["--cpu-list", "--pid", "0", &thread]));
                assert!(ran("chrt", &["--fifo", "--pid", "1", &thread]));
            }
            world.vault().put("key", &value);
            while poll(&mut sockets, Some(&Timespec::default())).unwrap() == 0 {}
            let since = Instant::now();
            assert_ne!(old, value.as_bytes());
            // Whoever closes an old file last pays for its end, so each is kept until all is over. And
            // the way of an open through relay and worker is no part of it: when was it begun?
            let mut kept = Vec::new();
            loop {
                let begun = Instant::now();
                let file = File::open(&path).unwrap();
                let mut shown = [0; 16];
                let length = file.read_at(&mut shown, 0).unwrap();
                kept.push(file);
                if &shown[..length] == value.as_bytes() {
                    break begun.duration_since(since).as_secs_f64() * 1e6;
                }
            }
        });
        times.push(seen);
    }
    times.sort_by(f64::total_cmp);
    let whose = if apart { "" } else { ", and no processor of one's own" };
    let detail = format!("fastest {:.0}, nine in ten {:.0} us{whose}", times[0], times[90]);
    board.title("a rotation, from the worker to every open");
    board.at_most("no open sees the old version, p50", times[50], 50.0, " us", &detail);
}

fn ran(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let status = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// The sockets that the supervisor holds.
fn sockets(supervisor: Pid) -> Vec<OwnedFd> {
    let process = pidfd_open(supervisor, PidfdFlags::empty()).unwrap();
    let descriptors = fs::read_dir(format!("/proc/{}/fd", supervisor.as_raw_nonzero())).unwrap();
    let sockets = descriptors
        .map(|entry| entry.unwrap().path())
        .filter(|path| fs::read_link(path).unwrap().to_str().unwrap().starts_with("socket:"));
    let numbers = sockets.map(|path| path.file_name().unwrap().to_str().unwrap().parse().unwrap());
    numbers.map(|it| pidfd_getfd(&process, it, PidfdGetfdFlags::empty()).unwrap()).collect()
}

/// What was never read before: whole processes, beside those of a script.
fn first(board: &mut Board) {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    world.write("/etc/script", SCRIPT);
    world.write("/etc/curls", SCRIPT.replace(" | jq -r .value", " > /dev/null"));
    board.title("the first time, as a multiple of what a script takes");
    let run = |program: &str, arguments: &[&str], output: &str| {
        let mut command = world.command(program);
        command.args(arguments);
        seconds(|| assert_eq!(command.output().unwrap().stdout, output.as_bytes()))
    };
    let (mut get, mut script) = (vec![], vec![]);
    world.inside(|| {
        for _ in 0..ROUNDS {
            get.push(run("akvfs", &["get", "my-vault", "ftpadmin"], "s3cret"));
            script.push(run("sh", &["/etc/script"], "s3cret\n"));
        }
    });
    ratio(board, "akvfs get, beside curl and jq", 0.5, median(get), median(script));
    let (mut cat, mut curls) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let mount = world.mount(&["check=off"]);
        let path = mount.path("ftpadmin");
        let path = path.to_str().unwrap();
        world.inside(|| {
            cat.push(run("cat", &[path], "s3cret"));
            curls.push(run("sh", &["/etc/curls"], ""));
        });
    }
    ratio(board, "the first cat (token, value), beside two curls", 1.5, median(cat), median(curls));

    for number in 0..100 {
        world.vault().put(&format!("secret-{number}"), "a value");
    }
    let slow = Fault::always(Scope::Vault, Kind::Delay(Duration::from_millis(20)));
    let slow = world.emulator.inject(slow);
    let listed = (0..3).map(|_| {
        let mount = world.mount(&[]);
        let directory = mount.directory().to_str().unwrap().to_owned();
        seconds(|| drop(world.run("ls", &["-l", &directory]).ok()))
    });
    let listed = median(listed.collect());
    board.at_most("ls -l of 100 names, 20 ms a request", listed, 0.5, " s", "");
    world.emulator.clear(slow);
}

/// Two thousand secrets that were read, of ten thousand in the vault.
fn many(board: &mut Board) {
    let Some(world) = World::new() else { return };
    let mount = memory(board, &world, 2_000, 10_000, 18.0);
    let tmpfs = tmpfs(&world);
    board.title("2,000 names, as a multiple of tmpfs");
    world.inside(|| {
        let mut names = 0;
        for entry in fs::read_dir(mount.directory()).unwrap() {
            fs::write(tmpfs.join(entry.unwrap().file_name()), "v".repeat(KB)).unwrap();
            names += 1;
        }
        assert_eq!(names, 2_000);
        let beside = Beside { mount: mount.directory(), tmpfs: &tmpfs };
        beside.row(board, "readdir of all", 0.6, "", |at| assert_eq!(count_names(at), 2_002));
        beside.processes(board, "ls -l, the whole process", 0.85, &["ls", "-l"]);
    });
}

/// Fills a vault with so many secrets, has so many of them read, and adds up what is in memory.
fn memory<'a>(
    board: &mut Board,
    world: &'a World,
    read: usize,
    secrets: usize,
    goal: f64,
) -> Mounted<'a> {
    for number in 0..secrets {
        let kind = if number < read { "read" } else { "other" };
        world.vault().put(&format!("{kind}-{number}"), &"v".repeat(KB));
    }
    let mount = world.mount(&["secrets=read-*"]);
    // A first walk through many pages may take longer than a caller has.
    let listed = || world.inside(|| fs::read_dir(mount.directory()).is_ok());
    assert!(try_until(LONG, listed), "there is no listing");
    // Every value is fetched, at the rate at which vaults are asked.
    let mut list = world.command("ls");
    let listed = world.spawn(list.arg("-l").arg(mount.directory())).wait(LONG).ok();
    assert_eq!(listed.lines().count(), 1 + read);
    let parts = world.akvfs_processes().into_iter().map(|process| {
        let megabytes = process.pss() as f64 / MB;
        (process.arguments[1].clone(), megabytes)
    });
    let parts: Vec<(String, f64)> = parts.collect();
    let all: f64 = parts.iter().map(|(_, megabytes)| megabytes).sum();
    let parts: Vec<String> = parts.iter().map(|(role, part)| format!("{role} {part:.1}")).collect();
    board.title(&format!("memory: {read} secrets of 1 KB read, {secrets} in the vault"));
    let beyond = all - (read * KB) as f64 / MB;
    board.at_most(
        "Pss of all processes, beyond the values",
        beyond,
        goal,
        " MB",
        &parts.join(", "),
    );
    mount
}

/// A hundred mounts on one machine, one after the other, each of which somebody reads.
fn mounts(board: &mut Board) {
    let Some(world) = World::new() else { return };
    world.vault().put("key", "value");
    let (mut slowest, mut mounts) = (0.0_f64, vec![]);
    for _ in 0..100 {
        slowest = slowest.max(seconds(|| mounts.push(world.mount(&[]))));
    }
    mounts.iter().for_each(|mount| assert_eq!(mount.read("key").unwrap(), b"value"));
    let processes = world.akvfs_processes();
    let memory = processes.iter().map(Process::pss).sum::<u64>() as f64 / (1 << 20) as f64;
    board.title("100 mounts on one machine");
    board.at_most("akvfs mount, the slowest", slowest, 5.0, " s", "");
    let detail = format!("{} processes", processes.len());
    board.at_most("Pss of all processes", memory, 1536.0, " MiB", &detail);
}

/// A mount and the same files on tmpfs, in directories of equal depth.
struct Beside<'a> {
    mount: &'a Path,
    tmpfs: &'a Path,
}

impl Beside<'_> {
    /// Lets both sides do something by turns.
    fn row(&self, board: &mut Board, what: &str, goal: f64, name: &str, run: impl Fn(&Path)) {
        let (ours, theirs) = (self.mount.join(name), self.tmpfs.join(name));
        run(&ours);
        let once = seconds(|| run(&ours));
        let times = ((SLICE.as_secs_f64() / once) as usize).max(1);
        let slice = |at: &Path| seconds(|| (0..times).for_each(|_| run(at))) / times as f64;
        race(board, what, goal, || slice(&ours), || slice(&theirs));
    }

    /// Lets both sides run a program by turns, in their directory.
    fn processes(&self, board: &mut Board, what: &str, goal: f64, command: &[&str]) {
        let slice = |at: &Path| {
            let mut process = Command::new(command[0]);
            process.args(&command[1..]).current_dir(at).env_clear().env("PATH", "/usr/bin:/bin");
            process.stdin(Stdio::null()).stdout(Stdio::null());
            seconds(|| assert!(process.status().unwrap().success()))
        };
        race(board, what, goal, || slice(self.mount), || slice(self.tmpfs));
    }
}

fn race(board: &mut Board, what: &str, goal: f64, our: impl Fn() -> f64, their: impl Fn() -> f64) {
    let (mut ours, mut theirs) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let (mut our_best, mut their_best) = (f64::MAX, f64::MAX);
        for _ in 0..SLICES {
            our_best = our_best.min(our());
            their_best = their_best.min(their());
        }
        ours.push(our_best);
        theirs.push(their_best);
    }
    ratio(board, what, goal, median(ours), median(theirs));
}

fn ratio(board: &mut Board, what: &str, goal: f64, ours: f64, theirs: f64) {
    let (a, b) = (time(ours), time(theirs));
    board.at_most(what, ours / theirs, goal, "x", &format!("{a} to {b}"));
}

/// Reads a directory to its end, and does nothing else; `.` and `..` count.
fn count_names(directory: &Path) -> usize {
    let directory = File::open(directory).unwrap();
    let mut buffer = [MaybeUninit::uninit(); 32 * KB];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut names = 0;
    while let Some(entry) = entries.next() {
        black_box(entry.unwrap().ino());
        names += 1;
    }
    names
}

/// A tmpfs of its own: a mount beside a mount.
fn tmpfs(world: &World) -> PathBuf {
    let directory = world.directory();
    world.run("mount", &["-t", "tmpfs", "tmpfs", directory.to_str().unwrap()]).ok();
    directory
}

fn read(path: &Path) {
    black_box(fs::read(path).unwrap());
}

fn open_read_close(path: &Path) {
    let mut bytes = [0; 64];
    assert_eq!(File::open(path).unwrap().read(&mut bytes).unwrap(), 64);
    black_box(bytes);
}

fn seconds(run: impl FnOnce()) -> f64 {
    let since = Instant::now();
    run();
    since.elapsed().as_secs_f64()
}

fn time(seconds: f64) -> String {
    match seconds {
        _ if seconds < 1e-4 => format!("{:.0} ns", seconds * 1e9),
        _ => format!("{:.2} ms", seconds * 1e3),
    }
}

/// The value in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How often a process was given a processor. It counts in all its threads.
fn turns(pid: i32) -> u64 {
    schedule(pid, 2)
}

/// The nanoseconds for which a process ran, in all its threads.
fn cpu(pid: i32) -> u64 {
    schedule(pid, 0)
}

fn schedule(pid: i32, field: usize) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |thread: PathBuf| -> u64 {
        let text = fs::read_to_string(thread.join("schedstat")).unwrap();
        text.split_whitespace().nth(field).unwrap().parse().unwrap()
    };
    threads.map(|thread| of(thread.unwrap().path())).sum()
}

/// What tutorials have people write.
const SCRIPT: &str = r#"
token=$(curl -sS -H Metadata:true "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net" | jq -r .access_token)
curl -sS -H "Authorization: Bearer $token" "https://my-vault.vault.azure.net/secrets/ftpadmin?api-version=7.4" | jq -r .value
"#;

const ROUNDS: usize = 21;
const SLICES: usize = 20;
const SLICE: Duration = Duration::from_micros(500);
/// Two thousand values take a minute and a half at twenty requests a second.
const LONG: Duration = Duration::from_secs(200);
const KB: usize = 1024;
const MB: f64 = 1_000_000.0;
