//! A storm of rotations, and readers in every way that there is, who believe nothing.
//!
//! Each value says throughout which version it is, and each version has another length.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use akvfs_emulator::vault::Vault;
use parking_lot::Mutex;

use crate::callers::Caller;
use crate::mapping::Mapping;
use crate::mounted::Mounted;
use crate::readers::value;

/// What readers saw in a storm, all of them together.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) opens: usize,
    pub(crate) rotations: usize,
    /// Values that were no whole version.
    pub(crate) torn: Vec<String>,
    /// Files of another size than their value.
    pub(crate) sizes: Vec<String>,
    /// Versions that were older than what somebody had been given before.
    pub(crate) back: Vec<String>,
    pub(crate) errors: Vec<String>,
    /// The longest that an open took, less the time that its thread waited for a CPU.
    pub(crate) slowest: Duration,
    /// How long each version that was read had not been the newest any more, in milliseconds, and
    /// how often it was so.
    pub(crate) ages: Vec<u32>,
}

/// What the readers share.
#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    stop: AtomicBool,
    /// By name: the newest version that anybody was given.
    given: [AtomicUsize; NAMES.len()],
    /// By name: when each version was made.
    made: Mutex<[Vec<Instant>; NAMES.len()]>,
}

/// A way to read a file.
#[derive(Clone, Copy, Debug)]
enum Way {
    Whole,
    Positioned,
    Mapped,
    Short,
}

/// Eight names, twenty rotations a second and eight readers, for so long.
pub(crate) fn rage(mounted: &Mounted<'_>, vault: &Vault, time: Duration) -> Seen {
    let shared = Arc::new(Shared {
        directory: mounted.directory().to_owned(),
        stop: AtomicBool::new(false),
        given: Default::default(),
        made: Mutex::default(),
    });
    let book = Arc::clone(&shared);
    let rotation = vault.rotate_every(A_ROTATION, &NAMES, move |name, number| {
        let place = NAMES.iter().position(|known| *known == name).unwrap();
        book.made.lock()[place].push(Instant::now());
        value(name, number)
    });
    let readers: Vec<Caller<Seen>> = WAYS
        .into_iter()
        .map(|way| {
            let shared = Arc::clone(&shared);
            mounted.world().call(move || shared.read(way))
        })
        .collect();
    thread::sleep(time);
    shared.stop.store(true, Ordering::Relaxed);
    let mut all = Seen { rotations: rotation.count(), ages: vec![0; AGES], ..Seen::default() };
    for reader in &readers {
        all.add(reader.result());
    }
    all
}

impl Shared {
    /// Reads one name after the other; keeps the file that was open before, which must not change.
    fn read(&self, way: Way) -> Seen {
        let mut seen = Seen { ages: vec![0; AGES], ..Seen::default() };
        let mut kept: Option<(File, usize, usize)> = None;
        while !self.stop.load(Ordering::Relaxed) {
            for (place, name) in NAMES.iter().enumerate() {
                let given = self.given[place].load(Ordering::SeqCst);
                let (file, took) = opened(&self.directory.join(name));
                seen.opens += 1;
                seen.slowest = seen.slowest.max(took);
                let Some(file) = file.map_err(|it| seen.errors.push(format!("{name}: {it}"))).ok()
                else {
                    continue;
                };
                let Some(version) = seen.version(way, name, &file) else { continue };
                if version < given {
                    seen.back.push(format!("{name}: {version} after {given}"));
                }
                self.given[place].fetch_max(version, Ordering::SeqCst);
                let next = self.made.lock()[place].get(version + 1).copied();
                let age = next.map_or(Duration::ZERO, |next| next.elapsed());
                let age = usize::try_from(age.as_millis()).unwrap();
                seen.ages[age.min(AGES - 1)] += 1;
                if let Some((file, place, version)) = kept.replace((file, place, version))
                    && seen.version(way, NAMES[place], &file).is_some_and(|now| now != version)
                {
                    seen.torn.push(format!("{name}: {version} became another"));
                }
            }
        }
        seen
    }
}

