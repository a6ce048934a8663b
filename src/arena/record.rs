//! A record: a run of blocks, from the moment it is reserved until it is wiped.

use std::fmt;
use std::sync::Arc;

use crate::arena::space::Space;
use crate::sys::Span;
use crate::sys::Word;

/// Under what a record is stored.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key {
    /// What sort of record it is; the arena does not know the sorts.
    pub kind: u32,
    /// Which one of that sort.
    pub id: u64,
}

impl Key {
    /// How many bytes it takes, between the word of its run and the payload.
    const LEN: usize = 16;

    fn encode(self) -> [u8; Self::LEN] {
        (u128::from(self.kind) << u64::BITS | u128::from(self.id)).to_ne_bytes()
    }

    /// The key behind the word of a committed run; `None` if no worker has written that.
    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        let (key, _) = body.split_first_chunk()?;
        let key = u128::from_ne_bytes(*key);
        let kind = u32::try_from(key >> u64::BITS).ok()?;
        let id = u64::try_from(key & u128::from(u64::MAX)).ok()?;
        Some(Self { kind, id })
    }
}

/// A stored record. A clone is the same record, and costs a counter.
///
/// The bytes are valid as long as a clone lives, even if the key has been removed or replaced.
#[derive(Clone)]
pub struct Record(Arc<Lease>);

impl Record {
    pub(crate) fn new(run: Run, space: Arc<Space>) -> Self {
        Self(Arc::new(Lease { run: Some(run), space }))
    }

    /// What was stored.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.run.as_ref().map_or(&[], Run::payload)
    }

    /// From now on no worker finds the record; the last holder frees its blocks.
    pub(crate) fn retire(&self) {
        if let Some(run) = &self.0.run {
            run.retire();
        }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "[{} bytes]", self.bytes().len())
    }
}

/// A run in use. It goes back to the free space with its last holder if it is retired; if not, it
/// stays in the memfd for the next worker.
struct Lease {
    /// Taken out by `drop` alone.
    run: Option<Run>,
    space: Arc<Space>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(run) = self.run.take()
            && run.is_retired()
        {
            self.space.give(run.wipe());
        }
    }
}

/// The blocks of one record: its word, then key and payload.
pub(crate) struct Run {
    word: Word,
    body: Span,
    length: usize,
}

impl Run {
    /// Writes a record into free blocks, as many as [`run_len`] says: there once this returns, and
    /// not before. `None` if that is not what the blocks are.
    pub(crate) fn write(span: Span, key: Key, payload: &[u8]) -> Option<Self> {
        let mut run = Self::take_over(span, payload.len())?;
        run.mark(State::Reserved);
        run.body.write(0, &key.encode());
        run.body.write(Key::LEN, payload);
        run.mark(State::Committed);
        Some(run)
    }

    /// Takes over blocks that hold, or held, a record with a payload of that length.
    pub(crate) fn take_over(span: Span, length: usize) -> Option<Self> {
        if run_len(length)? != span.len() {
            return None;
        }
        let (word, body) = Word::split(span).ok()?;
        Some(Self { word, body, length })
    }

    pub(crate) fn payload(&self) -> &[u8] {
        self.body.bytes().get(Key::LEN..).and_then(|rest| rest.get(..self.length)).unwrap_or(&[])
    }

    pub(crate) fn retire(&self) {
        self.mark(State::Retired);
    }

    pub(crate) fn is_retired(&self) -> bool {
        Tag::decode(self.word.load()).is_some_and(|tag| tag.state == State::Retired)
    }

    /// Zeros the blocks. The run is retired first, so that half of it is never taken for a record,
    /// and its word is the last to go, so that until then its length is known.
    pub(crate) fn wipe(mut self) -> Span {
        self.retire();
        self.body.wipe();
        self.word.store(0);
        let mut whole = self.word.into_span();
        // They were cut apart by `take_over`, so they fit.
        let _ = whole.append(self.body);
        whole
    }

    fn mark(&self, state: State) {
        self.word.store(Tag { state, length: self.length }.encode());
    }
}

/// What a run's word says: its state, and how long its payload is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Tag {
    pub(crate) state: State,
    pub(crate) length: usize,
}

/// The states of a run. Numbers that chance rarely hits, in the upper 16 bits of the word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    /// Being written.
    Reserved = 0xa5e1,
    /// A record.
    Committed = 0xc3d2,
    /// Replaced or removed, and perhaps still read by somebody.
    Retired = 0xe7b4,
}

impl Tag {
    fn encode(self) -> u64 {
        (self.state as u64) << LENGTH_BITS | self.length as u64
    }

    /// What the word of a run says; `None` if it is free, or nonsense.
    pub(crate) fn decode(word: u64) -> Option<Self> {
        let state = [State::Reserved, State::Committed, State::Retired]
            .into_iter()
            .find(|state| *state as u64 == word >> LENGTH_BITS)?;
        let length = usize::try_from(word & ((1 << LENGTH_BITS) - 1)).ok()?;
        Some(Self { state, length })
    }
}

/// How many bytes of whole blocks a record with such a payload takes.
pub(crate) fn run_len(length: usize) -> Option<usize> {
    if length as u64 >> LENGTH_BITS != 0 {
        return None;
    }
    length.checked_add(Word::LEN + Key::LEN)?.checked_next_multiple_of(BLOCK)
}

/// The unit in which memory is handed out.
pub(crate) const BLOCK: usize = 256;

const LENGTH_BITS: u32 = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_says_what_was_marked() {
        for state in [State::Reserved, State::Committed, State::Retired] {
            for length in [0, 1, 128 << 10, (1 << LENGTH_BITS) - 1] {
                let tag = Tag { state, length };
                assert_eq!(Tag::decode(tag.encode()), Some(tag));
            }
        }
        assert_eq!(Tag::decode(0), None);
        assert_eq!(Tag::decode(u64::MAX), None);
    }

    #[test]
    fn a_key_that_no_worker_writes_is_none() {
        let key = Key { kind: u32::MAX, id: u64::MAX };
        assert_eq!(Key::decode(&key.encode()), Some(key));
        let kind_too_large = (1_u128 << 96).to_ne_bytes();
        assert_eq!(Key::decode(&kind_too_large), None);
        assert_eq!(Key::decode(&key.encode()[..15]), None);
    }

    #[test]
    fn a_run_is_whole_blocks() {
        assert_eq!(run_len(0), Some(BLOCK));
        assert_eq!(run_len(BLOCK - 24), Some(BLOCK));
        assert_eq!(run_len(BLOCK - 23), Some(2 * BLOCK));
        assert_eq!(run_len(1 << LENGTH_BITS), None);
        assert_eq!(run_len(usize::MAX), None);
    }
}
