//! What the program says of itself while it serves: one event a line, to the journal, to syslog,
//! to standard error or to a file.
//!
//! Whoever mounts opens the way out, and the processes inherit it: a worker without rights needs
//! no path. A message is what + which + why; neither a value nor a token has a type that can be
//! put into one. No library that we use is given a logger, so none of them says anything.
//! Saying something never fails and, but for a terminal or a file that blocks, never waits.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::path::PathBuf;
use std::sync::OnceLock;

use rustix::fs::CWD;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::SendFlags;
use serde::Deserialize;
use serde::Serialize;

use crate::clock;

/// Where messages are to go.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Destination {
    /// The journal if there is one, else syslog, else nowhere.
    System,
    /// The journal, and nothing else will do.
    Journal,
    /// Standard error.
    Stderr,
    /// A file, appended to.
    File(PathBuf),
}

/// How a message is written where it goes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Format {
    /// The journal's datagrams.
    Journal,
    /// Syslog's datagrams.
    Syslog,
    /// Lines that somebody is looking at.
    Plain,
    /// Lines that somebody will look at: with the time.
    Dated,
}

/// How grave a message is. The numbers are syslog's.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// What was promised does not hold.
    Error = 3,
    /// Something needs a person, or soon will.
    Warning = 4,
    /// A change of state. Said with `-v`.
    Info = 6,
    /// Each request. Said with `-vv`.
    Debug = 7,
}

impl Level {
    /// The least grave level that is said with so many `-v`.
    #[must_use]
    pub const fn of(verbosity: u8) -> Self {
        match verbosity {
            0 => Self::Warning,
            1 => Self::Info,
            _ => Self::Debug,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// The way out.
#[derive(Debug)]
pub struct Sink {
    format: Format,
    out: OwnedFd,
}

impl Sink {
    /// Opens the way to a destination; `None` if it is the system's and there is none.
    pub fn open(destination: &Destination) -> io::Result<Option<Self>> {
        match destination {
            Destination::Journal => Self::socket(Format::Journal, JOURNAL).map(Some),
            Destination::System => Ok(Self::socket(Format::Journal, JOURNAL)
                .or_else(|_| Self::socket(Format::Syslog, SYSLOG))
                .ok()),
            Destination::Stderr => {
                let out = io::stderr().as_fd().try_clone_to_owned()?;
                Ok(Some(Self::inherited(Format::Plain, out)))
            }
            Destination::File(path) => Ok(Some(Self::inherited(Format::Dated, append_to(path)?))),
        }
    }

    /// A way out that another process opened.
    #[must_use]
    pub const fn inherited(format: Format, out: OwnedFd) -> Self {
        Self { format, out }
    }

    /// How messages are written there.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The descriptor, for a process to inherit.
    #[must_use]
    pub fn into_descriptor(self) -> OwnedFd {
        self.out
    }

    fn socket(format: Format, path: &str) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(Path::new(path))?;
        Ok(Self::inherited(format, socket.into()))
    }

    /// Writes one message. If there is nobody to take it, it is lost.
    fn write(&self, level: Level, id: Option<&str>, message: &str) {
        let number = level as u8;
        let word = level.word();
        let pid = std::process::id();
        let text = match self.format {
            Format::Journal => {
                let id = id.map(|id| format!("MESSAGE_ID={id}\n")).unwrap_or_default();
                format!("PRIORITY={number}\nSYSLOG_IDENTIFIER=akvfs\n{id}MESSAGE={message}\n")
            }
            Format::Syslog => format!("<{}>akvfs[{pid}]: {message}", DAEMON + number),
            Format::Plain => format!("akvfs: {word}: {message}\n"),
            Format::Dated => {
                let time = clock::rfc3339(clock::wall());
                format!("{time} akvfs[{pid}] {word}: {message}\n")
            }
        };
        let _nobody = match self.format {
            Format::Journal | Format::Syslog => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                rustix::net::send(&self.out, text.as_bytes(), flags)
            }
            Format::Plain | Format::Dated => rustix::io::write(&self.out, text.as_bytes()),
        };
    }
}

/// Opens a file to append to. It is made with mode 0600 if it is not there, and never reached through
/// a symbolic link of its name; nothing but a regular file will do.
pub(crate) fn append_to(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW;
    // A FIFO without a reader would block; so it is an error.
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let opened = rustix::fs::openat(CWD, path, flags, Mode::RUSR | Mode::WUSR);
    let out = opened.map_err(|error| match error {
        Errno::LOOP => io::Error::other("it is a symbolic link"),
        other => other.into(),
    })?;
    if FileType::from_raw_mode(rustix::fs::fstat(&out)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(out)
}

/// Begins to say what is at least as grave as `level`. Before, nothing is said; the first call
/// in the life of a process decides.
pub fn start(sink: Sink, level: Level) {
    let _only_the_first = LOG.set((sink, level));
}

/// Says that a promise does not hold.
pub fn error(message: fmt::Arguments<'_>) {
    say(Level::Error, None, message);
}

/// Says what needs a person, or soon will.
pub fn warning(message: fmt::Arguments<'_>) {
    say(Level::Warning, None, message);
}

/// Says what needs a person, under a number by which the journal's readers can find it.
pub fn alarm(id: &str, message: fmt::Arguments<'_>) {
    say(Level::Warning, Some(id), message);
}

/// Says that a state changed.
pub fn info(message: fmt::Arguments<'_>) {
    say(Level::Info, None, message);
}

/// Says that a request was made.
pub fn debug(message: fmt::Arguments<'_>) {
    say(Level::Debug, None, message);
}

/// A text with its control characters escaped: one line, which no terminal takes for a command.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
    }
    line
}

