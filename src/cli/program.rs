//! The program: its arguments, what is done about them, and the exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::cli::arguments;
use crate::cli::arguments::Order;
use crate::cli::complaint::Complaint;
use crate::cli::get;
use crate::cli::list;
use crate::cli::manual;
use crate::cli::mount;
use crate::cli::output;
use crate::cli::refresh;
use crate::cli::status;
use crate::cli::unmount;
use crate::cli::watch;
use crate::cli::worker;
use crate::supervisor::relay;
use crate::supervisor::supervise;

/// Runs the program with these arguments, its own name first.
#[must_use]
pub fn run(arguments: &[OsString]) -> ExitCode {
    // What the supervisor and its parent start, with nothing else on the command line.
    if let [_, process] = arguments {
        match process.to_str() {
            Some("supervisor") => return supervise::main(),
            Some("relay") => return relay::main(),
            Some("worker") => return worker::main(),
            _ => {}
        }
    }
    match arguments::read(arguments).and_then(carry_out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaint) => {
            complaint.tell();
            ExitCode::from(complaint.exit.code())
        }
    }
}

fn carry_out(order: Order) -> Result<(), Complaint> {
    match order {
        Order::Print(text) => output::write(text.as_bytes()),
        Order::Manual => output::write(manual::page().as_bytes()),
        Order::Get(order) => get::run(&order),
        Order::List(order) => list::run(&order),
        Order::Mount(order) => mount::run(&order),
        Order::Unmount(order) => unmount::run(&order),
        Order::Status(order) => status::run(&order),
        Order::Refresh(order) => refresh::run(&order),
        Order::Watch(order) => watch::run(&order),
    }
}
