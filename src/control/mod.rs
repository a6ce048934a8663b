//! The control socket: what `akvfs status`, `refresh` and `watch` ask a mount, and its answers.
//!
//! A supervisor owns the socket, lets in root and whoever mounted, and hands each connection to its
//! worker without reading from it. Nothing in here carries a value: the types have no place for one.
//! How a worker answers is another room's (`control_server`), for a supervisor uses this one.

pub mod protocol;

pub mod client;
pub mod reception;
