//! Mounting: what has to be so before, how it is done, and what to say where it cannot be.

use std::ffi::CString;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;

use rustix::event::Timespec;
use rustix::event::poll;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::fcntl_getfl;
use rustix::fs::fcntl_setfl;
use rustix::fs::fstat;
use rustix::fs::open;
use rustix::io::Errno;
use rustix::mount::MountFlags;
use serde::Deserialize;
use serde::Serialize;

use crate::supervisor::fusermount;
use crate::supervisor::living;
use crate::supervisor::mountinfo;
use crate::supervisor::mountinfo::FS_TYPE;
use crate::supervisor::mountinfo::Table;
use crate::supervisor::place;
use crate::supervisor::report::Warning;
use crate::supervisor::unmount;

/// The exit status for what cannot be meant.
pub const USAGE: u8 = 1;
/// The exit status for what is wrong with this machine.
pub const SYSTEM: u8 = 2;
/// The exit status, by mount(8)'s table, where a mount failed.
pub const MOUNT_FAILED: u8 = 32;

/// How long a supervisor may take from mounting to calling itself after its mount.
const BIRTH: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
const DEVICE: &str = "/dev/fuse";
/// No answer to a READ is larger, so that each fits a socket's buffer.
const MAX_READ: u32 = 128 << 10;

/// What is to be mounted, and where.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Plan {
    /// The source, as it was typed: what the table of mounts shows.
    pub source: String,
    /// The directory, as it was typed.
    #[serde(with = "any_path")]
    pub directory: PathBuf,
    /// Whether others than the mounting user may enter; their rights are the files' modes.
    pub allow_other: bool,
    /// Options with which the kernel labels what is mounted; only root's mounts have any.
    pub labels: Vec<String>,
}

/// A path as its bytes: it need not be a text.
mod any_path {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::ffi::OsStringExt;
    use std::path::Path;
    use std::path::PathBuf;

    use serde::Deserialize;
    use serde::Deserializer;
    use serde::Serialize;
    use serde::Serializer;

    pub(super) fn serialize<S: Serializer>(path: &Path, into: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().as_bytes().serialize(into)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(OsString::from_vec(Vec::deserialize(from)?).into())
    }
}

/// A mount of ours.
#[derive(Debug)]
pub struct Mounted {
    /// The kernel's end: requests come out, answers and notifications go in. It never blocks.
    pub fuse: OwnedFd,
    /// The minor number of the mount's device.
    pub minor: u32,
    /// The real path of the directory.
    pub directory: PathBuf,
    /// What whoever mounts should know.
    pub warnings: Vec<Warning>,
}

/// Why something could not be done: an exit status, a line, and what can be done about it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Failed {
    /// The exit status.
    pub code: u8,
    /// What failed, and why.
    pub message: String,
    /// What can be done about it.
    pub hint: Option<String>,
}

