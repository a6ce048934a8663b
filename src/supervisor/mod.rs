//! The mount and the processes behind it.
//!
//! The supervisor mounts, starts relay and worker, starts them again when they die, and tells the
//! kernel what changed. The relay carries requests to the worker and answers back, and keeps the
//! ledger of what is unanswered. Neither knows what a vault is, and neither reads more of what the
//! worker wrote than the header of an answer and the fields of a report.

pub mod mountinfo;
pub mod place;

pub mod claim;
pub mod fusermount;
pub mod living;
pub mod mount;
pub mod unmount;

pub mod ledger;
pub mod outstanding;

pub mod interrupt;
pub mod recording;
pub mod relay;

pub mod report;
pub mod worker;

pub mod crash_loop;
pub mod notify;
pub mod pair;
pub mod process;
pub mod signals;
pub mod sockets;
pub mod waiting;

pub mod door;
pub mod pinning;
pub mod visitors;

pub mod ending;
pub mod supervise;
pub mod supervision;
