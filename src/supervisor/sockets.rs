//! The sockets between the processes of a mount. Both ends of each are kept, so that none dies with a
//! process: one that takes another's place goes on with them.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::net::AddressFamily;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::socketpair;

/// The sockets of a worker, and of whoever talks to it.
#[derive(Debug)]
pub struct Sockets {
    /// What the kernel asks and is answered: the relay's end.
    pub relay: OwnedFd,
    /// The worker's end of that.
    pub worker: OwnedFd,
    /// What the worker reports: the supervisor's end.
    pub reports: OwnedFd,
    /// The worker's end of that.
    pub reporter: OwnedFd,
    /// What the kernel is to be told: the end of the thread that tells it.
    pub orders: Arc<OwnedFd>,
    /// The worker's end of that.
    pub orderer: OwnedFd,
    /// Who comes by the control socket: the supervisor's end.
    pub visitors: OwnedFd,
    /// The worker's end of that.
    pub visited: OwnedFd,
}

impl Sockets {
    /// New ones, which nobody has used.
    pub fn new() -> io::Result<Self> {
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let pair = || socketpair(AddressFamily::UNIX, kind, flags, None);
        let (relay, worker) = pair()?;
        let (reports, reporter) = pair()?;
        let (orders, orderer) = pair()?;
        let (visitors, visited) = pair()?;
        let orders = Arc::new(orders);
        Ok(Self { relay, worker, reports, reporter, orders, orderer, visitors, visited })
    }
}
