//! The supervisor: mounts, has relay and worker run, and ends with the mount.
//!
//! It promises that the mount outlives relay and worker, that a death of either fails no request,
//! and that nothing is left when the mount is gone. It waits without waking up as long as nothing
//! happens. It serves no request and knows no vault.

use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Seek;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rustix::fs;
use rustix::fs::MemfdFlags;
use rustix::fs::SealFlags;
use rustix::fs::fcntl_add_seals;
use rustix::fs::memfd_create;
use rustix::pipe::PipeFlags;
use rustix::pipe::pipe_with;
use rustix::process::Signal;
use serde::Deserialize;
use serde::Serialize;

use crate::audit::sink::Destination;
use crate::log;
use crate::log::Format;
use crate::model::secret::SecretBytes;
use crate::supervisor::ending::Ending;
use crate::supervisor::mount::Failed;
use crate::supervisor::mount::Plan;
use crate::supervisor::mount::SYSTEM;
use crate::supervisor::process;
use crate::supervisor::process::Rights;
use crate::supervisor::report::Warning;
use crate::supervisor::supervision::Supervision;
use crate::sys;

/// All that is needed to mount and to go on serving.
#[derive(Debug)]
pub struct Launch {
    /// The configuration, which the workers alone understand, and what is secret about it.
    pub brief: SecretBytes,
    /// What to mount, and where.
    pub plan: Plan,
    /// The size of the arena in bytes.
    pub room: u64,
    /// How long a first open may take.
    pub open_timeout: Duration,
    /// The user and group as which the worker runs. Without it: `akvfs` or `nobody` if root mounts,
    /// and whoever mounts otherwise.
    pub run_as: Option<(u32, u32)>,
    /// The group that this user keeps, if he is in it.
    pub group: Option<String>,
    /// Whether this process is to be the supervisor.
    pub foreground: bool,
    /// What the three processes have for a standard error; nothing, without it. In the foreground it
    /// is this process's own.
    pub log: Option<OwnedFd>,
    /// How messages are written there; there are none, without it.
    pub format: Option<Format>,
    /// The directory of the control socket; there is none, without it.
    pub control: Option<PathBuf>,
    /// Where opens are recorded, if they are.
    pub audit: Option<Destination>,
    /// With how many `-v`.
    pub verbosity: u8,
    /// Is told how many values were fetched, and of how many, if that is waited for. The last may
    /// be 0: not known yet.
    pub progress: fn(u64, u64),
}

/// A mount that is ready.
#[derive(Debug)]
pub struct Started {
    /// What whoever mounted should know.
    pub warnings: Vec<Warning>,
    here: Option<Supervision>,
}

impl Started {
    /// In the foreground: stays until the file system is unmounted. In the background there is
    /// nothing to stay for.
    pub fn stay(self) -> Result<(), Failed> {
        match self.here {
            Some(supervision) => supervision.until_the_end(),
            None => Ok(()),
        }
    }
}

/// A launch without what travels by descriptor.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Orders {
    pub(crate) plan: Plan,
    pub(crate) room: u64,
    pub(crate) open_timeout: Duration,
    pub(crate) run_as: Option<(u32, u32)>,
    pub(crate) group: Option<String>,
    pub(crate) format: Option<Format>,
    pub(crate) control: Option<PathBuf>,
    pub(crate) audit: Option<Destination>,
    pub(crate) verbosity: u8,
}

/// What the supervisor tells whoever waits for the mount, a line each.
#[derive(Debug, Deserialize, Serialize)]
enum Word {
    /// So many values of so many were fetched.
    Progress(u64, u64),
    /// It is mounted, or is not: the last word.
    Outcome(Result<Vec<Warning>, Failed>),
}

