//! The ledger: which requests of the kernel are unanswered, in memory that outlives the relay.
//!
//! It promises that a relay killed between any two stores loses no request and leaves none twice:
//! a request lies in the receive buffer (where the kernel itself put it), in a slot, or in both,
//! and then the two have the same number. It knows nothing of descriptors, time or processes.
//!
//! The order that keeps the promise: the buffer's first word is zeroed, the request is read into
//! the buffer, copied to a slot, the slot's bit is set, the buffer's first word is zeroed. One bit
//! is one store, and there is one writer, so no lock is needed.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::supervisor::ledger::place::GREETED;
use crate::supervisor::ledger::place::INIT;
use crate::supervisor::ledger::place::INIT_ANSWERED;
use crate::supervisor::ledger::place::INIT_LENGTH;
use crate::supervisor::ledger::place::INIT_WORDS;
use crate::supervisor::ledger::place::INTERRUPTED;
use crate::supervisor::ledger::place::OVERDUE;
use crate::supervisor::ledger::place::RECEIVED;
use crate::supervisor::ledger::place::SLOT_REQUEST;
use crate::supervisor::ledger::place::SLOT_WORDS;
use crate::supervisor::ledger::place::SLOTS_START;
use crate::supervisor::ledger::place::UNANSWERED_PINGS;
use crate::supervisor::ledger::place::USED;

/// How many requests can be unanswered at once.
pub const SLOTS: usize = 16_384;
/// How many words the receive buffer has. The kernel refuses to write into one that is smaller than
/// the largest write it may send, which the worker's answer to INIT limits to 128 KiB.
pub const RECEIVED_WORDS: usize = (132 << 10) / WORD;
/// How many words a ledger has.
pub const WORDS: usize = SLOTS_START + SLOTS * SLOT_WORDS;
/// The largest request that can be noted. One that reads is smaller: its header and a name.
pub const LARGEST: usize = (SLOT_WORDS - SLOT_REQUEST) * WORD;

const WORD: usize = size_of::<u64>();
/// A request's header (`fuse_in_header`): length and opcode, unique, node, uid and gid, pid.
const HEADER_WORDS: usize = 5;

/// Where things are, in words.
mod place {
    use super::RECEIVED_WORDS;
    use super::SLOTS;

    pub(super) const OVERDUE: usize = 0;
    pub(super) const GREETED: usize = 1;
    pub(super) const UNANSWERED_PINGS: usize = 2;
    pub(super) const INIT_ANSWERED: usize = 5;
    pub(super) const INIT_LENGTH: usize = 6;
    pub(super) const INIT: usize = 8;
    pub(super) const INIT_WORDS: usize = 64;
    pub(super) const USED: usize = 512;
    pub(super) const INTERRUPTED: usize = USED + SLOTS / 64;
    pub(super) const RECEIVED: usize = INTERRUPTED + SLOTS / 64;
    pub(super) const SLOTS_START: usize = RECEIVED + RECEIVED_WORDS;
    pub(super) const SLOT_WORDS: usize = 128;
    pub(super) const SLOT_REQUEST: usize = 1;
}

/// What the header of a request says, as far as the relay must know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// The length of the whole request.
    pub length: u32,
    /// What is asked.
    pub opcode: u32,
    /// The request's number, which its answer bears.
    pub unique: u64,
    /// The thread that waits, as this process's namespace counts; 0 if it cannot be seen from here.
    pub pid: u32,
}

/// A request that is noted in a slot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Noted {
    /// Its header.
    pub header: Header,
    /// When it was received, on the boot clock, in nanoseconds.
    pub received_at: u64,
    /// Whether the kernel has said that its caller got a signal; it says so once.
    pub interrupted: bool,
}

/// A ledger over the words that hold it.
#[derive(Debug)]
pub struct Ledger<'m> {
    words: &'m [AtomicU64],
    #[cfg(test)]
    journal: std::cell::RefCell<Vec<(usize, u64)>>,
}

impl<'m> Ledger<'m> {
    /// The ledger in [`WORDS`] words; all zero is an empty one.
    #[must_use]
    pub fn over(words: &'m [AtomicU64]) -> Self {
        Self {
            words,
            #[cfg(test)]
            journal: std::cell::RefCell::default(),
        }
    }

