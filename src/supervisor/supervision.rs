//! A mount under supervision: one loop that waits for whatever happens to it.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::process::chdir;

use crate::arena::store;
use crate::clock;
use crate::control::protocol::Serving;
use crate::log;
use crate::log::Level;
use crate::log::Sink;
use crate::supervisor::claim::Claim;
use crate::supervisor::ending::Ending;
use crate::supervisor::living;
use crate::supervisor::mount::Failed;
use crate::supervisor::mount::MOUNT_FAILED;
use crate::supervisor::mount::Mounted;
use crate::supervisor::mount::SYSTEM;
use crate::supervisor::mount::USAGE;
use crate::supervisor::mount::mount;
use crate::supervisor::mountinfo;
use crate::supervisor::mountinfo::Table;
use crate::supervisor::notify::Notifier;
use crate::supervisor::pair::Estate;
use crate::supervisor::pair::Mount;
use crate::supervisor::pair::Pair;
use crate::supervisor::pinning::Pinning;
use crate::supervisor::process;
use crate::supervisor::process::Rights;
use crate::supervisor::recording;
use crate::supervisor::relay::ROUNDING;
use crate::supervisor::report::Report;
use crate::supervisor::report::Warning;
use crate::supervisor::signals::Signals;
use crate::supervisor::supervise::Orders;
use crate::supervisor::unmount;
use crate::supervisor::visitors::Visitors;
use crate::supervisor::waiting::wait;

/// How long a worker has from its start until it says that it is ready.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long open files are served after SIGTERM.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long is waited for a notification that is on its way to the kernel.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// By how much a request may be older than the time a first open has.
const GRACE: Duration = Duration::from_secs(1);

/// A mount, the processes behind it, and what they share.
#[derive(Debug)]
pub struct Supervision {
    mounted: Mounted,
    pair: Pair,
    notifier: Notifier,
    pinning: Pinning,
    visitors: Visitors,
    signals: Signals,
    /// Whether the worker that runs has said that it is ready.
    is_ready: bool,
    /// Whether any worker has.
    has_served: bool,
    /// When a worker last said that it gets ready, though it takes its time.
    progressed_at: Duration,
    /// Until when open files are served, once there is to be an end.
    leaves_at: Option<Duration>,
}

/// What the loop came to.
enum Turn {
    Ready(Vec<Warning>),
    /// Values are fetched before it is ready: so many of so many.
    Progress(u64, u64),
    Over(Ending),
}

impl Supervision {
    /// Mounts, starts relay and worker, and returns when the worker is ready. It gives up when
    /// nobody holds the other end of `waiting` any more. `None` says that in the foreground, where
    /// nobody waits, it was told to leave before it was ready, and has left.
    pub(crate) fn mount(
        orders: &Orders,
        brief: OwnedFd,
        waiting: Option<&OwnedFd>,
        progress: impl Fn(u64, u64),
    ) -> Result<Option<(Self, Vec<Warning>)>, Failed> {
        let mut supervision = Self::begin(orders, brief)?;
        let ending = loop {
            match supervision.run(waiting) {
                Turn::Ready(warnings) => {
                    let mounted = supervision.mounted.warnings.drain(..);
                    let warnings = mounted.chain(warnings).collect();
                    return Ok(Some((supervision, warnings)));
                }
                Turn::Progress(done, total) => progress(done, total),
                Turn::Over(ending) => break ending,
            }
        };
        let is_told = supervision.leaves_at.is_some();
        let directory = supervision.mounted.directory.display().to_string();
        supervision.end(if is_told { ending.clone() } else { Ending::GivenUp });
        ending.before_ready(is_told, &directory).map_or(Ok(None), Err)
    }

