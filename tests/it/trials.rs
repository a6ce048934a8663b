//! Secrets that are taken away while they are read: who gets in for how long.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use akvfs_emulator::record::Request;
use akvfs_emulator::vault::Refusal;
use akvfs_emulator::vault::Vault;
use rustix::io::Errno;

use crate::callers::Caller;
use crate::mounted::Mounted;
use crate::world::World;
use crate::world::until;

/// A kind of no: what says it of a name, and the error that it becomes.
#[derive(Clone, Copy)]
pub(crate) struct No {
    pub(crate) what: &'static str,
    says: fn(&Vault, &str),
    pub(crate) errno: Errno,
    /// Whether the vault may be listed, and the list shows it.
    list: bool,
}

/// Where the list shows nothing of a no, it is not granted: a right that goes from one secret while
/// the list stays is a promise of its own.
pub(crate) const NOES: [No; 10] = [
    no("policy", |vault, name| vault.deny_get(name, Refusal::Policy), Errno::ACCESS),
    no("old policy", |vault, name| vault.deny_get(name, Refusal::AccessDenied), Errno::ACCESS),
    no("role", |vault, name| vault.deny_get(name, Refusal::Rbac), Errno::ACCESS),
    no("firewall", |vault, name| vault.deny_get(name, Refusal::Firewall), Errno::ACCESS),
    no("connection", |vault, name| vault.deny_get(name, Refusal::Connection), Errno::ACCESS),
    no("disabled", disable, Errno::KEYREVOKED),
    no("deleted", delete, Errno::NOENT),
    no("purged", |vault, name| assert!(vault.purge(name)), Errno::NOENT),
    No { list: true, ..no("disabled, and listed", disable, Errno::KEYREVOKED) },
    No { list: true, ..no("deleted, and listed before", delete, Errno::NOENT) },
];

const fn no(what: &'static str, says: fn(&Vault, &str), errno: Errno) -> No {
    No { what, says, errno, list: false }
}

fn disable(vault: &Vault, name: &str) {
    assert!(vault.disable(name));
}

fn delete(vault: &Vault, name: &str) {
    assert!(vault.delete(name));
}

pub(crate) const TRIALS: usize = 20;
pub(crate) const REFRESH: Duration = Duration::from_secs(2);
pub(crate) const OPTIONS: [&str; 3] = ["refresh=2s", "open-timeout=4s", "check=off"];

/// A reader of one name: when the last open began that succeeded, and what others failed of.
pub(crate) type Opens = Caller<(Instant, Vec<i32>)>;

/// Opens a name over and over.
fn opens(path: &Path, over: &AtomicBool) -> (Instant, Vec<i32>) {
    let (mut last, mut errors) = (Instant::now(), Vec::new());
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        match File::open(path).map_err(|error| error.raw_os_error().unwrap()) {
            Ok(_) => last = began,
            Err(number) => errors.push(number),
        }
        errors.dedup();
        // Two hundred who look more often would be a load of their own.
        thread::sleep(Duration::from_millis(25));
    }
    (last, errors)
}

pub(crate) fn names(number: usize) -> Vec<String> {
    (0..number).map(|number| format!("trial-{number}")).collect()
}

/// Lets somebody read each of these names, until it is over.
pub(crate) fn readers(
    mounted: &Mounted<'_>,
    names: &[String],
    over: &Arc<AtomicBool>,
) -> Vec<Opens> {
    let reader = |name: &String| {
        let (path, over) = (mounted.path(name), Arc::clone(over));
        mounted.world().call(move || opens(&path, &over))
    };
    let readers = names.iter().map(reader).collect();
    let confirmed = |name: &String| {
        let said = |it: &Request| it.is_get_of(name) && it.was_answered(200);
        mounted.world().emulator.count(said) >= 2
    };
    until("each is in use, and confirmed", || names.iter().all(confirmed));
    readers
}

/// Ends the readers when the test does, however it does.
pub(crate) struct Over(pub(crate) Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One name that was refused. All times are on the emulator's clock.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) name: String,
    pub(crate) refused: Duration,
    /// When the vault said no.
    pub(crate) noes: Vec<Duration>,
    /// When the last open began that succeeded.
    pub(crate) last_open: Duration,
    /// What others failed of.
    pub(crate) errors: Vec<i32>,
}

/// Twenty names are refused one by one, at moments that have nothing to do with one another. Then
/// the worker is replaced, and they are looked at for as long as it takes to ask about each again.
pub(crate) fn refuse(no: No) -> Option<Vec<Trial>> {
    let world = World::new()?;
    let names = names(TRIALS);
    for name in &names {
        world.vault().put(name, "value");
    }
    if !no.list {
        world.vault().deny_list(Refusal::Policy);
    }
    let mounted = world.mount(&OPTIONS);
    let over = Over(Arc::default());
    let readers = readers(&mounted, &names, &over.0);
    let listed = world.inside(|| std::fs::read_dir(mounted.directory()).unwrap().count());
    assert_eq!(listed, TRIALS, "{}", no.what);

    let start = Instant::now() - world.emulator.elapsed();
    let mut refused = Vec::new();
    for (number, name) in names.iter().enumerate() {
        thread::sleep(Duration::from_millis(13 * (number as u64 % 11)));
        refused.push(start.elapsed());
        (no.says)(&world.vault(), name);
    }
    let all = || {
        let refused = |name: &String| mounted.outcome(name) == Err(no.errno);
        names.iter().all(refused)
    };
    until(no.what, all);
    world.replace("worker");
    assert!(all(), "{}: a new worker has forgotten", no.what);
    thread::sleep(REFRESH * 2);
    assert!(all(), "{}: it is asked about again, and is there again", no.what);
    drop(over);

    let requests = world.emulator.requests();
    let status = if no.errno == Errno::NOENT { 404 } else { 403 };
    let trials = names.into_iter().zip(readers).zip(refused).map(|((name, reader), refused)| {
        let (last, errors) = reader.result();
        let noes = requests.iter().filter(|it| it.is_get_of(&name) && it.was_answered(status));
        let noes = noes.map(|it| it.at).collect();
        Trial { name, refused, noes, last_open: last - start, errors }
    });
    Some(trials.collect())
}