/// Opens a file; says for how long, the time not counted in which the thread had no CPU.
fn opened(path: &PathBuf) -> (std::io::Result<File>, Duration) {
    let (since, waited) = (Instant::now(), waited());
    let file = File::open(path);
    (file, since.elapsed().saturating_sub(self::waited().saturating_sub(waited)))
}

/// For how long this thread could have run and had no CPU.
fn waited() -> Duration {
    let numbers = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let waited = numbers.split(' ').nth(1).and_then(|number| number.parse().ok());
    Duration::from_nanos(waited.unwrap_or(0))
}

impl Seen {
    /// Which version of a secret a file holds, if it is one whole version of the right size.
    fn version(&mut self, way: Way, name: &str, file: &File) -> Option<usize> {
        let read = file.metadata().and_then(|it| {
            let size = usize::try_from(it.size()).unwrap();
            Ok((size, way.read(file, size)?))
        });
        let (size, bytes) = match read {
            Ok(read) => read,
            Err(error) => {
                self.errors.push(format!("{name}, {way:?}: {error}"));
                return None;
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        let version = text.split(' ').nth(1).and_then(|word| word.parse().ok());
        match version.filter(|version| text == value(name, *version)) {
            None => self.torn.push(format!("{name}, {way:?}: {} bytes", bytes.len())),
            Some(_) if bytes.len() != size => {
                self.sizes.push(format!("{name}, {way:?}: {} of {size}", bytes.len()));
            }
            Some(_) => {}
        }
        version
    }

    fn add(&mut self, other: Self) {
        self.opens += other.opens;
        self.torn.extend(other.torn);
        self.sizes.extend(other.sizes);
        self.back.extend(other.back);
        self.errors.extend(other.errors);
        self.slowest = self.slowest.max(other.slowest);
        for (sum, number) in self.ages.iter_mut().zip(other.ages) {
            *sum += number;
        }
    }

    /// Of so many in a thousand opens: the longest time for which what they were given had not been
    /// the newest any more.
    pub(crate) fn age(&self, thousandths: u64) -> Duration {
        let all: u64 = self.ages.iter().copied().map(u64::from).sum();
        let mut left = all * thousandths / 1000;
        let place = self.ages.iter().position(|number| {
            let reached = u64::from(*number) >= left;
            left = left.saturating_sub(u64::from(*number));
            reached
        });
        Duration::from_millis(place.unwrap_or(0) as u64)
    }
}

impl Way {
    fn read(self, mut file: &File, size: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self {
            Self::Whole => {
                // Where it was left by whoever read it before.
                std::io::Seek::rewind(&mut file)?;
                file.read_to_end(&mut bytes)?;
            }
            // From the end to the beginning, and then what may lie behind the end.
            Self::Positioned => {
                bytes = vec![0; size];
                let steps = (0..size).step_by(STEP).collect::<Vec<_>>();
                for start in steps.into_iter().rev() {
                    let end = (start + STEP).min(size);
                    file.read_exact_at(&mut bytes[start..end], start as u64)?;
                }
                let mut more = [0; 1024];
                let length = file.read_at(&mut more, size as u64)?;
                bytes.extend(&more[..length]);
            }
            Self::Mapped => {
                let mapping = Mapping::of(file, size);
                bytes = mapping.map(|it| it.bytes().to_vec()).unwrap_or_default();
            }
            Self::Short => {
                std::io::Seek::rewind(&mut file)?;
                let mut piece = [0; 997];
                loop {
                    let length = 1 + bytes.len() % piece.len();
                    match file.read(&mut piece[..length])? {
                        0 => break,
                        length => bytes.extend(&piece[..length]),
                    }
                }
            }
        }
        Ok(bytes)
    }
}

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const WAYS: [Way; 8] = [
    Way::Whole,
    Way::Positioned,
    Way::Mapped,
    Way::Short,
    Way::Whole,
    Way::Positioned,
    Way::Mapped,
    Way::Short,
];
/// Twenty a second.
const A_ROTATION: Duration = Duration::from_millis(50);
const STEP: usize = 1361;
/// Longer ages than so many milliseconds are all the same.
const AGES: usize = 60_000;