    fn begin(orders: &Orders, brief: OwnedFd) -> Result<Self, Failed> {
        let system = |error: io::Error| Failed::new(SYSTEM, format!("cannot start: {error}"));
        process::harden(c"akvfs-supervise").map_err(system)?;
        if let Some(format) = orders.format {
            let out = io::stderr().as_fd().try_clone_to_owned().map_err(system)?;
            log::start(Sink::inherited(format, out), Level::of(orders.verbosity));
        }
        let signals = Signals::begin().map_err(system)?;
        let arena = store::create(orders.room).map_err(system)?;
        let pinning = Pinning::of(&arena, orders.room).map_err(system)?;
        let worker = Rights::of_worker(orders.run_as, orders.group.as_deref());
        let worker = worker.ok_or_else(worker_is_root)?;
        let alarms = Arc::default();
        let clerk = recording::begin(orders, &alarms)?;
        let claim = Claim::to(&orders.plan.directory);
        let mounted = mount(&orders.plan)?;
        let begin = || {
            living::call_myself(mounted.minor)?;
            drop(claim);
            chdir("/")?;
            let notifier = Notifier::start(mounted.fuse.try_clone()?)?;
            let fuse = mounted.fuse.try_clone()?;
            let estate = Estate { fuse, arena, brief, clerk, worker };
            Ok((notifier, Pair::new(estate, orders.open_timeout + GRACE)?))
        };
        let (notifier, pair) = begin().map_err(|error| {
            let _ = unmount::end(&mounted.directory);
            system(error)
        })?;
        let control = orders.control.as_deref();
        let visitors = Visitors::begin(&mounted, &orders.plan.source, control, alarms);
        Ok(Self {
            mounted,
            pair,
            notifier,
            pinning,
            visitors,
            signals,
            is_ready: false,
            has_served: false,
            progressed_at: Duration::ZERO,
            leaves_at: None,
        })
    }

    /// Goes on until the mount is gone.
    pub fn until_the_end(mut self) -> Result<(), Failed> {
        loop {
            match self.run(None) {
                Turn::Ready(_) | Turn::Progress(..) => {}
                Turn::Over(Ending::Failed(failed)) => {
                    self.end(Ending::Failed(failed.clone()));
                    return Err(failed);
                }
                Turn::Over(ending) => {
                    self.end(ending);
                    return Ok(());
                }
            }
        }
    }

    /// Ends what is left: the mount, if it is still there, and the processes.
    pub fn end(self, ending: Ending) {
        let is_left = ending != Ending::Unmounted && self.found().is_some();
        // A name is a courtesy to whoever looks for a living mount.
        let _ = living::call_myself_leaving();
        if (is_left || self.is_dead())
            && let Err(error) = unmount::end(&self.mounted.directory)
        {
            log::warning(format_args!("cannot unmount: {error}"));
        }
        // A notification on its way waits for a lock that whoever waits for relay and worker may
        // hold. Left alone with it, this process could neither end nor be killed.
        self.notifier.finish(LAST_WORDS);
        self.pair.end();
    }

    /// Serves until there is something to say.
    fn run(&mut self, waiting: Option<&OwnedFd>) -> Turn {
        loop {
            self.pair.keep_running();
            self.notifier.listen_to(self.pair.orders());
            let ready = match self.wait(waiting) {
                Ok(ready) => ready,
                Err(error) => return failed(&error),
            };
            if ready.table {
                self.visitors.look_at_table();
            }
            let leaves = ready.signals && self.signals.take_wish_to_leave();
            if ready.signals {
                self.pair.kill_stopped_relay();
            }
            if leaves {
                if waiting.is_some() {
                    return Turn::Over(Ending::GivenUp);
                }
                // Whoever is told twice is leaving already.
                if self.leaves_at.is_none() {
                    self.leave();
                }
            }
            if ready.abandoned {
                return Turn::Over(Ending::GivenUp);
            }
            if ready.reports
                && let Some(turn) = self.take_reports()
            {
                return turn;
            }
            match self.bury(&ready) {
                Ok(Mount::Lives) => {}
                Ok(Mount::IsGone) => return Turn::Over(Ending::Unmounted),
                Err(error) => return failed(&error),
            }
            if let Some(ending) = self.look_at_the_clock() {
                return Turn::Over(ending);
            }
            self.see_to_visitors(&ready);
        }
    }

    fn wait(&self, waiting: Option<&OwnedFd>) -> io::Result<Ready> {
        let patience = [
            self.pair.next_start(),
            self.pair
                .worker_age()
                .filter(|_| !self.is_ready)
                .map(|age| START_LIMIT.saturating_sub(self.getting_ready_for(age))),
            self.leaves_at.map(|moment| moment.saturating_sub(clock::awake())),
            self.visitors.rest_for(),
        ];
        let patience = patience.into_iter().flatten().min().map(|wait| wait + ROUNDING);
        let [door, table] = self.visitors.sources();
        let sources = [
            Some((self.signals.descriptor(), PollFlags::IN)),
            Some((self.pair.reports(), PollFlags::IN)),
            self.pair.relay_end().map(|end| (end, PollFlags::IN)),
            self.pair.worker_end().map(|end| (end, PollFlags::IN)),
            // Of a pipe's write end poll tells when nobody reads any more, and nothing else.
            waiting.map(|pipe| (pipe, PollFlags::empty())),
            door,
            table,
        ];
        let [signals, reports, relay, worker, abandoned, visitors, table] =
            wait(&sources, patience)?;
        Ok(Ready { signals, reports, relay, worker, abandoned, visitors, table })
    }

