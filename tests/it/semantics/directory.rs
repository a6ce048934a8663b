//! The directory when it is large, and when it changes while somebody reads it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::RawDir;
use rustix::fs::SeekFrom;
use rustix::fs::open;
use rustix::fs::seek;

use crate::mounted::Mounted;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

/// What getdents(2) says of a name.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Entry {
    name: String,
    number: u64,
    kind: FileType,
    /// From where a reader goes on after it.
    next: u64,
}

fn directory(path: &Path) -> OwnedFd {
    open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

/// Reads a directory to its end, from where it is, a few names at a time; `pause` is called for
/// each.
fn rest(directory: &OwnedFd, mut pause: impl FnMut(usize)) -> Vec<Entry> {
    let mut buffer = [MaybeUninit::uninit(); FEW];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.unwrap();
        found.push(Entry {
            name: entry.file_name().to_str().unwrap().to_owned(),
            number: entry.ino(),
            kind: entry.file_type(),
            next: entry.next_entry_cookie(),
        });
        pause(found.len());
    }
    found
}

fn filled(count: usize) -> Option<(World, BTreeSet<String>)> {
    let world = World::new()?;
    let names: BTreeSet<String> = (0..count).map(|number| format!("stays-{number:05}")).collect();
    for name in &names {
        world.vault().put(name, "v");
    }
    // What becomes of a list is told here; what a walk of many pages costs, elsewhere.
    world.vault().full_pages(PAGE);
    Some((world, names))
}

fn names(entries: &[Entry]) -> BTreeSet<String> {
    entries.iter().map(|entry| entry.name.clone()).collect()
}

#[test]
fn twenty_five_thousand_names_are_listed_once_each_with_the_number_and_kind_that_stat_shows() {
    let Some((world, mut all)) = filled(25_000) else { return };
    let mounted = world.mount(&["check=off", "open-timeout=1m"]);

    let listed = mounted.inside(|path| rest(&directory(path), |_| ()));

    all.extend([".".to_owned(), "..".to_owned()]);
    assert_eq!((listed.len(), names(&listed)), (25_002, all));
    let numbers: BTreeSet<u64> = listed.iter().skip(2).map(|entry| entry.number).collect();
    assert_eq!(numbers.len(), 25_000, "none has another's number");
    let cookies: BTreeSet<u64> = listed.iter().map(|entry| entry.next).collect();
    assert_eq!(cookies.len(), 25_002);
    for (at, entry) in listed.iter().enumerate() {
        let kind = if at < 2 { FileType::Directory } else { FileType::RegularFile };
        assert_eq!(entry.kind, kind, "{}", entry.name);
    }
    assert_eq!(world.emulator.count(|request| request.is_get()), 0);
    for entry in listed.iter().step_by(1_000).filter(|entry| entry.name != "..") {
        let seen = mounted.stat(&entry.name).unwrap();
        assert_eq!((seen.ino(), seen.is_dir()), (entry.number, entry.kind.is_dir()));
    }
    // The kernel has it now; a walk of it with ls is the same.
    let printed = world.run("ls", &["-U", mounted.directory().to_str().unwrap()]).ok();
    assert_eq!(printed.lines().count(), 25_000);
}

#[test]
fn a_reader_can_go_back_to_where_it_was_and_on_from_there() {
    let Some((world, _)) = filled(3_000) else { return };
    let mounted = world.mount(&["check=off", "refresh=300ms"]);
    mounted.inside(|path| {
        let directory = directory(path);
        let all = rest(&directory, |_| ());
        assert_eq!(rest(&directory, |_| ()), [], "it is at its end");
        // Before the kernel keeps anything, and when it does.
        for _ in 0..2 {
            for at in [0, 1, 2, 700, 2_999, 3_001] {
                seek(&directory, SeekFrom::Start(all[at].next)).unwrap();
                assert_eq!(rest(&directory, |_| ()), all[at + 1..], "after {at}");
            }
            seek(&directory, SeekFrom::Start(0)).unwrap();
            assert_eq!(rest(&directory, |_| ()), all);
        }
        // From a name that is gone, it goes on with the one that followed it.
        let gone = [&all[700], &all[701], &all[1_500]];
        for entry in gone {
            assert!(world.vault().delete(&entry.name));
        }
        world.vault().put("zz-new", "v");
        until("they are gone", || {
            seek(&directory, SeekFrom::Start(0)).unwrap();
            let now = names(&rest(&directory, |_| ()));
            now.contains("zz-new") && gone.iter().all(|entry| !now.contains(&entry.name))
        });
        seek(&directory, SeekFrom::Start(all[700].next)).unwrap();
        let left = rest(&directory, |_| ());
        let mut expected: Vec<&str> = all[702..].iter().map(|entry| entry.name.as_str()).collect();
        expected.retain(|name| *name != all[1_500].name);
        expected.push("zz-new");
        assert_eq!(left.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), expected);
    });
}

