//! docs/RECIPES.md against the real programs, each where it is installed: before and after a
//! rotation, and over the death of the processes that serve the mount.

pub(crate) mod boot;
pub(crate) mod kitchen;
pub(crate) mod page;
pub(crate) mod rsync;

mod certificates;
mod containers;
mod databases;
mod ftp;
mod jobs;
mod names;
mod services;
mod shares;
mod ssh;
