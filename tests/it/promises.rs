//! The seven promises of the cache, on random events, against the reference.
//!
//! One set of games is played, and each test looks at one promise. A promise that was never seen
//! broken proves nothing, so the model was broken on purpose; each line is a change to it and the
//! shortest game in which the promise's test then failed:
//!
//! | promise | the model, changed | the game |
//! |---|---|---|
//! | `NeverOlder` | `takes` is true of an older version | rotate, open, revert, a refresh, open |
//! | | `bind` binds a bound inode | open and keep, rotate, a refresh, open it again |
//! | | a rotation is not told | open, rotate, a refresh, open |
//! | `Prompt` | `trusted` knows no failure | open, outage, a refresh, open |
//! | | what is served is asked for | open and read |
//! | `Thrift` | `want` does not look at `asking` | two open one name |
//! | | nine may be under way | nine open nine names |
//! | | `restore` makes a full bucket | open, restart, 209 open 209 names |
//! | `Answered` | `patience` is `open_timeout` where a value is held | open, idle, slow vault, open |
//! | | a refusal answers all but the first | refuse, open |
//! | | an opendir waits twice as long | outage, list |
//! | `NoLonger` | a failure moves `verified` | open, outage, 55 minutes, open |
//! | | a confirmation moves it to the answer | open, any wait, open |
//! | | the kernel's time is not cut by `stale` | the same |
//! | | one inode is told of a refusal | keep open, refuse, open, open the kept one |
//! | | an idle name is served unasked | open, idle, refuse, open |
//! | `NoInvention` | one 404 is enough | open, delete, a refresh, open |
//! | | no identity is a 404 | outage, open |
//! | `Restart` | numbers begin at 2 | open, restart, open another |
//! | | a strike, `awake`, a verdict is not restored | open, delete, a refresh, restart |
//! | | the kernel's late word is believed | restart, open, its word, idle, stat |

use std::sync::LazyLock;

use akvfs::model::policy::Policy;
use proptest::test_runner::Config;
use proptest::test_runner::RngAlgorithm;
use proptest::test_runner::RngSeed;
use proptest::test_runner::TestCaseError;
use proptest::test_runner::TestError;
use proptest::test_runner::TestRunner;

use crate::happenings::Happening;
use crate::happenings::games;
use crate::judge::Promise;
use crate::simulation::Simulation;

#[test]
fn nothing_is_served_older_than_what_was_served_before() {
    holds(Promise::NeverOlder);
}

#[test]
fn what_is_in_use_is_answered_at_once_and_nobody_is_asked_within_a_refresh() {
    holds(Promise::Prompt);
}

#[test]
fn one_request_for_a_name_eight_in_all_and_twenty_a_second() {
    holds(Promise::Thrift);
}

#[test]
fn everybody_is_answered_exactly_once_and_in_time() {
    holds(Promise::Answered);
}

#[test]
fn nothing_is_served_past_stale_or_after_a_no() {
    holds(Promise::NoLonger);
}

#[test]
fn a_no_is_the_vaults_own_and_an_outage_takes_nothing_away() {
    holds(Promise::NoInvention);
}

#[test]
fn a_later_worker_answers_as_the_earlier_one_would() {
    holds(Promise::Restart);
}

/// The promises that were broken, and how.
static BROKEN: LazyLock<Vec<(Promise, String)>> = LazyLock::new(|| {
    let mut broken: Vec<(Promise, String)> = Vec::new();
    while let Some(another) = play(|promise| !broken.iter().any(|(known, _)| *known == promise)) {
        broken.push(another);
    }
    broken
});

fn holds(promise: Promise) {
    if let Some((_, how)) = BROKEN.iter().find(|(broken, _)| *broken == promise) {
        panic!("{how}");
    }
}

/// Plays until a promise is broken that counts, and looks for the shortest game that breaks one.
fn play(counts: impl Fn(Promise) -> bool) -> Option<(Promise, String)> {
    let config = Config {
        cases: cases(),
        failure_persistence: None,
        // Each choice forks the generator, and the default one is slow without optimisation.
        rng_algorithm: RngAlgorithm::XorShift,
        rng_seed: seed(),
        ..Config::default()
    };
    let broken = |policy: &Policy, happenings: &[Happening]| {
        let mut simulation = Simulation::new(policy.clone());
        simulation.play(happenings);
        simulation.judge.broken.into_iter().find(|(promise, _)| counts(*promise))
    };
    let outcome = TestRunner::new(config).run(&games(), |(policy, happenings)| {
        let broken = broken(&policy, &happenings);
        broken.map_or(Ok(()), |(_, how)| Err(TestCaseError::fail(how)))
    });
    match outcome {
        Ok(()) => None,
        Err(TestError::Fail(_, (policy, happenings))) => {
            let (promise, how) = broken(&policy, &happenings).expect("it was broken just now");
            Some((promise, format!("{how}\n{policy:?}\n{happenings:?}")))
        }
        Err(TestError::Abort(reason)) => panic!("the games ended early: {reason}"),
    }
}

/// 10,000, or what PROPTEST_CASES says.
fn cases() -> u32 {
    let default = Config::default();
    if default.cases == 256 { 10_000 } else { default.cases }
}

/// The same games each time, so that a rare failure does not meet somebody whose change has nothing
/// to do with it; new ones each time where PROPTEST_CASES asks for more.
fn seed() -> RngSeed {
    let default = Config::default();
    if default.cases == 256 { RngSeed::Fixed(20_261_125) } else { default.rng_seed }
}
