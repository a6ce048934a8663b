//! A connection on its way from the supervisor to the worker, and what the supervisor says itself.
//!
//! The connection travels with the supervisor's own facts, in one packet. Nothing in here waits.

use std::io;
use std::io::IoSlice;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use rustix::io::retry_on_intr;
use rustix::net::RecvAncillaryBuffer;
use rustix::net::RecvAncillaryMessage;
use rustix::net::RecvFlags;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendAncillaryMessage;
use rustix::net::SendFlags;
use rustix::net::recvmsg;
use rustix::net::send;
use rustix::net::sendmsg;
use serde::Deserialize;
use serde::Serialize;

use crate::alarm::Standing;
use crate::control::protocol::Line;
use crate::control::protocol::Mount;
use crate::control::protocol::Serving;

/// What only the supervisor knows of a mount.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Facts {
    /// The real path.
    pub directory: String,
    /// The vault, as it was typed.
    pub vault: String,
    /// What the processes do.
    pub state: Serving,
    /// When it was mounted.
    pub since: String,
    /// How often worker and relay died.
    pub restarts: u64,
    /// The alarms that the supervisor knows to stand.
    pub alarms: Vec<Standing>,
    /// Of what the last of them died.
    pub error: Option<String>,
}

impl Facts {
    /// The mount, as far as the supervisor knows.
    #[must_use]
    pub fn mount(self) -> Mount {
        Mount {
            directory: self.directory,
            vault: self.vault,
            state: self.state,
            since: Some(self.since),
            restarts: self.restarts,
            alarms: self.alarms,
            ..Mount::default()
        }
    }
}

/// Hands a connection to the worker. Fails if the worker does not take any more.
pub fn hand_over(worker: impl AsFd, connection: impl AsFd, facts: &Facts) -> io::Result<()> {
    let body = serde_json::to_vec(facts)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [connection.as_fd()];
    // There is room for one.
    let _fits = ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    retry_on_intr(|| sendmsg(&worker, &[IoSlice::new(&body)], &mut ancillary, flags))?;
    Ok(())
}

/// Answers whoever asks, whatever he asks, where there is no worker that could: one line, as far
/// as the connection takes it at once.
pub fn stand_in(connection: impl AsFd, facts: Facts) {
    let error = facts.error.clone();
    let mount = Mount { error, ..facts.mount() };
    let mut text = serde_json::to_vec(&Line::Mount(Box::new(mount))).unwrap_or_default();
    text.push(b'\n');
    let _gone = send(connection, &text, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}

/// Waits for the next connection. `None` is one that did not come whole.
pub fn take(supervisor: impl AsFd) -> io::Result<Option<(OwnedFd, Facts)>> {
    let mut body = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = retry_on_intr(|| {
        recvmsg(&supervisor, &mut [IoSliceMut::new(&mut body)], &mut ancillary, flags)
    })?;
    let connection = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        RecvAncillaryMessage::ScmCredentials(_) | _ => None,
    });
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let facts = body.get(..received.bytes).and_then(|body| serde_json::from_slice(body).ok());
    Ok(connection.zip(facts))
}

/// Longer than facts can be: a path, a source and some alarms, each letter of them escaped.
const LONGEST: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use rustix::net::AddressFamily;
    use rustix::net::SocketFlags;
    use rustix::net::SocketType;
    use rustix::net::socketpair;

    use super::*;

    fn facts() -> Facts {
        Facts {
            directory: "/mnt/a vault".to_owned(),
            vault: "my-vault".to_owned(),
            state: Serving::CrashLoop,
            since: "2026-11-25T18:00:00Z".to_owned(),
            restarts: 7,
            alarms: Vec::new(),
            error: Some("signal 9".to_owned()),
        }
    }

    fn said(mut stream: UnixStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_connection_travels_with_the_facts() {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let (asks, asked) = UnixStream::pair().unwrap();
        hand_over(&ours, &asked, &facts()).unwrap();
        drop(asked);
        let (connection, taken) = take(&theirs).unwrap().unwrap();
        assert_eq!(taken, facts());
        send(&connection, b"hello", SendFlags::empty()).unwrap();
        drop(connection);
        assert_eq!(said(asks), "hello");
        drop(ours);
        assert!(take(&theirs).is_err());
    }

    #[test]
    fn a_worker_that_takes_none_is_not_waited_for() {
        let flags = SocketFlags::CLOEXEC;
        let (ours, _theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let (_asks, asked) = UnixStream::pair().unwrap();
        assert!((0..10_000).any(|_| hand_over(&ours, &asked, &facts()).is_err()));
    }

    #[test]
    fn a_supervisor_answers_without_having_read_what_is_asked() {
        let (asks, asked) = UnixStream::pair().unwrap();
        send(&asks, &[b'x'; 1000], SendFlags::empty()).unwrap();
        stand_in(&asked, facts());
        drop(asked);
        let mut line = vec![0; 4096];
        let length = (&asks).read(&mut line).unwrap();
        let line: Line = serde_json::from_slice(&line[..length]).unwrap();
        let Line::Mount(mount) = line else { panic!("{line:?}") };
        assert_eq!((mount.restarts, mount.error.as_deref()), (7, Some("signal 9")));
    }
}
