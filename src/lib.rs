//! akvfs mounts an Azure Key Vault as a directory of read-only files.
//!
//! The map of the house, in reading order. docs/ARCHITECTURE.md tells the story; the test
//! `architecture` keeps each room to the rooms and packages it may use.

pub mod model;

pub mod clock;
mod der;
pub mod json;
pub mod log;
pub mod timer;

pub mod alarm;

pub mod http;
pub mod identity;
pub mod tls;
pub mod vault;

pub mod arena;
pub mod audit;
pub mod service;

pub mod control;
pub mod control_server;

pub mod fuse;
pub mod supervisor;

pub mod sys;

pub mod cli;

#[cfg(test)]
mod stand_in;
