//! The promises of docs/SEMANTICS.md, on real mounts.

pub(crate) mod bytes;
pub(crate) mod calls;
pub(crate) mod change;
pub(crate) mod directory;
pub(crate) mod errors;
pub(crate) mod idle;
pub(crate) mod listing;
pub(crate) mod outage;
pub(crate) mod programs;
pub(crate) mod refusal;
pub(crate) mod version;
pub(crate) mod warm;
