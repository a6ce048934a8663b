//! Whoever asks for names that nobody has.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::open;
use rustix::io::Errno;

use crate::callers::Caller;
use crate::mounted::Mounted;

/// Sixteen threads that ask for one name after the other, as fast as it goes.
#[derive(Debug)]
pub(crate) struct Strangers {
    stop: Arc<AtomicBool>,
    opens: Arc<AtomicUsize>,
    callers: Vec<Caller<Vec<Errno>>>,
}

impl Strangers {
    pub(crate) fn start(mounted: &Mounted<'_>) -> Self {
        let (stop, opens) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let stranger = |number: usize| {
            let (stop, opens) = (Arc::clone(&stop), Arc::clone(&opens));
            let directory = mounted.directory().to_owned();
            // Half of them only look names up, which never waits; the others want the bytes.
            let flags = if number.is_multiple_of(2) { OFlags::PATH } else { OFlags::RDONLY };
            let ask = move || ask_for_more(&directory, number, flags, &stop, &opens);
            mounted.world().call(ask)
        };
        Self { callers: (0..16).map(stranger).collect(), stop, opens }
    }

    /// Ends them; gives the number of opens, and what they failed of.
    #[track_caller]
    pub(crate) fn stop(self) -> (usize, Vec<Errno>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut errors: Vec<Errno> = self.callers.iter().flat_map(Caller::result).collect();
        errors.sort_unstable_by_key(|error| error.raw_os_error());
        errors.dedup();
        (self.opens.load(Ordering::Relaxed), errors)
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn ask_for_more(
    directory: &Path,
    who: usize,
    flags: OFlags,
    stop: &AtomicBool,
    opens: &AtomicUsize,
) -> Vec<Errno> {
    let mut errors = Vec::new();
    for number in 0_usize.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let path = directory.join(format!("stranger-{who}-{number}"));
        if let Err(error) = open(&path, flags | OFlags::CLOEXEC, Mode::empty())
            && !errors.contains(&error)
        {
            errors.push(error);
        }
        opens.fetch_add(1, Ordering::Relaxed);
    }
    errors
}