/// Readers who are slow enough that the list was walked several times before they are at the end.
#[test]
fn ten_thousand_names_are_read_whole_and_none_twice_while_a_hundred_come_and_go() {
    let Some((world, stay)) = filled(10_000) else { return };
    let guests: Vec<String> = (0..100).map(|number| format!("guest-{number:02}")).collect();
    let mounted = world.mount(&["check=off", "refresh=500ms"]);
    let walks = || world.lists() / (10_000 / PAGE + 1);
    let over = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Half of them come, then they go while the others come.
            for turn in 0.. {
                for (number, name) in guests.iter().enumerate() {
                    if number % 2 == turn % 2 {
                        world.vault().put(name, "v");
                    } else {
                        let _was_there = world.vault().delete(name) && world.vault().purge(name);
                    }
                }
                let walked = walks();
                until("another walk", || over.load(Ordering::Relaxed) || walks() > walked);
                if over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let readers: Vec<_> =
            (0..3).map(|_| scope.spawn(|| read_slowly(&mounted, walks))).collect();
        let ended: Vec<_> = readers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        ended.into_iter().flat_map(Result::unwrap).collect::<Vec<_>>()
    });
    let mut guests_seen = BTreeSet::new();
    for listed in &seen {
        let mut count: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in listed {
            *count.entry(&entry.name).or_default() += 1;
        }
        let twice: Vec<_> = count.iter().filter(|(_, count)| **count > 1).collect();
        assert_eq!(twice, [], "of {}", listed.len());
        let missing: Vec<_> = stay.iter().filter(|name| !count.contains_key(&***name)).collect();
        assert!(missing.is_empty(), "{} are missing: {:?}", missing.len(), missing.first());
        let others = count.keys().filter(|name| !stay.contains(**name) && !name.starts_with('.'));
        guests_seen.extend(others.map(|name| (*name).to_owned()));
    }
    assert!(guests_seen.iter().all(|name| guests.contains(name)), "{guests_seen:?}");
    assert!(guests_seen.len() > 50, "nobody came: {guests_seen:?}");
    assert_eq!(world.emulator.count(|request| request.is_get()), 0);
}

/// Reads the directory three times, with a walk of the vault's list in between wherever some
/// thousands of names were read.
fn read_slowly(mounted: &Mounted<'_>, walks: impl Fn() -> usize + Sync) -> Vec<Vec<Entry>> {
    mounted.inside(|path| {
        let directory = directory(path);
        let pause = |count: usize| {
            if count % 4_000 == 1 {
                let walked = walks();
                until("another walk", || walks() > walked);
            }
        };
        (0..3)
            .map(|_| {
                seek(&directory, SeekFrom::Start(0)).unwrap();
                rest(&directory, pause)
            })
            .collect()
    })
}

#[test]
fn a_directory_that_somebody_reads_can_be_left_by_the_way_it_was_entered() {
    let Some((world, _)) = filled(3) else { return };
    let mounted = world.mount(&["check=off"]);
    let at = mounted.directory().display();
    let parent = mounted.directory().parent().unwrap().display();
    assert_eq!(world.sh(&format!("cd {at} && cd .. && pwd -P")).ok(), format!("{parent}\n"));
    assert_eq!(world.sh(&format!("cd {at} && ls -d ../..")).ok(), "../..\n");
    let above = world.sh(&format!("stat -c %i {at}/.. {parent}")).ok();
    let (one, other) = above.trim().split_once('\n').unwrap();
    assert_eq!(one, other);
    assert!(world.run("ls", &["-lid", &at.to_string()]).took < LIMIT);
}

/// So large a buffer holds some ten names.
const FEW: usize = 512;

/// As many names as fit into what an answer may be long.
const PAGE: usize = 2_000;
