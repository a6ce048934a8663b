//! Where a mount's messages go, how many there are, and that `-f` stays.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use rustix::process::Signal;

use crate::world::AKVFS;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

fn filled() -> Option<World> {
    let world = World::new()?;
    world.vault().put("ftpadmin", "s3cret");
    Some(world)
}

#[test]
fn a_log_file_is_opened_by_whoever_mounts_and_written_by_the_worker() {
    let Some(world) = filled() else { return };
    let folder = world.directory();
    let log = folder.join("log").to_str().unwrap().to_owned();
    let option = format!("log={log}");
    let mounted = world.mount(&[&option, "verbose", "verbose"]);
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    assert_eq!(world.run("stat", &["-c", "%a %u", &log]).ok(), "600 0\n");
    world.process("worker").unwrap().kill();
    world.vault().put("other", "value");
    assert_eq!(mounted.cat("other").ok(), "value");
    drop(mounted);
    let text = String::from_utf8(world.read(&log).unwrap()).unwrap();
    for what in ["debug: asks for ftpadmin", "debug: asks for other"] {
        assert!(text.contains(what), "{what}: {text}");
    }
    assert!(!text.contains("s3cret") && !text.contains("value"), "{text}");
}

#[test]
fn a_log_that_cannot_be_is_an_error_before_anything_is_mounted() {
    let Some(world) = filled() else { return };
    let folder = world.directory();
    let folder = folder.to_str().unwrap();
    world.sh(&format!("touch {folder}/log && ln -s log {folder}/link")).ok();
    for (log, code) in [
        (format!("{folder}/link"), 1),
        (format!("{folder}/missing/log"), 1),
        (folder.to_owned(), 1),
        ("journal".to_owned(), 32),
    ] {
        let option = format!("--log={log}");
        let said = world.akvfs(&["mount", "my-vault", folder, &option]).failed(code);
        assert!(said.starts_with(&format!("akvfs: log={log}: ")), "{said}");
    }
    assert_eq!(world.mounts().len(), 0);
    assert_eq!(world.emulator.requests().len(), 0);
}

/// A journal that takes what is sent to it, until it is dropped.
struct Journal<'a> {
    world: &'a World,
    socket: UnixDatagram,
}

impl<'a> Journal<'a> {
    fn open(world: &'a World) -> Self {
        world.sh(&format!("mkdir -p {}", Path::new(JOURNAL).parent().unwrap().display())).ok();
        let socket = world.inside(|| UnixDatagram::bind(JOURNAL).unwrap());
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        world.sh(&format!("chmod 0666 {JOURNAL}")).ok();
        Self { world, socket }
    }

    fn entry(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }
}

impl Drop for Journal<'_> {
    fn drop(&mut self) {
        self.world.sh("rm -r /run/systemd").ok();
    }
}

#[test]
fn in_the_background_messages_go_to_the_journal_if_there_is_one() {
    let Some(world) = filled() else { return };
    for options in [&["refresh=200ms"][..], &["refresh=200ms", "log=journal"]] {
        let journal = Journal::open(&world);
        let mounted = world.mount(options);
        assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
        let away = world.emulator.inject(Fault::always(Scope::Vault, Kind::status(503)));
        let entry = journal.entry();
        assert!(entry.starts_with("PRIORITY=4\nSYSLOG_IDENTIFIER=akvfs\nMESSAGE="), "{entry}");
        assert!(entry.contains("ftpadmin") && entry.contains("503"), "{entry}");
        world.emulator.clear(away);
    }
}

/// The supervisor's messages take the same way as the worker's.
#[test]
fn a_death_is_in_the_journal() {
    let Some(world) = filled() else { return };
    let journal = Journal::open(&world);
    let mounted = world.mount(&[]);
    for role in ["worker", "relay"] {
        let process = world.process(role).unwrap();
        process.kill();
        let entry = journal.entry();
        assert!(entry.starts_with("PRIORITY="), "{entry}");
        assert!(entry.contains(&format!("the {role} died")), "{entry}");
        assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
        until("another one is there", || {
            world.process(role).is_some_and(|other| other.pid != process.pid)
        });
    }
}

#[test]
fn an_outage_is_said_once_and_its_end_with_verbose() {
    let Some(world) = filled() else { return };
    let folder = world.directory();
    let log = folder.join("log").to_str().unwrap().to_owned();
    let option = format!("log={log}");
    let mounted = world.mount(&[&option, "verbose", "refresh=100ms"]);
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    let away = world.emulator.inject(Fault::always(Scope::Vault, Kind::status(503)));
    let failed = |request: &akvfs_emulator::record::Request| request.was_answered(503);
    assert!(world.emulator.wait_for(LIMIT, 4, failed));
    world.emulator.clear(away);
    let text = || String::from_utf8(world.read(&log).unwrap_or_default()).unwrap();
    until("it is over", || text().contains("answers again"));
    let warnings: Vec<String> =
        text().lines().filter(|line| line.contains("warning")).map(ToOwned::to_owned).collect();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("503"), "{warnings:#?}");
}

