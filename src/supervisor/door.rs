//! The control socket: a file named by the mount's device, in a directory that is one user's alone.
//!
//! It promises that nobody is waited for, that only root and whoever mounted come in, and that a
//! file which an earlier mount of that number left behind is in nobody's way. It reads nothing.

use std::fs;
use std::io;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::chmod;
use rustix::fs::mkdir;
use rustix::fs::rename;
use rustix::fs::rmdir;
use rustix::fs::statat;
use rustix::fs::unlink;
use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::SocketAddrUnix;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::accept_with;
use rustix::net::bind;
use rustix::net::connect;
use rustix::net::listen;
use rustix::net::socket_with;
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

use crate::clock;

/// The file's name in the directory. What is mounted by FUSE has no device of its own, and so the
/// major number 0.
#[must_use]
pub fn name(minor: u32) -> String {
    format!("0:{minor}{SUFFIX}")
}

/// Takes away what supervisors that were killed have left in a directory: files of sockets on which
/// nobody listens.
pub fn sweep(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.ends_with(SUFFIX));
        if is_ours && is_deserted(&entry.path()) {
            let _ = unlink(entry.path());
        }
    }
    let _ = rmdir(directory);
}

/// A socket that listens. Its file goes with it.
#[derive(Debug)]
pub struct Door {
    socket: OwnedFd,
    path: PathBuf,
    /// Which file it is, so that nobody else's is taken away.
    file: (u64, u64),
    /// Not before this reading of the clock, because there was no room for one more.
    rests_until: Option<Duration>,
}

impl Door {
    /// Begins to listen for the mount with that device. The directory is made if it is not there.
    pub fn open(directory: &Path, minor: u32) -> io::Result<Self> {
        sweep(directory);
        let path = directory.join(name(minor));
        // One that is there and does not listen yet would be taken for one that was left behind.
        let new = directory.join(format!("{}.new", process::id()));
        let address = SocketAddrUnix::new(&new)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        for _ in 0..TRIES {
            own(directory)?;
            match bind(&socket, &address) {
                Ok(()) => break,
                Err(Errno::ADDRINUSE) => unlink(&new)?,
                // Another mount, the last one, took the directory away.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        listen(&socket, BACKLOG)?;
        chmod(&new, Mode::RUSR | Mode::WUSR)?;
        // The device is ours now: whoever had it before is gone.
        rename(&new, &path)?;
        let file = identity(&path)?;
        Ok(Self { socket, path, file, rests_until: None })
    }

    /// What is readable when somebody is there, unless it rests.
    #[must_use]
    pub fn descriptor(&self) -> Option<&OwnedFd> {
        Some(&self.socket).filter(|_| self.rests_for().is_none())
    }

    /// For how long nobody is let in.
    #[must_use]
    pub fn rests_for(&self) -> Option<Duration> {
        let left = self.rests_until?.saturating_sub(clock::awake());
        Some(left).filter(|left| !left.is_zero())
    }

    /// The next one who may come in, if somebody is there.
    pub fn let_in(&mut self) -> Option<OwnedFd> {
        loop {
            match accept_with(&self.socket, SocketFlags::CLOEXEC) {
                Ok(visitor) if may_enter(&visitor) => return Some(visitor),
                Ok(_) | Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(Errno::AGAIN) => return None,
                Err(_) => {
                    // There are no descriptors left. Whoever waits would wake us again at once.
                    self.rests_until = Some(clock::awake() + REST);
                    return None;
                }
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // Another mount may have that number by now, and a file of that name.
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            let _ = unlink(&self.path);
        }
        // It stays while others are in there.
        if let Some(directory) = self.path.parent() {
            let _ = rmdir(directory);
        }
    }
}

/// Root, or whoever mounted.
fn may_enter(visitor: &OwnedFd) -> bool {
    socket_peercred(visitor).is_ok_and(|visitor| visitor.uid.is_root() || visitor.uid == geteuid())
}

/// Makes a directory in which nobody else can do anything, or finds that it is one.
fn own(directory: &Path) -> io::Result<()> {
    match mkdir(directory, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let stat = statat(CWD, directory, AtFlags::SYMLINK_NOFOLLOW)?;
    let others = Mode::from_raw_mode(stat.st_mode) & (Mode::RWXG | Mode::RWXO);
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if !is_directory || stat.st_uid != geteuid().as_raw() || !others.is_empty() {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "others may enter it"));
    }
    Ok(())
}

/// Whether nobody listens on a socket. One whose queue is full has somebody who does.
fn is_deserted(path: &Path) -> bool {
    let refused = || -> rustix::io::Result<bool> {
        let address = SocketAddrUnix::new(path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok(connect(&socket, &address) == Err(Errno::CONNREFUSED))
    };
    refused().unwrap_or(false)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((stat.st_dev, stat.st_ino))
}

const SUFFIX: &str = ".sock";
const TRIES: usize = 5;
const BACKLOG: i32 = 64;
const REST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn place(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("akvfs-door-{name}-{}", process::id()))
    }

    #[test]
    fn a_file_that_was_left_behind_is_replaced_and_ours_goes_with_us() {
        let directory = place("stale");
        let left = Door::open(&directory, 7).unwrap();
        let mut door = Door::open(&directory, 7).unwrap();
        drop(left);
        let other = directory.join("0:8.sock");
        drop(UnixListener::bind(&other).unwrap());
        sweep(&directory);
        assert!(!other.exists());
        let path = directory.join("0:7.sock");
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o7777, 0o700);
        while door.let_in().is_some() {}
        let _visitor = UnixStream::connect(&path).unwrap();
        assert!(door.let_in().is_some());
        assert!(door.let_in().is_none());
        drop(door);
        assert!(!directory.exists());
    }

    #[test]
    fn a_directory_that_is_not_ours_alone_is_none() {
        let directory = place("open");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("somebody's"), "").unwrap();
        fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).unwrap();
        assert!(Door::open(&directory, 7).is_err());
        fs::set_permissions(&directory, PermissionsExt::from_mode(0o700)).unwrap();
        let link = place("link");
        symlink(&directory, &link).unwrap();
        assert!(Door::open(&link, 7).is_err());
        fs::remove_file(&link).unwrap();
        fs::remove_dir_all(&directory).unwrap();
    }
}
