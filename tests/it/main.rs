//! Everything that needs more than one room of the house: one binary.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and deadlines need a clock"
)]

mod azure;
mod desk;
mod elapse;
mod judge;
mod kernel;
mod promises;
mod reference;
mod regressions;
mod rules;
mod shelf;
mod simulation;