    fn take_reports(&mut self) -> Option<Turn> {
        while let Some(report) = Report::receive(self.pair.reports()) {
            match report {
                Report::Ready { warnings } => {
                    self.is_ready = true;
                    if !self.has_served {
                        self.has_served = true;
                        return Some(Turn::Ready(warnings));
                    }
                }
                Report::Progress { done, total } => {
                    self.progressed_at = clock::awake();
                    return Some(Turn::Progress(done, total));
                }
                Report::Fatal { code, message, hint } if !self.has_served => {
                    let failed = Failed { code, message, hint };
                    return Some(Turn::Over(Ending::Failed(failed)));
                }
                Report::Fatal { message, .. } => {
                    log::warning(format_args!("the worker cannot serve: {message}"))
                }
                Report::Used(bytes) => self.pinning.lock(bytes),
            }
        }
        None
    }

    fn bury(&mut self, ready: &Ready) -> io::Result<Mount> {
        // The relay first: it may have ended because the mount has, or the worker is silent.
        if ready.relay {
            let worker = self.pair.worker_end().is_some();
            let mount = self.pair.relay_ended()?;
            if worker && self.pair.worker_end().is_none() {
                self.is_ready = false;
            }
            return Ok(mount);
        }
        if ready.worker {
            self.is_ready = false;
            self.pair.worker_ended()?;
        }
        Ok(Mount::Lives)
    }

    /// How long a worker of that age has kept silent on its way to being ready.
    fn getting_ready_for(&self, age: Duration) -> Duration {
        age.min(clock::awake().saturating_sub(self.progressed_at))
    }

    /// Last of all, so that who comes is told what has just happened.
    fn see_to_visitors(&mut self, ready: &Ready) {
        if ready.relay || ready.worker || ready.reports {
            self.visitors.look_at(&self.pair);
        }
        if ready.visitors {
            let state = match (self.is_ready, self.leaves_at.is_some()) {
                (true, false) => Serving::Serving,
                (true, true) => Serving::Leaving,
                (false, _) if self.pair.is_dying() => Serving::CrashLoop,
                (false, _) => Serving::Starting,
            };
            self.visitors.receive(&self.pair, state);
        }
    }

    fn look_at_the_clock(&mut self) -> Option<Ending> {
        if self.leaves_at.is_some_and(|moment| clock::awake() >= moment) {
            return Some(Ending::Left);
        }
        let age = self.pair.worker_age().filter(|_| !self.is_ready);
        let is_late = age.is_some_and(|age| self.getting_ready_for(age) >= START_LIMIT);
        if !self.has_served && (is_late || self.pair.is_looping()) {
            let what = if is_late { "does not get ready" } else { "dies at its start" };
            let failed = Failed::new(MOUNT_FAILED, format!("cannot serve: the worker {what}"));
            return Some(Ending::Failed(failed));
        }
        if is_late {
            self.pair.kill_worker();
        }
        None
    }

    /// Takes the path away and serves what is open for a while.
    fn leave(&mut self) {
        self.leaves_at = Some(clock::awake() + FAREWELL);
        if self.found().is_some() {
            let lazily = rustix::mount::UnmountFlags::DETACH;
            if let Err(error) = unmount::detach(&self.mounted.directory, lazily) {
                log::warning(format_args!("cannot unmount: {error}"));
            }
        }
    }

    /// Whether the connection is gone and the mount is not: `umount -f` of one that is in use, or an
    /// abort, leaves one that answers nobody. Its device's number may be a new mount's by now, so it
    /// is ours only if nobody else is about to mount there or serves it.
    fn is_dead(&self) -> bool {
        let claim = Claim::to(&self.mounted.directory);
        let nobody = |mount| living::supervisor(&mount).is_none();
        claim.is_some() && self.found().is_some_and(nobody)
    }

    /// What is mounted in our place, if it can be ours.
    fn found(&self) -> Option<mountinfo::Mount> {
        Table::read().ok()?.akvfs_at(&self.mounted.directory, self.mounted.minor)
    }
}

/// What has happened.
#[derive(Debug)]
struct Ready {
    signals: bool,
    reports: bool,
    relay: bool,
    worker: bool,
    abandoned: bool,
    visitors: bool,
    table: bool,
}

fn failed(error: &io::Error) -> Turn {
    Turn::Over(Ending::Failed(Failed::new(SYSTEM, format!("cannot go on: {error}"))))
}

fn worker_is_root() -> Failed {
    let failed = Failed::new(USAGE, "run-as: the worker may not be root");
    failed.hint("name a user of its own, such as akvfs, or nobody")
}
