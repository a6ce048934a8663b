//! A second front end of a vault that is behind the first: what both say is true, or was.
//!
//! A vault answers from several places, and they need not know the same at the same time. While
//! there are two here, each other answer about a secret, and each other page of the list, is from
//! the one that is behind.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::vault::Secret;
use crate::vault::Store;
use crate::vault::Vault;

/// What a front end knew, and whose turn it is to answer about what.
#[derive(Debug)]
pub(crate) struct Replica {
    secrets: BTreeMap<String, Secret>,
    asked: RefCell<BTreeMap<String, u64>>,
}

impl Vault {
    /// From now on every second answer comes from a front end that learns nothing any more.
    pub fn fall_behind(&self) {
        self.with_store(|store| {
            let asked = RefCell::default();
            store.behind = Some(Replica { secrets: store.secrets.clone(), asked });
        });
    }

    /// All front ends know the same again.
    pub fn catch_up(&self) {
        self.with_store(|store| store.behind = None);
    }

    /// Makes an older version of a secret the newest again, as the restoring of a backup does: the
    /// later ones are gone. Whether there is such a version.
    pub fn restore(&self, name: &str, version: &str) -> bool {
        let mut found = false;
        self.with_secret(name, |secret| {
            let place = secret.versions.iter().position(|known| known.id == version);
            if let Some(place) = place {
                secret.versions.truncate(place + 1);
                found = true;
            }
        });
        found
    }
}

impl Store {
    /// What the front end knows whose turn it is to speak of that secret; of the list, if the name
    /// is empty.
    pub(crate) fn front(&self, key: &str) -> &BTreeMap<String, Secret> {
        let behind = self.behind.as_ref().filter(|behind| {
            let mut asked = behind.asked.borrow_mut();
            let asked = asked.entry(key.to_owned()).or_default();
            *asked += 1;
            asked.is_multiple_of(2)
        });
        behind.map_or(&self.secrets, |behind| &behind.secrets)
    }
}