fn say(level: Level, id: Option<&str>, message: fmt::Arguments<'_>) {
    if let Some((sink, least)) = LOG.get()
        && level <= *least
    {
        sink.write(level, id, &one_line(&message.to_string()));
    }
}

static LOG: OnceLock<(Sink, Level)> = OnceLock::new();

/// Where the journal listens.
pub(crate) const JOURNAL: &str = "/run/systemd/journal/socket";
const SYSLOG: &str = "/dev/log";

/// Syslog's facility `daemon`, in the place where a priority has it.
const DAEMON: u8 = 3 << 3;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn received(format: Format, level: Level, message: &str) -> String {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        Sink::inherited(format, ours.into()).write(level, None, message);
        let mut buffer = [0; 200];
        let length = theirs.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn the_journal_and_syslog_are_told_in_their_own_words() {
        assert_eq!(
            received(Format::Journal, Level::Warning, "hello"),
            "PRIORITY=4\nSYSLOG_IDENTIFIER=akvfs\nMESSAGE=hello\n"
        );
        let syslog = received(Format::Syslog, Level::Error, "hello");
        assert!(syslog.starts_with("<27>akvfs[") && syslog.ends_with("]: hello"), "{syslog}");
    }

    #[test]
    fn a_reader_who_does_not_read_holds_nobody_up() {
        let (ours, _theirs) = UnixDatagram::pair().unwrap();
        let sink = Sink::inherited(Format::Journal, ours.into());
        for _ in 0..10_000 {
            sink.write(Level::Info, None, "more than a socket holds");
        }
    }

    #[test]
    fn a_message_is_one_line_whatever_is_in_it() {
        assert_eq!(one_line("a\nb\u{1b}[0m\u{9b}"), "a\\nb\\u{1b}[0m\\u{9b}");
        assert_eq!(one_line("d\u{e9}j\u{e0} vu"), "d\u{e9}j\u{e0} vu");
    }

    #[test]
    fn a_log_file_is_private_is_appended_to_and_is_no_link() {
        let home = std::env::temp_dir().join(format!("akvfs-log-{}", std::process::id()));
        fs::create_dir(&home).unwrap();
        let path = home.join("log");
        for message in ["one", "two"] {
            let sink = Sink::open(&Destination::File(path.clone())).unwrap().unwrap();
            sink.write(Level::Error, None, message);
        }
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.ends_with("] error: two\n"), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        std::os::unix::fs::symlink(&path, home.join("link")).unwrap();
        assert!(Sink::open(&Destination::File(home.join("link"))).is_err());
        assert!(Sink::open(&Destination::File(home.clone())).is_err());
        fs::remove_dir_all(&home).unwrap();
    }

    #[test]
    fn each_v_says_more() {
        assert!(Level::of(0) < Level::of(1) && Level::of(1) < Level::of(2));
        assert_eq!(Level::of(2), Level::of(9));
    }
}
