//! OPEN, where each is recorded: the caller has its descriptor once the line is written.
//!
//! What the kernel refuses by mode never comes here. What the vault refuses is found out when the
//! kernel asks for attributes, before it opens; so that is recorded there, and a mere stat(2) of a
//! refused secret is a line as well.

use fuser::Errno;
use fuser::FileHandle;
use fuser::FopenFlags;
use fuser::INodeNo;
use fuser::OpenAccMode;
use fuser::OpenFlags;
use fuser::ReplyOpen;
use fuser::Request;

use crate::audit::line::Decision;
use crate::audit::teller::Teller;
use crate::clock;
use crate::fuse::reply::unexpected;
use crate::model::event::Answer;
use crate::model::event::Event;
use crate::model::event::Sight;
use crate::model::failure::Refusal;
use crate::model::failure::Why;
use crate::model::name::SecretName;
use crate::model::tree::Node;
use crate::service::keeper::Stored;
use crate::service::server::Caller;
use crate::service::server::Service;

/// How opens are recorded.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The way to whoever writes the lines.
    pub teller: Teller,
    /// Whether an open that cannot be recorded goes on all the same.
    pub may_fail: bool,
}

/// Who asks.
#[derive(Clone, Copy)]
struct Who {
    uid: u32,
    gid: u32,
    thread: u32,
}

impl Audit {
    /// Answers an OPEN.
    pub fn open(
        &self,
        service: &Service,
        request: &Request,
        inode: INodeNo,
        flags: OpenFlags,
        reply: ReplyOpen,
    ) {
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            return reply.error(Errno::EROFS);
        }
        let node = Node(inode.0);
        let (audit, who) = (self.clone(), Who::of(request));
        let names = service.clone();
        let to = move |answer| {
            let Answer::Attributes(Sight { name, bound: Some((version, _)), verified, .. }) =
                answer
            else {
                let to: Caller = Box::new(move |answer| reply.error(unexpected(&answer)));
                return audit.answer(&names, node, who, answer, to);
            };
            let now = clock::now();
            let decision = Decision {
                version: Some(version.id),
                age: verified.map(|verified| now.since(verified)),
                ..who.decides(name, None)
            };
            let may_fail = audit.may_fail;
            let done = move |written| {
                if written || may_fail {
                    // An inode shows one version for good, so what is cached of it stays right.
                    let keep = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
                    reply.opened(FileHandle(0), keep);
                } else {
                    reply.error(Errno::EIO);
                }
            };
            audit.teller.tell(decision, Box::new(done));
        };
        service.handle(Event::Attributes { node, to: Box::new(to) });
    }

    /// Answers whoever wants attributes, and records it if the vault has refused them.
    pub fn attributes(
        &self,
        service: &Service,
        request: &Request,
        node: Node,
        to: Caller,
    ) -> Caller {
        let (audit, who, names) = (self.clone(), Who::of(request), service.clone());
        Box::new(move |answer| audit.answer(&names, node, who, answer, to))
    }

    /// Answers, and records before that whether somebody was kept from a secret.
    fn answer(&self, names: &Service, node: Node, who: Who, answer: Answer<Stored>, to: Caller) {
        let kept_from = is_recorded(&answer).then(|| names.name_of(node)).flatten();
        let Some(name) = kept_from else { return to(answer) };
        let decision = who.decides(name, Some(unexpected(&answer).code()));
        self.teller.tell(decision, Box::new(move |_| to(answer)));
    }
}

impl Who {
    fn of(request: &Request) -> Self {
        Self { uid: request.uid(), gid: request.gid(), thread: request.pid() }
    }

    fn decides(self, secret: SecretName, errno: Option<i32>) -> Decision {
        let Self { uid, gid, thread } = self;
        Decision { secret, version: None, age: None, uid, gid, thread, errno, at: clock::now() }
    }
}

/// Whether somebody was kept from a secret. One that is missing is nobody's.
fn is_recorded(answer: &Answer<Stored>) -> bool {
    match answer {
        Answer::No(why) => *why != Why::Refused(Refusal::Missing),
        Answer::Entry(_)
        | Answer::Attributes(_)
        | Answer::Bytes(..)
        | Answer::Missing(_)
        | Answer::Ready
        | Answer::Names(_)
        | Answer::Refreshed(_)
        | Answer::Unknown => false,
    }
}