/// Mounts, and returns when the mount is ready.
pub fn start(launch: Launch) -> Result<Started, Failed> {
    // Where files may not grow, that is an error and not the end, here and in all that is started.
    sys::ignore_signal(Signal::XFSZ);
    let system = |error: io::Error| Failed::new(SYSTEM, format!("cannot start: {error}"));
    let brief = sealed("akvfs-brief", launch.brief.expose()).map_err(system)?;
    let directory = launch.plan.directory.clone();
    let orders = Orders {
        plan: launch.plan,
        room: launch.room,
        open_timeout: launch.open_timeout,
        run_as: launch.run_as,
        group: launch.group,
        format: launch.format,
        control: launch.control,
        audit: launch.audit,
        verbosity: launch.verbosity,
    };
    if launch.foreground {
        let Some((supervision, warnings)) =
            Supervision::mount(&orders, brief, None, launch.progress)?
        else {
            return Ok(Started { warnings: Vec::new(), here: None });
        };
        // Whoever sees to it that this is answered must not wait for it.
        let _ends_by_itself = thread::spawn(move || look_at(&directory));
        return Ok(Started { warnings, here: Some(supervision) });
    }
    let orders = serde_json::to_vec(&orders).map_err(|error| system(error.into()))?;
    let orders = sealed("akvfs-orders", &orders).map_err(system)?;
    let (outcome, told) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| system(error.into()))?;
    let descriptors =
        [(&brief, process::BRIEF), (&orders, process::LAUNCH), (&told, process::OUTCOME)];
    let messages = launch.log.map_or_else(Stdio::null, Stdio::from);
    let mut supervisor =
        process::start("supervisor", &descriptors, Rights::Kept, messages).map_err(system)?;
    drop(told);
    let failed = match listen(File::from(outcome), launch.progress) {
        Ok(warnings) => {
            look_at(&directory);
            return Ok(Started { warnings, here: None });
        }
        Err(failed) => failed,
    };
    // It is about to end, or has ended.
    let _ = supervisor.wait();
    Err(failed)
}

/// Hears what the supervisor says, to its last word.
fn listen(outcome: File, progress: fn(u64, u64)) -> Result<Vec<Warning>, Failed> {
    for line in BufReader::new(outcome).lines() {
        match line.map(|line| serde_json::from_str(&line)) {
            Ok(Ok(Word::Progress(done, total))) => progress(done, total),
            Ok(Ok(Word::Outcome(outcome))) => return outcome,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    Err(Failed::new(SYSTEM, "cannot start: the supervisor died"))
}

/// Says a word to whoever waits. Returns whether somebody does.
fn say(outcome: &OwnedFd, word: &Word) -> bool {
    let mut line = serde_json::to_vec(word).unwrap_or_default();
    line.push(b'\n');
    outcome.try_clone().is_ok_and(|outcome| File::from(outcome).write_all(&line).is_ok())
}

/// Has the kernel ask for the root's attributes. Until it has them the root lets in nobody but
/// root, and an answer that crosses an invalidation (FUSE_NOTIFY_INVAL_INODE, which every new
/// worker sends) does not count: a user would be told EACCES.
fn look_at(directory: &Path) {
    // It is answered from memory, and in time by the relay if it is not.
    let _ = fs::stat(directory);
}

/// Runs the supervisor on the descriptors that [`start`] left it.
#[must_use]
pub fn main() -> ExitCode {
    let taken = || -> io::Result<(Orders, OwnedFd, OwnedFd)> {
        let brief = sys::take_descriptor(process::BRIEF)?;
        let orders = File::from(sys::take_descriptor(process::LAUNCH)?);
        let outcome = sys::take_descriptor(process::OUTCOME)?;
        Ok((serde_json::from_reader(orders)?, brief, outcome))
    };
    let Ok((orders, brief, outcome)) = taken() else {
        return ExitCode::FAILURE;
    };
    let progress = |done, total| {
        say(&outcome, &Word::Progress(done, total));
    };
    let mounted = Supervision::mount(&orders, brief, Some(&outcome), progress);
    let (supervision, told) = match mounted {
        Ok(Some((supervision, warnings))) => (Some(supervision), Ok(warnings)),
        // That is for the foreground.
        Ok(None) => return ExitCode::SUCCESS,
        Err(failed) => (None, Err(failed)),
    };
    let is_told = say(&outcome, &Word::Outcome(told));
    drop(outcome);
    match supervision {
        Some(supervision) if is_told => match supervision.until_the_end() {
            Ok(()) => ExitCode::SUCCESS,
            Err(failed) => {
                log::error(format_args!("{failed}"));
                ExitCode::from(failed.code)
            }
        },
        // Nobody waits any more: whoever asked for the mount thinks that there is none.
        Some(supervision) => {
            supervision.end(Ending::GivenUp);
            ExitCode::FAILURE
        }
        None => ExitCode::FAILURE,
    }
}

/// A memfd with these bytes, for ever.
fn sealed(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let memfd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(memfd);
    file.write_all(bytes)?;
    file.rewind()?;
    let seals = SealFlags::GROW | SealFlags::SHRINK | SealFlags::WRITE | SealFlags::SEAL;
    fcntl_add_seals(&file, seals)?;
    Ok(OwnedFd::from(file))
}