/// What `mount -f` came to: where its messages were sent, and what it wrote to standard error.
fn stay(world: &World, flag: &str, log: &str, end: &str) -> (String, String) {
    let folder = world.directory();
    let [said, file] = ["said", "log"].map(|name| folder.join(name).display().to_string());
    let log = log.replace("FILE", &file);
    let directory = world.directory();
    let at = directory.to_str().unwrap();
    // It says that it is ready by saying what the mount hides.
    world.write(&format!("{at}/hidden"), "");
    let line = format!("exec {AKVFS} mount {flag} -vv {log} my-vault {at} 2>{said}");
    let mut running = world.spawn(world.command("sh").args(["-c", &line]));
    let mounted = world.mounted_at(directory.clone());
    let text = |path: &str| String::from_utf8(world.read(path).unwrap_or_default()).unwrap();
    until("it is ready", || text(&said).contains("warning: "));
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    assert!(running.runs());
    match end {
        "TERM" => running.signal(Signal::TERM),
        "INT" => running.signal(Signal::INT),
        _ => drop(world.akvfs(&["unmount", at]).ok()),
    }
    assert_eq!(running.wait(LIMIT).ok(), "", "{}", text(&said));
    assert!(!mounted.is_mounted());
    (text(&said), text(&file))
}

#[test]
fn in_the_foreground_the_command_stays_until_it_is_told_to_leave() {
    let Some(world) = filled() else { return };
    let asked = "debug: asks for ftpadmin";
    for (flag, log, end) in
        [("-f", "", "TERM"), ("--foreground", "", "unmount"), ("-f", "--log=stderr", "INT")]
    {
        let (said, _) = stay(&world, flag, log, end);
        assert!(said.contains(asked) && !said.contains("s3cret"), "{said}");
    }
    let (said, file) = stay(&world, "-f", "--log=FILE", "TERM");
    assert!(file.contains(asked) && !file.contains("s3cret"), "{file}");
    assert!(!said.contains(asked), "what goes to one place goes to no other: {said}");
}

#[test]
fn each_v_says_more_and_without_it_get_is_silent() {
    let Some(world) = filled() else { return };
    world.emulator.inject(Fault::times(3, Scope::Get, Kind::status(503)));
    let lines = |flags: &[&str]| {
        world.emulator.inject(Fault::times(1, Scope::Get, Kind::status(503)));
        let ran = world.akvfs(&[&["get", "my-vault", "ftpadmin"], flags].concat());
        assert_eq!((ran.code, ran.stdout.as_slice()), (Some(0), &b"s3cret"[..]));
        ran.stderr.lines().count()
    };
    let [none, once, twice] = [lines(&[]), lines(&["-v"]), lines(&["-vv"])];
    assert_eq!(none, 0);
    assert!(once > 0 && twice >= once, "{once} {twice}");
}

#[test]
fn a_warning_that_nobody_can_be_told_ends_no_mount() {
    let Some(world) = filled() else { return };
    world.install();
    for stderr in ["2>/dev/full", "2>&-", "2>&1 | true"] {
        let directory = world.directory();
        let mounted = world.mounted_at(directory.clone());
        let at = directory.to_str().unwrap();
        world.write(&format!("{at}/hidden"), "");
        let ran = world.sh(&format!("akvfs mount my-vault {at} {stderr}"));
        assert_eq!((ran.code, ran.stdout.len()), (Some(0), 0), "{stderr}: {ran:?}");
        until("it is mounted", || mounted.is_mounted());
        assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret", "{stderr}");
    }
    for (line, code) in [
        ("akvfs list my-vault >/dev/full", 2),
        ("akvfs list --json my-vault >/dev/full", 2),
        ("akvfs list no-such-vault 2>/dev/full", 5),
        ("akvfs unmount /proc 2>/dev/full", 32),
        ("akvfs mount my-vault /proc/version 2>/dev/full", 32),
    ] {
        let ran = world.sh(line);
        assert_eq!((ran.code, ran.signal), (Some(code), None), "{line}: {ran:?}");
        assert!(!ran.stderr.contains("panicked"), "{line}: {ran:?}");
    }
}

/// Nobody who started it hears anything of it any more: neither its terminal nor its pipes.
#[test]
fn a_mount_in_the_background_keeps_nothing_of_whoever_started_it() {
    let Some(world) = filled() else { return };
    world.install();
    let directory = world.directory();
    let mounted = world.mounted_at(directory.clone());
    let line =
        format!("cd /tmp && exec 9</etc/passwd && akvfs mount my-vault {}", directory.display());
    // This would hang if a process kept the pipes.
    let ran = world.sh(&line);
    assert!(ran.took < Duration::from_secs(5), "{ran:?}");
    ran.ok();
    for role in ["supervisor", "relay", "worker"] {
        let proc = format!("/proc/{}", world.process(role).unwrap().pid.as_raw_nonzero());
        for entry in std::fs::read_dir(format!("{proc}/fd")).unwrap().flatten() {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            assert!(!target.ends_with("passwd"), "{role}: {target:?}");
        }
        assert_eq!(std::fs::read_link(format!("{proc}/cwd")).unwrap(), Path::new("/"), "{role}");
        assert_eq!(std::fs::read(format!("{proc}/environ")).unwrap_or_default(), b"", "{role}");
    }
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
}

const JOURNAL: &str = "/run/systemd/journal/socket";
