//! What a mount endures: `cargo bench --bench storm`.
//!
//! Five minutes of rotations, everything that a vault can refuse, and crowds that ask for what is
//! not there, with the production program in worlds of its own. What is promised is a goal; the
//! rest is figures for whoever wants to know.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a measurement that cannot go on has failed, and needs a clock"
)]

use std::process::ExitCode;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use akvfs_emulator::record::Service;
use akvfs_emulator::vault::Refusal;

use crate::measure::Board;
use crate::measure::line;
use crate::storm::rage;
use crate::strangers::Strangers;
use crate::trials::NOES;
use crate::trials::REFRESH;
use crate::trials::Trial;
use crate::trials::refuse;
use crate::world::World;

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/callers.rs"]
mod callers;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/child.rs"]
mod child;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/deaths.rs"]
mod deaths;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/mapping.rs"]
mod mapping;
mod measure;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/mounted.rs"]
mod mounted;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/namespace.rs"]
mod namespace;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/readers.rs"]
mod readers;
#[path = "../tests/it/storm.rs"]
mod storm;
#[path = "../tests/it/strangers.rs"]
mod strangers;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/trials.rs"]
mod trials;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/world.rs"]
mod world;

fn main() -> ExitCode {
    // cargo test runs this, too, if it is told to run everything.
    let Some(world) = World::new() else { return ExitCode::SUCCESS };
    drop(world);
    let mut board = Board::default();
    rotations(&mut board);
    refusals(&mut board);
    strangers(&mut board);
    match board.missed() {
        0 => ExitCode::SUCCESS,
        missed => {
            line(&format!("\n{missed} goals missed"));
            ExitCode::FAILURE
        }
    }
}

fn rotations(board: &mut Board) {
    let Some(world) = World::new() else { return };
    let mounted = world.mount(&["refresh=1s", "check=off"]);
    let seen = rage(&mounted, &world.vault(), MINUTES);
    board.title(&format!(
        "{} rotations of 8 names in {} s, 8 readers, {} opens, refresh=1s",
        seen.rotations,
        MINUTES.as_secs(),
        seen.opens
    ));
    let none = "";
    board.at_most("values that were torn", seen.torn.len() as f64, 0.0, "", none);
    board.at_most("files of another size than their value", seen.sizes.len() as f64, 0.0, "", none);
    board.at_most("versions older than one before", seen.back.len() as f64, 0.0, "", none);
    board.at_most("errors", seen.errors.len() as f64, 0.0, "", none);
    board.at_most("the slowest open", seen.slowest.as_secs_f64(), 1.0, "s", none);
    let (half, most) = (seen.age(500).as_secs_f64(), seen.age(990).as_secs_f64());
    board.at_most("what is read had been replaced for, p50", half, 1.0, "s", none);
    board.at_most("what is read had been replaced for, p99", most, 1.5, "s", none);
}

fn refusals(board: &mut Board) {
    board.title("the last open that succeeds after a refusal, 20 trials, refresh=2s");
    for no in NOES {
        let Some(trials) = refuse(no) else { return };
        let late = |trial: &Trial| trial.last_open.saturating_sub(trial.refused);
        let mut late: Vec<Duration> = trials.iter().map(late).collect();
        late.sort_unstable();
        let doubt = if no.errno == rustix::io::Errno::NOENT { DOUBT } else { Duration::ZERO };
        let goal = (REFRESH + doubt + A_REQUEST).as_secs_f64();
        let (half, most) = (late[late.len() / 2], late[late.len() - 1]);
        let detail = format!("p50 {:.2} s", half.as_secs_f64());
        board.at_most(no.what, most.as_secs_f64(), goal, "s", &detail);
    }
}

fn strangers(board: &mut Board) {
    board.title("sixteen threads that open names that nobody has, for 10 s");
    for (what, list, burst, rate) in
        [("with a listing", true, 20.0, 2.0), ("without", false, 200.0, 20.0)]
    {
        let Some(world) = World::new() else { return };
        if !list {
            world.vault().deny_list(Refusal::Policy);
        }
        let mounted = world.mount(&["open-timeout=1s", "check=off"]);
        world.run("ls", &[mounted.directory().to_str().unwrap()]).ok();
        world.emulator.reset_requests();
        let since = Instant::now();
        let strangers = Strangers::start(&mounted);
        thread::sleep(Duration::from_secs(10));
        let (opens, _) = strangers.stop();
        let seconds = since.elapsed().as_secs_f64();
        let asked = world.emulator.count(|request| request.service == Service::Vault);
        let detail = format!("{:.0} opens a second", opens as f64 / seconds);
        // And a page of the list.
        board.at_most(what, asked as f64, burst + rate * seconds + 1.0, " requests", &detail);
    }
}

const MINUTES: Duration = Duration::from_secs(300);
const DOUBT: Duration = Duration::from_secs(5);
/// And the open that was on its way.
const A_REQUEST: Duration = Duration::from_millis(200);
