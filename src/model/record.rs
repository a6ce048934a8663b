//! What a later worker has to know, as plain records, and a cache that goes on from them.
//!
//! A record holds no value, only the number by which the value is found again. Callers and
//! requests under way are not recorded: the callers' requests are sent again by the relay. The
//! moments in it are of the boot clock, so a record means nothing after a restart of the machine.

use std::collections::HashMap;

use serde::Deserialize;
use serde::Serialize;

use crate::model::backoff::Backoff;
use crate::model::budget::Bucket;
use crate::model::cache::Cache;
use crate::model::cache::Effects;
use crate::model::entry::Entry;
use crate::model::entry::Held;
use crate::model::entry::Newest;
use crate::model::entry::Verdict;
use crate::model::event::Item;
use crate::model::event::Value;
use crate::model::failure::Failure;
use crate::model::failure::Why;
use crate::model::listing::Source;
use crate::model::moment::Moment;
use crate::model::name::SecretName;
use crate::model::name::VersionId;
use crate::model::policy::Policy;
use crate::model::secret::Version;
use crate::model::tree::Node;
use crate::model::tree::Tree;

/// What is recorded of a name.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct NameRecord {
    name: SecretName,
    held: Option<HeldRecord>,
    verdict: Option<(Why, Moment)>,
    struck: Option<Moment>,
    newest: Option<Newest>,
    rival: Option<VersionId>,
    used: Moment,
    read: bool,
    awake: bool,
    node: Option<Node>,
    failed: Option<(Moment, Failure)>,
    failures: u32,
    next: Option<Moment>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct HeldRecord {
    version: Version,
    value: u64,
    verified: Moment,
    confirmed: Moment,
    settled: bool,
    ends: Option<Moment>,
}

/// What is recorded of an inode.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct NodeRecord {
    node: Node,
    name: SecretName,
    bound: Option<(Version, u64)>,
}

/// What is recorded of the directory.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ListingRecord {
    walked_at: Option<Moment>,
    shown: Vec<(u64, SecretName)>,
    walked: Vec<Item>,
}

/// What is recorded of everything else.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RestRecord {
    /// The first number that no inode has had.
    fresh: u64,
    backoff: Backoff,
    bucket: Bucket,
    strange: Bucket,
    missing_in_a_row: u32,
    read: Option<Moment>,
}

/// The records that changed. One that is `None` is to be dropped.
#[derive(Debug)]
pub struct Changes {
    /// Of names.
    pub names: Vec<(SecretName, Option<NameRecord>)>,
    /// Of inodes.
    pub nodes: Vec<(Node, Option<NodeRecord>)>,
    /// Of the directory, if it changed.
    pub listing: Option<ListingRecord>,
    /// Of everything else.
    pub rest: RestRecord,
}

/// All the records that there are.
#[derive(Debug, Default)]
pub struct Saved {
    /// Of names.
    pub names: Vec<NameRecord>,
    /// Of inodes.
    pub nodes: Vec<NodeRecord>,
    /// Of the directory.
    pub listing: Option<ListingRecord>,
    /// Of everything else.
    pub rest: Option<RestRecord>,
}

impl NameRecord {
    /// Whose record it is.
    #[must_use]
    pub fn name(&self) -> &SecretName {
        &self.name
    }
}

impl NodeRecord {
    /// Whose record it is.
    #[must_use]
    pub fn node(&self) -> Node {
        self.node
    }
}

impl<W, V: Value> Cache<W, V> {
    /// What changed since this was last asked. It has to be kept before any effect that was
    /// returned in between is carried out, or a later worker would not know what the kernel was
    /// told.
    pub fn changes(&mut self) -> Changes {
        let mut names = std::mem::take(&mut self.changed);
        names.sort_unstable();
        names.dedup();
        let record = |name: SecretName| {
            let record = self.entries.get(&name).map(|entry| recorded(&name, entry));
            (name, record)
        };
        let names = names.into_iter().map(record).collect();
        let mut nodes = self.tree.changes();
        nodes.sort_unstable();
        nodes.dedup();
        let record = |node: Node| {
            let record = self.tree.inode(node).map(|inode| NodeRecord {
                node,
                name: inode.name.clone(),
                bound: inode
                    .bound
                    .as_ref()
                    .map(|(version, value)| (version.clone(), value.serial())),
            });
            (node, record)
        };
        let nodes = nodes.into_iter().map(record).collect();
        let listing = std::mem::take(&mut self.listing.changed).then(|| self.listing_record());
        let rest = RestRecord {
            fresh: self.tree.ahead(NUMBERS_AHEAD),
            backoff: self.backoff.clone(),
            bucket: self.queue.bucket.clone(),
            strange: self.queue.strange.clone(),
            missing_in_a_row: self.missing_in_a_row,
            read: self.listing.read,
        };
        Changes { names, nodes, listing, rest }
    }

