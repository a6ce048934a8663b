//! What the processes of a mount may do, and what they hold.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::record::Service;
use rustix::process::Signal;
use rustix::process::kill_process;

use crate::mounted::Mounted;
use crate::namespace::Process;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

impl Process {
    /// A file in its directory in /proc.
    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.pid.as_raw_nonzero()))
    }

    /// A line of its status, without what is blank.
    fn status(&self, name: &str) -> String {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// What its descriptors are, each kind with its number of them.
    fn descriptors(&self) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(self.proc("fd")).unwrap() {
            // One may be closed while we look.
            let Ok(target) = fs::read_link(entry.unwrap().path()) else { continue };
            let target = target.to_str().unwrap().trim_end_matches(" (deleted)").to_owned();
            let kind = if target.starts_with("socket:") { "socket" } else { &target };
            *found.entry(kind.to_owned()).or_default() += 1;
        }
        found
    }
}

impl World {
    /// Mounts from a shell that has done something before.
    fn mount_after(&self, before: &str) -> Mounted<'_> {
        let mounted = self.mounted_at(self.directory());
        let mount = concat!(env!("CARGO_BIN_EXE_akvfs"), " mount my-vault");
        self.sh(&format!("{before} exec {mount} {}", mounted.directory().display())).ok();
        mounted
    }
}

#[test]
fn the_worker_is_nobody_and_may_do_nothing() {
    let Some(world) = World::new() else { return };
    let mounted = world.mount(&[]);
    let check = |uid: &str| {
        let worker = world.process("worker").unwrap();
        for ids in ["Uid", "Gid"] {
            assert_eq!(worker.status(ids), [uid; 4].join(" "), "{ids}");
        }
        assert_eq!(worker.status("Groups"), "");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(worker.status(set), "0000000000000000", "{set}");
        }
        assert_eq!(worker.status("NoNewPrivs"), "1");
        // What its user may look into belongs to that user.
        until("nobody may look into it", || {
            fs::metadata(worker.proc("environ")).unwrap().uid() == 0
        });
    };
    check("65534");

    world.end_with("worker", Signal::KILL);
    check("65534");
    drop(mounted);

    let _mounted = world.mount(&["run-as=1"]);
    check("1");
}

#[test]
fn no_worker_is_root() {
    let Some(world) = World::new() else { return };
    let directory = world.directory();
    let ran = world.akvfs(&["mount", "my-vault", directory.to_str().unwrap(), "-o", "run-as=0"]);
    let complaint = ran.failed(1);
    assert!(complaint.contains("run-as"), "{complaint}");
    assert_eq!(world.mounts().len(), 0);
}

#[test]
fn the_relay_has_no_capability_and_neither_it_nor_the_supervisor_can_gain_one() {
    let Some(world) = World::new() else { return };
    let _mounted = world.mount(&[]);
    let relay = world.process("relay").unwrap();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(relay.status(set), "0000000000000000", "{set}");
    }
    assert_eq!(relay.status("NoNewPrivs"), "1");
    // It must unmount; what it starts has to become another user.
    assert_eq!(world.process("supervisor").unwrap().status("Uid"), "0 0 0 0");
}

