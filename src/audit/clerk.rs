//! Writes the lines: a thread that hears of a decision, writes it down, and says that it did.
//!
//! It belongs to the supervisor. Its numbers have no gaps, whatever becomes of workers. It does not
//! know what a decision was made from, and decides nothing.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::net::AddressFamily;
use rustix::net::RecvFlags;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::socketpair;
use serde::Deserialize;
use serde::Serialize;

use crate::alarm::Alarm;
use crate::alarm::Alarms;
use crate::audit::caller::Caller;
use crate::audit::line;
use crate::audit::line::Context;
use crate::audit::line::Decision;
use crate::audit::sink::Destination;
use crate::audit::sink::Sink;
use crate::audit::sink::send;
use crate::clock;
use crate::log;
use crate::model::moment::Moment;

/// A decision on its way to the clerk, under a number of the worker's.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Told {
    pub(crate) number: u64,
    pub(crate) decision: Decision,
}

/// How long a line waits for somebody who reads.
const SINK: Duration = Duration::from_millis(250);

/// How long a decision waits while nothing is written down, and its caller with it: longer than for
/// a reader, because on a busy machine the clerk itself may wait for a processor.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Has the decisions about a mount written down. The descriptor is the worker's end of the socket
/// to the clerk, and may be handed on to any number of workers, one after the other.
pub fn begin(
    destination: &Destination,
    mount: &Path,
    alarms: Arc<Mutex<Alarms>>,
) -> io::Result<OwnedFd> {
    let sink = Sink::open(destination)?;
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let clerk = Clerk {
        sink,
        mount: mount.display().to_string(),
        sequence: 0,
        lost: 0,
        progress: clock::now(),
        hung: Moment::default(),
        alarms,
    };
    thread::Builder::new().name("clerk".to_owned()).spawn(move || clerk.work(&ours))?;
    Ok(theirs)
}

struct Clerk {
    sink: Sink,
    mount: String,
    /// The number of the last line.
    sequence: u64,
    /// How many decisions were not written down since.
    lost: u64,
    /// When a decision was last seen to in time: whoever stands in line waits from then on.
    progress: Moment,
    /// When a line last waited for a reader in vain.
    hung: Moment,
    /// What others are told of this.
    alarms: Arc<Mutex<Alarms>>,
}

impl Clerk {
    fn work(mut self, socket: &OwnedFd) {
        let mut packet = vec![0; LONGEST];
        while let Ok((length, _)) = rustix::net::recv(socket, &mut packet[..], RecvFlags::empty()) {
            if length == 0 {
                return;
            }
            // What is no decision was said by a worker that is no longer to be trusted.
            let Some(Ok(told)) = packet.get(..length).map(serde_json::from_slice::<Told>) else {
                continue;
            };
            let written = self.record(&told.decision).is_ok();
            let answer = [&told.number.to_ne_bytes()[..], &[u8::from(written)]].concat();
            // A worker that does not listen for so long has died.
            let _ = send(socket, &answer, PATIENCE);
        }
    }

    fn record(&mut self, decision: &Decision) -> io::Result<()> {
        let start = clock::now();
        let given_up = start.since(decision.at.max(self.progress)) >= PATIENCE;
        let written = if given_up || decision.at < self.hung {
            // Its caller was told something else by now, or it stood behind one who waited in vain.
            Err(io::ErrorKind::TimedOut.into())
        } else {
            self.write(decision)
        };
        let end = clock::now();
        if end.since(start) < SINK {
            self.progress = end;
        } else if written.is_err() {
            self.hung = end;
        }
        match &written {
            Ok(()) => {
                if self.lost > 0 {
                    self.alarms.lock().set(Alarm::AuditFailed, None);
                    log::warning(format_args!(
                        "audit: lines are written again; {} were lost",
                        self.lost
                    ));
                }
                self.lost = 0;
            }
            Err(error) => {
                self.lost = self.lost.saturating_add(1);
                let lost = self.lost;
                let cause = format!("audit: a line cannot be written: {error}; {lost} lost");
                self.alarms.lock().set(Alarm::AuditFailed, Some(cause));
            }
        }
        written
    }

    fn write(&mut self, decision: &Decision) -> io::Result<()> {
        let caller = Caller::of(decision.thread);
        let sequence = self.sequence + 1;
        let context = Context { mount: &self.mount, sequence, lost: self.lost };
        self.sink.write(&line::of(decision, &caller, &context), SINK)?;
        self.sequence = sequence;
        Ok(())
    }
}

/// A decision is a few hundred bytes.
const LONGEST: usize = 4096;