    // The receive buffer.

    /// The words into which the next request is to be read.
    #[must_use]
    pub fn receive_buffer(&self) -> &'m [AtomicU64] {
        self.words.get(RECEIVED..RECEIVED + RECEIVED_WORDS).unwrap_or_default()
    }

    /// Says that the receive buffer holds nothing any more.
    pub fn clear_received(&self) {
        self.store(RECEIVED, 0);
    }

    /// The header of the request in the receive buffer, if there is one.
    #[must_use]
    pub fn received(&self) -> Option<Header> {
        let header = self.header(RECEIVED);
        (header.length as usize >= HEADER_WORDS * WORD).then_some(header)
    }

    /// The bytes of the request in the receive buffer.
    #[must_use]
    pub fn received_bytes(&self) -> Vec<u8> {
        self.bytes(RECEIVED, RECEIVED_WORDS)
    }

    /// One word of the request in the receive buffer, counted from its header.
    #[must_use]
    pub fn received_word(&self, at: usize) -> u64 {
        self.load(RECEIVED + at)
    }

    // The slots.

    /// Notes the request in the receive buffer, which must be no longer than [`LARGEST`], in a slot
    /// that is free.
    pub fn note(&self, slot: usize, received_at: u64) {
        let start = slot_start(slot);
        let length = self.received().map_or(0, |header| header.length as usize);
        for at in 0..length.div_ceil(WORD).min(SLOT_WORDS - SLOT_REQUEST) {
            self.store(start + SLOT_REQUEST + at, self.load(RECEIVED + at));
        }
        self.store(start, received_at);
        self.change_bit(INTERRUPTED, slot, false);
        self.change_bit(USED, slot, true);
    }

    /// Remembers that the caller of the request in a slot got a signal.
    pub fn mark_interrupted(&self, slot: usize) {
        self.change_bit(INTERRUPTED, slot, true);
    }

    /// Frees a slot: its request is answered.
    pub fn free(&self, slot: usize) {
        self.change_bit(USED, slot, false);
    }

    /// The slots that are in use.
    pub fn used(&self) -> impl Iterator<Item = usize> + '_ {
        let words = (0..SLOTS / 64).filter(|at| self.load(USED + at) != 0);
        words.flat_map(|at| at * 64..(at + 1) * 64).filter(|slot| self.bit(USED, *slot))
    }

    /// What is noted in a slot, or `None` if it is free.
    #[must_use]
    pub fn noted(&self, slot: usize) -> Option<Noted> {
        self.bit(USED, slot).then(|| Noted {
            header: self.header(slot_start(slot) + SLOT_REQUEST),
            received_at: self.load(slot_start(slot)),
            interrupted: self.bit(INTERRUPTED, slot),
        })
    }

    /// The bytes of the request in a slot.
    #[must_use]
    pub fn noted_bytes(&self, slot: usize) -> Vec<u8> {
        self.bytes(slot_start(slot) + SLOT_REQUEST, SLOT_WORDS - SLOT_REQUEST)
    }

    // The first request of a connection.

    /// Saves the request in the receive buffer as the INIT of this connection.
    pub fn save_init(&self) {
        let length = self.received().map_or(0, |header| header.length as usize);
        let length = length.min(INIT_WORDS * WORD);
        for at in 0..length.div_ceil(WORD) {
            self.store(INIT + at, self.load(RECEIVED + at));
        }
        self.store(INIT_LENGTH, length as u64);
    }

    /// The bytes of the INIT that was saved, if one was.
    #[must_use]
    pub fn init(&self) -> Option<Vec<u8>> {
        (self.load(INIT_LENGTH) > 0).then(|| self.bytes(INIT, INIT_WORDS))
    }

    /// The number of the INIT that was saved, if one was.
    #[must_use]
    pub fn init_unique(&self) -> Option<u64> {
        (self.load(INIT_LENGTH) > 0).then(|| self.load(INIT + 1))
    }

    /// Whether the kernel has had its answer to INIT.
    #[must_use]
    pub fn init_answered(&self) -> bool {
        self.load(INIT_ANSWERED) != 0
    }

    /// Says that the kernel has had its answer to INIT.
    pub fn mark_init_answered(&self) {
        self.store(INIT_ANSWERED, 1);
    }

    // What supervisor and relay tell each other.

    /// After how many nanoseconds a request is answered without the worker.
    #[must_use]
    pub fn overdue(&self) -> u64 {
        self.load(OVERDUE)
    }

    /// Sets [`overdue`](Self::overdue).
    pub fn set_overdue(&self, nanos: u64) {
        self.store(OVERDUE, nanos);
    }

    /// Whether the worker at the other end of the socket has answered INIT.
    #[must_use]
    pub fn greeted(&self) -> bool {
        self.load(GREETED) != 0
    }

    /// Says that the worker has answered INIT, or that there is a new one which has not.
    pub fn set_greeted(&self, greeted: bool) {
        self.store(UNANSWERED_PINGS, 0);
        self.store(GREETED, u64::from(greeted));
    }

    /// How many pings in a row the worker has left unanswered.
    #[must_use]
    pub fn unanswered_pings(&self) -> u64 {
        self.load(UNANSWERED_PINGS)
    }

    /// Counts a ping.
    pub fn count_ping(&self) {
        self.store(UNANSWERED_PINGS, self.unanswered_pings().saturating_add(1));
    }

    /// Notes that the worker answered a ping.
    pub fn note_ping_answer(&self) {
        self.store(UNANSWERED_PINGS, 0);
    }

    // Words, halves and bits.

    fn header(&self, start: usize) -> Header {
        let (length, opcode) = halves(self.load(start));
        let (pid, _) = halves(self.load(start + 4));
        Header { length, opcode, unique: self.load(start + 1), pid }
    }

    fn bytes(&self, start: usize, most: usize) -> Vec<u8> {
        let (length, _) = halves(self.load(start));
        let length = (length as usize).min(most * WORD);
        let words = (0..length.div_ceil(WORD)).map(|at| self.load(start + at).to_ne_bytes());
        let mut bytes = words.flatten().collect::<Vec<u8>>();
        bytes.truncate(length);
        bytes
    }

    fn bit(&self, table: usize, slot: usize) -> bool {
        self.load(table + slot / 64) & (1 << (slot % 64)) != 0
    }

    fn change_bit(&self, table: usize, slot: usize, set: bool) {
        let (at, bit) = (table + slot / 64, 1 << (slot % 64));
        let word = self.load(at);
        self.store(at, if set { word | bit } else { word & !bit });
    }

    fn load(&self, at: usize) -> u64 {
        self.words.get(at).map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn store(&self, at: usize, value: u64) {
        if let Some(word) = self.words.get(at) {
            word.store(value, Ordering::Release);
        }
        #[cfg(test)]
        self.journal.borrow_mut().push((at, value));
    }
}

