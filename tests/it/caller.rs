//! What a program does with a mount, each step in the world, and what that cost.
//!
//! The steps run in threads of this process: they are for what is sure to end.

use std::collections::BTreeSet;
use std::fs;
use std::fs::File;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use akvfs_emulator::record::Service;

use crate::mounted::Mounted;
use crate::namespace::Process;
use crate::world::World;
use crate::world::try_until;

impl Mounted<'_> {
    /// Runs something in the world, with the directory.
    pub(crate) fn inside<T: Send>(&self, run: impl FnOnce(&Path) -> T + Send) -> T {
        self.world().inside(|| run(self.directory()))
    }

    pub(crate) fn open(&self, name: &str) -> io::Result<File> {
        self.inside(|directory| File::open(directory.join(name)))
    }

    pub(crate) fn stat(&self, name: &str) -> io::Result<Metadata> {
        self.inside(|directory| fs::symlink_metadata(directory.join(name)))
    }

    /// The number that says why an open fails; 0 if it does not.
    pub(crate) fn errno(&self, name: &str) -> i32 {
        errno(self.open(name))
    }

    /// The value, where there must be one, as text.
    #[track_caller]
    pub(crate) fn text(&self, name: &str) -> String {
        let value = self.read(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        String::from_utf8(value).unwrap()
    }

    /// The names in the directory.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let names = self.numbered();
        names.into_iter().map(|(name, _)| name).collect()
    }

    /// The names in the directory, in its order, each with the number that it is listed with.
    pub(crate) fn numbered(&self) -> Vec<(String, u64)> {
        self.inside(|directory| {
            let directory = File::open(directory).unwrap();
            let mut names = Vec::new();
            for entry in rustix::fs::Dir::read_from(&directory).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().to_str().unwrap().to_owned();
                if name != "." && name != ".." {
                    names.push((name, entry.ino()));
                }
            }
            names
        })
    }

    /// Waits until an open gets this value.
    #[track_caller]
    pub(crate) fn until_shows(&self, name: &str, value: &str) {
        let shown = within(SOON, || self.read(name).is_ok_and(|shown| shown == value.as_bytes()));
        assert!(shown, "{name} does not become {value:?}: {:?}", self.read(name));
    }

    /// Waits until an open fails for this reason.
    #[track_caller]
    pub(crate) fn until_fails(&self, name: &str, number: i32) {
        let fails = within(SOON, || self.errno(name) == number);
        assert!(fails, "{name} does not fail with {number}: {:?}", self.open(name));
    }
}

impl World {
    /// How many requests were made of vaults, for whatever.
    pub(crate) fn asked(&self) -> usize {
        self.emulator.count(|request| request.service == Service::Vault)
    }

    /// How many requests for the value of that secret were made.
    pub(crate) fn gets(&self, name: &str) -> usize {
        self.emulator.count(|request| request.is_get_of(name))
    }

    /// How many requests for the value of that secret were answered so.
    pub(crate) fn answered(&self, name: &str, status: u16) -> usize {
        self.emulator.count(|request| request.is_get_of(name) && request.was_answered(status))
    }

    /// How many requests for a page of the list were made.
    pub(crate) fn lists(&self) -> usize {
        self.emulator.count(|request| request.is_list())
    }

    /// For how long relay and worker have run, once they have come to rest.
    pub(crate) fn work(&self) -> (Duration, Duration) {
        let ran = |role| self.process(role).as_ref().map(Process::ran).unwrap();
        let mut before = (Duration::MAX, Duration::MAX);
        let rest = within(SOON, || {
            pass(REST);
            let now = (ran("relay"), ran("worker"));
            std::mem::replace(&mut before, now) == now
        });
        assert!(rest, "relay and worker never rest");
        before
    }
}

/// The number that says why something failed; 0 if it did not.
pub(crate) fn errno<T, E: Into<io::Error>>(result: Result<T, E>) -> i32 {
    result.map_or_else(|error| error.into().raw_os_error().unwrap(), |_| 0)
}

/// Whether two looks saw the same version.
pub(crate) fn same(one: &Metadata, other: &Metadata) -> bool {
    let seen = |look: &Metadata| (look.ino(), look.size(), look.mtime());
    seen(one) == seen(other)
}

/// Waits until something holds, at most for `limit`; whether it did.
pub(crate) fn within(limit: Duration, holds: impl FnMut() -> bool) -> bool {
    try_until(limit, holds)
}

/// Lets time pass, where that is what a promise is about.
pub(crate) fn pass(time: Duration) {
    try_until(time, || false);
}

/// Runs something for each row of a table, all at once.
pub(crate) fn together<T: Sync>(rows: &[T], run: impl Fn(&T) + Sync) {
    let run = &run;
    thread::scope(|scope| {
        for row in rows {
            scope.spawn(move || run(row));
        }
    });
}

/// By when something must have come about that may take a refresh of a second.
const SOON: Duration = Duration::from_secs(10);

/// So long a process must do nothing to be at rest.
const REST: Duration = Duration::from_millis(100);
