//! The signals that the supervisor gets, as something to be read.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::Signal;

use crate::sys;

/// How many bytes tell of one signal.
const SIGNAL: usize = 128;

/// The signals that tell the supervisor to leave, and the one that tells of its children.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Has signals be read from now on: they interrupt nobody any more.
    pub fn begin() -> io::Result<Self> {
        let signals = [Signal::TERM, Signal::INT, Signal::HUP, Signal::CHILD];
        sys::signal_descriptor(&signals).map(Self)
    }

    /// What is readable when a signal has come.
    #[must_use]
    pub fn descriptor(&self) -> &OwnedFd {
        &self.0
    }

    /// Takes the signals that have come, and says whether one of them means to leave. The others
    /// tell that a child has ended, which its descriptor tells as well, or was stopped.
    pub fn take_wish_to_leave(&mut self) -> bool {
        let mut buffer = [0; SIGNAL * 8];
        let mut leaves = false;
        while let Ok(length) = rustix::io::read(&self.0, &mut buffer) {
            for signal in buffer.get(..length).unwrap_or_default().chunks(SIGNAL) {
                let number = signal.first_chunk().copied().map(i32::from_ne_bytes);
                leaves |= number != Some(Signal::CHILD.as_raw());
            }
        }
        leaves
    }
}
