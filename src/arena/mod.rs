//! Memory that outlives the worker: what a new worker goes on from after the old one died.
//!
//! A memfd of a fixed size, made by the supervisor and mapped by one worker at a time, that holds
//! records: some bytes under a key. It promises that
//!
//! * a record is stored whole or not there, and a replaced one is the old or the new one, whatever
//!   instruction the worker is killed at (`kill -9`, the OOM killer);
//! * the bytes of a record stay as they are while somebody holds it, also once it is replaced or
//!   removed, and are overwritten with zeros when the last holder lets go;
//! * what was half written, removed or replaced when the worker died is overwritten with zeros when
//!   the next one opens the arena;
//! * nothing found in the memory is trusted: lengths and places are checked, what makes no sense is
//!   dropped, and another layout is refused as a whole.
//!
//! It does not outlive the machine, nor the last process that holds the memfd: it is memory. It does
//! not tell whether bytes inside a whole record were changed by somebody else who holds the memfd.
//! It knows nothing of what the bytes mean.
//!
//! # Layout
//!
//! Blocks of 256 bytes. The first one is the header: magic, layout, block size, size of the memfd,
//! and the *mark*, the end of the highest run ever used. A record is a *run* of adjacent blocks whose
//! first eight bytes, its *word*, say in one number what the run is and how long: reserved, committed
//! or retired. A free block is all zeros, its word included.
//!
//! The words stand in the runs and not in a table of their own, so that what is in use is the start
//! of the memfd, with nothing in it to lock in memory that is not used. The price is that
//! a reader of the memory must never take a value's bytes for a word; therefore a run is reserved,
//! with its length, before anything is written into it, and its word is the last of it to be zeroed.

pub mod record;
pub mod store;

mod recovery;
mod space;

#[cfg(test)]
mod crash;
