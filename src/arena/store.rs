//! The arena as the supervisor makes it and the worker uses it.

use std::collections::HashMap;
use std::error;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::MemfdFlags;
use rustix::fs::SealFlags;
use rustix::fs::fcntl_add_seals;
use rustix::fs::ftruncate;
use rustix::fs::memfd_create;
use rustix::io::Errno;

use crate::arena::record::BLOCK;
use crate::arena::record::Key;
use crate::arena::record::Record;
use crate::arena::record::Run;
use crate::arena::record::run_len;
use crate::arena::recovery::recover;
use crate::arena::space::Space;
use crate::sys::Span;
use crate::sys::Word;

/// Makes an empty arena of so many bytes: a memfd whose size nobody can change. For the supervisor,
/// which never maps it for writing.
pub fn create(room: u64) -> io::Result<OwnedFd> {
    if room < (2 * BLOCK) as u64 {
        let why = format!("an arena of {room} bytes is too small");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know the flag; later ones can be told to refuse a memfd without it.
    let memfd = match memfd_create(NAME, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(NAME, flags),
        made => made,
    }?;
    ftruncate(&memfd, room)?;
    let file = File::from(memfd);
    file.write_all_at(&header(room), 0)?;
    file.write_all_at(&(BLOCK as u64).to_ne_bytes(), MARK as u64)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file.into())
}

/// The records of one arena, and the room for more. A clone is the same arena.
///
/// One process at a time: the supervisor opens an arena for no worker before it has reaped the one
/// that had it.
#[derive(Clone)]
pub struct Arena {
    space: Arc<Space>,
    records: Arc<Mutex<HashMap<Key, Record>>>,
}

impl Arena {
    /// Maps the arena, clears what its last worker left unfinished, and returns it with every record
    /// in it, in the order of the keys.
    pub fn open(memfd: OwnedFd) -> Result<(Self, Vec<(Key, Record)>), OpenError> {
        Self::recover(Span::map(memfd).map_err(OpenError::Io)?)
    }

    pub(crate) fn recover(mut memory: Span) -> Result<(Self, Vec<(Key, Record)>), OpenError> {
        let whole = memory.end() - memory.end() % BLOCK;
        let header = header(memory.end() as u64);
        if whole < 2 * BLOCK || !memory.bytes().starts_with(&header) {
            return Err(OpenError::Layout);
        }
        // A remainder smaller than a block belongs to nobody.
        let _ = memory.split_off(whole);
        let mut blocks = memory.split_off(BLOCK);
        let Ok((mark, _)) = Word::split(memory.split_off(MARK)) else {
            return Err(OpenError::Layout);
        };
        let used = usize::try_from(mark.load())
            .ok()
            .filter(|used| (BLOCK..=whole).contains(used) && used.is_multiple_of(BLOCK));
        if used.is_none() {
            // Nonsense: then every block may have been used.
            mark.store(whole as u64);
        }
        let above = blocks.split_off(used.unwrap_or(whole) - BLOCK);
        let space = Arc::new(Space::new(mark));
        space.give(above);
        let records = recover(blocks, &space);
        let mut found: Vec<_> =
            records.iter().map(|(key, record)| (*key, record.clone())).collect();
        found.sort_unstable_by_key(|(key, _)| *key);
        let records = Arc::new(Mutex::new(records));
        Ok((Self { space, records }, found))
    }

    /// Stores bytes under a key, in place of those that were there. A worker killed meanwhile leaves
    /// either these or those.
    ///
    /// Both are there for a moment, and each in one piece; so it can be full although
    /// [`free`](Self::free) says more, and then nothing has changed.
    pub fn put(&self, key: Key, bytes: &[u8]) -> Result<Record, Full> {
        let mut records = self.records.lock();
        let span = run_len(bytes.len()).and_then(|len| self.space.take(len)).ok_or(Full)?;
        let run = Run::write(span, key, bytes).ok_or(Full)?;
        let record = Record::new(run, Arc::clone(&self.space));
        let replaced = records.insert(key, record.clone());
        if let Some(replaced) = &replaced {
            replaced.retire();
        }
        // What was replaced is wiped, if nobody holds it, after the lock is let go.
        drop(records);
        Ok(record)
    }

