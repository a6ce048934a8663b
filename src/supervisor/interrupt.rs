//! Whether a caller who got a signal is to be freed from its wait.
//!
//! The kernel tells of the first signal and never of a second. It does not say which it was; the
//! caller's pending signals, in /proc, do.

use std::fs;
use std::io::ErrorKind;

use rustix::process::Signal;

/// The signals that a program catches in order to stop what it is doing, and those whose default
/// action leaves a core file. Any other one whose default action ends the program shows as SIGKILL,
/// since the kernel has turned it into that.
const ENDING: [Signal; 14] = [
    Signal::KILL,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::HUP,
    Signal::ALARM,
    Signal::ABORT,
    Signal::SEGV,
    Signal::BUS,
    Signal::ILL,
    Signal::FPE,
    Signal::SYS,
    Signal::XCPU,
    Signal::XFSZ,
];

/// Whether the wait of this thread ends now. That of a thread that cannot be seen from here does:
/// waiting on without being able to tell why would make it one that nobody can kill.
#[must_use]
pub fn ends_the_wait(thread: u32) -> bool {
    if thread == 0 {
        return true;
    }
    match fs::read_to_string(format!("/proc/{thread}/status")) {
        Ok(status) => is_ending(&status).unwrap_or(true),
        Err(error) if error.kind() == ErrorKind::Interrupted => false,
        Err(_) => true,
    }
}

/// Whether a thread's status shows a signal that ends its wait: pending for the thread or for its
/// process, and not blocked.
fn is_ending(status: &str) -> Option<bool> {
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    let pending = mask("SigPnd:")? | mask("ShdPnd:")?;
    let deliverable = pending & !mask("SigBlk:")?;
    let ending = ENDING.iter().fold(0, |set, signal| set | 1_u64 << (signal.as_raw() - 1));
    Some(deliverable & ending != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(thread: u64, process: u64, blocked: u64) -> String {
        format!(
            "Name:\tx\nSigPnd:\t{thread:016x}\nShdPnd:\t{process:016x}\nSigBlk:\t{blocked:016x}\n"
        )
    }

    fn bit(signal: Signal) -> u64 {
        1 << (signal.as_raw() - 1)
    }

    #[test]
    fn a_signal_to_stop_by_ends_the_wait_for_thread_and_process() {
        for signal in ENDING {
            assert_eq!(is_ending(&status(bit(signal), 0, 0)), Some(true), "{signal:?}");
            assert_eq!(is_ending(&status(0, bit(signal), 0)), Some(true), "{signal:?}");
        }
    }

    #[test]
    fn any_other_signal_does_not_nor_one_that_is_blocked() {
        let others = [Signal::CHILD, Signal::WINCH, Signal::STOP, Signal::CONT, Signal::USR1];
        let others = others.map(bit).iter().fold(0, |set, bit| set | bit);
        assert_eq!(is_ending(&status(others, others, 0)), Some(false));
        assert_eq!(is_ending(&status(0, bit(Signal::TERM), bit(Signal::TERM))), Some(false));
        let two = bit(Signal::TERM) | bit(Signal::INT);
        assert_eq!(is_ending(&status(0, two, bit(Signal::TERM))), Some(true));
    }

    #[test]
    fn whoever_cannot_be_seen_is_let_go() {
        assert_eq!(is_ending("Name:\tx\n"), None);
        assert!(ends_the_wait(0));
        assert!(ends_the_wait(u32::MAX));
        assert!(!ends_the_wait(std::process::id()));
    }
}
