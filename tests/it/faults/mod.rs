//! What can go wrong, what a caller notices of it, and for how long.

pub(crate) mod lasting;
pub(crate) mod once;
pub(crate) mod table;
