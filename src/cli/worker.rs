//! The worker, as the supervisor starts it: what it inherits becomes a session that serves.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use parking_lot::Mutex;
use rustix::io::Errno;
use tokio::runtime::Builder;

use crate::audit::teller::Teller;
use crate::cli::brief;
use crate::cli::complaint::Complaint;
use crate::cli::complaint::Exit;
use crate::cli::complaint::reason;
use crate::cli::config::Check;
use crate::cli::config::Config;
use crate::cli::config::Prefetch;
use crate::control::protocol::Identity;
use crate::control::protocol::PassedOver;
use crate::control_server::server;
use crate::fuse::audit::Audit;
use crate::fuse::session;
use crate::identity::taken::Taken;
use crate::log;
use crate::log::Level;
use crate::log::Sink;
use crate::model::event::Notice;
use crate::service::server::Legacy;
use crate::service::server::Names;
use crate::service::server::News;
use crate::service::server::Service;
use crate::service::server::Tell;
use crate::service::trial::Trial;
use crate::supervisor::report::Order;
use crate::supervisor::report::Report;
use crate::supervisor::report::Told;
use crate::supervisor::worker;
use crate::supervisor::worker::Inherited;

/// Runs the worker on the descriptors that the supervisor left it.
#[must_use]
pub fn main() -> ExitCode {
    end_on_panic();
    match begin().and_then(|(config, inherited)| serve(config, inherited)) {
        // Without destructors: what is held belongs to the next worker.
        Ok(()) => std::process::exit(0),
        Err(error) => {
            log::error(format_args!("worker: {}", reason(&error)));
            std::process::exit(1)
        }
    }
}

fn begin() -> io::Result<(Config, Inherited)> {
    let inherited = worker::inherited()?;
    let config = brief::read(File::from(inherited.brief.try_clone()?))?;
    if let Some(format) = config.log {
        // The supervisor has made the way out our standard error.
        let out = io::stderr().as_fd().try_clone_to_owned()?;
        log::start(Sink::inherited(format, out), Level::of(config.verbosity));
    }
    Ok((config, inherited))
}

