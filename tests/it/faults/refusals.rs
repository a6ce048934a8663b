//! A vault that says no: by when it is a no for everybody, by its own book and by twenty readers'.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use akvfs_emulator::vault::Refusal;
use akvfs_emulator::vault::Vault;
use rustix::io::Errno;

use crate::caller::errno;
use crate::caller::pass;
use crate::callers::Caller;
use crate::mounted::Mounted;
use crate::together::together;
use crate::world::World;
use crate::world::until;

/// A kind of no: what says it of a name, and the error that it becomes.
#[derive(Clone, Copy)]
struct No {
    what: &'static str,
    says: fn(&Vault, &str),
    errno: Errno,
    /// Whether the vault may be listed, and the list shows it.
    list: bool,
}

/// Where the list shows nothing of a no, it is not granted: a right that goes from one secret while
/// the list stays is a promise of its own.
const NOES: [No; 10] = [
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

const TRIALS: usize = 20;
const REFRESH: Duration = Duration::from_secs(2);
/// Between the first 404 for what is held and the one that is believed.
const DOUBT: Duration = Duration::from_secs(5);
const OPTIONS: [&str; 3] = ["refresh=2s", "open-timeout=4s", "check=off"];
/// What a busy machine adds: to a timer, to a request, and to the open that was on its way.
const BUSY: Duration = Duration::from_millis(1500);
const EARLY: Duration = Duration::from_millis(50);

/// A reader of one name: when the last open began that succeeded, and what others failed of.
type Opens = Caller<(Instant, Vec<i32>)>;

/// Opens a name over and over.
fn opens(path: &Path, over: &AtomicBool) -> (Instant, Vec<i32>) {
    let (mut last, mut errors) = (Instant::now(), Vec::new());
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        match errno(File::open(path)) {
            0 => last = began,
            number => errors.push(number),
        }
        errors.dedup();
        // Two hundred who look more often would be a load of their own.
        thread::sleep(Duration::from_millis(25));
    }
    (last, errors)
}

fn names(number: usize) -> Vec<String> {
    (0..number).map(|number| format!("trial-{number}")).collect()
}

/// Lets somebody read each of these names, until it is over.
fn readers(mounted: &Mounted<'_>, names: &[String], over: &Arc<AtomicBool>) -> Vec<Opens> {
    let reader = |name: &String| {
        let (path, over) = (mounted.path(name), Arc::clone(over));
        mounted.world().call(move || opens(&path, &over))
    };
    let readers = names.iter().map(reader).collect();
    let twice = |name: &String| mounted.world().answered(name, 200) >= 2;
    until("each is in use, and confirmed", || names.iter().all(twice));
    readers
}

/// Ends the readers when the test does, however it does.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Twenty names are refused one by one, at moments that have nothing to do with one another.
#[test]
fn no_open_succeeds_later_than_one_refresh_and_one_request_after_a_refusal() {
    together(NOES, |no| {
        let Some(world) = World::new() else { return };
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
        assert_eq!(mounted.names().len(), TRIALS, "{}", no.what);

        let start = Instant::now() - world.emulator.elapsed();
        let mut refused = Vec::new();
        for (number, name) in names.iter().enumerate() {
            pass(Duration::from_millis(13 * (number as u64 % 11)));
            refused.push(start.elapsed());
            (no.says)(&world.vault(), name);
        }
        let all = || {
            let refused = |name: &String| mounted.errno(name) == no.errno.raw_os_error();
            names.iter().all(refused)
        };
        until(no.what, all);
        world.replace("worker");
        assert!(all(), "{}: a new worker has forgotten", no.what);
        pass(REFRESH * 2);
        assert!(all(), "{}: it is asked about again, and is there again", no.what);
        drop(over);

        for ((name, reader), refused) in names.iter().zip(&readers).zip(refused) {
            let (last, errors) = reader.result();
            assert_eq!(errors, [no.errno.raw_os_error()], "{}: {name}", no.what);
            check(&world, no, name, refused, last - start);
        }
    });
}

/// By the vault's own book: it was asked within a refresh, and once it had said no (twice, where
/// once is not enough), nobody got in any more. All times are on the emulator's clock.
#[track_caller]
fn check(world: &World, no: No, name: &str, refused: Duration, last_open: Duration) {
    let requests = world.emulator.requests();
    let missing = no.errno == Errno::NOENT;
    let status = if missing { 404 } else { 403 };
    let noes = requests.iter().filter(|it| it.is_get_of(name) && it.was_answered(status));
    let noes: Vec<Duration> = noes.map(|it| it.at).collect();
    let what = format!("{}, {name}: {refused:?}, {noes:?}, {last_open:?}", no.what);
    let first = noes[0];
    assert!(first <= refused + REFRESH + BUSY, "asked too late: {what}");
    let doubt = if missing { DOUBT } else { Duration::ZERO };
    // In between it may be asked because the list does not show it any more: that is no second one.
    let believed = noes.iter().find(|at| **at + EARLY >= first + doubt).copied().unwrap();
    assert!(believed <= first + doubt + BUSY, "asked again too late: {what}");
    assert!(last_open <= believed + BUSY, "an open too late: {what}");
}

/// The right to *get* goes from the whole vault, and the list, which is walked all the time, stays.
#[test]
fn a_vault_that_may_be_listed_and_no_longer_read_is_refused_within_a_refresh() {
    together(0..TRIALS, |trial| {
        let Some(world) = World::new() else { return };
        let names = names(8);
        for name in &names {
            world.vault().put(name, "value");
        }
        let mounted = world.mount(&OPTIONS);
        let over = Over(Arc::default());
        let readers = readers(&mounted, &names, &over.0);
        assert_eq!(mounted.names().len(), names.len());
        until("the list is walked", || world.lists() >= 2);
        pass(Duration::from_millis(97 * trial as u64));

        let start = Instant::now() - world.emulator.elapsed();
        let refused = start.elapsed();
        world.vault().deny_get("*", Refusal::Rbac);
        let all = || names.iter().all(|name| mounted.errno(name) == libc::EACCES);
        until("all are refused", all);
        assert_eq!(mounted.names().len(), names.len(), "the list stays");
        drop(over);

        for (name, reader) in names.iter().zip(&readers) {
            let (last, errors) = reader.result();
            // Some may not have looked any more.
            let other = errors.iter().find(|errno| **errno != libc::EACCES);
            assert_eq!(other, None, "{trial}: {name}");
            let late = (last - start).saturating_sub(refused + REFRESH);
            assert!(late <= BUSY, "{trial}: {name} was opened {late:?} too late");
        }
    });
}
