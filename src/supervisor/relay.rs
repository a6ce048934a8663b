//! The relay: carries the kernel's requests to the worker and its answers back.
//!
//! It promises that no request waits for ever: it answers by itself whatever is overdue, whoever is
//! to stop waiting, and what the worker should never see. It never blocks on the worker, writes
//! nothing to the kernel but answers to requests that are in the ledger, and reads no more of an
//! answer than its header.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::net::SendFlags;
use rustix::net::recv;
use rustix::net::send;
use zeroize::Zeroize;

use crate::clock;
use crate::supervisor::interrupt;
use crate::supervisor::ledger::Header;
use crate::supervisor::ledger::Ledger;
use crate::supervisor::ledger::WORDS;
use crate::supervisor::outstanding::Outstanding;
use crate::supervisor::outstanding::Refusal;
use crate::supervisor::process;
use crate::sys;

/// The relay's exit status when the file system was unmounted. Smaller ones are error numbers.
pub const UNMOUNTED: u8 = 200;
/// The relay's exit status when the worker has left too many pings unanswered.
pub const WORKER_IS_SILENT: u8 = 201;

/// From what age of a request on the worker is pinged, and how long it has to answer.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// How many pings in a row may go unanswered.
const PATIENCE: u64 = 5;
/// How often a caller who got a signal is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// The number of the relay's own requests. The kernel counts up from 2 by 2.
const PING: u64 = u64::MAX - 1;
/// How many requests or answers are taken before the other side has its turn.
const BATCH: usize = 64;
/// A time-out is that much longer, so that a rounded one does not come just too early.
pub const ROUNDING: Duration = Duration::from_millis(1);
/// How many bytes of FORGETs wait for a worker that does not read. Those beyond are lost, and their
/// inodes stay with the worker until it asks the kernel about them or another one takes over.
const FORGETS: usize = 1 << 20;
/// Room for an answer: more than a socket carries in one message.
const ANSWER: usize = 256 << 10;

mod opcode {
    pub(super) const FORGET: u32 = 2;
    pub(super) const GETATTR: u32 = 3;
    pub(super) const INIT: u32 = 26;
    pub(super) const INTERRUPT: u32 = 36;
    pub(super) const IOCTL: u32 = 39;
    pub(super) const NOTIFY_REPLY: u32 = 41;
    pub(super) const BATCH_FORGET: u32 = 42;
    pub(super) const TMPFILE: u32 = 51;
}

/// Runs the relay on the descriptors that the supervisor left it.
#[must_use]
pub fn main() -> ExitCode {
    let ending = process::harden(c"akvfs-relay").and_then(|()| {
        let fuse = sys::take_descriptor(process::FUSE)?;
        let worker = sys::take_descriptor(process::SOCKET)?;
        let memory = sys::SharedWords::map(sys::take_descriptor(process::LEDGER)?, WORDS)?;
        let ledger = Ledger::over(memory.words());
        serve(&fuse, &worker, &ledger)
    });
    let status = ending.unwrap_or_else(|error| {
        // Nobody but the supervisor is told: what happened fits an exit status.
        error.raw_os_error().and_then(|errno| u8::try_from(errno).ok()).unwrap_or(1)
    });
    ExitCode::from(status)
}

