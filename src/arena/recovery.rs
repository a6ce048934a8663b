//! What a new worker makes of the memory that the old one left behind.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use crate::arena::record::BLOCK;
use crate::arena::record::Key;
use crate::arena::record::Record;
use crate::arena::record::Run;
use crate::arena::record::State;
use crate::arena::record::Tag;
use crate::arena::record::run_len;
use crate::arena::space::Space;
use crate::sys::Span;
use crate::sys::Word;

/// Takes over the blocks below the mark: whole records are returned, everything else is zeroed and
/// given to the free space. It may itself be killed anywhere, and done again.
///
/// Of two records under one key either will do: a worker that lived to tell that the second was
/// stored has retired the first.
pub(crate) fn recover(mut blocks: Span, space: &Arc<Space>) -> HashMap<Key, Record> {
    let pieces = survey(blocks.bytes());
    let mut records = HashMap::new();
    for piece in pieces {
        let rest = blocks.split_off(piece.len);
        let mut span = mem::replace(&mut blocks, rest);
        let (key, length) = match piece.found {
            Found::Nothing => {
                space.give(span);
                continue;
            }
            Found::Nonsense => {
                span.wipe();
                space.give(span);
                continue;
            }
            Found::Run(key, length) => (key, length),
        };
        let Some(run) = Run::take_over(span, length) else {
            continue;
        };
        match key {
            Some(key) if !records.contains_key(&key) => {
                records.insert(key, Record::new(run, Arc::clone(space)));
            }
            Some(_) | None => space.give(run.wipe()),
        }
    }
    records
}

/// So many bytes of blocks, and what they hold.
#[derive(Debug, Eq, PartialEq)]
struct Piece {
    len: usize,
    found: Found,
}

#[derive(Debug, Eq, PartialEq)]
enum Found {
    /// Zeros.
    Nothing,
    /// A run with a payload of that length; with its key if it is a whole record.
    Run(Option<Key>, usize),
    /// A block that no worker leaves behind.
    Nonsense,
}

/// Cuts blocks into pieces, without a gap. Whatever the bytes are, it is an answer.
fn survey(mut blocks: &[u8]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    while let Some(block) = blocks.get(..BLOCK) {
        let piece = match run_at(blocks) {
            Some(run) => run,
            None if block == ZEROS => Piece { len: BLOCK, found: Found::Nothing },
            None => Piece { len: BLOCK, found: Found::Nonsense },
        };
        blocks = blocks.get(piece.len..).unwrap_or(&[]);
        match pieces.last_mut() {
            Some(last) if last.found == Found::Nothing && piece.found == Found::Nothing => {
                last.len += piece.len;
            }
            _ => pieces.push(piece),
        }
    }
    pieces
}

/// The run that begins here; `None` if none does, or if it were to end beyond the blocks.
fn run_at(blocks: &[u8]) -> Option<Piece> {
    let (word, _) = blocks.split_first_chunk::<{ Word::LEN }>()?;
    let tag = Tag::decode(u64::from_ne_bytes(*word))?;
    let len = run_len(tag.length)?;
    let (_, body) = blocks.get(..len)?.split_at_checked(Word::LEN)?;
    let key = match tag.state {
        State::Committed => Key::decode(body),
        State::Reserved | State::Retired => None,
    };
    Some(Piece { len, found: Found::Run(key, tag.length) })
}

const ZEROS: &[u8] = &[0; BLOCK];

#[cfg(test)]
mod tests {
    use proptest::prelude::any;
    use proptest::prelude::prop;
    use proptest::prop_assert;
    use proptest::prop_assert_eq;
    use proptest::proptest;
    use proptest::strategy::Strategy;
    use proptest::test_runner::Config;

    use super::*;

    /// Blocks whose words are often plausible.
    fn blocks() -> impl Strategy<Value = Vec<u8>> {
        let state = prop::sample::select(vec![0, 0xa5e1, 0xc3d2, 0xe7b4, 0xffff_u64]);
        let length = prop::sample::select(vec![0, 1, 232, 233, 5000, 0xffff_ffff_ffff_u64]);
        let field = prop::sample::select(vec![0, 1, 2, u64::MAX]);
        let block = (state, length, [field.clone(), field], any::<u8>());
        prop::collection::vec(block, 0..12).prop_map(|blocks| {
            let words = blocks.into_iter().flat_map(|(state, length, fields, rest)| {
                let mut block = vec![rest; BLOCK];
                let head = [state << 48 | length].into_iter().chain(fields);
                block.splice(..24, head.flat_map(u64::to_ne_bytes));
                block
            });
            words.collect()
        })
    }

    proptest! {
        #![proptest_config(Config { failure_persistence: None, ..Config::with_cases(500) })]

        #[test]
        fn whatever_is_found_is_cut_into_pieces_without_a_gap(bytes in blocks()) {
            let pieces = survey(&bytes);
            prop_assert_eq!(pieces.iter().map(|piece| piece.len).sum::<usize>(), bytes.len());
            for piece in &pieces {
                prop_assert!(piece.len >= BLOCK && piece.len.is_multiple_of(BLOCK));
                if let Found::Run(_, length) = piece.found {
                    prop_assert_eq!(run_len(length), Some(piece.len));
                }
            }
        }
    }
}
