//! Carries out what the model wants: asks the vault, keeps what a later worker must know, tells
//! the kernel, answers callers, and wakes the model when it is time.
//!
//! It locks the model for as long as the model thinks, and never across a wait. What the model
//! decided is kept before anybody is told of it. It does not know who its callers are.

pub mod desk;
pub mod keeper;
pub mod prefetch;
pub mod server;
pub mod trial;

mod walk;
