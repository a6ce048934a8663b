//! What a worker leaves to the next one.

use std::collections::HashMap;

use akvfs::model::cache::Cache;
use akvfs::model::cache::Effects;
use akvfs::model::moment::Moment;
use akvfs::model::name::SecretName;
use akvfs::model::policy::Policy;
use akvfs::model::record::Changes;
use akvfs::model::record::ListingRecord;
use akvfs::model::record::NameRecord;
use akvfs::model::record::NodeRecord;
use akvfs::model::record::RestRecord;
use akvfs::model::record::Saved;
use akvfs::model::tree::Node;

use crate::desk::TestValue;

#[derive(Debug, Default)]
pub(crate) struct Shelf {
    names: HashMap<SecretName, NameRecord>,
    nodes: HashMap<Node, NodeRecord>,
    listing: Option<ListingRecord>,
    rest: Option<RestRecord>,
}

impl Shelf {
    pub(crate) fn keep(&mut self, changes: Changes) {
        for (name, record) in changes.names {
            match record {
                Some(record) => self.names.insert(name, record),
                None => self.names.remove(&name),
            };
        }
        for (node, record) in changes.nodes {
            match record {
                Some(record) => self.nodes.insert(node, record),
                None => self.nodes.remove(&node),
            };
        }
        self.listing = changes.listing.or(self.listing.take());
        self.rest = Some(changes.rest);
    }

    /// Another worker. It finds all the values that there ever were.
    pub(crate) fn restore(
        &self,
        now: Moment,
        policy: &Policy,
        seed: u64,
    ) -> (Cache<u32, TestValue>, Effects<u32, TestValue>) {
        let saved = Saved {
            names: self.names.values().cloned().collect(),
            nodes: self.nodes.values().cloned().collect(),
            listing: self.listing.clone(),
            rest: self.rest.clone(),
        };
        let values = (0..MOST_VERSIONS).map(|number| (number, TestValue(number))).collect();
        Cache::restore(now, policy.clone(), seed, Vec::new(), saved, &values)
    }
}

const MOST_VERSIONS: u64 = 200;
