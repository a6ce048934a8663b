//! Whoever waits for a value: for how long, what ends the wait, and whom it does not concern.

use std::time::Duration;
use std::time::Instant;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use rustix::io::Errno;
use rustix::process::Signal;

use crate::child::Running;
use crate::mounted::Mounted;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

/// An open with handlers for signals, none of which starts a system call again.
const CATCHING: &str = r#"
    $SIG{$_} = sub {} for qw(HUP INT QUIT ALRM TERM CHLD WINCH USR1);
    sysopen(my $file, $ARGV[0], 0) or die "$!\n";
    print <$file>;
"#;

impl World {
    fn cat_later(&self, mounted: &Mounted<'_>, name: &str) -> Running {
        self.spawn(self.command("cat").arg(mounted.path(name)))
    }

    fn catching(&self, mounted: &Mounted<'_>, name: &str) -> Running {
        self.spawn(self.command("perl").args(["-e", CATCHING]).arg(mounted.path(name)))
    }
}

#[test]
fn a_first_open_ends_by_open_timeout_whatever_the_vault_does() {
    let Some(world) = World::new() else { return };
    world.vault().put("slow", "value");
    world.emulator.inject(Fault::always(Scope::Get, Kind::Hang));
    let mounted = world.mount(&["open-timeout=700ms"]);

    let (outcome, took) = mounted.reader("slow").result();

    assert_eq!(outcome, Err(Errno::TIMEDOUT));
    assert!(took >= Duration::from_millis(690), "{took:?}");
    assert!(
        took < Duration::from_millis(1700),
        "the relay, and not the worker, ended it: {took:?}"
    );
}

#[test]
fn a_signal_that_ends_the_caller_ends_its_wait() {
    let Some(world) = World::new() else { return };
    let (mounted, _hold) = world.mount_that_waits(Kind::Hold);
    let deadly =
        [Signal::INT, Signal::TERM, Signal::HUP, Signal::KILL, Signal::SEGV, Signal::ABORT];
    let caught = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::ALARM];
    let dying = deadly.map(|signal| (signal, world.cat_later(&mounted, "slow")));
    let catching = caught.map(|signal| (signal, world.catching(&mounted, "slow")));
    until("all of them wait", || mounted.waiting() == deadly.len() + caught.len());

    let mut slowest = Duration::ZERO;
    for (signal, caller) in dying {
        let since = Instant::now();
        caller.signal(signal);
        assert_eq!(caller.wait(LIMIT).signal, Some(signal.as_raw()));
        slowest = slowest.max(since.elapsed());
    }
    for (signal, caller) in catching {
        let since = Instant::now();
        caller.signal(signal);
        assert_eq!(caller.wait(LIMIT).failed(4), "Interrupted system call\n");
        slowest = slowest.max(since.elapsed());
    }

    // Each takes a few milliseconds; a busy machine may take its time.
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert_eq!(mounted.waiting(), 0);
}

#[test]
fn a_signal_that_does_not_end_the_caller_does_not_end_its_wait() {
    let Some(world) = World::new() else { return };
    let (mounted, hold) = world.mount_that_waits(Kind::Hold);
    let signals = [Signal::CHILD, Signal::WINCH];
    let callers = signals.map(|signal| (signal, world.catching(&mounted, "slow")));
    let stopped = world.cat_later(&mounted, "slow");
    until("all of them wait", || mounted.waiting() == signals.len() + 1);

    for (signal, caller) in &callers {
        caller.signal(*signal);
    }
    stopped.signal(Signal::STOP);
    stopped.signal(Signal::CONT);
    // A look-up of its own, so that the relay has had its turn since.
    assert_eq!(mounted.outcome("no_name"), Err(Errno::NOENT));
    assert_eq!(mounted.waiting(), signals.len() + 1);
    world.emulator.clear(hold);

    for (_, caller) in callers {
        assert_eq!(caller.wait(LIMIT).ok(), "value");
    }
    assert_eq!(stopped.wait(LIMIT).ok(), "value");
}

/// The kernel tells of one signal only, so the caller has to be looked at for the next.
#[test]
fn a_deadly_signal_after_a_harmless_one_ends_the_wait() {
    let Some(world) = World::new() else { return };
    let (mounted, _hold) = world.mount_that_waits(Kind::Hold);
    let (caught, killed) = (world.catching(&mounted, "slow"), world.catching(&mounted, "slow"));
    until("both wait", || mounted.waiting() == 2);
    for caller in [&caught, &killed] {
        caller.signal(Signal::WINCH);
    }
    assert_eq!(mounted.outcome("no_name"), Err(Errno::NOENT));
    assert_eq!(mounted.waiting(), 2);

    let since = Instant::now();
    caught.signal(Signal::INT);
    killed.signal(Signal::KILL);

    assert_eq!(caught.wait(LIMIT).failed(4), "Interrupted system call\n");
    assert_eq!(killed.wait(LIMIT).signal, Some(9));
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
}