    /// Removes what is stored under a key, if anything is.
    pub fn remove(&self, key: Key) {
        let mut records = self.records.lock();
        let removed = records.remove(&key);
        if let Some(removed) = &removed {
            removed.retire();
        }
        drop(records);
    }

    /// How many bytes from the start of the memfd have ever been in use: what is to be locked in
    /// memory. It never shrinks.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.space.used()
    }

    #[cfg(test)]
    pub(crate) fn new_journal(&self) -> Vec<crate::sys::Store> {
        self.space.new_journal()
    }

    /// How many bytes are free, in however many pieces. A record takes 24 bytes beside its own, in
    /// whole blocks of 256; one that was replaced or removed takes them until its last holder lets go.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.space.free()
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "[arena: {} bytes used, {} free]", self.used(), self.free())
    }
}

/// There are not so many free bytes in one piece.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the arena is full")
    }
}

impl error::Error for Full {}

/// Why an arena could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// It is not laid out as this program does it: another version made it.
    Layout,
    /// It cannot be mapped.
    Io(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout => out.write_str("arena: its layout is another version's"),
            Self::Io(why) => write!(out, "arena: {why}"),
        }
    }
}

impl error::Error for OpenError {}

/// The start of the memfd, up to the mark: what must be found there word for word.
fn header(room: u64) -> [u8; MARK] {
    let mut header = [0; MARK];
    let fields = MAGIC
        .into_iter()
        .chain(LAYOUT.to_ne_bytes())
        .chain((BLOCK as u64).to_ne_bytes())
        .chain(room.to_ne_bytes());
    header.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    header
}

const NAME: &str = "akvfs-arena";

const MAGIC: [u8; 8] = *b"akvarena";

/// Raised whenever what stands in the memfd, or what it means, changes.
const LAYOUT: u64 = 1;

