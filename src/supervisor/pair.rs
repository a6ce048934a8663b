//! Relay and worker: the two processes that serve a mount, and how either is replaced.
//!
//! A worker that died takes its relay with it: both are started anew on new sockets, and the relay
//! begins by saying hello and sending all that is unanswered. A relay that died alone is replaced on
//! the same sockets, and the worker notices nothing.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::MemfdFlags;
use rustix::fs::SealFlags;
use rustix::fs::SeekFrom;
use rustix::fs::fcntl_add_seals;
use rustix::fs::fstat;
use rustix::fs::ftruncate;
use rustix::fs::memfd_create;
use rustix::fs::seek;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::WaitId;
use rustix::process::WaitIdOptions;
use rustix::process::pidfd_open;
use rustix::process::waitid;

use crate::clock;
use crate::log;
use crate::supervisor::crash_loop::CrashLoop;
use crate::supervisor::crash_loop::START;
use crate::supervisor::ledger::Ledger;
use crate::supervisor::ledger::WORDS;
use crate::supervisor::process;
use crate::supervisor::process::Rights;
use crate::supervisor::relay;
use crate::supervisor::sockets::Sockets;
use crate::sys::Pinned;
use crate::sys::SharedWords;

/// How long is waited at least after a start that failed.
const RETRY: Duration = Duration::from_millis(100);

/// What outlives relay and worker, and is given to each of them anew.
#[derive(Debug)]
pub struct Estate {
    /// The kernel's end of the mount.
    pub fuse: OwnedFd,
    /// The arena.
    pub arena: OwnedFd,
    /// The configuration.
    pub brief: OwnedFd,
    /// The worker's end of the socket to the clerk, if opens are recorded.
    pub clerk: Option<OwnedFd>,
    /// As whom the worker runs.
    pub worker: Rights,
}

/// What a death of the relay means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mount {
    /// It is there, and will be served again in a moment.
    Lives,
    /// It was unmounted: the relay said so.
    IsGone,
}

/// The two processes of a mount.
#[derive(Debug)]
pub struct Pair {
    estate: Estate,
    /// Keeps the brief, which may hold a secret, out of swap.
    _brief: Pinned,
    ledger: OwnedFd,
    memory: SharedWords,
    sockets: Sockets,
    relay: Place,
    worker: Place,
    /// Of what the last of them died.
    last_death: Option<String>,
}

/// A process that is to run: it does, or it is to be started.
#[derive(Debug, Default)]
struct Place {
    running: Option<Running>,
    deaths: CrashLoop,
    /// How many there were in all.
    count: u64,
    /// Not before this reading of the clock.
    due: Duration,
    /// How long the last one lived.
    lived: Duration,
}

#[derive(Debug)]
struct Running {
    child: Child,
    pidfd: OwnedFd,
    since: Duration,
}

