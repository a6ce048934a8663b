//! The file system as the kernel meets it. The only folder that knows fuser.
//!
//! A thin layer: a request becomes an event of the model, an answer becomes a reply. No thread in
//! here waits for anything but the next request.

pub mod session;

pub mod filesystem;
pub mod negotiation;
pub mod reply;

pub mod attr;
pub mod audit;
pub mod errno;
pub mod looks;
pub mod view;
