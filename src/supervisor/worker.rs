//! The worker's side of the start: what it finds when it begins.

use std::io;
use std::os::fd::OwnedFd;

use crate::supervisor::process;
use crate::sys;

/// What the supervisor left to the worker.
#[derive(Debug)]
pub struct Inherited {
    /// What a fuser session runs on: requests come out, answers go in.
    pub session: OwnedFd,
    /// The socket for [`Report`](crate::supervisor::report::Report)s.
    pub reports: OwnedFd,
    /// The socket for [`Order`](crate::supervisor::report::Order)s, and for what became of them.
    pub orders: OwnedFd,
    /// The arena.
    pub arena: OwnedFd,
    /// The socket on which it is handed those who come by the control socket.
    pub visitors: OwnedFd,
    /// The socket to the clerk, if opens are recorded.
    pub clerk: Option<OwnedFd>,
    /// The configuration.
    pub brief: OwnedFd,
}

/// Takes over what the supervisor left. To be called once, before anything else opens a file.
///
/// The process has no more rights to give up then: it became another user, without capabilities,
/// before this program was started in it, and ends with the supervisor.
pub fn inherited() -> io::Result<Inherited> {
    process::harden(c"akvfs-worker")?;
    Ok(Inherited {
        session: sys::take_descriptor(process::SOCKET)?,
        reports: sys::take_descriptor(process::REPORTS)?,
        orders: sys::take_descriptor(process::ORDERS)?,
        visitors: sys::take_descriptor(process::VISITORS)?,
        arena: sys::take_descriptor(process::ARENA)?,
        clerk: sys::take_descriptor(process::CLERK).ok(),
        brief: sys::take_descriptor(process::BRIEF)?,
    })
}
