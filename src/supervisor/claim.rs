//! A claim to a directory, while it is being mounted on: one process has it at a time.
//!
//! Between the moment when it is mounted and the moment when its supervisor has its name, a mount
//! looks like a dead one, and whoever else would mount there would end it. It promises that this
//! does not happen by accident; whoever means to can keep a claim, and is not waited for long.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::poll;
use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::SocketAddrUnix;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::bind;
use rustix::net::socket_with;

use crate::clock;
use crate::supervisor::mountinfo::Table;
use crate::supervisor::place;

/// How long another's claim is waited for. To mount takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
/// How much of a path is in a name, which is of 107 bytes at most.
const LONGEST: usize = 80;

/// One claim. It is over when this is dropped, or its process ends.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "it is there to be closed")] OwnedFd);

impl Claim {
    /// Waits for the claim to a directory. Without it, there is only less order.
    ///
    /// It is a name in the abstract namespace, which leaves nothing on disk, and which a lock on the
    /// directory is no substitute for: it would have to open what may be mounted there.
    #[must_use]
    pub fn to(directory: &Path) -> Option<Self> {
        let place = place::resolve(directory, &Table::read().ok()?).ok()?;
        let path = place.as_os_str().as_bytes();
        let tail = path.get(path.len().saturating_sub(LONGEST)..).unwrap_or_default();
        let name = [b"akvfs-claim:", tail].concat();
        let address = SocketAddrUnix::new_abstract_name(&name).ok()?;
        let deadline = clock::awake() + PATIENCE;
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).ok()?;
        loop {
            match bind(&socket, &address) {
                Ok(()) => return Some(Self(socket)),
                Err(Errno::ADDRINUSE) if clock::awake() < deadline => {}
                Err(_) => return None,
            }
            let _ = poll(&mut [], Some(&PAUSE));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_claim_begins_when_the_one_before_is_over() {
        let place = std::env::temp_dir();
        let first = Claim::to(&place).unwrap();
        let (over, is_over) = mpsc::channel();
        let next = thread::spawn({
            let place = place.join(".");
            move || {
                let claim = Claim::to(&place);
                (claim.is_some(), is_over.try_recv().is_ok())
            }
        });
        assert!(Claim::to(Path::new("/")).is_some(), "another place is another claim");
        over.send(()).unwrap();
        drop(first);
        assert_eq!(next.join().unwrap(), (true, true));
    }
}