/// Serves until the mount is gone.
fn serve(config: Config, inherited: Inherited) -> io::Result<()> {
    let legacy = Legacy::open(inherited.arena).map_err(io::Error::other)?;
    // A mount that an earlier worker made ready is ready, whoever can be asked now.
    let is_first = legacy.left.since.is_none();
    let check = if is_first { config.check } else { Check::Off };
    if is_first {
        log::info(format_args!("{}", config.access.identity));
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(RESOLVERS)
        .enable_all()
        .build()?;
    let _entered = runtime.enter();
    let (vault, tokens) = match config.access.connect(legacy.left.identity.clone()) {
        Ok(connected) => connected,
        Err(error) if is_first => {
            let Complaint { exit, message, hint } = error.into();
            let fatal = Report::Fatal { code: exit.code(), message, hint };
            return fatal.send(&inherited.reports);
        }
        Err(error) => return Err(io::Error::other(error)),
    };
    let reports = Arc::new(inherited.reports);
    let orders = Arc::new(inherited.orders);
    let tell = teller(Arc::clone(&reports), Arc::clone(&orders))?;
    let filter = config.view.filter();
    let names = Names {
        shown: Box::new(move |name| filter.shows(name)),
        configured: config.view.configured(),
    };
    let identity = identity(&config.access.identity);
    let service = Service::start(legacy, vault, tokens, config.policy, names, tell)?;
    listen(service.clone(), orders)?;
    server::serve(inherited.visitors, service.clone(), identity)?;
    let may_fail = config.audit_may_fail;
    let teller = inherited.clerk.map(Teller::begin).transpose()?;
    let audit = teller.map(|teller| Audit { teller, may_fail });
    let tried = service.clone();
    let prefetch = config.prefetch;
    session::serve(service, config.view, audit, inherited.session, move || {
        tokio::spawn(async move {
            let prefetch = if is_first { prefetch } else { prefetch.min(Prefetch::Behind) };
            let report = ready(&tried, check, prefetch, &reports).await;
            if let Err(error) = report.send(&*reports) {
                log::error(format_args!("worker: the supervisor is not there: {}", reason(&error)));
            }
        });
    })
}

/// What the supervisor is told once requests are answered.
async fn ready(service: &Service, check: Check, prefetch: Prefetch, reports: &OwnedFd) -> Report {
    let trial = match check {
        Check::Off => Trial::Works,
        Check::On | Check::Strict => service.try_out().await,
    };
    let mut warnings = Vec::new();
    match trial {
        Trial::Works => {}
        Trial::Warns(problem) if check != Check::Strict => {
            warnings.push((format!("{problem}; mounted all the same"), problem.hint()));
        }
        Trial::Warns(problem) | Trial::Fails(problem) => {
            let (message, hint) = (problem.to_string(), problem.hint());
            return Report::Fatal { code: Exit::Mount.code(), message, hint };
        }
    }
    match prefetch {
        Prefetch::No => {}
        Prefetch::Behind => service.prefetch(),
        Prefetch::First => {
            let tell = |done: usize, total: Option<usize>| {
                let number = |count| u64::try_from(count).unwrap_or(u64::MAX);
                let progress =
                    Report::Progress { done: number(done), total: number(total.unwrap_or(0)) };
                // Without a supervisor this process is about to end.
                let _unheard = progress.send(reports);
            };
            if let Err(stalled) = service.prefetch_first(tell).await {
                warnings.push((stalled.to_string(), None));
            }
        }
    }
    Report::Ready { warnings }
}

/// Who asks the vault, as `akvfs status` says it.
fn identity(taken: &Taken) -> Identity {
    let passed_over = taken
        .passed_over
        .iter()
        .map(|it| PassedOver { source: it.source.name().to_owned(), why: it.why.clone() });
    let source = taken.origin.kind().name().to_owned();
    Identity { source, passed_over: passed_over.collect() }
}

/// Tells the model which inodes the kernel holds, and which not.
fn listen(service: Service, orders: Arc<OwnedFd>) -> io::Result<()> {
    thread::Builder::new().name("told".to_owned()).spawn(move || {
        while let Ok(told) = Told::receive(&*orders) {
            service.told(told.serial, told.errno != Errno::NOENT.raw_os_error());
        }
    })?;
    Ok(())
}

/// The way to the supervisor. Nobody who tells has to wait: what cannot be sent at once is left to a
/// thread of its own, and so is all that comes after it, until that is sent.
fn teller(reports: Arc<OwnedFd>, orders: Arc<OwnedFd>) -> io::Result<Tell> {
    let (left, taken) = mpsc::channel::<News>();
    let behind = Arc::new(Mutex::new(0_usize));
    let (sockets, in_line) = ((Arc::clone(&reports), Arc::clone(&orders)), Arc::clone(&behind));
    thread::Builder::new().name("news".to_owned()).spawn(move || {
        let (reports, orders) = sockets;
        while let Ok(news) = taken.recv() {
            let sent = match news {
                News::Notice(notice) => order(notice).send(&*orders),
                News::Used(bytes) => Report::Used(bytes).send(&*reports),
            };
            if sent.is_err() {
                // The kernel would keep what it should have been told of. It is told of everything
                // by the next worker, if there still is a supervisor to start one.
                std::process::exit(UNHEARD);
            }
            *in_line.lock() -= 1;
        }
    })?;
    Ok(Box::new(move |news| {
        let mut behind = behind.lock();
        if *behind == 0
            && let News::Notice(notice) = &news
            && order(notice.clone()).try_send(&*orders).is_ok()
        {
            return;
        }
        *behind += 1;
        // The thread takes news for as long as this process lives.
        let _taken = left.send(news);
    }))
}

/// What became of a notice is told under its number: the inode's, where that matters.
fn order(notice: Notice) -> Order {
    let serial = match notice {
        Notice::Attributes(node) => node.0,
        Notice::Entry(_) | Notice::Listing => 0,
    };
    Order { serial, notice }
}

/// A panic ends the worker at once, where it happened: another one goes on from the arena. Of what
/// was said, only where is told: a message could hold a value.
fn end_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        log::error(format_args!("worker: panic at {place}"));
        std::process::exit(PANICKED);
    }));
}

/// Requests to the vault and their answers: two at a time are enough, for they mostly wait.
const THREADS: usize = 2;

/// Names are looked up on threads of their own, which a resolver that hangs keeps.
const RESOLVERS: usize = 4;

const PANICKED: i32 = 70;
const UNHEARD: i32 = 71;

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use rustix::net::AddressFamily;
    use rustix::net::SocketFlags;
    use rustix::net::SocketType;
    use rustix::net::socketpair;

    use super::*;
    use crate::model::tree::Node;

    #[test]
    fn whoever_tells_never_waits_and_is_heard_in_order() {
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let pair = || socketpair(AddressFamily::UNIX, kind, flags, None).unwrap();
        let ((reports, _reported), (orders, ordered)) = (pair(), pair());
        let tell = teller(Arc::new(reports), Arc::new(orders)).unwrap();
        let notice = |number| Notice::Attributes(Node(number));
        let tell_all = |numbers: RangeInclusive<u64>| {
            numbers.for_each(|number| tell(News::Notice(notice(number))));
        };
        let hear_all = |numbers: RangeInclusive<u64>| {
            for number in numbers {
                let order = Order { serial: number, notice: notice(number) };
                assert_eq!(Order::receive(&ordered), Some(order));
            }
        };
        // More than fits, and more while the rest is still in line.
        tell_all(1..=2_000);
        hear_all(1..=1_500);
        tell_all(2_001..=3_000);
        hear_all(1_501..=3_000);
    }
}
