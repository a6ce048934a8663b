//! Waiting for any of several things at once.

use std::array;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;
use rustix::io::Errno;

/// Something to wait for, and for what.
pub type Source<'a> = (&'a OwnedFd, PollFlags);

/// Waits until something has happened to one of these, for so long at most, and says to which.
/// `None` stands for what is not waited for now.
pub fn wait<const N: usize>(
    sources: &[Option<Source<'_>>; N],
    patience: Option<Duration>,
) -> io::Result<[bool; N]> {
    let patience = patience.map(Timespec::try_from).and_then(Result::ok);
    let polled = sources.iter().flatten().map(|(source, flags)| PollFd::new(*source, *flags));
    let mut polled = polled.collect::<Vec<_>>();
    match poll(&mut polled, patience.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut happened = polled.iter().map(|polled| !polled.revents().is_empty());
    let mut sources = sources.iter();
    Ok(array::from_fn(|_| {
        let is_waited_for = sources.next().is_some_and(Option::is_some);
        is_waited_for && happened.next().unwrap_or(false)
    }))
}
