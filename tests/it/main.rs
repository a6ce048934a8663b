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
mod caller;
mod callers;
mod canary;
mod check;
mod child;
mod cli;
mod crash;
mod dates;
mod deaths;
mod demo;
mod desk;
mod economy;
mod elapse;
mod ending;
mod fstab;
mod happenings;
mod install;
mod installed;
mod judge;
mod kernel;
mod leaks;
mod machine;
mod mapping;
mod messages;
mod mount;
mod mounted;
mod namespace;
mod options;
mod outage;
mod places;
mod program;
mod promises;
mod readers;
mod readme;
mod recipes;
mod reference;
mod regressions;
mod rights;
mod room;
mod rules;
mod semantics;
mod shelf;
mod simulation;
mod snapshot;
mod successors;
mod thrift;
mod together;
mod tokens;
mod troubleshooting;
mod unmount;
mod user;
mod waits;
mod world;
mod wrong;
