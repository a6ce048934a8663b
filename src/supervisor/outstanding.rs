//! What the relay owes: the requests in the ledger, found by number and by age.
//!
//! It is built from the ledger when a relay starts and is kept in step with it from there on; the
//! ledger alone is the truth. It does no I/O and takes the time as an argument.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::Duration;

use crate::supervisor::ledger::Header;
use crate::supervisor::ledger::LARGEST;
use crate::supervisor::ledger::Ledger;
use crate::supervisor::ledger::SLOTS;

/// Why a request cannot be noted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// It is larger than any request that only reads.
    TooLarge,
    /// As many as there is room for are waiting already.
    Full,
}

/// The requests that are noted and unanswered.
#[derive(Debug)]
pub struct Outstanding<'l> {
    ledger: &'l Ledger<'l>,
    by_unique: BTreeMap<u64, Entry>,
    /// Oldest first, by the time awake; what has been answered meanwhile is passed over.
    by_age: VecDeque<(Duration, u64)>,
    /// Slots that were used and are free again, the lowest of them not first.
    free: Vec<usize>,
    /// The first slot that was never used. The pages beyond it do not exist yet.
    untouched: usize,
    watched: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    slot: usize,
    pid: u32,
}

impl<'l> Outstanding<'l> {
    /// Takes over what a ledger says.
    #[must_use]
    pub fn from_ledger(ledger: &'l Ledger<'l>) -> Self {
        let mut outstanding = Self {
            ledger,
            by_unique: BTreeMap::new(),
            by_age: VecDeque::new(),
            free: Vec::new(),
            untouched: 0,
            watched: Vec::new(),
        };
        for slot in ledger.used() {
            let Some(noted) = ledger.noted(slot) else {
                continue;
            };
            outstanding.free.extend(outstanding.untouched..slot);
            outstanding.untouched = slot + 1;
            let unique = noted.header.unique;
            let received_at = Duration::from_nanos(noted.received_at);
            outstanding.by_age.push_back((received_at, unique));
            outstanding.by_unique.insert(unique, Entry { slot, pid: noted.header.pid });
            if noted.interrupted {
                outstanding.watched.push(unique);
            }
        }
        outstanding.by_age.make_contiguous().sort_unstable();
        outstanding
    }

    /// Notes the request in the ledger's receive buffer, received when the machine had been awake
    /// for so long: nobody waits while it sleeps.
    pub fn note(&mut self, header: Header, awake: Duration) -> Result<(), Refusal> {
        if header.length as usize > LARGEST {
            return Err(Refusal::TooLarge);
        }
        if self.contains(header.unique) {
            return Ok(());
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.untouched < SLOTS => self.untouched,
            None => return Err(Refusal::Full),
        };
        self.untouched = self.untouched.max(slot + 1);
        let nanos = u64::try_from(awake.as_nanos()).unwrap_or(u64::MAX);
        self.ledger.note(slot, nanos);
        self.by_unique.insert(header.unique, Entry { slot, pid: header.pid });
        self.by_age.push_back((awake, header.unique));
        Ok(())
    }

    /// Whether a request is unanswered.
    #[must_use]
    pub fn contains(&self, unique: u64) -> bool {
        self.by_unique.contains_key(&unique)
    }

    /// The numbers of all unanswered requests, in the order in which the kernel gave them out.
    #[must_use]
    pub fn uniques(&self) -> Vec<u64> {
        self.by_unique.keys().copied().collect()
    }

    /// The bytes of an unanswered request.
    #[must_use]
    pub fn bytes(&self, unique: u64) -> Option<Vec<u8>> {
        self.by_unique.get(&unique).map(|entry| self.ledger.noted_bytes(entry.slot))
    }

    /// The thread that waits for an unanswered request.
    #[must_use]
    pub fn caller(&self, unique: u64) -> Option<u32> {
        self.by_unique.get(&unique).map(|entry| entry.pid)
    }

    /// Strikes out a request that has been answered.
    pub fn strike(&mut self, unique: u64) {
        if let Some(entry) = self.by_unique.remove(&unique) {
            self.ledger.free(entry.slot);
            self.free.push(entry.slot);
            self.watched.retain(|watched| *watched != unique);
        }
    }

    /// Has a caller who got a signal looked at from now on.
    pub fn watch(&mut self, unique: u64) {
        let Some(entry) = self.by_unique.get(&unique) else {
            return;
        };
        self.ledger.mark_interrupted(entry.slot);
        if !self.watched.contains(&unique) {
            self.watched.push(unique);
        }
    }

    /// The requests whose callers are looked at.
    #[must_use]
    pub fn watched(&self) -> &[u64] {
        &self.watched
    }

    /// The oldest unanswered request and when it was received.
    pub fn oldest(&mut self) -> Option<(Duration, u64)> {
        while let Some(first) = self.by_age.front() {
            if self.by_unique.contains_key(&first.1) {
                return Some(*first);
            }
            self.by_age.pop_front();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    use super::*;
    use crate::supervisor::ledger::WORDS;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn header(unique: u64) -> Header {
        Header { length: 40, opcode: 1, unique, pid: 7 }
    }

    fn memory() -> Vec<AtomicU64> {
        (0..WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn the_oldest_is_the_one_that_has_waited_longest_and_is_unanswered() {
        let memory = memory();
        let ledger = Ledger::over(&memory);
        let mut outstanding = Outstanding::from_ledger(&ledger);
        assert_eq!(outstanding.oldest(), None);
        for (unique, second) in [(4, 1), (2, 2), (6, 3)] {
            outstanding.note(header(unique), at(second)).unwrap();
        }
        assert_eq!(outstanding.oldest(), Some((at(1), 4)));
        outstanding.strike(4);
        outstanding.strike(6);
        assert_eq!(outstanding.oldest(), Some((at(2), 2)));
        outstanding.strike(2);
        assert_eq!(outstanding.oldest(), None);
    }

    #[test]
    fn what_is_too_large_or_too_much_is_refused_and_a_freed_slot_is_used_again() {
        let memory = memory();
        let ledger = Ledger::over(&memory);
        let mut outstanding = Outstanding::from_ledger(&ledger);
        let large = Header { length: u32::try_from(LARGEST).unwrap() + 1, ..header(2) };
        assert_eq!(outstanding.note(large, at(0)), Err(Refusal::TooLarge));
        for unique in 0..SLOTS as u64 {
            outstanding.note(header(2 * unique), at(0)).unwrap();
        }
        let one_more = header(2 * SLOTS as u64);
        assert_eq!(outstanding.note(one_more, at(0)), Err(Refusal::Full));
        outstanding.strike(100);
        assert_eq!(outstanding.note(one_more, at(0)), Ok(()));
    }
}
