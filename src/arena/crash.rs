//! Tests of the promise that a worker may be killed at any instruction: by replaying its stores up to
//! each of them, and by killing real processes.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::process::Stdio;

use proptest::prelude::prop;
use proptest::prop_oneof;
use proptest::proptest;
use proptest::strategy::Just;
use proptest::strategy::Strategy;
use proptest::test_runner::Config;

use crate::arena::record::Key;
use crate::arena::record::Record;
use crate::arena::store::Arena;
use crate::arena::store::create;
use crate::sys::Span;
use crate::sys::Store;
use crate::sys::Word;

const ROOM: u64 = 8 << 10;

/// What an arena holds, by key.
type Content = BTreeMap<Key, Vec<u8>>;

fn content(found: &[(Key, Record)]) -> Content {
    found.iter().map(|(key, record)| (*key, record.bytes().to_vec())).collect()
}

fn memory(memfd: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(memfd.metadata().unwrap().len()).unwrap()];
    memfd.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// The memory at every moment in the course of some stores. One of eight bytes is a word's, and
/// never half done; of others, any part may be.
fn moments(mut memory: Vec<u8>, stores: &[Store]) -> Vec<Vec<u8>> {
    let mut moments = vec![memory.clone()];
    for (at, bytes) in stores {
        let done: [fn(usize, usize) -> bool; 3] =
            [|at, len| at < len / 2, |at, len| at >= len / 2, |at, _| at % 3 == 0];
        let torn = done.iter().filter(|_| bytes.len() != Word::LEN);
        for part in torn {
            let mut memory = memory.clone();
            for (offset, byte) in bytes.iter().enumerate() {
                if part(offset, bytes.len()) {
                    memory[at + offset] = *byte;
                }
            }
            moments.push(memory);
        }
        memory[*at..at + bytes.len()].copy_from_slice(bytes);
        moments.push(memory.clone());
    }
    moments
}

/// What the next worker finds in such a memory, and the stores that it makes to find it.
fn recovered(memory: &[u8]) -> (Content, Vec<Store>) {
    let memfd = File::from(create(memory.len() as u64).unwrap());
    memfd.write_all_at(memory, 0).unwrap();
    let (word, rest) = Word::split(Span::map(&memfd).unwrap()).unwrap();
    word.new_journal();
    let mut whole = word.into_span();
    whole.append(rest).unwrap();
    let (arena, found) = Arena::recover(whole).unwrap();
    let stores = arena.new_journal();
    let content = content(&found);
    // Nothing else is left: once these are removed, all is free and all is zeros.
    drop(found);
    content.keys().for_each(|key| arena.remove(*key));
    assert_eq!(arena.free(), ROOM - 256);
    assert!(self::memory(&memfd)[256..].iter().all(|byte| *byte == 0));
    (content, stores)
}

#[derive(Clone, Debug)]
enum Step {
    Put(u64, usize),
    Remove(u64),
    Hold,
    LetGo,
}

fn step() -> impl Strategy<Value = Step> {
    // Eight bytes would look like a word to `moments`.
    let len = (0..900_usize).prop_filter("as long as a word", |len| *len != Word::LEN);
    prop_oneof![
        6 => (0..4_u64, len).prop_map(|(id, len)| Step::Put(id, len)),
        2 => (0..4_u64).prop_map(Step::Remove),
        1 => Just(Step::Hold),
        1 => Just(Step::LetGo),
    ]
}

/// A value that reads as a record of its own, wherever in it a block begins.
fn forgery(number: u64, len: usize) -> Vec<u8> {
    let committed = 0xc3d2 << 48;
    let record = [committed, number, 9].map(u64::to_ne_bytes).concat();
    let block = record.iter().copied().cycle().take(256);
    // The first block's word and key stand before the value.
    block.cycle().skip(24).take(len).collect()
}

