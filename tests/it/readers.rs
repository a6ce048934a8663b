//! Readers that never stop and believe nothing: each value says which version it is, and is checked
//! as a whole.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crate::callers::Caller;
use crate::mounted::Mounted;

/// Readers at work.
#[derive(Debug)]
pub(crate) struct Readers {
    stop: Arc<AtomicBool>,
    opens: Arc<AtomicUsize>,
    callers: Vec<Caller<Seen>>,
}

/// What readers saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) opens: usize,
    /// How often a version was seen that was newer than the one before.
    pub(crate) rotations: usize,
    pub(crate) slowest: Duration,
    /// All that is not as it should be.
    pub(crate) wrong: Vec<String>,
}

/// The value of a secret's version: its length changes with each, and every byte is known.
pub(crate) fn value(name: &str, version: usize) -> String {
    let length = 20 + (version * 7919) % 20_000;
    let words = (0..).map(|place| format!("{name} {version} {length} {place}\n"));
    let mut text = String::new();
    for word in words {
        if text.len() >= length {
            break;
        }
        text += &word;
    }
    text
}

impl Readers {
    /// Lets so many threads read these secrets, over and over.
    pub(crate) fn start(mounted: &Mounted<'_>, number: usize, names: &[&str]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let opens = Arc::new(AtomicUsize::new(0));
        let read = |_| {
            let (stop, opens) = (Arc::clone(&stop), Arc::clone(&opens));
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let directory = mounted.directory().to_owned();
            mounted.world().call(move || read(&directory, &names, &stop, &opens))
        };
        let callers = (0..number).map(read).collect();
        Self { stop, opens, callers }
    }

    /// How often something was opened so far.
    pub(crate) fn opens(&self) -> usize {
        self.opens.load(Ordering::Relaxed)
    }

    /// Ends them; gives what they saw together.
    #[track_caller]
    pub(crate) fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for caller in &self.callers {
            let seen = caller.result();
            all.opens += seen.opens;
            all.rotations += seen.rotations;
            all.slowest = all.slowest.max(seen.slowest);
            all.wrong.extend(seen.wrong);
        }
        all
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn read(directory: &Path, names: &[String], stop: &AtomicBool, opens: &AtomicUsize) -> Seen {
    let mut seen = Seen::default();
    let mut newest: HashMap<&str, usize> = HashMap::new();
    while !stop.load(Ordering::Relaxed) {
        for name in names {
            let since = Instant::now();
            let version = version_at(name, &directory.join(name));
            seen.slowest = seen.slowest.max(since.elapsed());
            seen.opens += 1;
            opens.fetch_add(1, Ordering::Relaxed);
            let version = match version {
                Ok(version) => version,
                Err(wrong) => {
                    seen.wrong.push(wrong);
                    continue;
                }
            };
            let before = newest.insert(name, version).unwrap_or(version);
            seen.rotations += usize::from(before < version);
            if before > version {
                seen.wrong.push(format!("{name}: {version} after {before}"));
            }
        }
    }
    seen
}

/// Which version of a secret a file holds, if it is one whole version of the right size.
fn version_at(name: &str, path: &PathBuf) -> Result<usize, String> {
    let wrong = |why: &str| format!("{name}: {why}");
    let mut file = File::open(path).map_err(|error| wrong(&error.to_string()))?;
    let size = file.metadata().map_err(|error| wrong(&error.to_string()))?.size();
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| wrong(&error.to_string()))?;
    if text.len() as u64 != size {
        return Err(wrong(&format!("{} bytes of {size}", text.len())));
    }
    let version = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    let version = version.ok_or_else(|| wrong("no version"))?;
    if text != value(name, version) {
        return Err(wrong(&format!("torn: {version}")));
    }
    Ok(version)
}