    /// A cache that goes on where an earlier worker's records end. What they hold is served as
    /// that worker would have; the kernel is told to ask again for everything it was given, and
    /// says of each inode whether it still holds it.
    #[must_use]
    pub fn restore(
        now: Moment,
        policy: Policy,
        seed: u64,
        configured: Vec<SecretName>,
        saved: Saved,
        values: &HashMap<u64, V>,
    ) -> (Self, Effects<W, V>) {
        let mut cache = Self::new(policy, seed, configured);
        if let Some(rest) = saved.rest {
            cache.tree = Tree::starting_at(rest.fresh);
            cache.backoff = rest.backoff;
            cache.queue.bucket = rest.bucket;
            cache.queue.strange = rest.strange;
            cache.missing_in_a_row = rest.missing_in_a_row;
            cache.listing.read = rest.read;
        }
        for node in saved.nodes {
            let bound = match node.bound {
                None => None,
                Some((version, serial)) => match values.get(&serial) {
                    Some(value) => Some((version, value.clone())),
                    None => continue,
                },
            };
            cache.tree.restore(node.node, node.name, bound);
        }
        if let Some(listing) = saved.listing {
            let source = listing.walked_at.map_or(Source::Seen, Source::Walk);
            cache.listing.restore(source, listing.shown, listing.walked);
            cache.listing.next = Some(now);
        }
        for record in saved.names {
            cache.adopt(now, record, values);
        }
        let mut effects = Vec::new();
        cache.tell_all(&mut effects);
        (cache, effects)
    }

    fn adopt(&mut self, now: Moment, record: NameRecord, values: &HashMap<u64, V>) {
        let name = record.name;
        let mut entry = Entry::new(record.used);
        entry.held = record.held.and_then(|held| {
            let value = values.get(&held.value)?.clone();
            let HeldRecord { version, verified, confirmed, settled, ends, .. } = held;
            Some(Held { version, value, verified, confirmed, settled, ends })
        });
        entry.verdict = record.verdict.map(|(why, until)| Verdict { why, until });
        entry.struck = record.struck;
        entry.newest = record.newest;
        entry.rival = record.rival;
        entry.read = record.read;
        entry.awake = record.awake;
        entry.node = record.node.filter(|node| self.tree.inode(*node).is_some());
        entry.failed = record.failed;
        entry.failures = record.failures;
        // A request that was under way died with its worker, and so did its place in the line.
        entry.next = entry.held.is_some().then(|| record.next.unwrap_or(now));
        self.entries.insert(name.clone(), entry);
        self.filed(now, &name);
    }

    fn listing_record(&self) -> ListingRecord {
        let (shown, walked) = self.listing.saved();
        let walked_at = match self.listing.source {
            Source::Walk(at) => Some(at),
            Source::Nothing | Source::Seen => None,
        };
        ListingRecord { walked_at, shown, walked }
    }
}

fn recorded<W, V: Value>(name: &SecretName, entry: &Entry<W, V>) -> NameRecord {
    NameRecord {
        name: name.clone(),
        held: entry.held.as_ref().map(|held| HeldRecord {
            version: held.version.clone(),
            value: held.value.serial(),
            verified: held.verified,
            confirmed: held.confirmed,
            settled: held.settled,
            ends: held.ends,
        }),
        verdict: entry.verdict.map(|verdict| (verdict.why, verdict.until)),
        struck: entry.struck,
        newest: entry.newest,
        rival: entry.rival,
        used: entry.used,
        read: entry.read,
        awake: entry.awake,
        node: entry.node,
        failed: entry.failed,
        failures: entry.failures,
        next: entry.next,
    }
}

/// Inode numbers are recorded so many at a time: a later worker starts behind them.
const NUMBERS_AHEAD: u64 = 1024;