/// A worker that takes the steps, and what it held before and after each: calls back with that, and
/// with the memory at every moment in between.
fn at_every_moment(steps: &[Step], check: impl Fn(&Content, &Content, &[u8])) {
    let memfd = File::from(create(ROOM).unwrap());
    let (arena, _) = Arena::open(memfd.try_clone().unwrap().into()).unwrap();
    let (mut held, mut last) = (Vec::new(), None);
    let mut after = Content::new();
    for (number, step) in steps.iter().enumerate() {
        let (before, old) = (after.clone(), memory(&memfd));
        arena.new_journal();
        match *step {
            Step::Put(id, len) => {
                let key = Key { kind: 3, id };
                let value = forgery(number as u64, len);
                if let Ok(record) = arena.put(key, &value) {
                    last = Some(record);
                    after.insert(key, value);
                }
            }
            Step::Remove(id) => {
                arena.remove(Key { kind: 3, id });
                after.remove(&Key { kind: 3, id });
            }
            Step::Hold => held.extend(last.take()),
            Step::LetGo => held.clear(),
        }
        let stores = arena.new_journal();
        let moments = moments(old, &stores);
        assert_eq!(moments.last(), Some(&memory(&memfd)), "a store is not in the journal");
        moments.iter().for_each(|memory| check(&before, &after, memory));
    }
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::with_cases(40) })]

    #[test]
    fn a_worker_killed_between_any_two_stores_leaves_the_old_or_the_new(
        steps in prop::collection::vec(step(), 1..14),
    ) {
        at_every_moment(&steps, |before, after, memory| {
            let (content, _) = recovered(memory);
            assert!(content == *before || content == *after);
        });
    }

    #[test]
    fn a_worker_killed_while_it_recovers_loses_nothing(
        steps in prop::collection::vec(step(), 1..5),
    ) {
        at_every_moment(&steps, |_, _, memory| {
            let (content, stores) = recovered(memory);
            for memory in moments(memory.to_vec(), &stores) {
                assert_eq!(recovered(&memory).0, content);
            }
        });
    }
}

/// A sequence of numbers without a pattern.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// The value of a key in one version: its length and each of its bytes follow from both.
fn value(id: u64, version: u64) -> Vec<u8> {
    let mut dice = Dice(id ^ version << 8);
    let longest = [60, 400, 3000, 100_000][usize::try_from(dice.roll(4)).unwrap()];
    let len = dice.roll(longest);
    let noise = (0..len).map(|_| dice.roll(256).to_le_bytes()[0]);
    id.to_le_bytes().into_iter().chain(version.to_le_bytes()).chain(noise).collect()
}

/// Which versions these records are, after a look at each byte of them.
fn versions(found: &[(Key, Record)]) -> HashMap<u64, u64> {
    let version = |(key, record): &(Key, Record)| {
        let version = u64::from_le_bytes(record.bytes()[8..16].try_into().unwrap());
        assert_eq!(record.bytes(), value(key.id, version));
        (key.id, version)
    };
    found.iter().map(version).collect()
}

/// The child of the test below, with the arena as its standard input: stores and removes until it is
/// killed, and tells of each act when it is done.
#[test]
#[ignore = "the child of another test"]
fn hammer() {
    let memfd: OwnedFd = io::stdin().as_fd().try_clone_to_owned().unwrap();
    let Ok((arena, found)) = Arena::open(memfd) else {
        return;
    };
    let mut version = versions(&found).into_values().max().unwrap_or(0);
    let mut dice = Dice(u64::from(std::process::id()));
    let mut held = Vec::new();
    // Far more than are done before the kill; but nothing goes on for ever if there is none.
    for _ in 0..100_000 {
        let id = dice.roll(24);
        let key = Key { kind: 0, id };
        let mut told = id.to_le_bytes().to_vec();
        if dice.roll(4) == 0 {
            arena.remove(key);
            told.extend(0_u64.to_le_bytes());
        } else {
            version += 1;
            held.push(arena.put(key, &value(id, version)).unwrap());
            told.extend(version.to_le_bytes());
        }
        if held.len() > 5 {
            held.clear();
        }
        io::stderr().write_all(&told).unwrap();
    }
}

#[test]
fn killed_workers_lose_no_more_than_the_act_they_were_killed_in() {
    let memfd = File::from(create(8 << 20).unwrap());
    let mut dice = Dice(1);
    let mut known = HashMap::new();
    let mut acts = 0;
    for _ in 0..200 {
        let mut worker = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "arena::crash::hammer", "--ignored", "--nocapture"])
            .stdin(memfd.try_clone().unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = vec![0; 16 * usize::try_from(1 + dice.roll(60)).unwrap()];
        let mut pipe = worker.stderr.take().unwrap();
        pipe.read_exact(&mut told).unwrap();
        worker.kill().unwrap();
        worker.wait().unwrap();
        pipe.read_to_end(&mut told).unwrap();
        for act in told.chunks(16) {
            let id = u64::from_le_bytes(act[..8].try_into().unwrap());
            match u64::from_le_bytes(act[8..].try_into().unwrap()) {
                0 => known.remove(&id),
                version => known.insert(id, version),
            };
            acts += 1;
        }

        let (arena, found) = Arena::open(memfd.try_clone().unwrap().into()).unwrap();

        let versions = versions(&found);
        let differ = (0..24).filter(|id| known.get(id) != versions.get(id)).count();
        assert!(differ <= 1, "after {acts} acts: {known:?}, but {versions:?}");
        let blocks = |(_, record): &(Key, Record)| (record.bytes().len() + 24).div_ceil(256) as u64;
        let taken = found.iter().map(blocks).sum::<u64>() * 256;
        assert_eq!(arena.free(), (8 << 20) - 256 - taken);
        known = versions;
    }
    assert!(acts > 200);
}
