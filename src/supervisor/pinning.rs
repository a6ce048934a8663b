//! Keeps out of swap what the workers have stored. The supervisor must, for a lock ends with the
//! process that holds it.

use std::io;
use std::os::fd::AsFd;

use crate::log;
use crate::sys::Pinned;

/// The arena, locked as far as it is used.
#[derive(Debug)]
pub struct Pinning {
    pinned: Pinned,
    may: bool,
}

impl Pinning {
    /// Prepares to lock up to so many bytes of a memfd.
    pub fn of(arena: impl AsFd, room: u64) -> io::Result<Self> {
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        Ok(Self { pinned: Pinned::map(arena, room)?, may: true })
    }

    /// Locks the first so many bytes. Where that is not allowed it is said once, and not tried
    /// again.
    pub fn lock(&mut self, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if self.may
            && let Err(error) = self.pinned.lock(bytes)
        {
            self.may = false;
            log::warning(format_args!(
                "values may be swapped out: cannot lock {bytes} bytes in memory: {error}"
            ));
        }
    }
}
