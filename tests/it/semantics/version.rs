//! One version, whole: what is open keeps its version, the next open sees the newest.

use std::fs;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use akvfs_emulator::vault::Change;
use rustix::fs::Advice;

use crate::caller::same;
use crate::mapping::Mapping;
use crate::mounted::Mounted;
use crate::world::World;
use crate::world::until;

#[test]
fn an_open_file_its_fstat_and_its_mmap_keep_their_version_through_a_rotation() {
    let Some(world) = World::new() else { return };
    let long = "long ".repeat(4000);
    let values = ["first", &long, "s", "", "after nothing", "first"];
    world.vault().put("ftpadmin", values[0]);
    let mounted = world.mount(&["refresh=400ms"]);

    let mut held: Vec<Held<'_>> = Vec::new();
    for (turn, value) in values.into_iter().enumerate() {
        if turn > 0 {
            world.vault().put("ftpadmin", value);
        }
        mounted.until_shows("ftpadmin", value);
        held.iter().for_each(Held::check);
        held.push(Held::open(&mounted, value));
    }
    held.iter().for_each(Held::check);
}

/// An open file, a mapping of it, and one that was never read.
struct Held<'v> {
    file: File,
    unread: File,
    mapping: Option<Mapping>,
    seen: fs::Metadata,
    value: &'v str,
}

impl<'v> Held<'v> {
    fn open(mounted: &Mounted<'_>, value: &'v str) -> Self {
        let file = mounted.open("ftpadmin").unwrap();
        let seen = file.metadata().unwrap();
        Self {
            mapping: Mapping::of(&file, value.len()),
            unread: mounted.open("ftpadmin").unwrap(),
            file,
            seen,
            value,
        }
    }

    fn check(&self) {
        for file in [&self.file, &self.unread] {
            // What was read before is read again.
            rustix::fs::fadvise(file, 0, None, Advice::DontNeed).unwrap();
            let now = file.metadata().unwrap();
            assert!(same(&now, &self.seen), "{now:?} {:?}", self.seen);
            assert_eq!((now.size(), now.nlink()), (self.value.len() as u64, 1));
            let mut bytes = vec![0; self.value.len() + 10];
            let length = file.read_at(&mut bytes, 0).unwrap();
            assert_eq!(&bytes[..length], self.value.as_bytes());
            let middle = self.value.len() / 2;
            let length = file.read_at(&mut bytes, middle as u64).unwrap();
            assert_eq!(&bytes[..length], &self.value.as_bytes()[middle..]);
        }
        if let Some(mapping) = &self.mapping {
            assert_eq!(mapping.bytes(), self.value.as_bytes());
        }
    }
}

#[test]
fn a_file_that_was_open_unread_before_a_rotation_gives_its_own_version() {
    let Some(world) = World::new() else { return };
    let (old, new) = ("old ".repeat(5000), "new");
    world.vault().put("ftpadmin", &old);
    let mounted = world.mount(&["refresh=300ms"]);
    let file = mounted.open("ftpadmin").unwrap();

    world.vault().put("ftpadmin", new);
    mounted.until_shows("ftpadmin", new);

    let mut bytes = vec![0; old.len()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes, old.as_bytes());
}

#[test]
fn a_rotation_is_another_inode_with_the_time_of_its_version_and_a_change_of_tags_is_none() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "v");
    let created = |at| Change { created: Some(at), ..Change::default() };
    assert!(world.vault().change("ftpadmin", created(1_700_000_000)));
    let mounted = world.mount(&["refresh=300ms"]);
    let first = mounted.stat("ftpadmin").unwrap();
    assert_eq!(first.mtime(), 1_700_000_000);

    let tags = [("owner".to_owned(), "ftp".to_owned())].into();
    let content_type = Some("text/plain".to_owned());
    let tagged = Change { tags: Some(tags), content_type, ..Change::default() };
    assert!(world.vault().change("ftpadmin", tagged));
    let known = world.answered("ftpadmin", 200);
    until("the change was heard of", || world.answered("ftpadmin", 200) > known + 1);
    let tagged = mounted.stat("ftpadmin").unwrap();
    assert!(same(&first, &tagged), "{tagged:?}");

    // The same bytes again are another version all the same.
    world.vault().put("ftpadmin", "v");
    until("another inode", || mounted.stat("ftpadmin").unwrap().ino() != first.ino());
    let second = mounted.stat("ftpadmin").unwrap();
    assert!(second.mtime() > 1_700_000_000);
    assert!(second.ino() < 1 << 32, "a 32-bit program cannot stat it");
}

#[test]
fn the_next_open_sees_a_rotation_within_a_refresh() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "0");
    let mounted = world.mount(&["refresh=1s"]);
    assert_eq!(mounted.text("ftpadmin"), "0");
    for turn in 1..4 {
        world.vault().put("ftpadmin", &turn.to_string());
        mounted.until_shows("ftpadmin", &turn.to_string());
    }
    // Whatever it was asked in: it was asked in every second.
    let requests = world.emulator.requests();
    let asked: Vec<_> = requests.iter().filter(|it| it.is_get() || it.is_list()).collect();
    for pair in asked.windows(2) {
        let apart = pair[1].at - pair[0].at;
        assert!(apart.as_millis() < 1_300, "{apart:?} between two requests");
    }
}

#[test]
fn no_reader_ever_sees_a_mixture_or_goes_back() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", &version(0));
    let mounted = world.mount(&["refresh=100ms"]);
    let (acknowledged, over, opens) =
        (AtomicUsize::new(0), AtomicBool::new(false), AtomicUsize::new(0));

    let reader = || {
        mounted.inside(|directory| {
            let mut newest = 0;
            while !over.load(Ordering::Relaxed) {
                let least = newest.max(acknowledged.load(Ordering::SeqCst));
                let file = File::open(directory.join("ftpadmin")).unwrap();
                let size = usize::try_from(file.metadata().unwrap().size()).unwrap();
                let mut bytes = vec![0; 32 * 1024];
                let length = file.read_at(&mut bytes, 0).unwrap();
                let text = std::str::from_utf8(&bytes[..length]).unwrap();
                newest = text.split(' ').next().unwrap().parse().unwrap();
                assert!(text == version(newest) && length == size, "{newest}: {length}, {size}");
                assert!(newest >= least, "{newest} after {least}");
                opens.fetch_add(1, Ordering::Relaxed);
            }
        });
    };
    std::thread::scope(|scope| {
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        for turn in 1..=20 {
            world.vault().put("ftpadmin", &version(turn));
            mounted.until_shows("ftpadmin", &version(turn));
            acknowledged.store(turn, Ordering::SeqCst);
            if readers.iter().any(|reader| reader.is_finished()) {
                break;
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(opens.into_inner() > 1000);
}

/// A value that says throughout which one it is, each of another length.
fn version(number: usize) -> String {
    format!("{number} ").repeat(1 + number * 7919 % 7000)
}
