//! Turns what the model answers into what the kernel expects.

use std::sync::Arc;
use std::time::Duration;

use fuser::Errno;
use fuser::FileType;
use fuser::Generation;
use fuser::INodeNo;
use fuser::ReplyAttr;
use fuser::ReplyData;
use fuser::ReplyDirectory;
use fuser::ReplyEntry;
use fuser::ReplyOpen;

use crate::fuse::attr;
use crate::fuse::errno::errno;
use crate::fuse::looks::Looks;
use crate::model::event::Answer;
use crate::model::event::Sight;
use crate::model::listing::FIRST_COOKIE;
use crate::model::tree::Node;
use crate::model::tree::ROOT;
use crate::service::keeper::Stored;
use crate::service::server::Caller;

/// Answers a LOOKUP.
#[must_use]
pub fn entry(looks: &Arc<Looks>, reply: ReplyEntry) -> Caller {
    let looks = Arc::clone(looks);
    Box::new(move |answer| {
        if let Answer::Entry(sight) = answer {
            reply.entry(&sight.ttl, &shown(&looks, &sight), Generation(0));
        } else if let Answer::Missing(ttl) = answer {
            missing(&looks, ttl, reply);
        } else {
            reply.error(unexpected(&answer));
        }
    })
}

/// Says that there is no such name, and for how long the kernel may say so by itself: to an entry
/// whose inode is 0 it pays no other attention.
pub fn missing(looks: &Looks, ttl: Duration, reply: ReplyEntry) {
    reply.entry(&ttl, &attr::secret(looks.plain(), Node(0), None), Generation(0));
}

/// Answers a GETATTR.
#[must_use]
pub fn attributes(looks: &Arc<Looks>, reply: ReplyAttr) -> Caller {
    let looks = Arc::clone(looks);
    Box::new(move |answer| {
        let Answer::Attributes(sight) = answer else { return reply.error(unexpected(&answer)) };
        reply.attr(&sight.ttl, &shown(&looks, &sight));
    })
}

/// Answers a READ.
#[must_use]
pub fn bytes(looks: &Arc<Looks>, offset: u64, size: u32, reply: ReplyData) -> Caller {
    let looks = Arc::clone(looks);
    Box::new(move |answer| {
        let Answer::Bytes(name, value) = answer else { return reply.error(unexpected(&answer)) };
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        reply.data(&looks.of(&name).part(value.expose(), offset, size));
    })
}

/// Answers an OPENDIR. From the first ENOSYS on the kernel asks no more and keeps what it reads.
#[must_use]
pub fn ready(reply: ReplyOpen) -> Caller {
    Box::new(move |answer| {
        let known = matches!(answer, Answer::Ready);
        reply.error(if known { Errno::ENOSYS } else { unexpected(&answer) });
    })
}

/// Answers a READDIR that began at an offset.
#[must_use]
pub fn names(offset: u64, mut reply: ReplyDirectory) -> Caller {
    Box::new(move |answer| {
        let Answer::Names(names) = answer else { return reply.error(unexpected(&answer)) };
        for (cookie, dots) in [(1, "."), (FIRST_COOKIE - 1, "..")] {
            let root = INodeNo(ROOT.0);
            if cookie > offset && reply.add(root, cookie, FileType::Directory, dots) {
                return reply.ok();
            }
        }
        for listed in names {
            let node = INodeNo(listed.node.0);
            if reply.add(node, listed.cookie, FileType::RegularFile, listed.name.as_str()) {
                break;
            }
        }
        reply.ok();
    })
}

fn shown(looks: &Looks, sight: &Sight<Stored>) -> fuser::FileAttr {
    let look = looks.of(&sight.name);
    let bound = sight.bound.as_ref();
    let sized = bound.map(|(version, value)| (version, look.size(value.expose())));
    attr::secret(look, sight.node, sized)
}

/// The error of an answer that is not what was hoped for.
pub(super) fn unexpected(answer: &Answer<Stored>) -> Errno {
    match answer {
        Answer::No(why) => errno(*why),
        // An inode that no longer means anything: the kernel looks its name up again.
        Answer::Unknown => Errno::from_i32(libc::ESTALE),
        Answer::Missing(_) => Errno::ENOENT,
        Answer::Entry(_)
        | Answer::Attributes(_)
        | Answer::Bytes(..)
        | Answer::Ready
        | Answer::Names(_)
        | Answer::Refreshed(_) => Errno::EIO,
    }
}
