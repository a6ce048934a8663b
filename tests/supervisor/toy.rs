//! A worker without a vault: a fuser session whose files behave as their names say.
//!
//! | name         | what happens                                                         |
//! |--------------|----------------------------------------------------------------------|
//! | `at-once`    | is there                                                             |
//! | `large`      | is there, with 100,000 bytes                                         |
//! | `slow-N`     | its attributes take N ms, at each open; `slow-0` asks at each call   |
//! | `never`      | its attributes never come                                            |
//! | `version`    | holds a number, which looking `rotate` up makes one larger           |
//! | `told`       | what became of the notices that this worker sent for that            |
//! | `storm-N`    | `version` becomes one larger N times, as fast as notices are taken   |
//! | the listing  | shows the number as a name, which grows at once when it is first read |

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::UNIX_EPOCH;

use akvfs::model::event::Notice;
use akvfs::model::name::SecretName;
use akvfs::model::tree::Node;
use akvfs::supervisor::report::Order;
use akvfs::supervisor::report::Report;
use akvfs::supervisor::report::Told;
use akvfs::supervisor::worker;
use fuser::Config;
use fuser::Errno;
use fuser::FileAttr;
use fuser::FileHandle;
use fuser::FileType;
use fuser::Filesystem;
use fuser::Generation;
use fuser::INodeNo;
use fuser::KernelConfig;
use fuser::LockOwner;
use fuser::OpenFlags;
use fuser::ReplyAttr;
use fuser::ReplyData;
use fuser::ReplyDirectory;
use fuser::ReplyEntry;
use fuser::ReplyOpen;
use fuser::Request;
use fuser::Session;
use fuser::SessionACL;
use parking_lot::Mutex;
use serde::Deserialize;
use serde::Serialize;

/// How a worker begins.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub enum Beginning {
    /// It serves.
    #[default]
    Ready,
    /// It says that it cannot.
    Fatal,
    /// It dies.
    Death,
    /// It serves, and never says that it is ready.
    Silence,
}

const FOR_LONG: Duration = Duration::from_secs(3_600);
/// How long an answer is on its way, if the kernel waits for it before it is told anything.
const ON_ITS_WAY: Duration = Duration::from_millis(200);
const LARGE: usize = 100_000;
/// The number of notices about whose outcome nobody asks.
const STORM: u64 = 0;

/// Runs a worker on what the supervisor left it.
pub fn main() -> ExitCode {
    let inherited = worker::inherited().unwrap();
    let mut brief = Vec::new();
    File::from(inherited.brief).read_to_end(&mut brief).unwrap();
    let beginning = serde_json::from_slice(&brief).unwrap();
    match beginning {
        Beginning::Ready | Beginning::Silence => {}
        Beginning::Fatal => {
            let message = "the toy is broken".to_owned();
            let hint = Some("buy another".to_owned());
            Report::Fatal { code: 7, message, hint }.send(&inherited.reports).unwrap();
            return ExitCode::FAILURE;
        }
        Beginning::Death => return ExitCode::FAILURE,
    }
    let toy = Toy {
        orders: inherited.orders.try_clone().unwrap(),
        version: Arc::new(AtomicU64::new(1)),
        told: Arc::default(),
        was_read: AtomicBool::new(false),
    };
    let told = Arc::clone(&toy.told);
    let orders = inherited.orders;
    thread::spawn(move || {
        while let Ok(outcome) = Told::receive(&orders) {
            if outcome.serial != STORM {
                told.lock().push(outcome);
            }
        }
    });
    let config = Config::default();
    let session = Session::from_fd(toy, inherited.session, SessionACL::All, config).unwrap();
    Report::Used(4_096).send(&inherited.reports).unwrap();
    if beginning == Beginning::Ready {
        let warnings = vec![("the toy is a toy".to_owned(), None)];
        Report::Ready { warnings }.send(&inherited.reports).unwrap();
    }
    session.run().unwrap();
    ExitCode::SUCCESS
}

struct Toy {
    orders: OwnedFd,
    version: Arc<AtomicU64>,
    told: Arc<Mutex<Vec<Told>>>,
    was_read: AtomicBool,
}

/// Node numbers mean the same in every worker: they say what the file does.
mod node {
    pub(super) const AT_ONCE: u64 = 2;
    pub(super) const LARGE: u64 = 3;
    pub(super) const NEVER: u64 = 4;
    pub(super) const TOLD: u64 = 1 << 26;
    pub(super) const SLOW: u64 = 1 << 24;
    pub(super) const VERSION: u64 = 1 << 25;
}

