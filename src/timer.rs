//! Wakes a thread when it is time, on the clock that goes on in suspend.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::Itimerspec;
use rustix::time::TimerfdClockId;
use rustix::time::TimerfdFlags;
use rustix::time::TimerfdTimerFlags;
use rustix::time::Timespec;
use rustix::time::timerfd_create;
use rustix::time::timerfd_settime;

use crate::model::moment::Moment;

/// One timer, that one thread waits for and every thread may set.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// A timer that is not set.
    pub fn new() -> io::Result<Self> {
        Ok(Self(timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)?))
    }

    /// Sets the timer to a moment, or stops it. One that is past goes off at once.
    pub fn set(&self, at: Option<Moment>) {
        // Zero would stop the timer; no moment of a machine that runs is that early.
        let uptime = at.map_or(Duration::ZERO, |at| at.uptime().max(EARLIEST));
        let value = Timespec {
            tv_sec: i64::try_from(uptime.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(uptime.subsec_nanos()),
        };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = Itimerspec { it_interval: never, it_value: value };
        // The only errors are those of a descriptor or a time that cannot be.
        let _unset = timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &setting);
    }

    /// Waits until the timer goes off.
    pub fn wait(&self) -> io::Result<()> {
        let mut count = [0; 8];
        loop {
            match rustix::io::read(&self.0, &mut count) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

const EARLIEST: Duration = Duration::from_nanos(1);