impl Pair {
    /// Prepares both; [`keep_running`](Self::keep_running) starts them.
    pub fn new(estate: Estate, overdue: Duration) -> io::Result<Self> {
        let ledger = memfd_create("akvfs-ledger", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&ledger, (WORDS * size_of::<u64>()) as u64)?;
        fcntl_add_seals(&ledger, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        let memory = SharedWords::map(&ledger, WORDS)?;
        let size = usize::try_from(fstat(&estate.brief)?.st_size).unwrap_or_default();
        let mut brief = Pinned::map(&estate.brief, size)?;
        if let Err(error) = brief.lock(size) {
            log::debug(format_args!("the brief may be swapped out: {error}"));
        }
        let nanos = u64::try_from(overdue.as_nanos()).unwrap_or(u64::MAX);
        Ledger::over(memory.words()).set_overdue(nanos);
        Ok(Self {
            estate,
            _brief: brief,
            ledger,
            memory,
            sockets: Sockets::new()?,
            relay: Place::default(),
            worker: Place::default(),
            last_death: None,
        })
    }

    /// Starts what is not running and is due.
    pub fn keep_running(&mut self) {
        let now = clock::awake();
        if self.relay.is_due(now) {
            let descriptors = [
                (&self.estate.fuse, process::FUSE),
                (&self.sockets.relay, process::SOCKET),
                (&self.ledger, process::LEDGER),
            ];
            let started = process::start("relay", &descriptors, Rights::User, Stdio::inherit());
            self.relay.settle("relay", started, now);
        }
        if self.worker.is_due(now) {
            let mut descriptors = vec![
                (&self.sockets.worker, process::SOCKET),
                (&self.sockets.reporter, process::REPORTS),
                (&self.sockets.orderer, process::ORDERS),
                (&self.sockets.visited, process::VISITORS),
                (&self.estate.arena, process::ARENA),
                (&self.estate.brief, process::BRIEF),
            ];
            descriptors.extend(self.estate.clerk.iter().map(|clerk| (clerk, process::CLERK)));
            let rights = self.estate.worker;
            // The one before has read it to the end.
            let started = seek(&self.estate.brief, SeekFrom::Start(0))
                .map_err(io::Error::from)
                .and_then(|_| process::start("worker", &descriptors, rights, Stdio::inherit()));
            self.worker.settle("worker", started, now);
        }
    }

    /// For how long nothing is due.
    #[must_use]
    pub fn next_start(&self) -> Option<Duration> {
        let now = clock::awake();
        let places = [&self.relay, &self.worker].into_iter();
        let waiting = places.filter(|place| place.running.is_none());
        waiting.map(|place| place.due.saturating_sub(now)).min()
    }

    /// What is readable when the relay has ended.
    #[must_use]
    pub fn relay_end(&self) -> Option<&OwnedFd> {
        self.relay.running.as_ref().map(|running| &running.pidfd)
    }

    /// What is readable when the worker has ended.
    #[must_use]
    pub fn worker_end(&self) -> Option<&OwnedFd> {
        self.worker.running.as_ref().map(|running| &running.pidfd)
    }

    /// The socket on which the worker reports.
    #[must_use]
    pub fn reports(&self) -> &OwnedFd {
        &self.sockets.reports
    }

    /// The socket on which the worker says what the kernel is to be told. It is another one with
    /// each worker.
    #[must_use]
    pub fn orders(&self) -> &Arc<OwnedFd> {
        &self.sockets.orders
    }

    /// The socket on which the worker is handed connections.
    #[must_use]
    pub fn visitors(&self) -> &OwnedFd {
        &self.sockets.visitors
    }

    /// How often relay and worker died.
    #[must_use]
    pub fn deaths(&self) -> u64 {
        self.relay.count + self.worker.count
    }

    /// Of what the last of them died.
    #[must_use]
    pub fn last_death(&self) -> Option<&str> {
        self.last_death.as_deref()
    }

    /// For how long the worker has been running, if it has.
    #[must_use]
    pub fn worker_age(&self) -> Option<Duration> {
        let running = self.worker.running.as_ref()?;
        Some(clock::awake().saturating_sub(running.since))
    }

    /// Whether workers die at their start, one after the other.
    #[must_use]
    pub fn is_looping(&self) -> bool {
        self.worker.deaths.is_looping()
    }

    /// Whether they still do: the one that runs, if one does, is at its start.
    #[must_use]
    pub fn is_dying(&self) -> bool {
        self.is_looping() && self.worker_age().is_none_or(|age| age < START)
    }

    /// The relay has ended.
    pub fn relay_ended(&mut self) -> io::Result<Mount> {
        let status = self.relay.reap();
        let code = status.and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
        if code == Some(relay::UNMOUNTED) {
            return Ok(Mount::IsGone);
        }
        let ledger = Ledger::over(self.memory.words());
        if code == Some(relay::WORKER_IS_SILENT) {
            log::warning(format_args!("the worker does not answer, and is replaced"));
        } else {
            let why = match code {
                Some(errno) if errno > 1 => io::Error::from_raw_os_error(errno.into()).to_string(),
                _ => describe(status),
            };
            log::warning(format_args!("the relay died ({why}), and is replaced"));
            self.last_death = Some(format!("relay: {why}"));
            self.relay.bury();
            if ledger.greeted() {
                return Ok(Mount::Lives);
            }
        }
        // Of a worker that has not said hello nobody knows what it was sent.
        self.worker.kill();
        self.worker_ended()?;
        Ok(Mount::Lives)
    }

    /// The worker has ended.
    pub fn worker_ended(&mut self) -> io::Result<()> {
        let status = self.worker.reap();
        self.worker.bury();
        self.last_death = Some(format!("worker: {}", describe(status)));
        // One that dies again and again is a matter of its own.
        if !self.worker.deaths.is_looping() {
            log::warning(format_args!("the worker died ({}), and is replaced", describe(status)));
        }
        self.relay.kill();
        self.relay.reap();
        Ledger::over(self.memory.words()).set_greeted(false);
        self.sockets = Sockets::new()?;
        Ok(())
    }

    /// Ends the worker; its end is noticed as any other.
    pub fn kill_worker(&mut self) {
        self.worker.kill();
    }

    /// Ends a relay that was stopped: whoever waits for it would wait until somebody lets it go on.
    /// A worker that was stopped is silent, which the relay notices.
    pub fn kill_stopped_relay(&mut self) {
        if self.relay.is_stopped() {
            self.relay.kill();
        }
    }

    /// Ends both, for good.
    pub fn end(mut self) {
        for place in [&mut self.worker, &mut self.relay] {
            place.kill();
            place.reap();
        }
    }
}

impl Place {
    fn is_due(&self, now: Duration) -> bool {
        self.running.is_none() && now >= self.due
    }

    fn settle(&mut self, name: &str, started: io::Result<Child>, now: Duration) {
        match started.and_then(|child| Running::watch(child, now)) {
            Ok(running) => self.running = Some(running),
            Err(error) => {
                log::warning(format_args!("cannot start the {name}: {error}"));
                // Nothing can be done but to try again, and not at once.
                self.due = now + self.deaths.died(Duration::ZERO).max(RETRY);
            }
        }
    }

    fn kill(&mut self) {
        if let Some(running) = &mut self.running {
            // The one failure is that it has ended already.
            let _ = running.child.kill();
        }
    }

    fn is_stopped(&self) -> bool {
        let Some(running) = &self.running else {
            return false;
        };
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        matches!(waitid(WaitId::PidFd(running.pidfd.as_fd()), options), Ok(Some(_)))
    }

    /// Takes the end of the process to the records; it must have ended, or be about to.
    fn reap(&mut self) -> Option<ExitStatus> {
        let mut running = self.running.take()?;
        let now = clock::awake();
        self.due = now;
        let status = running.child.wait().ok();
        self.lived = now.saturating_sub(running.since);
        status
    }

    /// Counts a death that nobody wanted.
    fn bury(&mut self) {
        self.count = self.count.saturating_add(1);
        self.due = clock::awake() + self.deaths.died(self.lived);
    }
}

impl Running {
    /// Of a process whose end could not be noticed there is none: another would run beside it.
    fn watch(mut child: Child, since: Duration) -> io::Result<Self> {
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        if pidfd.is_err() {
            // The one failure is that it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
        Ok(Self { child, pidfd: pidfd?, since })
    }
}

fn describe(status: Option<ExitStatus>) -> String {
    let signal = status.and_then(|status| status.signal());
    let code = status.and_then(|status| status.code());
    match (signal, code) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(code)) => format!("exit status {code}"),
        (None, None) => "nobody knows of what".to_owned(),
    }
}
