//! Tells the kernel what changed, on a thread that does nothing else.
//!
//! Telling waits for whoever holds the lock of the directory or inode in question, which may be
//! somebody whose request the worker has yet to answer. So it happens in a process through which no
//! request passes, and on a thread for which nothing else waits.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rustix::event::EventfdFlags;
use rustix::event::eventfd;
use rustix::io::retry_on_intr;
use rustix::net::SendFlags;
use rustix::net::send;

use crate::model::event::Notice;
use crate::model::tree::ROOT;
use crate::supervisor::report::Told;

/// How many notices may wait before no more are taken.
const QUEUE: usize = 4_096;
/// `FUSE_NOTIFY_INVAL_INODE` and `FUSE_NOTIFY_INVAL_ENTRY`.
const INVAL_INODE: i32 = 2;
const INVAL_ENTRY: i32 = 3;

/// The way to the thread.
#[derive(Debug)]
pub struct Notifier {
    orders: Sender<Order>,
    waiting: Arc<Waiting>,
    ended: Receiver<()>,
}

/// A notice, and the socket of the worker that asked for it.
#[derive(Debug)]
struct Order {
    serial: u64,
    notice: Notice,
    worker: Arc<OwnedFd>,
}

/// How many orders are waiting, and something to be read once they are few again.
#[derive(Debug)]
struct Waiting {
    orders: AtomicUsize,
    drained: OwnedFd,
}

impl Notifier {
    /// Starts the thread for a mount.
    pub fn start(fuse: OwnedFd) -> io::Result<Self> {
        let drained = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let waiting = Arc::new(Waiting { orders: AtomicUsize::new(0), drained });
        let (orders, taken) = channel();
        let (alive, ended) = channel();
        let counted = Arc::clone(&waiting);
        thread::Builder::new().name("akvfs-notifier".to_owned()).spawn(move || {
            for order in taken {
                carry_out(&fuse, &order);
                counted.one_less();
            }
            drop(alive);
        })?;
        Ok(Self { orders, waiting, ended })
    }

    /// Has the kernel told, and the outcome reported to the worker.
    pub fn tell(&self, serial: u64, notice: Notice, worker: &Arc<OwnedFd>) {
        self.waiting.orders.fetch_add(1, Ordering::SeqCst);
        // The thread takes orders for as long as there is this sender.
        let _ = self.orders.send(Order { serial, notice, worker: Arc::clone(worker) });
    }

    /// Whether so much is waiting that no more should be taken from the worker.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.waiting.orders.load(Ordering::SeqCst) >= QUEUE
    }

    /// What is readable once little is waiting again.
    #[must_use]
    pub fn drained(&self) -> &OwnedFd {
        &self.waiting.drained
    }

    /// Lets the thread finish what it was asked to do, for so long at most.
    pub fn finish(self, patience: Duration) {
        drop(self.orders);
        let _ = self.ended.recv_timeout(patience);
    }
}

impl Waiting {
    fn one_less(&self) {
        if self.orders.fetch_sub(1, Ordering::SeqCst) == QUEUE / 2 {
            let _ = rustix::io::write(&self.drained, &1_u64.to_ne_bytes());
        }
    }
}

fn carry_out(fuse: &OwnedFd, order: &Order) {
    // Nobody but this order keeps the socket: the worker is gone.
    if Arc::strong_count(&order.worker) == 1 {
        return;
    }
    let errno = match rustix::io::write(fuse, &encode(&order.notice)) {
        Ok(_) => 0,
        Err(error) => error.raw_os_error(),
    };
    let told = Told { serial: order.serial, errno }.encode();
    // This waits for a worker that does not read. When it dies the supervisor shuts the socket, and
    // the next worker has the kernel asked about every inode anew.
    let _ = retry_on_intr(|| send(&*order.worker, &told, SendFlags::NOSIGNAL));
}

/// The kernel's `fuse_out_header` and what it announces.
fn encode(notice: &Notice) -> Vec<u8> {
    let (code, body) = match notice {
        // `fuse_notify_inval_entry_out`: the parent, the length, no flags; the name, a NUL.
        Notice::Entry(name) => {
            let text = name.as_str().as_bytes();
            let length = u32::try_from(text.len()).unwrap_or(0);
            let mut body = ROOT.0.to_ne_bytes().to_vec();
            body.extend(length.to_ne_bytes());
            body.extend([0; 4]);
            body.extend(text);
            body.push(0);
            (INVAL_ENTRY, body)
        }
        // `fuse_notify_inval_inode_out`: the inode, from where, how much. A negative start leaves
        // the pages alone.
        Notice::Attributes(node) => (INVAL_INODE, inode(node.0, -1)),
        Notice::Listing => (INVAL_INODE, inode(ROOT.0, 0)),
    };
    let length = u32::try_from(16 + body.len()).unwrap_or(0);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(code.to_ne_bytes());
    bytes.extend(0_u64.to_ne_bytes());
    bytes.extend(body);
    bytes
}

fn inode(node: u64, from: i64) -> Vec<u8> {
    [node.to_ne_bytes(), from.to_ne_bytes(), 0_i64.to_ne_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::SecretName;
    use crate::model::tree::Node;

    #[test]
    fn a_notification_has_the_layout_of_the_kernel() {
        let name = SecretName::parse("ftp").unwrap();
        let entry = encode(&Notice::Entry(name));
        let expected: &[&[u8]] =
            &[&36_u32.to_ne_bytes(), &3_i32.to_ne_bytes(), &[0; 8], &1_u64.to_ne_bytes()];
        assert_eq!(entry[..24], expected.concat());
        assert_eq!(entry[24..], [&3_u32.to_ne_bytes()[..], &[0; 4], b"ftp\0"].concat());
        let attributes = encode(&Notice::Attributes(Node(7)));
        let numbers = [7_i64, -1, 0].map(i64::to_ne_bytes).concat();
        assert_eq!((attributes.len(), &attributes[4..8]), (40, &2_i32.to_ne_bytes()[..]));
        assert_eq!(attributes[16..], numbers);
        let listing = encode(&Notice::Listing);
        assert_eq!(listing[16..], [1_i64, 0, 0].map(i64::to_ne_bytes).concat());
    }
}