#[test]
fn no_process_has_an_environment_a_secret_argument_or_a_core_file() {
    let Some(world) = World::new() else { return };
    let _mounted = world.mount_after("ulimit -c unlimited; CANARY=canary");

    for role in ["supervisor", "relay", "worker"] {
        let process = world.process(role).unwrap();
        assert_eq!(process.arguments, ["akvfs", role, ""]);
        assert_eq!(fs::read(process.proc("environ")).unwrap(), b"", "{role}");
        let limits = fs::read_to_string(process.proc("limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{role}");
    }
}

#[test]
fn each_process_holds_what_it_needs_and_nothing_else() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "value");
    // What whoever mounts has left open is nobody's business.
    let mounted = world.mount_after("exec 9</etc/hosts 8>&1;");
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"value".to_vec()));

    let held = |role: &str| world.process(role).unwrap().descriptors();
    let kinds = |role: &str| {
        let kinds = held(role).into_keys();
        kinds
            .map(|kind| if kind.ends_with("/mountinfo") { TABLE.to_owned() } else { kind })
            .collect::<Vec<_>>()
    };
    let shared = ["/memfd:akvfs-arena", "/memfd:akvfs-brief", "/memfd:akvfs-ledger"];
    let waits = ["anon_inode:[pidfd]", "anon_inode:[signalfd]", "socket"];
    let supervisor = [&["/dev/fuse", "/dev/null"], &shared[..], &[TABLE], &waits].concat();
    assert_eq!(kinds("supervisor"), supervisor);
    // What it has mapped it does not hold open.
    assert_eq!(kinds("relay"), ["/dev/fuse", "/dev/null", "socket"]);
    let runtime = ["anon_inode:[eventfd]", "anon_inode:[eventpoll]", "anon_inode:[timerfd]"];
    assert_eq!(
        kinds("worker"),
        [&["/dev/null", "/memfd:akvfs-brief"], &runtime[..], &["socket"]].concat()
    );

    let before = held("supervisor");
    for role in ["worker", "relay", "worker"] {
        world.end_with(role, Signal::KILL);
    }
    until("the supervisor holds no more than before", || held("supervisor") == before);
}

/// Where core files lie in the directory of whoever crashed.
fn cores_can_be_found() -> bool {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.trim() != "core" {
        let _ = writeln!(io::stderr(), "skipped: cores go to {}", pattern.trim());
    }
    pattern.trim() == "core"
}

fn cores(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("core")).collect()
}

#[test]
fn a_process_of_a_mount_that_crashes_leaves_no_core_file() {
    let Some(world) = World::new() else { return };
    if !cores_can_be_found() {
        return;
    }
    world.vault().put("ftpadmin", "value");
    let root = Path::new("/");
    let before = cores(root);
    let mounted = world.mount_after("ulimit -c unlimited;");
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"value".to_vec()));

    for signal in [Signal::SEGV, Signal::ABORT] {
        for role in ["worker", "relay"] {
            world.end_with(role, signal);
        }
    }
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"value".to_vec()));
    let supervisor = world.process("supervisor").unwrap();
    until("all are gone", || {
        let _gone = kill_process(supervisor.pid, Signal::SEGV);
        world.akvfs_processes().is_empty()
    });
    world.akvfs(&["unmount", mounted.directory().to_str().unwrap()]).ok();

    assert_eq!(cores(root), before);
}

#[test]
fn a_get_or_list_that_crashes_leaves_no_core_file() {
    let Some(world) = World::new() else { return };
    if !cores_can_be_found() {
        return;
    }
    world.vault().put("ftpadmin", "value");
    world.emulator.inject(Fault::always(Scope::Vault, Kind::Hold));
    let directory = world.directory();
    let place = directory.display();
    let akvfs = env!("CARGO_BIN_EXE_akvfs");
    for (number, (command, left)) in [
        (format!("{akvfs} get my-vault ftpadmin"), 0),
        (format!("{akvfs} list my-vault"), 0),
        // A crash that is not held back is seen.
        ("sleep 100".to_owned(), 1),
    ]
    .into_iter()
    .enumerate()
    {
        let script = format!("ulimit -c unlimited; cd {place}; exec {command}");
        let running = world.spawn(world.command("sh").args(["-c", &script]));
        // The token is there by now.
        assert!(
            world.emulator.wait_for(LIMIT, number.min(1) + 1, |it| it.service == Service::Vault)
        );
        until("it is no shell any more", || {
            let all = world.processes();
            all.iter().any(|it| it.pid == running.pid() && !it.program.ends_with("dash"))
        });
        running.signal(Signal::ABORT);
        assert_eq!(running.wait(LIMIT).signal, Some(6));
        assert_eq!(world.inside(|| cores(&directory)).len(), left, "{command}");
    }
}

/// The table of mounts: by it the supervisor hears that somebody remounted.
const TABLE: &str = "/proc/self/mountinfo";
