//! Where the lines go: a file of the supervisor's, or the journal.
//!
//! A line is there whole, or it is an error. Writing waits for nobody for longer than it is told;
//! what a file system does with a write that it has taken is its own affair.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;
use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::Stat;
use rustix::fs::fstat;
use rustix::fs::statat;
use rustix::io::Errno;
use rustix::net::SendFlags;
use serde::Deserialize;
use serde::Serialize;

use crate::log;

/// Where lines are to go.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Destination {
    /// The journal.
    Journal,
    /// A file, by its absolute path.
    File(PathBuf),
}

impl fmt::Display for Destination {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal => out.write_str("journal"),
            Self::File(path) => write!(out, "{}", path.display()),
        }
    }
}

/// Where lines go.
#[derive(Debug)]
pub(crate) enum Sink {
    Journal(OwnedFd),
    File(File),
}

/// A file that is appended to, wherever it is moved.
#[derive(Debug)]
pub(crate) struct File {
    path: PathBuf,
    out: OwnedFd,
    /// Whether its last line has no end, for want of space.
    torn: bool,
}

impl Sink {
    /// Opens the way.
    pub(crate) fn open(destination: &Destination) -> io::Result<Self> {
        match destination {
            Destination::Journal => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(log::JOURNAL)?;
                socket.set_nonblocking(true)?;
                Ok(Self::Journal(socket.into()))
            }
            Destination::File(path) => {
                let out = log::append_to(path)?;
                Ok(Self::File(File { path: path.clone(), out, torn: false }))
            }
        }
    }

    /// Writes a line, within this time as far as it depends on somebody who reads.
    pub(crate) fn write(&mut self, line: &[u8], patience: Duration) -> io::Result<()> {
        match self {
            Self::Journal(socket) => {
                let datagram = [HEAD.as_bytes(), line, b"\n"].concat();
                send(socket, &datagram, patience)
            }
            Self::File(file) => file.write(line),
        }
    }
}

impl File {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_gone() {
            self.out = log::append_to(&self.path)?;
            self.torn = false;
        }
        let start: &[u8] = if self.torn { b"\n" } else { b"" };
        let whole = [start, line, b"\n"].concat();
        let written = rustix::io::write(&self.out, &whole)?;
        if written == whole.len() {
            self.torn = false;
            return Ok(());
        }
        self.torn = true;
        Err(Errno::NOSPC.into())
    }

    /// Whether another file, or none, has its name now: logrotate(8) moved it.
    fn is_gone(&self) -> bool {
        let same =
            |one: &Stat, other: &Stat| (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino);
        let named = statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW);
        match (named, fstat(&self.out)) {
            (Ok(named), Ok(ours)) => !same(&named, &ours),
            _ => true,
        }
    }
}

/// Sends a datagram, and waits for room no longer than this.
pub(crate) fn send(socket: &OwnedFd, datagram: &[u8], patience: Duration) -> io::Result<()> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    match rustix::net::send(socket, datagram, flags) {
        Err(Errno::AGAIN) => {
            let patience = Timespec::try_from(patience).ok();
            let mut full = [PollFd::new(socket, PollFlags::OUT)];
            if poll(&mut full, patience.as_ref())? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            rustix::net::send(socket, datagram, flags)?;
        }
        Err(error) => return Err(error.into()),
        Ok(_) => {}
    }
    Ok(())
}

/// What the journal is told of each line beside the line itself.
const HEAD: &str = "PRIORITY=6\nSYSLOG_IDENTIFIER=akvfs-audit\n\
                    MESSAGE_ID=5b7c0d1f3f4e4c0a9f5d0f2a6b1c7e42\nMESSAGE=";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Home(PathBuf);

    impl Home {
        fn new(name: &str) -> Self {
            let home = std::env::temp_dir().join(format!("akvfs-{name}-{}", std::process::id()));
            fs::create_dir(&home).unwrap();
            Self(home)
        }

        fn sink(&self, name: &str) -> io::Result<Sink> {
            Sink::open(&Destination::File(self.0.join(name)))
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).unwrap()
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_file_is_private_appended_to_and_opened_anew_when_it_was_moved() {
        let home = Home::new("audit-file");
        let mut sink = home.sink("log").unwrap();
        sink.write(b"one", Duration::ZERO).unwrap();
        assert_eq!(fs::metadata(home.0.join("log")).unwrap().permissions().mode() & 0o777, 0o600);
        fs::rename(home.0.join("log"), home.0.join("log.1")).unwrap();
        sink.write(b"two", Duration::ZERO).unwrap();
        assert_eq!((home.text("log.1"), home.text("log")), ("one\n".into(), "two\n".into()));
        home.sink("log").unwrap().write(b"three", Duration::ZERO).unwrap();
        assert_eq!(home.text("log"), "two\nthree\n");
    }

    #[test]
    fn no_link_and_no_folder_will_do() {
        let home = Home::new("audit-wrong");
        fs::create_dir(home.0.join("folder")).unwrap();
        std::os::unix::fs::symlink(home.0.join("log"), home.0.join("link")).unwrap();
        for wrong in ["link", "folder", "no/such"] {
            assert!(home.sink(wrong).is_err(), "{wrong}");
        }
        assert!(!home.0.join("log").exists());
        let mut sink = home.sink("log").unwrap();
        fs::remove_file(home.0.join("log")).unwrap();
        std::os::unix::fs::symlink(home.0.join("elsewhere"), home.0.join("log")).unwrap();
        assert!(sink.write(b"one", Duration::ZERO).is_err(), "nor later");
        assert!(!home.0.join("elsewhere").exists());
    }

    #[test]
    fn a_journal_that_does_not_read_is_waited_for_no_longer_than_said() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut sink = Sink::Journal(ours.into());
        sink.write(b"{}", Duration::ZERO).unwrap();
        let mut buffer = [0; 500];
        let length = theirs.recv(&mut buffer).unwrap();
        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
        assert!(text.ends_with("\nMESSAGE={}\n"), "{text}");
        let errors = (0..10_000).filter_map(|_| sink.write(b"{}", Duration::from_millis(1)).err());
        let first = errors.map(|error| error.kind()).next();
        assert_eq!(first, Some(io::ErrorKind::TimedOut));
    }
}