impl Toy {
    fn content(&self, node: u64) -> Vec<u8> {
        match node {
            node::AT_ONCE => b"here".to_vec(),
            node::LARGE => vec![b'x'; LARGE],
            told if told >= node::TOLD => {
                let told = self.told.lock();
                let line = |told: &Told| format!("{} {}\n", told.serial, told.errno);
                told.iter().map(line).collect::<String>().into_bytes()
            }
            version if version >= node::VERSION => {
                format!("{:08}", version - node::VERSION).into_bytes()
            }
            _ => b"late".to_vec(),
        }
    }

    fn attributes(&self, ino: u64) -> FileAttr {
        let is_root = ino == 1;
        FileAttr {
            ino: INodeNo(ino),
            size: if is_root { 0 } else { self.content(ino).len() as u64 },
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_root { FileType::Directory } else { FileType::RegularFile },
            perm: if is_root { 0o555 } else { 0o444 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 512,
            flags: 0,
        }
    }

    fn rotate(&self) {
        let serial = self.version.fetch_add(1, Ordering::SeqCst);
        announce(serial, &self.orders);
    }

    /// Sending waits while nobody takes what was sent before, which a session's thread must not.
    fn storm(&self, rotations: u64) {
        let (version, orders) = (Arc::clone(&self.version), self.orders.try_clone().unwrap());
        thread::spawn(move || {
            for _ in 0..rotations {
                version.fetch_add(1, Ordering::SeqCst);
                announce(STORM, &orders);
            }
        });
    }
}

/// Tells that `version` is another, and all else that can be told.
fn announce(serial: u64, orders: &OwnedFd) {
    let name = SecretName::parse("version").unwrap();
    for notice in [Notice::Entry(name), Notice::Attributes(Node(999)), Notice::Listing] {
        Order { serial, notice }.send(orders).unwrap();
    }
}

impl Filesystem for Toy {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        config.set_max_write(4_096).unwrap();
        Ok(())
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_str().unwrap_or_default();
        let slow = name.strip_prefix("slow-").and_then(|delay| delay.parse::<u64>().ok());
        let (node, entry_ttl, attr_ttl) = match (name, slow) {
            ("at-once", _) => (node::AT_ONCE, FOR_LONG, FOR_LONG),
            ("large", _) => (node::LARGE, FOR_LONG, FOR_LONG),
            ("never", _) => (node::NEVER, Duration::ZERO, Duration::ZERO),
            ("told", _) => {
                let length = self.told.lock().len() as u64;
                (node::TOLD + length, Duration::ZERO, FOR_LONG)
            }
            ("version", _) => {
                let version = self.version.load(Ordering::SeqCst);
                (node::VERSION + version, FOR_LONG, FOR_LONG)
            }
            (_, Some(delay)) => (node::SLOW + delay, Duration::ZERO, Duration::ZERO),
            ("rotate", _) => {
                self.rotate();
                return reply.error(Errno::ENOENT);
            }
            (storm, _) if storm.starts_with("storm-") => {
                self.storm(storm["storm-".len()..].parse().unwrap());
                return reply.error(Errno::ENOENT);
            }
            // An entry without an inode: the kernel remembers that there is none.
            _ => {
                let nothing = self.attributes(0);
                return reply.entry(&FOR_LONG, &nothing, Generation(0));
            }
        };
        let attributes = self.attributes(node);
        reply.entry_with_ttls(&attr_ttl, &entry_ttl, &attributes, Generation(0));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let attributes = self.attributes(ino.0);
        match ino.0 {
            node::NEVER => std::mem::forget(reply),
            slow if (node::SLOW..node::VERSION).contains(&slow) => {
                // One thread for each is enough of a reactor for a toy.
                thread::spawn(move || {
                    let (_alive, never) = std::sync::mpsc::channel::<()>();
                    let _ = never.recv_timeout(Duration::from_millis(slow - node::SLOW));
                    let ttl = if slow == node::SLOW { Duration::ZERO } else { FOR_LONG };
                    reply.attr(&ttl, &attributes);
                });
            }
            _ => reply.attr(&FOR_LONG, &attributes),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        if offset > 0 {
            return reply.ok();
        }
        let version = self.version.load(Ordering::SeqCst);
        let name = format!("{version:08}");
        let _full = reply.add(INodeNo(node::VERSION), 1, FileType::RegularFile, name);
        if !self.was_read.swap(true, Ordering::SeqCst) {
            self.version.fetch_add(1, Ordering::SeqCst);
            Order { serial: version, notice: Notice::Listing }.send(&self.orders).unwrap();
            let told = Arc::clone(&self.told);
            // The answer is on its way for as long as it takes to tell the kernel, if it can be told.
            thread::spawn(move || {
                let since = Instant::now();
                while told.lock().is_empty() && since.elapsed() < ON_ITS_WAY {
                    thread::yield_now();
                }
                reply.ok();
            });
            return;
        }
        reply.ok();
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let content = self.content(ino.0);
        let start = content.len().min(usize::try_from(offset).unwrap());
        let end = content.len().min(start + size as usize);
        reply.data(&content[start..end]);
    }
}