#[test]
fn nobody_else_waits_for_the_vault_that_one_caller_waits_for() {
    let Some(world) = World::new() else { return };
    for name in ["slow", "cold", "rotated"] {
        world.vault().put(name, "old");
    }
    world.emulator.inject(Fault::always(Scope::get_of("slow"), Kind::Hold));
    let mounted = world.mount(&["open-timeout=60s", "refresh=200ms"]);
    assert_eq!(mounted.outcome("rotated"), Ok(b"old".to_vec()));
    let slow = mounted.reader("slow");
    assert!(world.emulator.wait_for(LIMIT, 1, |request| request.is_get_of("slow")));

    assert_eq!(mounted.outcome("cold"), Ok(b"old".to_vec()));
    assert_eq!(mounted.outcome("missing"), Err(Errno::NOENT));
    assert_eq!(world.run("ls", &[mounted.directory().to_str().unwrap()]).ok().lines().count(), 3);
    world.vault().put("rotated", "new");
    until("the new version is seen", || mounted.outcome("rotated") == Ok(b"new".to_vec()));

    assert!(slow.waits());
    assert_eq!(world.emulator.count(|request| request.is_get_of("slow")), 1);
    world.emulator.clear_all();
    assert_eq!(slow.result().0, Ok(b"old".to_vec()));
}

#[test]
fn a_thousand_callers_can_wait_at_once_and_all_are_answered() {
    let Some(world) = World::new() else { return };
    let (mounted, hold) = world.mount_that_waits(Kind::Hold);

    let callers: Vec<_> = (0..1000).map(|_| mounted.reader("slow")).collect();
    until("all of them wait", || mounted.waiting() == 1000);
    world.emulator.clear(hold);

    for caller in callers {
        assert_eq!(caller.result().0, Ok(b"value".to_vec()));
    }
    assert_eq!(world.emulator.count(|request| request.is_get()), 1);
}

#[test]
fn a_thousand_callers_of_a_vault_that_hangs_are_answered_in_time() {
    let Some(world) = World::new() else { return };
    world.vault().put("slow", "value");
    world.emulator.inject(Fault::always(Scope::Get, Kind::Hang));
    let mounted = world.mount(&["open-timeout=2s"]);

    let callers: Vec<_> = (0..1000).map(|_| mounted.reader("slow")).collect();

    for caller in callers {
        let (outcome, took) = caller.result();
        assert_eq!(outcome, Err(Errno::TIMEDOUT));
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn five_hundred_cold_readers_of_one_name_are_one_request() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "value");
    let mounted = world.mount(&[]);

    let readers: Vec<_> = (0..500).map(|_| mounted.reader("ftpadmin")).collect();

    for reader in readers {
        assert_eq!(reader.result().0, Ok(b"value".to_vec()));
    }
    assert_eq!(world.emulator.count(|request| request.is_get()), 1);
}

#[test]
fn eight_requests_are_under_way_at_once_and_twenty_a_second_after_the_first_two_hundred() {
    let Some(world) = World::new() else { return };
    let names: Vec<String> = (0..260).map(|number| format!("s-{number}")).collect();
    for name in &names {
        world.vault().put(name, "value");
    }
    let mounted = world.mount(&[]);
    world.emulator.inject(Fault::always(Scope::Get, Kind::Delay(Duration::from_millis(10))));

    let readers: Vec<_> = names.iter().map(|name| mounted.reader(name)).collect();
    for reader in readers {
        assert_eq!(reader.result().0, Ok(b"value".to_vec()));
    }

    let requests = world.emulator.requests();
    let at: Vec<_> =
        requests.iter().filter(|request| request.is_get()).map(|request| request.at).collect();
    assert_eq!(at.len(), names.len());
    assert_eq!(world.emulator.max_in_flight(), 8);
    // Those that were sent before may arrive late, and none can arrive before it was sent.
    for (number, moment) in (1..).zip(&at).skip(200) {
        let since = *moment - at[0];
        assert!(since >= Duration::from_millis(45) * (number - 200), "{number}: {since:?}");
    }
}
