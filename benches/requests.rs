//! How many requests each operation costs, counted where they arrive: `cargo bench --bench requests`.
//!
//! A mount in a world of its own, the production program on its defaults; nothing is timed. An hour
//! is sixty refreshes: they are shorter here, and `stale` with them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a measurement that cannot go on has failed, and an hour has to pass"
)]

use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use akvfs_emulator::record::Request;
use akvfs_emulator::vault::Refusal;

use crate::measure::Board;
use crate::measure::line;
use crate::mounted::Mounted;
use crate::world::World;

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/callers.rs"]
mod callers;
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

fn main() -> ExitCode {
    // cargo test runs this, too, if it is told to run everything.
    let Some(world) = World::new() else { return ExitCode::SUCCESS };
    drop(world);
    let mut board = Board::default();
    once(&mut board);
    cold(&mut board);
    an_hour(&mut board);
    a_refresh(&mut board);
    match board.missed() {
        0 => ExitCode::SUCCESS,
        missed => {
            line(&format!("\n{missed} goals missed"));
            ExitCode::FAILURE
        }
    }
}

/// What a person does with ten secrets, one thing after the other.
fn once(board: &mut Board) {
    let Some(world) = World::new() else { return };
    fill(&world, 10);
    board.title("requests to identity service and vault, one thing after the other");
    let mount = counted(&world, board, "akvfs mount", 3.0, || world.mount(&[]));
    counted(&world, board, "the first cat", 1.0, || mount.cat("secret-0").ok());
    counted(&world, board, "a hundred reads more", 0.0, || read(&world, &mount, 100));
    counted(&world, board, "the first ls (and one name in use is confirmed)", 2.0, || {
        list(&world, &mount, 1)
    });
    counted(&world, board, "twenty ls more", 0.0, || list(&world, &mount, 20));
    counted(&world, board, "stat of a name that is missing", 1.0, || {
        mount.read("missing").is_err()
    });
    counted(&world, board, "the same, a hundred times within 5 s", 0.0, || {
        let missing = mount.path("missing");
        world.inside(|| (0..100).for_each(|_| assert!(fs::read(&missing).is_err())));
    });
    counted(&world, board, "a thousand names that no secret can have", 0.0, || {
        let impossible = |number| mount.path(&format!(".site_{number}"));
        world.inside(|| (0..1000).for_each(|it| assert!(fs::read(impossible(it)).is_err())));
    });
    counted(&world, board, "akvfs unmount", 0.0, || drop(mount));
    counted(&world, board, "akvfs get (token, challenge, value)", 3.0, || {
        world.akvfs(&["get", "my-vault", "secret-0"]).ok()
    });
    counted(&world, board, "akvfs list (token, challenge, page)", 3.0, || {
        world.akvfs(&["list", "my-vault"]).ok()
    });
}

/// What many do at once, with names that nobody read before.
fn cold(board: &mut Board) {
    let Some(world) = World::new() else { return };
    fill(&world, 100);
    let mount = world.mount(&[]);
    board.title("many at once, and never read before");
    counted(&world, board, "10,000 readers of one name", 1.0, || {
        let read = mount.crowd("secret-0", 10_000).result();
        assert!(read.into_iter().all(|bytes| bytes == Ok(b"a value".to_vec())));
    });
    counted(&world, board, "ls -l of 100 (four pages, and each value)", 104.0, || {
        world.sh(&format!("ls -l {}", mount.directory().display())).ok()
    });
    counted(&world, board, "ls -l of 100, again", 0.0, || {
        world.sh(&format!("ls -l {}", mount.directory().display())).ok()
    });
}

/// An hour of several mounts at once, each in its own world.
fn an_hour(board: &mut Board) {
    board.title("an hour, which is 60 refreshes");
    let mounts: [(&str, usize, bool, f64); 4] = [
        // What is used, how many names, whether list is granted. Jitter makes 60 refreshes up to 71.
        ("nothing was ever read", 0, true, 0.0),
        ("1 name is read all the time", 1, true, 71.0),
        ("5 names are read all the time", 5, true, 355.0),
        ("5 names are read all the time, without list", 5, false, 355.0),
    ];
    let asked: Vec<Vec<Request>> = thread::scope(|scope| {
        let hour = |(_, used, list, _)| scope.spawn(move || hour(used, list));
        let hours: Vec<_> = mounts.into_iter().map(hour).collect();
        hours.into_iter().map(|hour| hour.join().unwrap()).collect()
    });
    for ((what, _, _, goal), requests) in mounts.into_iter().zip(asked) {
        row(board, what, &requests, goal);
    }
}

