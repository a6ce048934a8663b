//! The rules of the cache: what may be served, for how long, and when the vault is asked.
//!
//! Events go in, effects come out, and the time is an argument. Nothing in here waits, reads a
//! clock, sees an I/O error, or knows of HTTP or FUSE.

pub mod moment;
pub mod name;
pub mod secret;

pub mod failure;
pub mod policy;
pub mod prefetch;

pub mod event;

pub mod cache;
pub mod reader;
pub mod walk;
pub mod word;

pub mod entry;
pub mod listing;
pub mod queue;
pub mod strangers;
pub mod tree;

pub mod record;

pub mod refresh;
pub mod status;

pub mod backoff;
pub mod budget;
pub mod dates;
pub mod dice;
pub mod economy;