impl Failed {
    /// A failure about which nothing can be done here.
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// The same with something to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

/// Mounts. A dead mount of akvfs in the same place is ended first; a living one is an error.
pub fn mount(plan: &Plan) -> Result<Mounted, Failed> {
    let fail = |code, why: &dyn fmt::Display| {
        Failed::new(code, format!("cannot mount on {}: {why}", plan.directory.display()))
    };
    let table = Table::read().map_err(|error| fail(SYSTEM, &error))?;
    let directory = place::resolve(&plan.directory, &table)
        .map_err(|error| fail(MOUNT_FAILED, &reason(&error)))?;
    let mut warnings = Vec::new();
    if end_dead_mounts(&directory, &fail)? {
        let message = format!("ended a dead mount on {}", directory.display());
        warnings.push((message, None));
    }
    let target = open(&directory, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .and_then(|target| fstat(&target).map(|stat| (target, stat)));
    let (target, stat) = target.map_err(|error| fail(MOUNT_FAILED, &reason(&error.into())))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(fail(MOUNT_FAILED, &"not a directory"));
    }
    if hides_something(&directory) {
        let message = format!("{} is not empty: what it holds is hidden", directory.display());
        warnings.push((message, Some("unmount to see it again".to_owned())));
    }
    let fuse = if rustix::process::geteuid().is_root() {
        mount_as_root(plan, &target, &fail)?
    } else {
        mount_as_user(plan, &directory, &fail)?
    };
    let table = Table::read().map_err(|error| fail(SYSTEM, &error))?;
    let minor = table.at(&directory).filter(|mount| mount.is_akvfs()).map(|mount| mount.minor);
    let minor = minor.ok_or_else(|| fail(MOUNT_FAILED, &"it was mounted and is gone again"))?;
    Ok(Mounted { fuse, minor, directory, warnings })
}

/// Ends what nobody serves any more in that place. Says whether there was something.
fn end_dead_mounts(
    directory: &Path,
    fail: &dyn Fn(u8, &dyn fmt::Display) -> Failed,
) -> Result<bool, Failed> {
    let mut ended = false;
    loop {
        let table = Table::read().map_err(|error| fail(SYSTEM, &error))?;
        let Some(mount) = table.at(directory).filter(|mount| mount.is_akvfs()) else {
            return Ok(ended);
        };
        if is_living(mount) {
            let hint = format!("akvfs unmount {}", directory.display());
            return Err(fail(MOUNT_FAILED, &"akvfs is mounted there already").hint(hint));
        }
        unmount::end(directory).map_err(|error| {
            fail(MOUNT_FAILED, &format!("a dead mount of akvfs cannot be ended: {error}"))
        })?;
        ended = true;
    }
}

/// Whether somebody serves a mount. One that has just been made has no supervisor of that name yet.
fn is_living(mount: &mountinfo::Mount) -> bool {
    if living::supervisor(mount).is_some() {
        return true;
    }
    let _ = poll(&mut [], Some(&BIRTH));
    living::supervisor(mount).is_some()
}

/// Whether there is something in a directory. One that another program mounts on demand is not
/// looked into: it may be that program that waits for us.
fn hides_something(directory: &Path) -> bool {
    let on_demand = Table::read()
        .is_ok_and(|table| table.at(directory).is_some_and(|mount| mount.fs_type == "autofs"));
    !on_demand && fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

fn mount_as_root(
    plan: &Plan,
    target: &OwnedFd,
    fail: &dyn Fn(u8, &dyn fmt::Display) -> Failed,
) -> Result<OwnedFd, Failed> {
    use std::os::fd::AsRawFd;

    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fuse = open(DEVICE, flags, Mode::empty()).map_err(|error| match error {
        Errno::NOENT | Errno::NODEV | Errno::NXIO => {
            fail(SYSTEM, &format_args!("{DEVICE} not found")).hint("modprobe fuse")
        }
        error => fail(SYSTEM, &format_args!("{DEVICE}: {}", reason(&error.into()))),
    })?;
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    let mut data = format!(
        "fd={},rootmode=40000,user_id={},group_id={},max_read={MAX_READ},default_permissions",
        fuse.as_raw_fd(),
        uid.as_raw(),
        gid.as_raw(),
    );
    if plan.allow_other {
        data.push_str(",allow_other");
    }
    for label in &plan.labels {
        data.push(',');
        data.push_str(label);
    }
    let data = CString::new(data).map_err(|error| fail(SYSTEM, &error))?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // By descriptor: whoever replaces the directory by a link now changes nothing.
    let target = format!("/proc/self/fd/{}", target.as_raw_fd());
    rustix::mount::mount(plan.source.as_str(), target, FS_TYPE, flags, data.as_c_str()).map_err(
        |error| match error {
            Errno::NODEV => {
                fail(SYSTEM, &"the kernel has no FUSE file system").hint("modprobe fuse")
            }
            error => fail(MOUNT_FAILED, &reason(&error.into())),
        },
    )?;
    Ok(fuse)
}

fn mount_as_user(
    plan: &Plan,
    directory: &Path,
    fail: &dyn Fn(u8, &dyn fmt::Display) -> Failed,
) -> Result<OwnedFd, Failed> {
    let source = plan.source.replace('\\', "\\\\").replace(',', "\\,");
    let mut options = format!(
        "ro,nosuid,nodev,noexec,default_permissions,max_read={MAX_READ},subtype=akvfs,fsname={source}"
    );
    if plan.allow_other {
        options.push_str(",allow_other");
    }
    if !Path::new(DEVICE).exists() {
        let failed = fail(SYSTEM, &format_args!("{DEVICE} not found"));
        return Err(failed.hint("as root: modprobe fuse"));
    }
    let fuse = fusermount::mount(directory, &options).map_err(|failure| match failure {
        fusermount::Failure::Missing => fail(SYSTEM, &"fusermount3 not found")
            .hint("install the package fuse3, or mount as root"),
        fusermount::Failure::Broken(error) => {
            fail(SYSTEM, &format_args!("fusermount3: {}", reason(&error)))
        }
        fusermount::Failure::Refused(words) if words.contains("allow_other") => {
            fail(MOUNT_FAILED, &"users here may not mount with allow_other")
                .hint("as root: add the line user_allow_other to /etc/fuse.conf")
        }
        fusermount::Failure::Refused(words) if words.contains("determine username") => {
            fail(MOUNT_FAILED, &"the user who mounts has no name here")
                .hint("fusermount3 wants a line for the user in /etc/passwd")
        }
        fusermount::Failure::Refused(words) if words.contains(DEVICE) => {
            fail(SYSTEM, &words).hint(format!("mount as root, or as root: chmod 666 {DEVICE}"))
        }
        fusermount::Failure::Refused(words) => fail(MOUNT_FAILED, &words),
    })?;
    fcntl_getfl(&fuse)
        .and_then(|flags| fcntl_setfl(&fuse, flags | OFlags::NONBLOCK))
        .map_err(|error| fail(SYSTEM, &error))?;
    Ok(fuse)
}

/// The system's words for an error, without its number.
fn reason(error: &io::Error) -> String {
    let words = match Errno::from_io_error(error) {
        Some(Errno::NOENT) => "no such directory".to_owned(),
        Some(Errno::NOTDIR) => "not a directory".to_owned(),
        _ => error.to_string(),
    };
    let end = words.find(" (os error").unwrap_or(words.len());
    let words = words.get(..end).unwrap_or_default();
    let mut letters = words.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
