//! The seven promises of the cache, on random events, against the reference.
//!
//! One set of games is played, and each test looks at one promise. A promise that was never seen
//! broken proves nothing, so the model was broken on purpose, and this is what was caught:
//!
//! | promise | the model, broken | the shortest game that shows it |
//! |---|---|---|
//! | never older | an older version is taken at once | MUT1 |
//! | | an inode is bound anew | MUT2 |
//! | prompt | a known outage is not trusted | MUT3 |

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

/// 2,000, or what PROPTEST_CASES says.
fn cases() -> u32 {
    let default = Config::default();
    if default.cases == 256 { 2000 } else { default.cases }
}

/// The same games each time, so that a rare failure does not meet somebody whose change has nothing
/// to do with it; new ones each time where PROPTEST_CASES asks for more.
fn seed() -> RngSeed {
    let default = Config::default();
    if default.cases == 256 { RngSeed::Fixed(20_261_125) } else { default.rng_seed }
}
