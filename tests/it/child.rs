//! Child processes that cannot hang a test: every wait has an end, and every end leaves nothing.

use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::Signal;
use rustix::process::kill_process;
use rustix::process::pidfd_open;

/// A child that runs. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    what: String,
    child: Child,
    ended: OwnedFd,
    since: Instant,
}

/// What a child did.
#[derive(Debug)]
pub(crate) struct Ran {
    /// How it was called.
    what: String,
    /// Its exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Running {
    /// Starts a child. What it writes is caught; it has nothing to read unless the command says so.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let what = format!("{command:?}");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
        let ended = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        Self { what, child, ended, since: Instant::now() }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Whether it is still there.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Says something on its standard input, which the command must have piped.
    pub(crate) fn say(&mut self, words: &str) {
        self.child.stdin.as_mut().unwrap().write_all(words.as_bytes()).unwrap();
    }

    /// Waits for its end and for the end of what it writes. Fails if that takes longer than
    /// `limit`, or if somebody it left behind keeps its pipes.
    pub(crate) fn wait(mut self, limit: Duration) -> Ran {
        let mut deadline = Instant::now() + limit;
        let mut out = Pipe::new(self.child.stdout.take().map(OwnedFd::from));
        let mut err = Pipe::new(self.child.stderr.take().map(OwnedFd::from));
        let mut ended = false;
        while !(ended && out.source.is_none() && err.source.is_none()) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                let (out, err) = (out.text(), err.text());
                let why = if ended { "its pipes outlive it" } else { "it hangs" };
                panic!("{}: {why}\nstdout: {out}\nstderr: {err}", self.what);
            };
            let fds = [out.source.as_ref(), err.source.as_ref()].into_iter().flatten();
            let mut fds: Vec<PollFd<'_>> =
                fds.map(|file| PollFd::new(file, PollFlags::IN)).collect();
            if !ended {
                fds.push(PollFd::new(&self.ended, PollFlags::IN));
            }
            let left = Timespec::try_from(left).unwrap();
            let _ = poll(&mut fds, Some(&left));
            out.drain();
            err.drain();
            if !ended && self.child.try_wait().unwrap().is_some() {
                ended = true;
                deadline = deadline.min(Instant::now() + GRACE);
            }
        }
        let status = self.child.wait().unwrap();
        Ran {
            what: self.what.clone(),
            code: status.code(),
            signal: status.signal(),
            stdout: out.bytes,
            stderr: String::from_utf8_lossy(&err.bytes).into_owned(),
            took: self.since.elapsed(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ran {
    /// What it wrote, if it succeeded and complained of nothing.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        let well = self.code == Some(0) && self.stderr.is_empty();
        assert!(well, "{}: {self:#?}", self.what);
        String::from_utf8(self.stdout).unwrap()
    }

    /// What it complained of, if it failed with that code.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}: {self:#?}", self.what);
        self.stderr
    }
}

/// One of a child's outputs, read as it comes.
#[derive(Debug)]
struct Pipe {
    source: Option<File>,
    bytes: Vec<u8>,
}

impl Pipe {
    fn new(source: Option<OwnedFd>) -> Self {
        Self { source: source.map(File::from), bytes: Vec::new() }
    }

    /// Reads what is there, without waiting.
    fn drain(&mut self) {
        while let Some(source) = &mut self.source {
            let mut ready = [PollFd::new(&*source, PollFlags::IN)];
            if poll(&mut ready, Some(&Timespec::default())).unwrap() == 0 {
                return;
            }
            let mut buffer = [0; 16 * 1024];
            match source.read(&mut buffer).unwrap() {
                0 => self.source = None,
                length => self.bytes.extend_from_slice(&buffer[..length]),
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// How long pipes may stay open after the child that had them.
const GRACE: Duration = Duration::from_secs(1);
