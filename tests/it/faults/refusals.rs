//! A vault that says no: by when it is a no for everybody, by its own book and by the readers'.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use akvfs_emulator::vault::Refusal;
use rustix::io::Errno;

use crate::caller::pass;
use crate::together::together;
use crate::trials::NOES;
use crate::trials::No;
use crate::trials::OPTIONS;
use crate::trials::Over;
use crate::trials::REFRESH;
use crate::trials::TRIALS;
use crate::trials::Trial;
use crate::trials::names;
use crate::trials::readers;
use crate::trials::refuse;
use crate::world::World;
use crate::world::until;

/// Between the first 404 for what is held and the one that is believed.
const DOUBT: Duration = Duration::from_secs(5);
/// What a busy machine adds: to a timer, to a request, and to the open that was on its way.
const BUSY: Duration = Duration::from_millis(1500);
const EARLY: Duration = Duration::from_millis(50);

#[test]
fn no_open_succeeds_later_than_one_refresh_and_one_request_after_a_refusal() {
    together(NOES, |no| {
        for trial in refuse(no).into_iter().flatten() {
            check(no, &trial);
        }
    });
}

/// By the vault's own book: it was asked within a refresh, and once it had said no (twice, where
/// once is not enough), nobody got in any more.
#[track_caller]
fn check(no: No, trial: &Trial) {
    let what = format!("{}, {}: {trial:?}", no.what, trial.name);
    assert_eq!(trial.errors, [no.errno.raw_os_error()], "{what}");
    let first = trial.noes[0];
    assert!(first <= trial.refused + REFRESH + BUSY, "asked too late: {what}");
    let doubt = if no.errno == Errno::NOENT { DOUBT } else { Duration::ZERO };
    // In between it may be asked because the list does not show it any more: that is no second one.
    let believed = trial.noes.iter().find(|at| **at + EARLY >= first + doubt).copied().unwrap();
    assert!(believed <= first + doubt + BUSY, "asked again too late: {what}");
    assert!(trial.last_open <= believed + BUSY, "an open too late: {what}");
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

/// The list says nothing of rights, and names in use are confirmed by it: each is asked about
/// itself once in `confirm`, which is as long as such a loss can go unnoticed.
#[test]
fn a_right_that_goes_from_single_secrets_while_the_list_stays_is_noticed_within_confirm() {
    let Some(world) = World::new() else { return };
    let names = names(TRIALS);
    for name in &names {
        world.vault().put(name, "value");
    }
    let mounted = world.mount(&["refresh=1s", "confirm=5s", "open-timeout=4s"]);
    assert_eq!(mounted.names().len(), names.len());
    let over = Over(Arc::default());
    let readers = readers(&mounted, &names, &over.0);

    let start = Instant::now() - world.emulator.elapsed();
    let refused: Vec<Duration> = names
        .iter()
        .map(|name| {
            pass(Duration::from_millis(173));
            world.vault().deny_get(name, Refusal::Rbac);
            start.elapsed()
        })
        .collect();
    let all = || names.iter().all(|name| mounted.errno(name) == libc::EACCES);
    until("all are refused", all);
    assert_eq!(mounted.names().len(), names.len(), "the list stays");
    drop(over);

    for ((name, reader), refused) in names.iter().zip(&readers).zip(refused) {
        let (last, _) = reader.result();
        let late = (last - start).saturating_sub(refused + CONFIRM + A_REFRESH);
        assert!(late <= BUSY, "{name} was opened {late:?} too late");
    }
}

const CONFIRM: Duration = Duration::from_secs(5);
const A_REFRESH: Duration = Duration::from_secs(1);
