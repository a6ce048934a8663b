//! How a mount ends, wanted or not, and what is left of it: nothing.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::process::kill_process;

use crate::mounted::Mounted;
use crate::together::together;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

impl World {
    #[track_caller]
    fn nothing_is_left(&self) {
        assert!(self.mounts().is_empty(), "{:#?}", self.mounts());
        until("no process is left", || self.akvfs_processes().is_empty());
        assert_eq!(self.run_files(), Vec::<PathBuf>::new());
    }

    fn terminate(&self) -> Instant {
        kill_process(self.process("supervisor").unwrap().pid, Signal::TERM).unwrap();
        Instant::now()
    }
}

impl World {
    /// Takes away the one thing that a supervisor that was killed leaves; the next mount does.
    pub(crate) fn sweep(&self) {
        assert_eq!(self.run_files().len(), 2, "a directory and a socket");
        drop(self.mount(&[]));
    }
}

impl Mounted<'_> {
    fn unmount(&self, options: &[&str]) -> crate::child::Ran {
        let arguments = ["unmount", self.directory().to_str().unwrap()];
        self.world().akvfs(&[&arguments[..1], options, &arguments[1..]].concat())
    }
}

#[test]
fn umount_unmount_and_sigterm_leave_nothing() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "value");
    for way in ["umount", "akvfs unmount", "SIGTERM", "SIGINT"] {
        let mounted = world.mount(&[]);
        assert_eq!(mounted.outcome("ftpadmin"), Ok(b"value".to_vec()));

        match way {
            "umount" => {
                world.run("umount", &[mounted.directory().to_str().unwrap()]).ok();
            }
            "akvfs unmount" => assert_eq!(mounted.unmount(&[]).ok(), ""),
            signal => {
                let signal = if signal == "SIGINT" { Signal::INT } else { Signal::TERM };
                kill_process(world.process("supervisor").unwrap().pid, signal).unwrap();
                until("it is unmounted", || !mounted.is_mounted());
            }
        }

        let since = Instant::now();
        world.nothing_is_left();
        // With nothing open there is nothing to serve.
        assert!(since.elapsed() < Duration::from_secs(4), "{way}: {:?}", since.elapsed());
    }
}

/// A service manager sends it to all of them.
#[test]
fn sigterm_to_all_three_is_as_good_as_to_the_supervisor() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "value");
    let mounted = world.mount(&[]);
    let file = mounted.open("ftpadmin").unwrap();

    for process in world.akvfs_processes().into_iter().rev() {
        let _gone = kill_process(process.pid, Signal::TERM);
    }
    until("the path is gone", || !mounted.is_mounted());

    let read = world.call(move || std::io::read_to_string(file).unwrap());
    assert_eq!(read.result(), "value");
    world.nothing_is_left();
}

#[test]
fn sigterm_takes_the_path_away_at_once_and_serves_open_files_for_five_seconds() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "value");
    let mounted = world.mount(&[]);
    let file = mounted.open("ftpadmin").unwrap();

    let since = world.terminate();
    until("the path is gone", || !mounted.is_mounted());

    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    let read = world.call(move || {
        let mut value = [0; 5];
        file.read_exact_at(&mut value, 0).unwrap();
        (file, value)
    });
    // It stays open.
    let (_file, value) = read.result();
    assert_eq!(&value, b"value");
    world.nothing_is_left();
    let took = since.elapsed();
    assert!((4..9).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn an_unmount_says_who_is_in_the_way_and_lazily_it_goes_round_them() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "value");
    let mounted = world.mount(&[]);
    let reading = world.spawn(
        world
            .command("sh")
            .arg("-c")
            .arg(format!("exec sleep 100 < {}", mounted.path("ftpadmin").display())),
    );
    until("it has the file open", || {
        world
            .processes()
            .iter()
            .any(|process| process.arguments.first().is_some_and(|it| it == "sleep"))
    });

    let complaint = mounted.unmount(&[]).failed(32);
    let holder = format!("sleep (pid {})", reading.pid().as_raw_nonzero());
    assert!(complaint.contains(&holder), "{complaint}");
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"value".to_vec()));
    assert_eq!(mounted.unmount(&["--lazy"]).ok(), "");

    assert!(!mounted.is_mounted());
    assert!(world.process("worker").is_some(), "open files are served to their end");
    reading.signal(Signal::KILL);
    drop(reading);
    world.nothing_is_left();
}

#[test]
fn a_forced_unmount_frees_whoever_waits() {
    let Some(world) = World::new() else { return };
    let (mounted, _hold) = world.mount_that_waits(Kind::Hang);
    let caller = mounted.waiting_reader("slow");

    let ran = mounted.unmount(&["--force"]);

    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(caller.result().0.is_err());
    world.nothing_is_left();
}

/// Seen: umount(8) by force cuts the connection and then finds the mount in use. It stayed, and
/// answered nobody.
#[test]
fn a_mount_whose_connection_was_cut_while_it_was_in_use_does_not_stay() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "value");
    let mounted = world.mount(&[]);
    let open = mounted.open("ftpadmin").unwrap();

    let ran = world.sh(&format!("umount -i -f {}", mounted.directory().display()));

    assert_ne!(ran.code, Some(0), "it is in use");
    until("the mount is gone", || !mounted.is_mounted());
    drop(open);
    world.nothing_is_left();
}