fn serve(fuse: &OwnedFd, worker: &OwnedFd, ledger: &Ledger<'_>) -> io::Result<u8> {
    // The kernel writes into pages that are there already: a page fault in a process that is being
    // killed fails, and would cost the request an EIO.
    for page in ledger.receive_buffer().chunks(512) {
        if let Some(word) = page.first() {
            word.fetch_add(0, std::sync::atomic::Ordering::AcqRel);
        }
    }
    let mut answer = vec![0; ANSWER];
    // A limit on locked memory is no reason not to serve; the buffer is wiped after each answer.
    let _ = sys::keep_in_memory(&mut answer);
    let mut relay = Relay::take_over(fuse, worker, ledger);
    loop {
        let mut ready = [PollFd::new(fuse, PollFlags::IN), PollFd::new(worker, relay.interest())];
        let timeout = relay.next_look().map(Timespec::try_from).and_then(Result::ok);
        match poll(&mut ready, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [asks, answers] = ready.map(|polled| !polled.revents().is_empty());
        // Answers first: what is answered cannot be interrupted, overdue or a sign of silence.
        for _ in 0..if answers { BATCH } else { 0 } {
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            let Ok((_, length)) = recv(worker, answer.as_mut_slice(), flags) else {
                break;
            };
            let whole = answer.get_mut(..length.min(ANSWER)).unwrap_or_default();
            relay.pass_on(whole, length > ANSWER);
            whole.zeroize();
        }
        for _ in 0..if asks { BATCH } else { 0 } {
            match sys::read_into(fuse, ledger.receive_buffer()) {
                Ok(_) => relay.take_received(),
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::AGAIN) => break,
                    Some(Errno::INTR | Errno::NOENT) => {}
                    Some(Errno::NODEV | Errno::CONNABORTED) => return Ok(UNMOUNTED),
                    _ => return Err(error),
                },
            }
        }
        if relay.look() {
            return Ok(WORKER_IS_SILENT);
        }
        relay.send_unsent();
    }
}

/// Something for the worker that its socket has had no room for yet.
#[derive(Debug)]
enum Unsent {
    Init,
    Request(u64),
    Forget(Vec<u8>),
}

struct Relay<'a> {
    fuse: &'a OwnedFd,
    worker: &'a OwnedFd,
    ledger: &'a Ledger<'a>,
    outstanding: Outstanding<'a>,
    unsent: VecDeque<Unsent>,
    forgets: usize,
    looked_at: Duration,
    pinged_at: Duration,
}

impl<'a> Relay<'a> {
    /// Goes on from what the relay before has left in the ledger.
    fn take_over(fuse: &'a OwnedFd, worker: &'a OwnedFd, ledger: &'a Ledger<'a>) -> Self {
        let mut relay = Self {
            fuse,
            worker,
            ledger,
            outstanding: Outstanding::from_ledger(ledger),
            unsent: VecDeque::new(),
            forgets: 0,
            looked_at: Duration::ZERO,
            pinged_at: Duration::ZERO,
        };
        if !ledger.greeted() && ledger.init().is_some() {
            relay.unsent.push_back(Unsent::Init);
        }
        let noted = relay.outstanding.uniques();
        relay.unsent.extend(noted.into_iter().map(Unsent::Request));
        match ledger.received() {
            // Whether it was passed on is not known, and one too many is worse than one too few.
            Some(Header { opcode: opcode::FORGET | opcode::BATCH_FORGET, .. }) | None => {
                ledger.clear_received();
            }
            Some(_) => relay.take_received(),
        }
        relay
    }

