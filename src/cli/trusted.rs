//! Files that decide for others, and so must be nobody else's: whoever may write to one, or put
//! another in its place, decides as well.
//!
//! A path is walked step by step, links too, each directory held open while the next step is taken
//! from it. What was looked at is what is read, whatever is renamed meanwhile.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::CWD;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::Stat;
use rustix::fs::fstat;
use rustix::fs::openat;
use rustix::fs::readlinkat;
use rustix::io::Errno;

use crate::cli::complaint::reason;
use crate::cli::values::Wrong;

/// Reads a text of at most `largest` bytes from a file that only root and `owner` can change.
pub fn read(path: &Path, owner: u32, largest: u64) -> Result<String, Wrong> {
    let mut text = Vec::new();
    let file = Walk::to(path, owner)?;
    file.take(largest + 1).read_to_end(&mut text).map_err(|error| Wrong::new(reason(&error)))?;
    if text.len() as u64 > largest {
        return Err(Wrong::new(format!("larger than {}K", largest >> 10)));
    }
    String::from_utf8(text).map_err(|_| Wrong::new("not UTF-8"))
}

/// The way to a file.
struct Walk {
    owner: u32,
    /// The directory reached.
    here: OwnedFd,
    /// Its path, without links.
    path: PathBuf,
    /// What is left of the way, the next step last.
    left: Vec<Step>,
    /// How many links were followed.
    links: usize,
}

enum Step {
    Root,
    Up,
    Down(OsString),
}

/// What a step down leads to.
enum Found {
    Directory(OwnedFd),
    Link(PathBuf),
    File(File),
}

impl Walk {
    fn to(path: &Path, owner: u32) -> Result<File, Wrong> {
        let whole = std::path::absolute(path).map_err(|error| Wrong::new(reason(&error)))?;
        let here = openat(CWD, "/", DIRECTORY, Mode::empty()).map_err(wrong)?;
        let mut walk = Self { owner, here, path: PathBuf::new(), left: Vec::new(), links: 0 };
        walk.head_for(&whole);
        while let Some(step) = walk.left.pop() {
            match step {
                Step::Root => walk.enter(openat(CWD, "/", DIRECTORY, Mode::empty()), "/".into())?,
                Step::Up => {
                    let above = walk.path.parent().unwrap_or(&walk.path).to_owned();
                    walk.enter(openat(&walk.here, "..", DIRECTORY, Mode::empty()), above)?;
                }
                Step::Down(name) => match walk.look(&name)? {
                    Found::Directory(next) => walk.enter(Ok(next), walk.path.join(&name))?,
                    Found::Link(target) => walk.head_for(&target),
                    Found::File(_) if !walk.left.is_empty() => return Err(wrong(Errno::NOTDIR)),
                    Found::File(file) => return Ok(file),
                },
            }
        }
        Err(wrong(Errno::ISDIR))
    }

    fn head_for(&mut self, path: &Path) {
        for component in path.components().rev() {
            self.left.extend(match component {
                Component::RootDir => Some(Step::Root),
                Component::ParentDir => Some(Step::Up),
                Component::Normal(name) => Some(Step::Down(name.to_owned())),
                Component::CurDir | Component::Prefix(_) => None,
            });
        }
    }

    fn enter(&mut self, next: rustix::io::Result<OwnedFd>, path: PathBuf) -> Result<(), Wrong> {
        self.here = next.map_err(wrong)?;
        self.path = path;
        self.is_trusted(&fstat(&self.here).map_err(wrong)?, &self.path)
    }

    /// What is called that in the directory reached. Only the owner of the directory can change that
    /// meanwhile, and he is trusted.
    fn look(&mut self, name: &OsString) -> Result<Found, Wrong> {
        match openat(&self.here, name, DIRECTORY, Mode::empty()) {
            Err(Errno::NOTDIR) => {}
            directory => return directory.map(Found::Directory).map_err(wrong),
        }
        let found = openat(&self.here, name, PLACE, Mode::empty()).map_err(wrong)?;
        match FileType::from_raw_mode(fstat(&found).map_err(wrong)?.st_mode) {
            FileType::Symlink => {
                self.links += 1;
                if self.links > MOST_LINKS {
                    return Err(wrong(Errno::LOOP));
                }
                let target = readlinkat(&found, "", Vec::new()).map_err(wrong)?;
                Ok(Found::Link(PathBuf::from(OsString::from_vec(target.into_bytes()))))
            }
            FileType::RegularFile => {
                let file = openat(&self.here, name, FILE, Mode::empty()).map_err(wrong)?;
                self.is_trusted(&fstat(&file).map_err(wrong)?, &self.path.join(name))?;
                Ok(Found::File(file.into()))
            }
            FileType::Directory
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Err(Wrong::new("not a regular file")),
        }
    }

    fn is_trusted(&self, stat: &Stat, path: &Path) -> Result<(), Wrong> {
        let path = path.display();
        if stat.st_uid != 0 && stat.st_uid != self.owner {
            return Err(Wrong::new(format!(
                "{path} belongs to somebody else, user {}",
                stat.st_uid
            ))
            .hint(ELSEWHERE));
        }
        let mode = Mode::from_raw_mode(stat.st_mode);
        if !mode.intersects(Mode::WGRP | Mode::WOTH) {
            return Ok(());
        }
        let who = if mode.contains(Mode::WOTH) { "everybody" } else { "its group" };
        let wrong = Wrong::new(format!("{path} can be written to by {who}"));
        // What everybody may put files into is meant to be so.
        Err(match mode.contains(Mode::SVTX) {
            true => wrong.hint(ELSEWHERE),
            false => wrong.hint(format!("chmod go-w {path}")),
        })
    }
}

fn wrong(errno: Errno) -> Wrong {
    Wrong::new(reason(&io::Error::from(errno)))
}

/// A directory, to go on from.
const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Whatever is there, without opening it.
const PLACE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A file to read. If it is no file any more, it is not waited for.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// As many as the kernel itself follows.
const MOST_LINKS: usize = 40;

const ELSEWHERE: &str = "it must be a file of root's, or of whoever mounts, where nobody else may \
                         write, such as in /etc";
