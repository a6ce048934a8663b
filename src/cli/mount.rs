//! `akvfs mount`: understands what is wanted, has it started, and says how that went.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use crate::cli::arguments::Mount;
use crate::cli::brief;
use crate::cli::complaint::Complaint;
use crate::cli::complaint::Exit;
use crate::cli::complaint::reason;
use crate::cli::complaint::say;
use crate::cli::config;
use crate::cli::config::Prefetch;
use crate::cli::environment;
use crate::cli::option::Key;
use crate::cli::progress;
use crate::cli::selinux;
use crate::cli::settings::complain;
use crate::cli::values::Wrong;
use crate::log::Destination;
use crate::log::Sink;
use crate::supervisor::mount::Plan;
use crate::supervisor::supervise;
use crate::supervisor::supervise::Launch;

/// Mounts. Returns when the mount is ready; in the foreground, when it is gone.
pub fn run(order: &Mount) -> Result<(), Complaint> {
    let wanted = config::mount(order, &environment::read()?)?;
    if order.fake {
        return Ok(());
    }
    tell(&wanted.warnings);
    // Where messages go elsewhere, the worker says it there.
    if wanted.config.verbosity > 0 && matches!(wanted.log, Destination::System) {
        say(&format!("akvfs: {}", wanted.config.access.identity));
    }
    let sink = open(&wanted.log).map_err(|complaint| complaint.at(wanted.log_place.as_ref()))?;
    let mut config = wanted.config;
    config.log = sink.as_ref().map(Sink::format);
    let brief = brief::write(&config);
    let log = sink.map(Sink::into_descriptor);
    let (here, there) = if wanted.foreground { (log, None) } else { (None, log) };
    let launch = Launch {
        brief: brief.map_err(|error| {
            Complaint::new(Exit::System, format!("cannot start: {}", reason(&error)))
        })?,
        plan: Plan {
            source: wanted.source,
            directory: order.directory.clone(),
            allow_other: wanted.allow_other,
            labels: if selinux::is_on() { wanted.labels } else { Vec::new() },
        },
        room: wanted.room,
        open_timeout: config.policy.open_timeout,
        run_as: wanted.run_as.map(|account| (account.uid, account.gid)),
        group: config.access.identity.origin.group().map(ToOwned::to_owned),
        foreground: wanted.foreground,
        log: there,
        format: config.log,
        control: environment::control()?,
        verbosity: config.verbosity,
        audit: wanted.audit,
        progress: progress::show,
    };
    let started = with_messages_to(here.as_ref(), || supervise::start(launch));
    if config.prefetch == Prefetch::First {
        progress::end();
    }
    let started = started?;
    tell(&started.warnings);
    with_messages_to(here.as_ref(), || started.stay())?;
    Ok(())
}

/// In the foreground, messages go to this process's standard error, and so do those of the
/// processes that it starts. While something runs, that is where they are to go; before and after,
/// it is where the person is.
fn with_messages_to<T>(log: Option<&OwnedFd>, run: impl FnOnce() -> T) -> T {
    let person = io::stderr().as_fd().try_clone_to_owned();
    if let (Some(log), Ok(_)) = (log, &person) {
        let _as_it_was = rustix::stdio::dup2_stderr(log);
    }
    let done = run();
    if let (Some(_), Ok(person)) = (log, &person) {
        let _as_it_was = rustix::stdio::dup2_stderr(person);
    }
    done
}

fn tell(warnings: &[(String, Option<String>)]) {
    for (message, hint) in warnings {
        let warning = Complaint {
            exit: Exit::System,
            message: format!("warning: {message}"),
            hint: hint.clone(),
        };
        say(&warning.to_string());
    }
}

/// Opens the way for messages with the rights of whoever mounts.
fn open(log: &Destination) -> Result<Option<Sink>, Complaint> {
    Sink::open(log).map_err(|error| match log {
        Destination::File(path) => {
            complain(Key::Log, &path.display().to_string(), Wrong::new(reason(&error)))
        }
        Destination::System | Destination::Journal | Destination::Stderr => {
            Complaint::new(Exit::Mount, format!("log=journal: {}", reason(&error)))
                .hint("without log= messages go to the journal or to syslog, whichever there is")
        }
    })
}
