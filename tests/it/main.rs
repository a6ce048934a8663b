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
mod audit;
mod azure;
mod azure_cli;
mod caller;
mod callers;
mod canary;
mod cases;
mod check;
mod child;
mod claims;
mod cli;
mod clouds;
mod config;
mod control;
mod crash;
mod crowds;
mod dates;
mod deaths;
mod demo;
mod desk;
mod economy;
mod elapse;
mod ending;
mod faults;
mod fstab;
mod happenings;
mod host;
mod identities;
mod install;
mod installed;
mod judge;
mod kernel;
mod leaks;
mod machine;
mod mapping;
mod matrix;
mod messages;
mod metadata;
mod mount;
mod mounted;
mod namespace;
mod options;
mod outage;
mod places;
mod principal;
mod program;
mod promises;
mod proxy;
mod readers;
mod readme;
mod recipes;
mod reference;
mod refresh;
mod regressions;
mod rights;
mod roads;
mod room;
mod rules;
mod semantics;
mod shelf;
mod shifted;
mod simulation;
mod snapshot;
mod status;
mod storm;
mod strangers;
mod successors;
mod symptoms;
mod tag;
mod thrift;
mod together;
mod tokens;
mod trials;
mod tricks;
mod troubleshooting;
mod unmount;
mod user;
mod waits;
mod watch;
mod workload;
mod world;
mod wrong;
