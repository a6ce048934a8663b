//! The side of whoever asks.
//!
//! What is answered may be anything: a user's mount is served by that user, and root asks it too.
//! So it is read for a time, up to a size, and only from a process of whom it must come from.

use std::io;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;

use crate::clock;
use crate::control::protocol::LONGEST_REQUEST;
use crate::control::protocol::Line;
use crate::control::protocol::Request;

/// A connection on which something was asked.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    /// What was read beyond the last line, and how much of that holds no end of one.
    rest: Vec<u8>,
    looked_at: usize,
}

impl Client {
    /// Connects to a socket that a process of that user serves, and asks.
    pub fn ask(socket: &Path, user: u32, request: &Request) -> io::Result<Self> {
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        if text.len() > LONGEST_REQUEST {
            return Err(ErrorKind::InvalidInput.into());
        }
        let stream = UnixStream::connect(socket)?;
        // A user's socket may be a link to anybody's.
        if socket_peercred(&stream)?.uid.as_raw() != user {
            return Err(ErrorKind::PermissionDenied.into());
        }
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut client = Self { stream, rest: Vec::new(), looked_at: 0 };
        // A supervisor that answers itself does not hear what is asked, and has closed already.
        match client.stream.write_all(&text) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
            Ok(()) | Err(_) => Ok(client),
        }
    }

    /// The next line, within a time, or whenever it comes. `None` if there is no more.
    pub fn next(&mut self, patience: Option<Duration>) -> io::Result<Option<Line>> {
        let deadline = patience.map(|patience| clock::awake() + patience);
        let mut part = [0; 16 << 10];
        loop {
            let new = self.rest.iter().skip(self.looked_at).position(|byte| *byte == b'\n');
            if let Some(end) = new.map(|end| end + self.looked_at) {
                self.looked_at = 0;
                let rest = self.rest.split_off(end + 1);
                let line = std::mem::replace(&mut self.rest, rest);
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            self.looked_at = self.rest.len();
            if self.rest.len() > LONGEST_LINE {
                return Err(ErrorKind::InvalidData.into());
            }
            let left = deadline.map(|deadline| deadline.saturating_sub(clock::awake()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(left)?;
            match self.stream.read(&mut part) {
                Ok(0) => return Ok(None),
                Ok(length) => self.rest.extend_from_slice(part.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // It was closed before all that is asked was read.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(5);

/// Longer than the longest answer there is: a hundred thousand names with what is said of them.
const LONGEST_LINE: usize = 64 << 20;
