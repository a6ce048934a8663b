//! A simulated kernel: what it remembers of names and inodes, for how long, and what makes it
//! forget. It asks nobody by itself; the simulation lets its callers open and read.

use std::collections::BTreeMap;
use std::time::Duration;

use akvfs::model::event::Notice;
use akvfs::model::event::Sight;
use akvfs::model::moment::Moment;
use akvfs::model::tree::Node;

use crate::desk::TestValue;

#[derive(Debug, Default)]
pub(crate) struct Kernel {
    dentries: BTreeMap<String, (Option<Node>, Moment)>,
    pub(crate) inodes: BTreeMap<Node, Inode>,
}

/// An inode in the kernel's memory.
#[derive(Debug)]
pub(crate) struct Inode {
    pub(crate) lookups: u64,
    /// How many open files, bind mounts and requests under way keep it there.
    pub(crate) pins: u32,
    attributes: Option<(u64, Moment)>,
}

/// What the kernel knows of a name by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Known {
    Nothing,
    Missing,
    Node(Node),
}

impl Kernel {
    pub(crate) fn known(&self, now: Moment, name: &str) -> Known {
        match self.dentries.get(name).filter(|(_, until)| *until > now) {
            None => Known::Nothing,
            Some((None, _)) => Known::Missing,
            Some((Some(node), _)) => Known::Node(*node),
        }
    }

    /// The version that a file shows, if the kernel need not ask.
    pub(crate) fn shows(&self, now: Moment, node: Node) -> Option<u64> {
        let (version, until) = self.inodes.get(&node)?.attributes?;
        (until > now).then_some(version)
    }

    pub(crate) fn missing(&mut self, now: Moment, name: &str, ttl: Duration) {
        self.dentries.insert(name.to_owned(), (None, now + ttl));
    }

    pub(crate) fn entry(&mut self, now: Moment, name: &str, sight: &Sight<TestValue>) {
        self.dentries.insert(name.to_owned(), (Some(sight.node), now + sight.ttl));
        let fresh = Inode { lookups: 0, pins: 0, attributes: None };
        self.inodes.entry(sight.node).or_insert(fresh).lookups += 1;
        self.attributes(now, sight);
    }

    pub(crate) fn attributes(&mut self, now: Moment, sight: &Sight<TestValue>) {
        if let Some(inode) = self.inodes.get_mut(&sight.node) {
            inode.attributes = sight.bound.as_ref().map(|(_, value)| (value.0, now + sight.ttl));
        }
    }

    pub(crate) fn pin(&mut self, node: Node) {
        if let Some(inode) = self.inodes.get_mut(&node) {
            inode.pins += 1;
        }
    }

    pub(crate) fn unpin(&mut self, node: Node) {
        if let Some(inode) = self.inodes.get_mut(&node) {
            inode.pins = inode.pins.saturating_sub(1);
        }
    }

    /// The inodes that memory pressure may take.
    pub(crate) fn idle(&self) -> Vec<Node> {
        self.inodes.iter().filter(|(_, inode)| inode.pins == 0).map(|(node, _)| *node).collect()
    }

    /// Memory pressure: returns how many references the kernel gives back.
    pub(crate) fn evict(&mut self, node: Node) -> u64 {
        self.dentries.retain(|_, (shown, _)| *shown != Some(node));
        self.inodes.remove(&node).map_or(0, |inode| inode.lookups)
    }

    /// Takes a notice. Returns the inode that it names, and whether the kernel holds that.
    pub(crate) fn notice(&mut self, notice: &Notice) -> Option<(Node, bool)> {
        match notice {
            Notice::Entry(name) => {
                self.dentries.remove(name.as_str());
                None
            }
            Notice::Attributes(node) => {
                let inode = self.inodes.get_mut(node);
                let held = inode.map(|inode| inode.attributes = None).is_some();
                Some((*node, held))
            }
            Notice::Listing => None,
        }
    }

    /// The machine slept: the kernel's clock stood still.
    pub(crate) fn slept(&mut self, span: Duration) {
        for (_, until) in self.dentries.values_mut() {
            *until = *until + span;
        }
        for (_, until) in self.inodes.values_mut().filter_map(|inode| inode.attributes.as_mut()) {
            *until = *until + span;
        }
    }
}
