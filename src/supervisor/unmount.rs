//! Unmounting: finding the mount by any spelling of its path, and saying who is in the way.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::getpid;
use rustix::process::pidfd_open;

use crate::supervisor::fusermount;
use crate::supervisor::living;
use crate::supervisor::mount::Failed;
use crate::supervisor::mount::MOUNT_FAILED;
use crate::supervisor::mount::SYSTEM;
use crate::supervisor::mountinfo::Mount;
use crate::supervisor::mountinfo::Table;
use crate::supervisor::place;

/// How long is waited for the processes of a mount to end with it.
const FAREWELL: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
/// How many of those in the way are named.
const NAMED: usize = 5;

/// How to unmount.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum How {
    /// Only if nobody is in there.
    Politely,
    /// Take the path away now; open files go on to be served until they are closed.
    Lazily,
    /// Answer every waiting request with an error, and take the path away.
    Forcibly,
}

/// Unmounts the akvfs that is mounted in a place, and waits a moment until its processes are gone.
pub fn unmount(path: &Path, how: How) -> Result<(), Failed> {
    let fail =
        |code, why: String| Failed::new(code, format!("cannot unmount {}: {why}", path.display()));
    let table = Table::read().map_err(|error| fail(SYSTEM, error.to_string()))?;
    let directory = place::resolve(path, &table)
        .map_err(|_| fail(MOUNT_FAILED, "no such directory".to_owned()))?;
    let mount = table
        .at(&directory)
        .filter(|mount| mount.is_akvfs())
        .ok_or_else(|| fail(MOUNT_FAILED, "akvfs is not mounted there".to_owned()))?;
    let supervisor =
        living::supervisor(mount).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let ended = match how {
        How::Politely => detach(&directory, UnmountFlags::empty()),
        How::Lazily => detach(&directory, UnmountFlags::DETACH),
        How::Forcibly => end(&directory),
    };
    ended.map_err(|error| {
        match Errno::from_io_error(&error) {
            Some(Errno::BUSY) => {}
            // Somebody else was faster.
            Some(Errno::INVAL) => {
                return fail(MOUNT_FAILED, "akvfs is not mounted there any more".to_owned());
            }
            _ => return fail(MOUNT_FAILED, error.to_string()),
        }
        let why = match holders(mount) {
            holders if holders.is_empty() => "it is in use".to_owned(),
            holders => format!("it is in use by {}", holders.join(", ")),
        };
        fail(MOUNT_FAILED, why)
            .hint("--lazy takes the path away and serves open files to their end")
    })?;
    if let (Some(supervisor), true) = (supervisor, is_last(mount)) {
        let mut ended = [PollFd::new(&supervisor, PollFlags::IN)];
        // Whether it ended in time changes nothing for whoever unmounts.
        let _ = poll(&mut ended, Some(&FAREWELL));
    }
    Ok(())
}

/// Ends a mount that may hang: waiting requests first, then the path.
pub fn end(directory: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return detach(directory, UnmountFlags::DETACH);
    }
    let forced = UnmountFlags::FORCE | UnmountFlags::NOFOLLOW;
    let Err(error) = rustix::mount::unmount(directory, forced) else { return Ok(()) };
    // Somebody is in there; what waited has its answer all the same.
    match detach(directory, UnmountFlags::DETACH) {
        // And its supervisor, who noticed, was the first to take it away; or it had gone before.
        Err(_) if matches!(error, Errno::BUSY | Errno::INVAL) && !is_akvfs(directory)? => Ok(()),
        detached => detached,
    }
}

/// Takes a mount away from its path.
pub fn detach(directory: &Path, flags: UnmountFlags) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(rustix::mount::unmount(directory, flags | UnmountFlags::NOFOLLOW)?);
    }
    match fusermount::unmount(directory, flags.contains(UnmountFlags::DETACH)) {
        Ok(()) => Ok(()),
        Err(fusermount::Failure::Refused(words)) if words.contains("busy") => {
            Err(Errno::BUSY.into())
        }
        Err(fusermount::Failure::Refused(words)) => Err(io::Error::other(words)),
        Err(fusermount::Failure::Missing) => Err(io::Error::other("fusermount3 not found")),
        Err(fusermount::Failure::Broken(error)) => Err(error),
    }
}

/// Whether an akvfs is mounted in a place.
fn is_akvfs(directory: &Path) -> io::Result<bool> {
    Ok(Table::read()?.at(directory).is_some_and(Mount::is_akvfs))
}

/// Whether nothing of this file system is mounted anywhere any more, as far as can be seen.
fn is_last(mount: &Mount) -> bool {
    Table::read().is_ok_and(|table| table.of_device(mount.major, mount.minor).next().is_none())
}

/// Who has a file of a mount open, or stands in it. Links in /proc are read, never followed: the
/// mount may hang.
fn holders(mount: &Mount) -> Vec<String> {
    let mut holders = Vec::new();
    for pid in living::processes().filter(|pid| *pid != getpid()) {
        if holders.len() >= NAMED {
            break;
        }
        if holds(pid, mount) {
            let comm = fs::read_to_string(living::proc(pid).join("comm")).unwrap_or_default();
            holders.push(format!("{} (pid {})", comm.trim_end(), pid.as_raw_nonzero()));
        }
    }
    holders
}

fn holds(pid: Pid, mount: &Mount) -> bool {
    let proc = living::proc(pid);
    let inside = |link: PathBuf| {
        fs::read_link(link).is_ok_and(|target| target.starts_with(&mount.directory))
    };
    if inside(proc.join("cwd")) || inside(proc.join("root")) {
        return true;
    }
    let open = fs::read_dir(proc.join("fdinfo")).into_iter().flatten().flatten();
    let mark = format!("mnt_id:\t{}", mount.id);
    let is_open = open.into_iter().any(|entry| {
        let about = fs::read_to_string(entry.path()).unwrap_or_default();
        about.lines().any(|line| line == mark)
    });
    is_open || maps(&proc, mount)
}

/// Whether a process has mapped a file of the mount: it may have closed it since.
fn maps(proc: &Path, mount: &Mount) -> bool {
    let device = format!("{:02x}:{:02x}", mount.major, mount.minor);
    let maps = fs::read_to_string(proc.join("maps")).unwrap_or_default();
    maps.lines().any(|line| line.split_whitespace().nth(3) == Some(&device))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen: two who mount over one dead mount both end it, and the second failed for that.
    #[test]
    fn what_is_gone_already_has_ended() {
        if rustix::process::geteuid().is_root() {
            let directory = std::env::temp_dir().join(format!("akvfs-end-{}", std::process::id()));
            fs::create_dir(&directory).unwrap();
            assert!(end(&directory).is_ok());
            fs::remove_dir(&directory).unwrap();
        }
    }
}