    /// What to wait for at the worker's socket.
    fn interest(&self) -> PollFlags {
        if self.unsent.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT }
    }

    /// For how long nothing needs doing if nobody says anything; for ever if nothing is waiting.
    fn next_look(&mut self) -> Option<Duration> {
        let awake = clock::awake();
        let oldest =
            self.outstanding.oldest().map(|(received_at, _)| awake.saturating_sub(received_at));
        let overdue = oldest.map(|age| self.overdue().saturating_sub(age));
        let look = (!self.outstanding.watched().is_empty())
            .then(|| (self.looked_at + LOOK_INTERVAL).saturating_sub(awake));
        let ping = self.wants_ping(oldest).then(|| {
            let by_age = oldest.map_or(Duration::ZERO, |age| PING_INTERVAL.saturating_sub(age));
            by_age.max((self.pinged_at + PING_INTERVAL).saturating_sub(awake))
        });
        [overdue, look, ping].into_iter().flatten().min().map(|wait| wait + ROUNDING)
    }

    fn overdue(&self) -> Duration {
        Duration::from_nanos(self.ledger.overdue())
    }

    /// Whether the worker is pinged once the oldest request is old enough: it has said hello, and
    /// somebody waits, or it owes the answer to a ping.
    fn wants_ping(&self, oldest: Option<Duration>) -> bool {
        self.ledger.greeted() && (oldest.is_some() || self.ledger.unanswered_pings() > 0)
    }

    /// Deals with the request in the receive buffer, and empties it.
    fn take_received(&mut self) {
        let Some(header) = self.ledger.received() else {
            return;
        };
        match header.opcode {
            opcode::INIT => {
                if self.ledger.init().is_none() {
                    self.ledger.save_init();
                    self.unsent.push_front(Unsent::Init);
                }
            }
            opcode::FORGET | opcode::BATCH_FORGET => {
                let bytes = self.ledger.received_bytes();
                if self.forgets + bytes.len() <= FORGETS {
                    self.forgets += bytes.len();
                    self.unsent.push_back(Unsent::Forget(bytes));
                }
            }
            // The number of the request in question follows the header.
            opcode::INTERRUPT => self.interrupt(self.ledger.received_word(5)),
            // Python and Perl ask at each open whether the file is a terminal.
            opcode::IOCTL => self.answer(header.unique, Errno::NOTTY),
            // fuser does not know it, and its ENOSYS would become EOPNOTSUPP.
            opcode::TMPFILE => self.answer(header.unique, Errno::ROFS),
            opcode::NOTIFY_REPLY => {}
            _ => match self.outstanding.note(header, clock::awake()) {
                Ok(()) => self.unsent.push_back(Unsent::Request(header.unique)),
                Err(Refusal::TooLarge) => self.answer(header.unique, Errno::ROFS),
                Err(Refusal::Full) => self.answer(header.unique, Errno::NOMEM),
            },
        }
        self.ledger.clear_received();
        self.send_unsent();
    }

    /// Sends what is waiting for the worker, as far as its socket has room.
    fn send_unsent(&mut self) {
        while let Some(first) = self.unsent.front() {
            let bytes = match first {
                Unsent::Init => self.ledger.init(),
                Unsent::Request(unique) => self.outstanding.bytes(*unique),
                Unsent::Forget(bytes) => Some(bytes.clone()),
            };
            if bytes.is_some_and(|bytes| !self.send(&bytes)) {
                return;
            }
            if let Some(Unsent::Forget(bytes)) = self.unsent.pop_front() {
                self.forgets -= bytes.len();
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> bool {
        send(self.worker, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_ok()
    }

    /// Passes an answer of the worker's on to the kernel, if anybody waits for it.
    fn pass_on(&mut self, answer: &[u8], cut: bool) {
        let Some((length, unique)) = answer_header(answer) else {
            return;
        };
        if unique == PING {
            return self.ledger.note_ping_answer();
        }
        let is_init = !self.ledger.greeted() && Some(unique) == self.ledger.init_unique();
        if is_init {
            if !self.ledger.init_answered() {
                let _ = rustix::io::write(self.fuse, answer);
                self.ledger.mark_init_answered();
            }
            return self.ledger.set_greeted(true);
        }
        if !self.outstanding.contains(unique) {
            return;
        }
        if cut || length != answer.len() {
            return self.answer(unique, Errno::IO);
        }
        match rustix::io::write(self.fuse, answer) {
            // Nobody waits any more: the relay before had answered, or the connection is gone.
            Ok(_) | Err(Errno::NOENT | Errno::NODEV) => self.outstanding.strike(unique),
            Err(_) => self.answer(unique, Errno::IO),
        }
    }

    /// Answers a request without the worker.
    fn answer(&mut self, unique: u64, errno: Errno) {
        let lengths = [16, -errno.raw_os_error()].map(i32::to_ne_bytes).concat();
        let bytes = [lengths, unique.to_ne_bytes().to_vec()].concat();
        // The one failure that matters is that nobody waits any more, which is as good.
        let _ = rustix::io::write(self.fuse, &bytes);
        self.outstanding.strike(unique);
    }

    /// The kernel says that a caller got a signal.
    fn interrupt(&mut self, unique: u64) {
        match self.outstanding.caller(unique) {
            Some(caller) if interrupt::ends_the_wait(caller) => self.answer(unique, Errno::INTR),
            Some(_) => self.outstanding.watch(unique),
            None => {}
        }
    }

    /// Does what time has made due. Says whether the worker has been silent for too long.
    fn look(&mut self) -> bool {
        let awake = clock::awake();
        let overdue = self.overdue();
        let mut oldest = None;
        while let Some((received_at, unique)) = self.outstanding.oldest() {
            let age = awake.saturating_sub(received_at);
            if age < overdue {
                oldest = Some(age);
                break;
            }
            self.answer(unique, Errno::TIMEDOUT);
        }
        if !self.outstanding.watched().is_empty() && awake >= self.looked_at + LOOK_INTERVAL {
            self.looked_at = awake;
            for unique in self.outstanding.watched().to_vec() {
                self.interrupt(unique);
            }
        }
        let old_enough = oldest.is_none_or(|age| age >= PING_INTERVAL);
        if self.wants_ping(oldest) && old_enough && awake >= self.pinged_at + PING_INTERVAL {
            if self.ledger.unanswered_pings() >= PATIENCE {
                return true;
            }
            self.pinged_at = awake;
            self.ledger.count_ping();
            self.send(&ping());
        }
        false
    }
}

/// The length that an answer says it has, and the number of the request that it answers.
fn answer_header(answer: &[u8]) -> Option<(usize, u64)> {
    let (length, rest) = answer.split_first_chunk::<4>()?;
    let (_errno, rest) = rest.split_first_chunk::<4>()?;
    let (unique, _) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
    Some((length, u64::from_ne_bytes(*unique)))
}

/// A GETATTR of the directory, as the kernel would ask it: any worker that runs can answer.
fn ping() -> Vec<u8> {
    let header = [56_u32.to_ne_bytes(), opcode::GETATTR.to_ne_bytes()].concat();
    let numbers = [PING, 1].map(u64::to_ne_bytes).concat();
    // uid, gid, pid and an extension's length; then the flags and the handle of GETATTR.
    [header, numbers, vec![0; 16 + 16]].concat()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use rustix::net::AddressFamily;
    use rustix::net::SocketFlags;
    use rustix::net::SocketType;
    use rustix::net::socketpair;

    use super::*;
    use crate::supervisor::ledger::SLOTS;

    const LOOKUP: u32 = 1;

    /// A relay's surroundings: sockets in the place of the kernel and of the worker.
    struct Scene {
        kernel: (OwnedFd, OwnedFd),
        worker: (OwnedFd, OwnedFd),
        memory: Vec<std::sync::atomic::AtomicU64>,
    }

    impl Scene {
        fn new() -> Self {
            let pair = || {
                let flags = SocketFlags::CLOEXEC;
                socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
            };
            let memory = (0..WORDS).map(|_| std::sync::atomic::AtomicU64::new(0)).collect();
            Self { kernel: pair(), worker: pair(), memory }
        }

        fn ledger(&self) -> Ledger<'_> {
            Ledger::over(&self.memory)
        }

        fn relay<'a>(&'a self, ledger: &'a Ledger<'a>) -> Relay<'a> {
            Relay::take_over(&self.kernel.0, &self.worker.0, ledger)
        }
    }

    fn request(opcode: u32, unique: u64, body: u64) -> Vec<u8> {
        let head = [48_u32.to_ne_bytes(), opcode.to_ne_bytes()].concat();
        [head, unique.to_ne_bytes().to_vec(), vec![0; 24], body.to_ne_bytes().to_vec()].concat()
    }

    fn answer(unique: u64) -> Vec<u8> {
        [17_u32.to_ne_bytes().to_vec(), vec![0; 4], unique.to_ne_bytes().to_vec(), vec![1]].concat()
    }

    fn error(unique: u64, errno: Errno) -> Vec<u8> {
        let head = [16, -errno.raw_os_error()].map(i32::to_ne_bytes).concat();
        [head, unique.to_ne_bytes().to_vec()].concat()
    }

    /// What the kernel asks comes into the receive buffer.
    fn ask(ledger: &Ledger<'_>, relay: &mut Relay<'_>, bytes: &[u8]) {
        for (word, chunk) in ledger.receive_buffer().iter().zip(bytes.chunks(8)) {
            word.store(u64::from_ne_bytes(chunk.try_into().unwrap()), Ordering::SeqCst);
        }
        relay.take_received();
    }

    /// All that has arrived at the other end of a socket.
    fn arrived(socket: &OwnedFd) -> Vec<Vec<u8>> {
        let mut buffer = [0; 256];
        let next = || {
            let (_, length) = recv(socket, &mut buffer, RecvFlags::DONTWAIT).ok()?;
            Some(buffer[..length].to_vec())
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn only_an_answer_to_what_is_outstanding_reaches_the_kernel() {
        let scene = Scene::new();
        let ledger = scene.ledger();
        let mut relay = scene.relay(&ledger);
        ask(&ledger, &mut relay, &request(LOOKUP, 4, 7));
        assert_eq!(arrived(&scene.worker.1), [request(LOOKUP, 4, 7)]);
        // A notification, an answer to nobody, half an answer, and the right one twice.
        for unique in [0, 6, 4, 4] {
            relay.pass_on(&answer(unique), false);
        }
        relay.pass_on(&[1, 2, 3], false);
        assert_eq!(arrived(&scene.kernel.1), [answer(4)]);
        assert_eq!(ledger.used().count(), 0);
    }

    #[test]
    fn an_answer_that_is_not_as_long_as_it_says_is_an_error() {
        let scene = Scene::new();
        let ledger = scene.ledger();
        let mut relay = scene.relay(&ledger);
        for unique in [4, 6] {
            ask(&ledger, &mut relay, &request(LOOKUP, unique, 0));
        }
        relay.pass_on(&answer(4)[..16], false);
        relay.pass_on(&answer(6), true);
        assert_eq!(arrived(&scene.kernel.1), [error(4, Errno::IO), error(6, Errno::IO)]);
    }

    #[test]
    fn the_next_worker_is_greeted_and_asked_all_that_is_outstanding_in_order() {
        let scene = Scene::new();
        let ledger = scene.ledger();
        let mut relay = scene.relay(&ledger);
        ask(&ledger, &mut relay, &request(opcode::INIT, 2, 9));
        relay.pass_on(&answer(2), false);
        for unique in [6, 4] {
            ask(&ledger, &mut relay, &request(LOOKUP, unique, unique));
        }
        ask(&ledger, &mut relay, &request(opcode::FORGET, 0, 3));
        assert_eq!(arrived(&scene.worker.1).len(), 4);
        assert_eq!(arrived(&scene.kernel.1), [answer(2)]);

        ledger.set_greeted(false);
        let mut next = scene.relay(&ledger);
        next.send_unsent();
        let asked = [(opcode::INIT, 2, 9), (LOOKUP, 4, 4), (LOOKUP, 6, 6)];
        let asked = asked.map(|(opcode, unique, body)| request(opcode, unique, body));
        assert_eq!(arrived(&scene.worker.1), asked);
        next.pass_on(&answer(2), false);
        next.pass_on(&answer(6), false);
        assert_eq!(arrived(&scene.kernel.1), [answer(6)], "the kernel has had its answer to INIT");
        assert!(ledger.greeted());
    }

    #[test]
    fn a_relay_that_died_alone_is_replaced_without_a_greeting() {
        let scene = Scene::new();
        let ledger = scene.ledger();
        let mut relay = scene.relay(&ledger);
        ask(&ledger, &mut relay, &request(opcode::INIT, 2, 0));
        relay.pass_on(&answer(2), false);
        // It dies with a request in the receive buffer.
        for (word, chunk) in ledger.receive_buffer().iter().zip(request(LOOKUP, 4, 1).chunks(8)) {
            word.store(u64::from_ne_bytes(chunk.try_into().unwrap()), Ordering::SeqCst);
        }
        arrived(&scene.worker.1);
        let mut next = scene.relay(&ledger);
        next.send_unsent();
        assert_eq!(arrived(&scene.worker.1), [request(LOOKUP, 4, 1)]);
        assert!(ledger.received().is_none());
    }

    #[test]
    fn a_worker_that_does_not_read_gets_everything_once_it_does() {
        let scene = Scene::new();
        let ledger = scene.ledger();
        let mut relay = scene.relay(&ledger);
        let all = 3_000;
        for unique in 1..=all {
            ask(&ledger, &mut relay, &request(LOOKUP, 2 * unique, unique));
        }
        ask(&ledger, &mut relay, &request(opcode::FORGET, 0, 3));
        assert_eq!(relay.interest(), PollFlags::IN | PollFlags::OUT);
        let mut got = Vec::new();
        while relay.interest() != PollFlags::IN {
            got.extend(arrived(&scene.worker.1));
            relay.send_unsent();
        }
        got.extend(arrived(&scene.worker.1));
        let lookups = (1..=all).map(|unique| request(LOOKUP, 2 * unique, unique));
        let expected = lookups.chain([request(opcode::FORGET, 0, 3)]).collect::<Vec<_>>();
        assert!(got == expected, "{} of {} came, or in another order", got.len(), expected.len());
        assert_eq!(relay.forgets, 0);
    }

    #[test]
    fn what_the_worker_should_never_see_is_answered_at_once() {
        let scene = Scene::new();
        let ledger = scene.ledger();
        let mut relay = scene.relay(&ledger);
        ask(&ledger, &mut relay, &request(opcode::IOCTL, 4, 0));
        ask(&ledger, &mut relay, &request(opcode::NOTIFY_REPLY, 6, 0));
        assert_eq!(arrived(&scene.kernel.1), [error(4, Errno::NOTTY)]);
        for unique in 0..SLOTS as u64 {
            ask(&ledger, &mut relay, &request(LOOKUP, 100 + 2 * unique, 0));
        }
        ask(&ledger, &mut relay, &request(LOOKUP, 8, 0));
        assert_eq!(arrived(&scene.kernel.1), [error(8, Errno::NOMEM)]);
        assert!(ledger.received().is_none());
    }

    #[test]
    fn an_interrupt_frees_a_caller_that_cannot_be_seen_and_watches_one_that_can() {
        let scene = Scene::new();
        let ledger = scene.ledger();
        let mut relay = scene.relay(&ledger);
        ask(&ledger, &mut relay, &request(LOOKUP, 4, 0));
        let mut mine = request(LOOKUP, 6, 0);
        mine[32..36].copy_from_slice(&std::process::id().to_ne_bytes());
        ask(&ledger, &mut relay, &mine);
        for unique in [4, 6, 8] {
            ask(&ledger, &mut relay, &request(opcode::INTERRUPT, unique + 1, unique));
        }
        assert_eq!(arrived(&scene.kernel.1), [error(4, Errno::INTR)]);
        assert_eq!(relay.outstanding.watched(), [6]);
        assert_eq!(scene.relay(&ledger).outstanding.watched(), [6]);
    }

    #[test]
    fn a_ping_has_the_layout_of_the_kernel_and_its_answer_is_counted() {
        let ping = ping();
        assert_eq!(ping.len(), 56);
        assert_eq!(ping[..8], [56_u32, opcode::GETATTR].map(u32::to_ne_bytes).concat());
        let scene = Scene::new();
        let ledger = scene.ledger();
        let mut relay = scene.relay(&ledger);
        assert!(!relay.wants_ping(Some(PING_INTERVAL)), "it has not said hello");
        ledger.set_greeted(true);
        assert!(!relay.wants_ping(None), "nobody waits");
        ledger.count_ping();
        assert!(relay.wants_ping(None), "it owes an answer");
        relay.pass_on(&answer(PING), false);
        assert_eq!(ledger.unanswered_pings(), 0);
        assert!(arrived(&scene.kernel.1).is_empty());
    }
}
