//! Crowds: many who wait for a vault that is silent, and many who ask for what is not there.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use akvfs_emulator::record::Service;
use akvfs_emulator::vault::Refusal;
use rustix::io::Errno;
use rustix::process::Signal;

use crate::callers::Caller;
use crate::child::Running;
use crate::mounted::Mounted;
use crate::namespace::Process;
use crate::readers::Readers;
use crate::readers::value;
use crate::strangers::Strangers;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

const CROWD: usize = 200;

fn name(number: usize) -> String {
    format!("cold-{number}")
}

/// A mount that knows one value and its directory, whose vault is silent from now on.
fn black_holed<'a>(world: &'a World, open_timeout: &str) -> Mounted<'a> {
    world.vault().put("known", &value("known", 1));
    for number in 0..CROWD {
        world.vault().put(&name(number), "value");
    }
    let mounted = world.mount(&[open_timeout]);
    assert_eq!(mounted.outcome("known"), Ok(value("known", 1).into_bytes()));
    assert_eq!(mounted.names().len(), CROWD + 1);
    world.swallow_vaults();
    mounted
}

#[test]
fn two_hundred_who_wait_are_all_answered_in_time_and_nobody_waits_for_them() {
    let Some(world) = World::new() else { return };
    let mounted = black_holed(&world, "open-timeout=5s");
    let crowd: Vec<_> = (0..CROWD).map(|number| mounted.reader(&name(number))).collect();
    until("all of them wait", || mounted.waiting() == CROWD);

    let readers = Readers::start(&mounted, 1, &["known"]);
    until("somebody reads what is known", || readers.opens() > 1000);
    assert_eq!(mounted.names().len(), CROWD + 1);
    assert_eq!(mounted.outcome("no_name"), Err(Errno::NOENT));
    assert!(crowd.iter().all(Caller::waits), "somebody else had to wait for the crowd");

    let mut waited = Vec::new();
    for reader in crowd {
        let (outcome, took) = reader.result();
        assert_eq!(outcome, Err(Errno::TIMEDOUT));
        waited.push(took);
    }
    waited.sort_unstable();
    assert!(waited[0] >= Duration::from_millis(4990), "{:?}", waited[0]);
    // Later than that and it was the relay who answered, or nobody.
    assert!(waited[CROWD / 2] < Duration::from_millis(5950), "{:?}", waited[CROWD / 2]);
    assert!(waited[CROWD - 1] < Duration::from_secs(8), "{:?}", waited[CROWD - 1]);
    let seen = readers.stop();
    assert_eq!(seen.wrong, Vec::<String>::new());
    world.mend_roads();
    until("it heals", || mounted.outcome(&name(0)) == Ok(b"value".to_vec()));
}

#[test]
fn each_of_two_hundred_who_wait_is_freed_by_a_signal_at_once() {
    let Some(world) = World::new() else { return };
    let mounted = black_holed(&world, "open-timeout=60s");
    let cat = |number| world.spawn(world.command("cat").arg(mounted.path(&name(number))));
    let crowd: Vec<Running> = (0..CROWD).map(cat).collect();
    until("all of them wait", || mounted.waiting() == CROWD);

    let mut freed: Vec<Duration> = Vec::new();
    for (caller, signal) in crowd.into_iter().zip([Signal::INT, Signal::KILL].into_iter().cycle()) {
        let since = Instant::now();
        caller.signal(signal);
        assert_eq!(caller.wait(LIMIT).signal, Some(signal.as_raw()));
        freed.push(since.elapsed());
    }
    freed.sort_unstable();

    assert_eq!(mounted.waiting(), 0);
    // A few milliseconds, to which a busy machine may add what it likes.
    assert!(freed[CROWD * 9 / 10] < Duration::from_millis(100), "{:?}", freed[CROWD * 9 / 10]);
    assert!(freed[CROWD - 1] < Duration::from_secs(1), "{:?}", freed[CROWD - 1]);
}

impl Process {
    /// How much memory it has in use, in kilobytes.
    fn resident(&self) -> u64 {
        let status = format!("/proc/{}/status", self.pid.as_raw_nonzero());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

/// Whether the vault may be listed, how many requests may come at once, and how many a second.
#[test]
fn names_that_nobody_has_cost_a_few_requests_a_second_however_many_are_asked_for() {
    for (list, burst, rate) in [(true, 20, 2), (false, 200, 20)] {
        let Some(world) = World::new() else { return };
        world.vault().put("known", &value("known", 1));
        if !list {
            world.vault().deny_list(Refusal::Policy);
        }
        let mounted = world.mount(&["open-timeout=1s", "check=off"]);
        assert_eq!(mounted.outcome("known"), Ok(value("known", 1).into_bytes()));
        assert_eq!(mounted.names().len(), 1);
        let readers = Readers::start(&mounted, 1, &["known"]);
        until("somebody reads what is known", || readers.opens() > 1000);
        let before = readers.opens();
        let roles = ["supervisor", "relay", "worker"];
        let resident = roles.map(|role| world.process(role).unwrap().resident());

        world.emulator.reset_requests();
        let since = Instant::now();
        let strangers = Strangers::start(&mounted);
        thread::sleep(STORM);
        let (opens, errors) = strangers.stop();
        let seconds = since.elapsed().as_secs_f64();
        assert_eq!(errors, [Errno::NOENT, Errno::TIMEDOUT]);

        let asked = world.emulator.count(|request| request.service == Service::Vault);
        // What is known and the list may each be asked about meanwhile.
        let most = f64::from(burst) + f64::from(rate) * seconds + 5.0;
        assert!(asked as f64 <= most, "{asked} requests in {seconds} s for {opens} opens");
        // As many as it goes; there are cheap ones among them, and a busy machine.
        assert!(opens > 5000, "only {opens} opens");
        let calm = readers.opens() - before;
        assert!(calm > 1000, "the reader of what is known came to {calm} opens");
        let seen = readers.stop();
        assert_eq!(seen.wrong, Vec::<String>::new());
        for (role, resident) in roles.iter().zip(resident) {
            let now = world.process(role).unwrap().resident();
            assert!(now < resident + 16 * 1024, "{role}: {resident} kB have become {now}");
        }
    }
}

const STORM: Duration = Duration::from_secs(10);
