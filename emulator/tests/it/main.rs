//! The emulator against its own claims, over the wire as any client sees it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod changes;
mod client;
mod control;
mod dialects;
mod entra;
mod faults;
mod metadata;
mod secrets;