/// Where the mark stands.
const MARK: usize = 32;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::any;
    use proptest::prelude::prop;
    use proptest::prop_assert;
    use proptest::prop_assert_eq;
    use proptest::prop_oneof;
    use proptest::proptest;
    use proptest::strategy::Strategy;
    use proptest::test_runner::Config;

    use super::*;

    const CANARY: &[u8] = b"canary in a coal mine";

    /// A memfd, and the worker that has it open.
    struct World {
        memfd: File,
        arena: Arena,
    }

    impl World {
        fn new(room: u64) -> Self {
            let memfd = File::from(create(room).unwrap());
            let (arena, found) = open(&memfd);
            assert!(found.is_empty());
            Self { memfd, arena }
        }

        /// The old worker is gone, with what it held; the next one opens.
        fn next_worker(self) -> (Self, Vec<(Key, Vec<u8>)>) {
            drop(self.arena);
            let (arena, found) = open(&self.memfd);
            let found = found.iter().map(|(key, record)| (*key, record.bytes().to_vec())).collect();
            (Self { memfd: self.memfd, arena }, found)
        }

        fn memory(&self) -> Vec<u8> {
            let mut bytes = vec![0; usize::try_from(self.memfd.metadata().unwrap().len()).unwrap()];
            self.memfd.read_exact_at(&mut bytes, 0).unwrap();
            bytes
        }

        fn canaries(&self) -> usize {
            self.memory().windows(CANARY.len()).filter(|bytes| *bytes == CANARY).count()
        }
    }

    fn open(memfd: &File) -> (Arena, Vec<(Key, Record)>) {
        Arena::open(memfd.try_clone().unwrap().into()).unwrap()
    }

    fn key(id: u64) -> Key {
        Key { kind: 1, id }
    }

    #[test]
    fn the_next_worker_finds_the_last_of_each_record_in_the_order_of_the_keys() {
        let world = World::new(1 << 16);
        world.arena.put(key(2), b"two").unwrap();
        world.arena.put(key(1), b"").unwrap();
        world.arena.put(Key { kind: 0, id: 2 }, b"another kind").unwrap();
        world.arena.put(key(3), b"removed").unwrap();
        world.arena.put(key(2), b"two again").unwrap();
        world.arena.remove(key(3));

        let (world, found) = world.next_worker();

        let expected = [
            (Key { kind: 0, id: 2 }, b"another kind".to_vec()),
            (key(1), b"".to_vec()),
            (key(2), b"two again".to_vec()),
        ];
        assert_eq!(found, expected);
        world.arena.put(key(2), b"once more").unwrap();
        let (_, found) = world.next_worker();
        assert_eq!(found[2], (key(2), b"once more".to_vec()));
    }

    #[test]
    fn a_holder_keeps_the_bytes_of_what_was_replaced_or_removed() {
        let world = World::new(1 << 16);
        let before = world.arena.free();
        let first = world.arena.put(key(1), CANARY).unwrap();
        let second = world.arena.put(key(1), b"second").unwrap();
        world.arena.remove(key(1));
        world.arena.put(key(2), b"in between").unwrap();
        world.arena.remove(key(2));
        let again = first.clone();
        drop(first);
        assert_eq!(again.bytes(), CANARY);
        assert_eq!(second.bytes(), b"second");
        assert_eq!(world.arena.free(), before - 512);

        drop(second);
        assert_eq!(world.canaries(), 1);
        drop(again);

        assert_eq!(world.canaries(), 0);
        assert_eq!(world.arena.free(), before);
    }

    #[test]
    fn a_record_outlives_the_arena_it_was_put_into() {
        let World { memfd, arena } = World::new(1 << 16);
        let record = arena.put(key(1), CANARY).unwrap();
        let removed = arena.put(key(2), CANARY).unwrap();
        arena.remove(key(2));
        drop(arena);
        assert_eq!(record.bytes(), CANARY);
        drop(record);
        drop(removed);
        let (arena, found) = open(&memfd);
        assert_eq!(found.len(), 1);
        assert_eq!(World { memfd, arena }.canaries(), 1);
    }

    // Were a replaced record left committed until its holder lets go, the value before the last one
    // would be found again if the key is removed and the worker dies meanwhile.
    #[test]
    fn a_replaced_record_that_is_held_does_not_come_back_for_the_next_worker() {
        let world = World::new(1 << 16);
        let held = world.arena.put(key(1), CANARY).unwrap();
        world.arena.put(key(1), CANARY).unwrap();
        world.arena.remove(key(1));
        // A killed worker drops nothing.
        std::mem::forget(held);

        let (world, found) = world.next_worker();

        assert_eq!(found, []);
        assert_eq!(world.canaries(), 0);
        assert_eq!(world.arena.free(), (1 << 16) - 256);
    }

    #[test]
    fn a_full_arena_changes_nothing_and_has_room_again_after_a_removal() {
        let world = World::new(256 * 5);
        world.arena.put(key(1), &[1; 300]).unwrap();
        world.arena.put(key(2), &[2; 200]).unwrap();
        assert_eq!(world.arena.free(), 256);

        assert_eq!(world.arena.put(key(1), &[3; 300]).err(), Some(Full));
        assert_eq!(world.arena.put(key(3), &[3; 233]).err(), Some(Full));
        world.arena.put(key(3), &[3; 232]).unwrap();
        world.arena.remove(key(1));
        world.arena.put(key(2), &[4; 480]).unwrap();

        let (_, found) = world.next_worker();
        assert_eq!(found, [(key(2), vec![4; 480]), (key(3), vec![3; 232])]);
    }

    #[test]
    fn what_is_used_covers_every_record() {
        let world = World::new(1 << 20);
        assert_eq!(world.arena.used(), 256);
        for id in 0..100 {
            world.arena.put(key(id), &[0xff; 300]).unwrap();
        }
        assert_eq!(world.arena.used(), 256 + 100 * 512);
        let used = usize::try_from(world.arena.used()).unwrap();
        assert!(world.memory()[used..].iter().all(|byte| *byte == 0));
        (0..100).for_each(|id| world.arena.remove(key(id)));
        let (world, _) = world.next_worker();
        assert_eq!(world.arena.used(), used as u64);
        assert!(world.memory()[256..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn ten_thousand_small_records_and_the_longest_values_are_found_again() {
        let world = World::new(64 << 20);
        for id in 0..10_000 {
            world.arena.put(key(id), &[id.to_le_bytes()[0]; 300]).unwrap();
        }
        for id in 0..20 {
            world.arena.put(Key { kind: 2, id }, &vec![id.to_le_bytes()[0]; 128 << 10]).unwrap();
        }
        let (_, found) = world.next_worker();
        assert_eq!(found.len(), 10_020);
        for (key, bytes) in found {
            let len = if key.kind == 1 { 300 } else { 128 << 10 };
            assert_eq!(bytes, vec![key.id.to_le_bytes()[0]; len]);
        }
    }

    #[test]
    fn another_layout_is_refused() {
        let World { memfd, arena } = World::new(1 << 16);
        arena.put(key(1), b"value").unwrap();
        drop(arena);
        for at in 0..MARK as u64 {
            let mut byte = [0];
            memfd.read_exact_at(&mut byte, at).unwrap();
            memfd.write_all_at(&[!byte[0]], at).unwrap();
            let refused = Arena::open(memfd.try_clone().unwrap().into());
            assert!(matches!(refused, Err(OpenError::Layout)), "byte {at}");
            memfd.write_all_at(&byte, at).unwrap();
        }
        assert_eq!(open(&memfd).1.len(), 1);
    }

    #[test]
    fn a_mark_that_makes_no_sense_hides_no_record() {
        for mark in [0, 255, 257, (1 << 16) + 256, u64::MAX] {
            let world = World::new(1 << 16);
            world.arena.put(key(1), CANARY).unwrap();
            world.memfd.write_all_at(&mark.to_ne_bytes(), MARK as u64).unwrap();
            let (world, found) = world.next_worker();
            assert_eq!(found, [(key(1), CANARY.to_vec())]);
            assert_eq!(world.arena.used(), 1 << 16);
        }
    }

    #[test]
    fn of_two_records_under_one_key_one_is_kept() {
        let world = World::new(1 << 16);
        world.arena.put(key(1), CANARY).unwrap();
        world.arena.put(key(2), CANARY).unwrap();
        let mut first = [0; 16];
        world.memfd.read_exact_at(&mut first, 256 + 8).unwrap();
        world.memfd.write_all_at(&first, 512 + 8).unwrap();
        let (world, found) = world.next_worker();
        assert_eq!(found, [(key(1), CANARY.to_vec())]);
        assert_eq!(world.canaries(), 1);
        assert_eq!(world.arena.free(), (1 << 16) - 512);
    }

    #[test]
    fn only_a_memfd_sealed_in_size_is_opened() {
        let memfd = create(1 << 16).unwrap();
        assert_eq!(ftruncate(&memfd, 1 << 17), Err(Errno::PERM));
        assert_eq!(ftruncate(&memfd, 1 << 15), Err(Errno::PERM));
        assert_eq!(fcntl_add_seals(&memfd, SealFlags::WRITE), Err(Errno::PERM));

        let unsealed = memfd_create("unsealed", MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&unsealed, 1 << 16).unwrap();
        assert!(matches!(Arena::open(unsealed), Err(OpenError::Io(_))));
        let null = File::open("/dev/null").unwrap();
        assert!(matches!(Arena::open(null.into()), Err(OpenError::Io(_))));
        assert!(create(511).is_err());
        assert!(create(u64::MAX).is_err());
    }

    #[test]
    fn the_memory_is_in_no_core_file() {
        let _world = World::new(1 << 16);
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let flags = maps
            .lines()
            .skip_while(|line| !line.contains(NAME))
            .find(|line| line.starts_with("VmFlags:"))
            .unwrap();
        assert!(flags.split(' ').any(|flag| flag == "dd"), "{flags}");
    }

    #[test]
    fn debug_shows_no_bytes() {
        let world = World::new(1 << 16);
        let record = world.arena.put(key(1), b"AAAA").unwrap();
        assert_eq!(format!("{record:?}"), "[4 bytes]");
        assert_eq!(format!("{:?}", world.arena), "[arena: 512 bytes used, 65024 free]");
    }

    #[test]
    fn threads_see_only_whole_values_and_leave_nothing_behind() {
        let world = World::new(1 << 20);
        let before = world.arena.free();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let arena = world.arena.clone();
                scope.spawn(move || {
                    let mut held = Vec::new();
                    for round in 0..500_usize {
                        let record =
                            arena.put(key(round as u64 % 3), &vec![thread; round]).unwrap();
                        held.push(record);
                        if round % 7 == 0 {
                            arena.remove(key(1));
                        }
                        if held.len() == 8 {
                            let all = |record: &Record| record.bytes().iter().all(|b| *b == thread);
                            assert!(held.drain(..).all(|record| all(&record)));
                        }
                    }
                });
            }
        });
        (0..3).for_each(|id| world.arena.remove(key(id)));
        assert_eq!(world.arena.free(), before);
        assert!(world.memory()[256..].iter().all(|byte| *byte == 0));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u64, usize),
        Remove(u64),
        Hold(u64),
        LetGo,
        Reopen,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..12_u64, 0..2000_usize).prop_map(|(id, len)| Step::Put(id, len)),
            4 => (0..12_u64).prop_map(Step::Remove),
            2 => (0..12_u64).prop_map(Step::Hold),
            1 => proptest::strategy::Just(Step::LetGo),
            1 => proptest::strategy::Just(Step::Reopen),
        ]
    }

    /// A byte string that tells from which step it is.
    fn value(step: usize, len: usize) -> Vec<u8> {
        (step..).map(|byte| byte.to_le_bytes()[0] | 1).take(len).collect()
    }

    proptest! {
        #![proptest_config(Config { failure_persistence: None, ..Config::with_cases(300) })]

        #[test]
        fn the_arena_is_a_map(steps in prop::collection::vec(step(), 1..60)) {
            let mut world = World::new(16 << 10);
            let mut reference = BTreeMap::new();
            let mut records = BTreeMap::new();
            let mut held = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Put(id, len) => {
                        let value = value(number, len);
                        if let Ok(record) = world.arena.put(key(id), &value) {
                            reference.insert(key(id), value);
                            records.insert(key(id), record);
                        }
                    }
                    Step::Remove(id) => {
                        world.arena.remove(key(id));
                        reference.remove(&key(id));
                        records.remove(&key(id));
                    }
                    Step::Hold(id) => {
                        let record = records.get(&key(id)).cloned();
                        held.extend(record.map(|record| (record, reference[&key(id)].clone())));
                    }
                    Step::LetGo => held.clear(),
                    Step::Reopen => {
                        held.clear();
                        records.clear();
                        let (next, found) = world.next_worker();
                        world = next;
                        prop_assert_eq!(found, reference.clone().into_iter().collect::<Vec<_>>());
                    }
                }
                for (record, value) in &held {
                    prop_assert_eq!(record.bytes(), value);
                }
                for (key, record) in &records {
                    prop_assert_eq!(record.bytes(), &reference[key]);
                }
            }
            held.clear();
            records.clear();
            reference.keys().for_each(|key| world.arena.remove(*key));
            prop_assert_eq!(world.arena.free(), (16 << 10) - 256);
            prop_assert_eq!(world.memory()[256..].iter().position(|byte| *byte != 0), None);
        }

        #[test]
        fn a_damaged_arena_works_and_what_is_not_found_is_wiped(
            lengths in prop::collection::vec(0..1000_usize, 1..12),
            damage in prop::collection::vec((any::<u64>(), 0..40_u64, any::<u8>()), 1..8),
        ) {
            let World { memfd, arena } = World::new(16 << 10);
            for (id, len) in (0..).zip(&lengths) {
                arena.put(key(id), &vec![0xff; *len]).unwrap();
            }
            for (block, at, byte) in damage {
                let block = 1 + block % (arena.used() / 256 - 1);
                memfd.write_all_at(&[byte], block * 256 + at).unwrap();
            }
            drop(arena);
            let (arena, found) = open(&memfd);
            let world = World { memfd, arena };
            prop_assert!(found.iter().all(|(_, record)| record.bytes().len() < 16 << 10));
            found.iter().for_each(|(key, _)| world.arena.remove(*key));
            drop(found);
            prop_assert_eq!(world.arena.free(), (16 << 10) - 256);
            prop_assert_eq!(world.memory()[256..].iter().position(|byte| *byte != 0), None);
            world.arena.put(key(99), CANARY).unwrap();
            prop_assert_eq!(world.next_worker().1, [(key(99), CANARY.to_vec())]);
        }
    }
}
