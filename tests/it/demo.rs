//! The demo, run to its end and not to its end: few lines, the main job in them, and nothing left.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::child::Ran;
use crate::program::build;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

#[test]
fn the_demo_shows_the_main_job_in_few_lines_and_leaves_nothing() {
    let Some(world) = World::new() else { return };
    let ran = world.spawn(&mut demo(&world)).wait(LIMIT);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert_eq!(ran.stderr, "cat: vault/site-key: Key has been revoked\n");
    let shown = String::from_utf8(ran.stdout).unwrap();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines.len() < 25, "{} lines:\n{shown}", lines.len());
    let after = |command: &str| {
        let at = lines.iter().position(|line| *line == command);
        lines[at.unwrap_or_else(|| panic!("{command} in\n{shown}")) + 1]
    };
    assert_eq!(after("$ cat vault/ftpadmin"), "a first password");
    assert!(after("$ ls -l vault").starts_with("total "));
    assert!(lines.contains(&"another one"), "{shown}");
    for command in
        ["$ akvfs mount https://localhost:", "$ cat vault/site-key", "$ akvfs unmount vault"]
    {
        assert_eq!(lines.iter().filter(|line| line.starts_with(command)).count(), 1, "{shown}");
    }
    let size = |name: &str| {
        let line = lines
            .iter()
            .find(|line| line.ends_with(name) && line.starts_with("-r-------- 1 root root "));
        line.unwrap_or_else(|| panic!("{name} in\n{shown}")).split_whitespace().nth(4).unwrap()
    };
    assert_eq!(size("ftpadmin"), "a first password".len().to_string());
    nothing_is_left(&world);
}

#[test]
fn a_demo_that_is_interrupted_leaves_nothing() {
    let Some(world) = World::new() else { return };
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut running = world.spawn(&mut demo(&world));
        until("there is a mount", || !world.mounts().is_empty());
        assert!(running.runs());
        running.signal(signal);
        assert_eq!(running.wait(LIMIT).code, Some(code));
        nothing_is_left(&world);
    }
    // Before there is a mount, and whatever is under way.
    for wait in [0, 5, 20, 60] {
        let running = world.spawn(&mut demo(&world));
        std::thread::sleep(Duration::from_millis(wait));
        running.signal(Signal::INT);
        let ran = running.wait(LIMIT);
        assert!(ran.code == Some(130) || ran.signal == Some(2), "{ran:#?}");
        nothing_is_left(&world);
    }
}

#[test]
fn a_demo_that_nobody_reads_any_more_leaves_nothing_and_complains_of_nothing() {
    let Some(world) = World::new() else { return };
    let ran =
        world.sh(&format!("mkdir {FOLDER}; TMPDIR={FOLDER} {} | head -2", program().display()));
    assert_eq!(ran.ok().lines().count(), 2);
    nothing_is_left(&world);
}

#[test]
fn the_demo_runs_for_an_ordinary_user_where_fuse_is_there_for_users() {
    let Some(world) = World::new() else { return };
    let ran = as_user(&world, "666");
    assert_eq!(ran.stderr, "cat: vault/site-key: Key has been revoked\n", "{ran:#?}");
    let shown = String::from_utf8(ran.stdout).unwrap();
    assert!(shown.contains("-r-------- 1 nobody nogroup 16 "), "{shown}");
    assert!(shown.contains("\n$ cat vault/ftpadmin\nanother one\n"), "{shown}");
    nothing_is_left(&world);
}

#[test]
fn where_fuse_is_missing_the_demo_says_what_to_do() {
    let Some(world) = World::new() else { return };
    let refused = as_user(&world, "600").failed(2);
    assert!(refused.contains("failed to open /dev/fuse: Permission denied\nhint: "), "{refused}");
    nothing_is_left(&world);
    world.sh("mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3").ok();
    let missing = world.spawn(&mut demo(&world)).wait(LIMIT).failed(2);
    assert!(missing.contains("/dev/fuse not found\nhint: modprobe fuse\n"), "{missing}");
    nothing_is_left(&world);
}

/// The demo as `cargo run --example demo` has it run.
fn demo(world: &World) -> Command {
    let mut command = world.command(program().to_str().unwrap());
    command.env("TMPDIR", FOLDER).env("LC_ALL", "C");
    let _ = world.inside(|| fs::create_dir(FOLDER));
    command
}

/// Lets nobody run it, who may do with /dev/fuse what the mode says.
fn as_user(world: &World, mode: &str) -> Ran {
    let demo = program();
    let demo = demo.display();
    // The mounts end with the world. Where the program was built may be closed to others.
    world.sh(&format!(
        "set -e
        mkdir -p -m 1777 {FOLDER}
        mount -t tmpfs tmpfs /mnt; cp {demo} /mnt
        mknod -m {mode} /mnt/fuse c 10 229; mount --bind /mnt/fuse /dev/fuse
        cd /; export LC_ALL=C TMPDIR={FOLDER}
        exec setpriv --reuid 65534 --regid 65534 --clear-groups /mnt/demo"
    ))
}

fn program() -> PathBuf {
    build(&["--example", "demo"], "examples/demo")
}

fn nothing_is_left(world: &World) {
    assert!(world.mounts().is_empty());
    until("its processes are gone", || world.processes().is_empty());
    let left = world.inside(|| fs::read_dir(FOLDER).map(Iterator::count));
    assert_eq!(left.unwrap_or(0), 0);
}

/// Where what is temporary goes.
const FOLDER: &str = "/run/demo";
