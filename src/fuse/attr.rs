//! What stat shows.

use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use fuser::FileAttr;
use fuser::FileType;
use fuser::INodeNo;

use crate::fuse::looks::Look;
use crate::fuse::view::View;
use crate::model::secret::Version;
use crate::model::tree::Node;
use crate::model::tree::ROOT;

/// The directory, made at a time in seconds since 1970.
#[must_use]
pub fn directory(view: &View, since: i64) -> FileAttr {
    let look = Look { uid: view.uid, gid: view.gid, mode: view.dir_mode, newline: false };
    FileAttr { kind: FileType::Directory, nlink: 2, ..file(look, ROOT, 0, since) }
}

/// A secret's inode: bound to a version, or so far a name and no more.
#[must_use]
pub fn secret(look: Look, node: Node, bound: Option<(&Version, usize)>) -> FileAttr {
    let (created, size) = bound.map_or((0, 0), |(version, size)| (version.created, size));
    file(look, node, size as u64, created)
}

fn file(look: Look, node: Node, size: u64, time: i64) -> FileAttr {
    let time = wall(time);
    FileAttr {
        ino: INodeNo(node.0),
        size,
        // `tar --sparse` takes a file with no blocks for one of zeros.
        blocks: size.div_ceil(BLOCK),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: FileType::RegularFile,
        perm: look.mode,
        nlink: 1,
        uid: look.uid,
        gid: look.gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

/// A time in seconds since 1970. What cannot be one is shown as the first.
fn wall(seconds: i64) -> SystemTime {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

/// What stat counts in, whatever the file system's own blocks are.
const BLOCK: u64 = 512;