#[test]
fn sigterm_frees_whoever_waits_for_the_vault() {
    let Some(world) = World::new() else { return };
    let (mounted, _hold) = world.mount_that_waits(Kind::Hang);
    let caller = mounted.waiting_reader("slow");

    let since = world.terminate();

    assert_eq!(caller.result().0, Err(Errno::CONNABORTED));
    assert!(since.elapsed() < Duration::from_secs(9), "{:?}", since.elapsed());
    assert!(!mounted.is_mounted());
    world.nothing_is_left();
}

#[test]
fn a_mount_whose_worker_hangs_can_be_unmounted() {
    let Some(world) = World::new() else { return };
    let mounted = world.mount(&[]);
    world.process("worker").unwrap().stop();

    assert_eq!(mounted.unmount(&[]).ok(), "");

    world.nothing_is_left();
}

/// Five refreshes after it was told, or where `stale` ends, the kernel forgets.
#[test]
fn cached_names_stop_when_their_time_is_over_after_all_processes_died() {
    together(["refresh=200ms", "refresh=1s,stale=1s"], |times| {
        let Some(world) = World::new() else { return };
        world.vault().put("known", "value");
        world.vault().put("slow", "value");
        world.emulator.inject(Fault::always(Scope::get_of("slow"), Kind::Hang));
        let mounted = world.mount(&[times, "open-timeout=60s"]);
        let waiting = mounted.reader("slow");
        assert!(world.emulator.wait_for(LIMIT, 1, |request| request.is_get_of("slow")));
        assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));

        world.kill_all();
        let since = Instant::now();

        assert!(matches!(waiting.result().0, Err(Errno::NOTCONN | Errno::CONNABORTED)));
        let mut served_until = Duration::ZERO;
        until("it is served no more", || {
            let asked = since.elapsed();
            match mounted.outcome("known") {
                Ok(value) => {
                    assert_eq!(value, b"value");
                    served_until = asked;
                }
                Err(errno) => assert_eq!(errno, Errno::NOTCONN),
            }
            asked > Duration::from_secs(3)
        });
        assert!(served_until < Duration::from_millis(1300), "{times}: {served_until:?}");
        assert!(mounted.is_mounted());
        assert_eq!(mounted.unmount(&[]).ok(), "");
    });
}

#[test]
fn the_next_mount_ends_a_dead_one_and_says_so() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "value");
    let mounted = world.mount(&[]);
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"value".to_vec()));
    let path = mounted.directory().to_str().unwrap().to_owned();
    // A file that is still open keeps a dead file system from being unmounted politely.
    let open = mounted.open("ftpadmin").unwrap();
    world.kill_all();

    let again = world.akvfs(&["mount", "my-vault", &path]);

    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(again.stderr, format!("akvfs: warning: ended a dead mount on {path}\n"));
    assert_eq!(world.mounts().len(), 1, "{:#?}", world.mounts());
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"value".to_vec()));
    drop(open);
}

#[test]
fn a_living_mount_is_not_taken_for_a_dead_one() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "value");
    let mounted = world.mount(&[]);
    let path = mounted.directory().to_str().unwrap();

    for role in ["worker", "relay"] {
        world.process(role).unwrap().kill();
        let complaint = world.akvfs(&["mount", "my-vault", path]).failed(32);
        assert!(complaint.contains("mounted there already"), "{complaint}");
    }

    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"value".to_vec()));
}

#[test]
fn a_dead_mount_can_be_unmounted() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "value");
    for way in ["akvfs unmount", "umount"] {
        let mounted = world.mount(&[]);
        assert_eq!(mounted.outcome("ftpadmin"), Ok(b"value".to_vec()));
        world.kill_all();

        match way {
            "umount" => {
                world.run("umount", &[mounted.directory().to_str().unwrap()]).ok();
                world.sweep();
            }
            _ => assert_eq!(mounted.unmount(&[]).ok(), ""),
        }

        world.nothing_is_left();
    }
}

/// Whoever began to mount and gave up finds nothing there.
#[test]
fn a_mount_that_is_interrupted_before_it_is_ready_leaves_nothing() {
    let Some(world) = World::new() else { return };
    for signal in [Signal::INT, Signal::KILL] {
        let hold = world.emulator.inject(Fault::always(Scope::Token, Kind::Hang));
        world.emulator.reset_requests();
        let directory = world.directory();
        let mut command = world.command("akvfs");
        command.args(["mount", "my-vault"]).arg(&directory);
        let mounting = world.spawn(&mut command);
        assert!(world.emulator.wait_for(LIMIT, 1, |request| request.is_token()));

        mounting.signal(signal);
        drop(mounting);

        until("it is unmounted", || world.mounts().is_empty());
        world.nothing_is_left();
        world.emulator.clear(hold);
    }
}

#[test]
fn a_foreground_mount_ends_with_a_signal_and_in_silence() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "value");
    let mounted = world.mounted_at(world.directory());
    let mut command = world.command("akvfs");
    command.args(["mount", "--foreground", "my-vault"]).arg(mounted.directory());
    let running = world.spawn(&mut command);
    until("it is mounted", || mounted.is_mounted());
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"value".to_vec()));

    running.signal(Signal::INT);

    assert_eq!(running.wait(LIMIT).ok(), "");
    world.nothing_is_left();
}