fn slot_start(slot: usize) -> usize {
    SLOTS_START + slot * SLOT_WORDS
}

fn halves(word: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::ProptestConfig;
    use proptest::prelude::Strategy;
    use proptest::prelude::any;
    use proptest::prop_oneof;
    use proptest::test_runner::TestRunner;

    use super::*;
    use crate::supervisor::outstanding::Outstanding;

    /// Room for a few slots. What lies beyond reads as zero.
    const FEW: usize = SLOTS_START + 16 * SLOT_WORDS;

    #[derive(Clone, Debug)]
    enum Step {
        Receive { length: usize, fill: u8 },
        Interrupt(usize),
        Answer(usize),
        TakeOver,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (40..=LARGEST, any::<u8>()).prop_map(|(length, fill)| Step::Receive { length, fill }),
            1 => any::<usize>().prop_map(Step::Interrupt),
            3 => any::<usize>().prop_map(Step::Answer),
            1 => proptest::strategy::Just(Step::TakeOver),
        ];
        vec(step, 1..24)
    }

    fn memory() -> Vec<AtomicU64> {
        (0..FEW).map(|_| AtomicU64::new(0)).collect()
    }

    fn request(unique: u64, length: usize, fill: u8) -> Vec<u8> {
        let mut bytes = vec![fill; length];
        bytes[..4].copy_from_slice(&u32::try_from(length).unwrap().to_ne_bytes());
        bytes[8..16].copy_from_slice(&unique.to_ne_bytes());
        bytes
    }

    /// What the kernel does when it is read from.
    fn receive(memory: &[AtomicU64], bytes: &[u8]) {
        for (word, chunk) in memory[RECEIVED..].iter().zip(bytes.chunks(WORD)) {
            let mut whole = [0; WORD];
            whole[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(whole), Ordering::SeqCst);
        }
    }

    /// What the next relay finds.
    fn found(memory: &[AtomicU64]) -> BTreeMap<u64, Vec<u8>> {
        let ledger = Ledger::over(memory);
        let mut found = BTreeMap::new();
        for slot in ledger.used() {
            let unique = ledger.noted(slot).unwrap().header.unique;
            let before = found.insert(unique, ledger.noted_bytes(slot));
            assert!(before.is_none(), "{unique} is noted twice");
        }
        if let Some(header) = ledger.received() {
            let noted = found.insert(header.unique, ledger.received_bytes());
            assert!(noted.is_none_or(|noted| noted == ledger.received_bytes()));
        }
        found
    }

    /// A relay that is killed after any of its stores, and a kernel that knows what it asked.
    #[test]
    fn a_kill_between_any_two_stores_loses_no_request_and_doubles_none() {
        let config = ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() };
        let outcome = TestRunner::new(config).run(&steps(), |steps| {
            let (memory, shadow) = (memory(), memory());
            let ledger = Ledger::over(&memory);
            let mut relay = Outstanding::from_ledger(&ledger);
            let mut asked = BTreeMap::new();
            let mut unique = 0;
            for step in steps {
                let mut answered = None;
                match step {
                    Step::Receive { .. } if asked.len() == 16 => {}
                    Step::Receive { length, fill } => {
                        unique += 2;
                        let bytes = request(unique, length, fill);
                        receive(&memory, &bytes);
                        receive(&shadow, &bytes);
                        asked.insert(unique, bytes);
                        relay.note(ledger.received().unwrap(), Duration::ZERO).unwrap();
                        ledger.clear_received();
                    }
                    Step::Interrupt(nth) => {
                        if let Some(unique) = asked.keys().nth(nth % asked.len().max(1)) {
                            relay.watch(*unique);
                        }
                    }
                    Step::Answer(nth) => {
                        if let Some(unique) = asked.keys().nth(nth % asked.len().max(1)).copied() {
                            answered = asked.remove_entry(&unique);
                            relay.strike(unique);
                        }
                    }
                    Step::TakeOver => relay = Outstanding::from_ledger(&ledger),
                }
                for (at, value) in ledger.journal.take() {
                    // Killed here. One that was answered may be sent again: nobody waits for it.
                    let mut found = found(&shadow);
                    if let Some((unique, bytes)) = &answered {
                        assert!(found.remove(unique).is_none_or(|found| found == *bytes));
                    }
                    assert_eq!(found, asked);
                    shadow[at].store(value, Ordering::SeqCst);
                }
                assert_eq!(found(&shadow), asked);
                assert_eq!(relay.uniques(), asked.keys().copied().collect::<Vec<_>>());
            }
            Ok(())
        });
        outcome.unwrap();
    }

    #[test]
    fn an_init_is_saved_whole_or_not_at_all() {
        let (memory, shadow) = (memory(), memory());
        let ledger = Ledger::over(&memory);
        let init = request(2, 104, 7);
        receive(&memory, &init);
        receive(&shadow, &init);
        ledger.save_init();
        ledger.clear_received();
        for (at, value) in ledger.journal.take() {
            let killed = Ledger::over(&shadow);
            assert!(killed.received().is_some());
            assert!(killed.init().is_none_or(|saved| saved == init));
            shadow[at].store(value, Ordering::SeqCst);
        }
        assert_eq!((ledger.init(), ledger.init_unique()), (Some(init), Some(2)));
    }

    #[test]
    fn a_signal_is_remembered_until_the_slot_is_used_again() {
        let memory = memory();
        let ledger = Ledger::over(&memory);
        receive(&memory, &request(2, 40, 0));
        ledger.note(3, 1);
        ledger.mark_interrupted(3);
        assert!(ledger.noted(3).unwrap().interrupted);
        ledger.free(3);
        assert_eq!(ledger.noted(3), None);
        ledger.note(3, 5);
        assert_eq!(ledger.noted(3).unwrap().received_at, 5);
        assert!(!ledger.noted(3).unwrap().interrupted);
    }
}
