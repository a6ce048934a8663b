//! Callers of the file system who may hang: threads that the test does not wait for.
//!
//! Where one hangs the test fails, and the end of its world cuts the connection, which frees the
//! thread.

use std::fs::File;
use std::io;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::TryRecvError;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::FaultId;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use rustix::io::Errno;

use crate::mounted::Mounted;
use crate::world::LIMIT;
use crate::world::World;

/// What an open with all that follows came to: the bytes, as many as fstat said, or the error.
pub(crate) type Outcome = Result<Vec<u8>, Errno>;

/// A thread that calls.
#[derive(Debug)]
pub(crate) struct Caller<T> {
    result: Receiver<T>,
}

impl World {
    /// Lets a thread on the machine do something that may hang.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Caller<T> {
        let gate = self.gate();
        let (sender, result) = sync_channel(1);
        let call = move || {
            gate.enter();
            let _nobody_asks_any_more = sender.send(run());
        };
        thread::Builder::new().stack_size(STACK).spawn(call).unwrap();
        Caller { result }
    }

    /// A mount whose callers have a minute, of a vault that keeps everybody waiting who asks for a
    /// secret, `slow` among them; and by what it is made to answer.
    pub(crate) fn mount_that_waits(&self, kind: Kind) -> (Mounted<'_>, FaultId) {
        self.vault().put("slow", "value");
        let hold = self.emulator.inject(Fault::always(Scope::Get, kind));
        (self.mount(&["open-timeout=60s"]), hold)
    }
}

impl<T> Caller<T> {
    /// What it did, once it has.
    #[track_caller]
    pub(crate) fn result(&self) -> T {
        self.result.recv_timeout(LIMIT).unwrap_or_else(|error| panic!("a caller hangs: {error}"))
    }

    /// Whether it still waits.
    #[track_caller]
    pub(crate) fn waits(&self) -> bool {
        match self.result.try_recv() {
            Err(TryRecvError::Empty) => true,
            Ok(_) => false,
            Err(error) => panic!("a caller has failed: {error}"),
        }
    }
}

impl Mounted<'_> {
    /// Lets a thread read a secret; says also how long that took.
    pub(crate) fn reader(&self, name: &str) -> Caller<(Outcome, Duration)> {
        let path = self.path(name);
        self.world().call(move || {
            let since = Instant::now();
            (outcome(&path), since.elapsed())
        })
    }

    /// Lets so many threads read a secret, all at once; gives what each got.
    pub(crate) fn crowd(&self, name: &str, readers: usize) -> Caller<Vec<Outcome>> {
        let path = self.path(name);
        // Whoever is born inside has not to find the way in.
        self.world().call(move || {
            thread::scope(|scope| {
                let reader = |_| {
                    let thread = thread::Builder::new().stack_size(STACK);
                    thread.spawn_scoped(scope, || outcome(&path)).unwrap()
                };
                let readers: Vec<_> = (0..readers).map(reader).collect();
                readers.into_iter().map(|reader| reader.join().unwrap()).collect()
            })
        })
    }

    /// Lets a thread read a secret, and returns once the vault is asked for the first time.
    #[track_caller]
    pub(crate) fn waiting_reader(&self, name: &str) -> Caller<(Outcome, Duration)> {
        let caller = self.reader(name);
        assert!(self.world().emulator.wait_for(LIMIT, 1, |request| request.is_get()));
        caller
    }

    /// What somebody gets who reads a secret now.
    #[track_caller]
    pub(crate) fn outcome(&self, name: &str) -> Outcome {
        self.reader(name).result().0
    }

    /// How many requests of this mount the kernel has no answer to.
    pub(crate) fn waiting(&self) -> usize {
        let world = self.world();
        let line = world.mounts().into_iter().find(|line| line.directory == self.directory());
        let minor = line.unwrap().minor;
        let control = world.directory();
        world.run("mount", &["-n", "-t", "fusectl", "none", control.to_str().unwrap()]).ok();
        let number = world.read(control.join(minor.to_string()).join("waiting")).unwrap();
        world.run("umount", &["-n", control.to_str().unwrap()]).ok();
        String::from_utf8(number).unwrap().trim().parse().unwrap()
    }
}

/// Opens a file, looks at its size and reads it to its end.
pub(crate) fn outcome(path: &Path) -> Outcome {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.size();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        assert_eq!(bytes.len() as u64, size, "{}: its size is another", path.display());
        Ok(bytes)
    };
    read().map_err(|error| Errno::from_io_error(&error).unwrap())
}

/// Enough for a thread that reads a file; ten thousand of them are a small burden.
const STACK: usize = 128 * 1024;
