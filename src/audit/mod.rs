//! Who opened what: one line for each decision, written before the caller gets its descriptor.
//!
//! The worker, which decides, tells the *clerk*; the clerk is a thread of the supervisor, because
//! only that may see which program another user runs, and because its numbers outlive a worker.
//! Never a value is told, nor anything that depends on one.

pub mod caller;
pub mod clerk;
pub mod line;
pub mod sink;
pub mod teller;
