//! Keeps in the arena what a later worker must know, record by record.
//!
//! A record is whole or not there, so the model's records each stand alone. It knows what a record
//! is called, not what it means.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::arena::record::Key;
use crate::arena::record::Record;
use crate::arena::store::Arena;
use crate::arena::store::Full;
use crate::identity::choice::Guid;
use crate::log;
use crate::model::event::Value;
use crate::model::name::SecretName;
use crate::model::record::Changes;
use crate::model::record::NameRecord;
use crate::model::record::Saved;
use crate::model::secret::SecretBytes;

/// The worker's side of the arena.
#[derive(Debug)]
pub struct Keeper {
    arena: Arena,
    /// The number under which each name's record is kept.
    names: HashMap<SecretName, u64>,
    next_name: u64,
    next_value: u64,
    /// The last record of everything else, so that it is not written where nothing changed.
    rest: Vec<u8>,
    /// Whether it was said that the arena is full, which is said once.
    complained: bool,
}

/// What an earlier worker left.
#[derive(Debug, Default)]
pub struct Left {
    /// The model's records.
    pub saved: Saved,
    /// The values, by number.
    pub values: HashMap<u64, Stored>,
    /// The identity that the first answer named.
    pub identity: Option<Guid>,
    /// When the mount was made, in seconds since 1970.
    pub since: Option<i64>,
}

/// A value in the arena. It is wiped when the last clone is dropped.
#[derive(Clone)]
pub struct Stored(Arc<Lease>);

struct Lease {
    arena: Arena,
    key: Key,
    record: Record,
}

impl Keeper {
    /// Sorts what is in the arena.
    #[must_use]
    pub fn open(arena: Arena, records: Vec<(Key, Record)>) -> (Self, Left) {
        let mut keeper = Self {
            arena,
            names: HashMap::new(),
            next_name: 0,
            next_value: 0,
            rest: Vec::new(),
            complained: false,
        };
        let mut left = Left::default();
        for (key, record) in records {
            keeper.sort(key, record, &mut left);
        }
        (keeper, left)
    }

    fn sort(&mut self, key: Key, record: Record, left: &mut Left) {
        match key.kind {
            VALUE => {
                self.next_value = self.next_value.max(key.id.saturating_add(1));
                let lease = Lease { arena: self.arena.clone(), key, record };
                left.values.insert(key.id, Stored(Arc::new(lease)));
            }
            NAME => {
                self.next_name = self.next_name.max(key.id.saturating_add(1));
                if let Some(name) = read::<NameRecord>(&record) {
                    self.names.insert(name.name().clone(), key.id);
                    left.saved.names.push(name);
                }
            }
            NODE => left.saved.nodes.extend(read(&record)),
            LISTING => left.saved.listing = read(&record),
            REST => left.saved.rest = read(&record),
            IDENTITY => left.identity = read(&record),
            SINCE => left.since = read(&record),
            _ => {}
        }
    }

    /// Puts a value where a later worker finds it.
    pub fn store(&mut self, value: &SecretBytes) -> Result<Stored, Full> {
        let key = Key { kind: VALUE, id: self.next_value };
        let record = self.arena.put(key, value.expose())?;
        self.next_value += 1;
        Ok(Stored(Arc::new(Lease { arena: self.arena.clone(), key, record })))
    }

    /// Keeps what changed in the model. What finds no room is lost to a later worker, and to
    /// nobody else.
    pub fn keep(&mut self, changes: Changes) {
        for (name, record) in changes.names {
            let id = *self.names.entry(name.clone()).or_insert_with(|| {
                self.next_name += 1;
                self.next_name - 1
            });
            if record.is_none() {
                self.names.remove(&name);
            }
            self.write(Key { kind: NAME, id }, record.as_ref());
        }
        for (node, record) in changes.nodes {
            self.write(Key { kind: NODE, id: node.0 }, record.as_ref());
        }
        if changes.listing.is_some() {
            self.write(Key { kind: LISTING, id: 0 }, changes.listing.as_ref());
        }
        let rest = serde_json::to_vec(&changes.rest).unwrap_or_default();
        if rest != self.rest {
            self.put(Key { kind: REST, id: 0 }, &rest);
            self.rest = rest;
        }
    }

    /// Keeps the identity that the first answer named.
    pub fn keep_identity(&mut self, identity: &Guid) {
        self.write(Key { kind: IDENTITY, id: 0 }, Some(identity));
    }

    /// Keeps when the mount was made.
    pub fn keep_since(&mut self, since: i64) {
        self.write(Key { kind: SINCE, id: 0 }, Some(&since));
    }

    /// So many bytes of the arena have been in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.arena.used()
    }

    fn write<T: Serialize>(&mut self, key: Key, record: Option<&T>) {
        match record.map(serde_json::to_vec) {
            Some(Ok(bytes)) => self.put(key, &bytes),
            Some(Err(_)) => {}
            None => self.arena.remove(key),
        }
    }

    /// A record that is out of date is worse than none: by it a later worker would serve what was
    /// refused since, or bind an inode anew. So where there is no room for both, the old one goes.
    fn put(&mut self, key: Key, bytes: &[u8]) {
        if self.arena.put(key, bytes).is_ok() {
            return;
        }
        self.arena.remove(key);
        if self.arena.put(key, bytes).is_err() && !self.complained {
            self.complained = true;
            log::warning(format_args!(
                "no room to keep what a restarted worker would need: raise room="
            ));
        }
    }
}

impl Stored {
    /// The bytes of the value.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.record.bytes()
    }
}

impl Value for Stored {
    fn serial(&self) -> u64 {
        self.0.key.id
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "[{} bytes]", self.expose().len())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.arena.remove(self.key);
    }
}

fn read<T: DeserializeOwned>(record: &Record) -> Option<T> {
    serde_json::from_slice(record.bytes()).ok()
}

const VALUE: u32 = 1;
const NAME: u32 = 2;
const NODE: u32 = 3;
const LISTING: u32 = 4;
const REST: u32 = 5;
const IDENTITY: u32 = 6;
const SINCE: u32 = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::store::create;

    const KEY: Key = Key { kind: SINCE, id: 0 };

    /// What a later worker finds after one that put these, one over the other, into a full arena.
    fn found(records: [&[u8]; 2]) -> Option<i64> {
        let memfd = create(3 * 256).unwrap();
        let (arena, _) = Arena::open(memfd.try_clone().unwrap()).unwrap();
        let (mut keeper, _) = Keeper::open(arena, Vec::new());
        keeper.put(Key { kind: IDENTITY, id: 0 }, b"null");
        for record in records {
            keeper.put(KEY, record);
        }
        drop(keeper);
        let (arena, left) = Arena::open(memfd).unwrap();
        Keeper::open(arena, left).1.since
    }

    #[test]
    fn a_record_takes_the_place_of_the_old_one_where_there_is_no_room_for_both() {
        assert_eq!(found([b"1", b"2"]), Some(2));
    }

    #[test]
    fn a_record_that_is_out_of_date_is_not_left_where_the_new_one_finds_no_room() {
        assert_eq!(found([b"1", &[b'2'; 300]]), None);
    }
}
