//! The worker's side of the control socket: each connection a conversation.
//!
//! What is said is what the service knows, in the words of `control::protocol`.

pub mod server;

mod conversation;
mod watch;
