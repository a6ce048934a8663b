//! The worker's side: tells the clerk of a decision, and goes on when that is written down.
//!
//! Whoever waits for it does so by a callback, never by a thread: a clerk that hangs holds up
//! nobody for longer than [`PATIENCE`]. A clerk that works through a crowd does not hang.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::poll;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::net::SendFlags;

use crate::audit::clerk::PATIENCE;
use crate::audit::clerk::Told;
use crate::audit::line::Decision;
use crate::clock;
use crate::model::moment::Moment;
use crate::timer::Timer;

/// Is told whether a decision was written down.
pub type Done = Box<dyn FnOnce(bool) + Send>;

/// The way to the clerk. Clones share it.
#[derive(Clone)]
pub struct Teller(Arc<Inner>);

struct Inner {
    socket: OwnedFd,
    /// Goes off when somebody may have waited for too long, or has something to be sent.
    timer: Timer,
    desk: Mutex<Desk>,
}

struct Desk {
    next: u64,
    /// Those told of and not written down yet, by number, which is their order in time.
    callers: BTreeMap<u64, (Moment, Done)>,
    /// What the socket had no room for.
    unsent: VecDeque<Vec<u8>>,
    /// When the clerk was last heard of.
    progress: Moment,
}

impl Teller {
    /// A teller on the worker's end of the socket.
    pub fn begin(socket: OwnedFd) -> io::Result<Self> {
        let desk = Desk {
            // An answer to an earlier worker must not be taken for one to this.
            next: clock::seed() << 16,
            callers: BTreeMap::new(),
            unsent: VecDeque::new(),
            progress: clock::now(),
        };
        let timer = Timer::new()?;
        let teller = Self(Arc::new(Inner { socket, timer, desk: Mutex::new(desk) }));
        let listener = teller.clone();
        thread::Builder::new().name("audit".to_owned()).spawn(move || listener.listen())?;
        Ok(teller)
    }

    /// Has a decision written down, and calls `done` then; or when nothing was written down for too
    /// long.
    pub fn tell(&self, decision: Decision, done: Done) {
        let mut desk = self.0.desk.lock();
        let number = desk.next;
        desk.next = desk.next.wrapping_add(1);
        let at = decision.at;
        let packet = serde_json::to_vec(&Told { number, decision }).unwrap_or_default();
        desk.unsent.push_back(packet);
        let first = desk.callers.is_empty();
        desk.callers.insert(number, (at, done));
        if !self.send(&mut desk) {
            self.0.timer.set(Some(clock::now()));
        } else if first {
            self.0.timer.set(Some(clock::now() + PATIENCE));
        }
    }

    /// Sends what there is room for. Returns whether that was all.
    fn send(&self, desk: &mut Desk) -> bool {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        while let Some(packet) = desk.unsent.front() {
            // Without a clerk the callers' time will be over.
            if rustix::net::send(&self.0.socket, packet, flags) == Err(Errno::AGAIN) {
                return false;
            }
            desk.unsent.pop_front();
        }
        true
    }

    fn listen(&self) {
        loop {
            if self.wait().is_err() {
                return;
            }
            while let Some((number, written)) = self.heard() {
                let caller = {
                    let mut desk = self.0.desk.lock();
                    desk.progress = clock::now();
                    desk.callers.remove(&number)
                };
                if let Some((_, done)) = caller {
                    done(written);
                }
            }
            while let Some(done) = self.overdue() {
                done(false);
            }
        }
    }

    /// Waits until there is an answer, or room for what is to be sent, or the timer goes off.
    fn wait(&self) -> io::Result<()> {
        let all_sent = {
            let mut desk = self.0.desk.lock();
            self.send(&mut desk)
        };
        let wanted = if all_sent { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        let mut sources =
            [PollFd::new(&self.0.socket, wanted), PollFd::new(&self.0.timer, PollFlags::IN)];
        match poll(&mut sources, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [_, timer] = sources;
        if !timer.revents().is_empty() {
            self.0.timer.wait()?;
        }
        Ok(())
    }

    fn heard(&self) -> Option<(u64, bool)> {
        let mut answer = [0; 9];
        let flags = RecvFlags::DONTWAIT;
        let (length, _) = rustix::net::recv(&self.0.socket, &mut answer[..], flags).ok()?;
        let (number, written) = answer.get(..length)?.split_first_chunk::<8>()?;
        Some((u64::from_ne_bytes(*number), written.first() == Some(&1)))
    }

    /// The first caller, if his time is over. Else the timer is set to the end of it.
    fn overdue(&self) -> Option<Done> {
        let mut desk = self.0.desk.lock();
        let progress = desk.progress;
        let first = desk.callers.first_entry()?;
        let late = first.get().0.max(progress) + PATIENCE;
        if late <= clock::now() {
            return Some(first.remove().1);
        }
        self.0.timer.set(Some(late));
        None
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Teller").finish_non_exhaustive()
    }
}
