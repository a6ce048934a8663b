//! Tells the kernel what changed, on a thread that does nothing else.
//!
//! Telling waits for whoever holds the lock of the directory or inode in question, which may be
//! somebody whose request the worker has yet to answer. So it happens in a process through which no
//! request passes, and on a thread for which nothing else waits. The thread takes its orders from
//! the worker itself: what is not told yet lies in the socket, and what finds no room there stays
//! with the worker.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::net::SendFlags;
use rustix::net::Shutdown;
use rustix::net::send;
use rustix::net::shutdown;

use crate::model::event::Notice;
use crate::model::tree::ROOT;
use crate::supervisor::report::Order;
use crate::supervisor::report::Told;

/// `FUSE_NOTIFY_INVAL_INODE` and `FUSE_NOTIFY_INVAL_ENTRY`.
const INVAL_INODE: i32 = 2;
const INVAL_ENTRY: i32 = 3;

/// The way to the thread.
#[derive(Debug)]
pub struct Notifier {
    workers: Sender<Arc<OwnedFd>>,
    /// The socket of the worker that is listened to.
    worker: Option<Arc<OwnedFd>>,
    ended: Receiver<()>,
}

impl Notifier {
    /// Starts the thread for a mount.
    pub fn start(fuse: OwnedFd) -> io::Result<Self> {
        let (workers, taken) = channel::<Arc<OwnedFd>>();
        let (alive, ended) = channel();
        thread::Builder::new().name("akvfs-notifier".to_owned()).spawn(move || {
            for worker in taken {
                while let Some(order) = Order::receive(&*worker) {
                    carry_out(&fuse, &worker, &order);
                }
            }
            drop(alive);
        })?;
        Ok(Self { workers, worker: None, ended })
    }

    /// Has the kernel told what this worker orders from now on, and the worker what became of it.
    /// Another one that was listened to before is dead.
    pub fn listen_to(&mut self, worker: &Arc<OwnedFd>) {
        if self.worker.as_ref().is_some_and(|before| Arc::ptr_eq(before, worker)) {
            return;
        }
        self.hear_no_more();
        self.worker = Some(Arc::clone(worker));
        // The thread takes workers for as long as there is this sender.
        let _ = self.workers.send(Arc::clone(worker));
    }

    /// Lets the thread finish what it was asked to do, for so long at most.
    pub fn finish(mut self, patience: Duration) {
        self.hear_no_more();
        drop(self.workers);
        let _ = self.ended.recv_timeout(patience);
    }

    /// What was ordered is carried out; who waits to tell that worker something waits no longer.
    fn hear_no_more(&mut self) {
        if let Some(worker) = self.worker.take() {
            let _ = shutdown(&*worker, Shutdown::Both);
        }
    }
}

fn carry_out(fuse: &OwnedFd, worker: &OwnedFd, order: &Order) {
    if order.notice == Notice::Listing {
        // A listing that is on its way would be kept though it is old. To forget a name that is
        // none waits for whoever reads the directory, and does nothing.
        let _ = rustix::io::write(fuse, &entry("."));
    }
    let errno = match rustix::io::write(fuse, &encode(&order.notice)) {
        Ok(_) => 0,
        Err(error) => error.raw_os_error(),
    };
    let told = Told { serial: order.serial, errno }.encode();
    // This waits for a worker that does not read. When it dies the socket is shut, and the next
    // worker has the kernel asked about every inode anew.
    let _ = retry_on_intr(|| send(worker, &told, SendFlags::NOSIGNAL));
}

fn encode(notice: &Notice) -> Vec<u8> {
    match notice {
        Notice::Entry(name) => entry(name.as_str()),
        // A negative start leaves the pages alone.
        Notice::Attributes(node) => inode(node.0, -1),
        Notice::Listing => inode(ROOT.0, 0),
    }
}

/// `fuse_notify_inval_entry_out`: the parent, the length, no flags; the name, a NUL.
fn entry(name: &str) -> Vec<u8> {
    let length = u32::try_from(name.len()).unwrap_or(0);
    let mut body = ROOT.0.to_ne_bytes().to_vec();
    body.extend(length.to_ne_bytes());
    body.extend([0; 4]);
    body.extend(name.as_bytes());
    body.push(0);
    notification(INVAL_ENTRY, &body)
}

/// `fuse_notify_inval_inode_out`: the inode, from where, how much.
fn inode(node: u64, from: i64) -> Vec<u8> {
    let body = [node.to_ne_bytes(), from.to_ne_bytes(), 0_i64.to_ne_bytes()].concat();
    notification(INVAL_INODE, &body)
}

/// The kernel's `fuse_out_header`, and what it announces.
fn notification(code: i32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(0);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(code.to_ne_bytes());
    bytes.extend(0_u64.to_ne_bytes());
    bytes.extend(body);
    bytes
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
