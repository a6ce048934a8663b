//! What can go wrong, what a caller notices of it, and for how long.

pub(crate) mod clock;
pub(crate) mod crowd;
pub(crate) mod lasting;
pub(crate) mod once;
pub(crate) mod pace;
pub(crate) mod refusals;
pub(crate) mod renewal;
pub(crate) mod replicas;
pub(crate) mod storm;
pub(crate) mod table;
