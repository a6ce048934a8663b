//! Everything that needs more than one room of the house: one binary.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and deadlines need a clock"
)]

mod architecture;
mod ask;
mod azure;
mod check;
mod child;
mod cli;
mod desk;
mod elapse;
mod fstab;
mod install;
mod installed;
mod judge;
mod kernel;
mod machine;
mod messages;
mod mounted;
mod namespace;
mod options;
mod places;
mod program;
mod promises;
mod reference;
mod regressions;
mod rules;
mod shelf;
mod simulation;
mod snapshot;
mod together;
mod user;
mod world;
mod wrong;
