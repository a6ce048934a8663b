//! A Key Vault, Entra and an instance metadata service on this machine, for tests and laptops.
//!
//! Real HTTP over real TLS under an authority of its own. It is strict: what the real service
//! refuses it refuses, and what a careful client never does it notes as a violation. Start at
//! [`emulator::Emulator`].

pub mod emulator;

pub mod dialect;
pub mod entra;
pub mod identity;
pub mod replica;
pub mod rotation;
pub mod vault;

pub mod authority;
pub mod control;
pub mod fault;
pub mod record;

mod answer;
mod app_service;
mod arc;
mod asked;
mod azure_ml;
mod body;
mod clock;
mod cloud_shell;
mod login;
mod metadata;
mod pages;
mod secrets;
mod server;
mod service_fabric;
mod state;
mod wire;
