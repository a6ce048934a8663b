//! `akvfs unmount`: takes a mount away.

use crate::cli::arguments::Unmount;
use crate::cli::complaint::Complaint;
use crate::cli::environment;
use crate::supervisor::door;
use crate::supervisor::unmount;
use crate::supervisor::unmount::How;

/// Unmounts, and returns when the mount is gone.
pub fn run(order: &Unmount) -> Result<(), Complaint> {
    let how = match (order.lazy, order.force) {
        (_, true) => How::Forcibly,
        (true, false) => How::Lazily,
        (false, false) => How::Politely,
    };
    unmount::unmount(&order.directory, how)?;
    // What processes that were killed left there.
    if let Some(control) = environment::control()? {
        door::sweep(&control);
    }
    Ok(())
}
