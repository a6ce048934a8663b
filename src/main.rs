//! The program `akvfs`, and the same program under the name `mount.akvfs`.

use std::process::ExitCode;

use akvfs::cli::program;
use akvfs::sys::Wiping;

#[global_allocator]
static ALLOCATOR: Wiping = Wiping;

fn main() -> ExitCode {
    program::run(&std::env::args_os().collect::<Vec<_>>())
}