/// What it costs to confirm names in use, once a refresh, where nothing changes.
fn a_refresh(board: &mut Board) {
    board.title("a refresh, where so many names are in use and nothing changes (mean of five)");
    // A request for each comes after 85 to 95 % of a refresh.
    let mounts = [(10, true, 10.0), (10, false, 12.0), (300, true, 37.5), (300, false, 353.0)];
    for (used, list, goal) in mounts {
        let world = World::new().unwrap();
        fill(&world, used);
        // Made before this second, or the list would say nothing about them yet.
        thread::sleep(Duration::from_millis(2100));
        if !list {
            world.vault().deny_list(Refusal::Policy);
        }
        let mount = world.mount(&["refresh=16s,confirm=4m,check=off"]);
        let look = || {
            let path = |name| mount.path(&format!("secret-{name}"));
            world.inside(|| (0..used).for_each(|name| assert!(fs::metadata(path(name)).is_ok())));
        };
        look();
        thread::sleep(SIXTEEN);
        look();
        thread::sleep(SIXTEEN);
        world.emulator.reset_requests();
        for _ in 0..5 {
            look();
            thread::sleep(SIXTEEN);
        }
        let requests = world.emulator.requests();
        let gets = requests.iter().filter(|it| it.is_get()).count();
        let what = format!("{used} names, {} list", if list { "with" } else { "without" });
        let mean = requests.len() as f64 / 5.0;
        board.at_most(&what, mean, goal, "", &format!("get {:.1}", gets as f64 / 5.0));
    }
}

fn hour(used: usize, list: bool) -> Vec<Request> {
    let world = World::new().unwrap();
    fill(&world, 10);
    let stale = format!("stale={}ms", (REFRESH * 60).as_millis());
    let mount = world.mount(&[&format!("refresh={}ms", REFRESH.as_millis()), &stale]);
    if !list {
        // Not before: it would be warned about.
        world.vault().deny_list(Refusal::Policy);
    }
    let paths: Vec<_> = (0..used).map(|name| mount.path(&format!("secret-{name}"))).collect();
    let read = || paths.iter().for_each(|path| assert_eq!(fs::read(path).unwrap(), b"a value"));
    world.inside(|| {
        read();
        world.emulator.reset_requests();
        for _ in 0..120 {
            thread::sleep(REFRESH / 2);
            read();
        }
    });
    world.emulator.requests()
}

/// Counts what an operation costs, and what it set going.
fn counted<T>(
    world: &World,
    board: &mut Board,
    what: &str,
    goal: f64,
    run: impl FnOnce() -> T,
) -> T {
    world.emulator.reset_requests();
    let done = run();
    thread::sleep(QUIET);
    row(board, what, &world.emulator.requests(), goal);
    done
}

fn row(board: &mut Board, what: &str, requests: &[Request], goal: f64) {
    let of = |like: &dyn Fn(&Request) -> bool| requests.iter().filter(|it| like(it)).count();
    let (tokens, challenges) = (of(&Request::is_token), of(&|it| it.was_answered(401)));
    let gets = of(&|it| it.is_get() && !it.was_answered(401));
    let lists = of(&|it| it.is_list() && !it.was_answered(401));
    let detail = format!("token {tokens}, challenge {challenges}, get {gets}, list {lists}");
    board.at_most(what, requests.len() as f64, goal, "", &detail);
}

fn fill(world: &World, secrets: usize) {
    for number in 0..secrets {
        world.vault().put(&format!("secret-{number}"), "a value");
    }
}

fn read(world: &World, mount: &Mounted<'_>, times: usize) {
    let path = mount.path("secret-0");
    world.inside(|| (0..times).for_each(|_| assert_eq!(fs::read(&path).unwrap(), b"a value")));
}

fn list(world: &World, mount: &Mounted<'_>, times: usize) {
    for _ in 0..times {
        let names = world.run("ls", &[mount.directory().to_str().unwrap()]).ok();
        assert_eq!(names.lines().count(), 10);
    }
}

const SIXTEEN: Duration = Duration::from_secs(16);
/// How long is waited for requests that nobody waits for.
const QUIET: Duration = Duration::from_millis(200);
/// A hundred and twentieth of the real one.
const REFRESH: Duration = Duration::from_millis(500);
