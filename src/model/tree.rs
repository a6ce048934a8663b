//! The inodes that the kernel may hold: one for each version of a secret that it was shown.
//!
//! An inode begins *unbound*, as a name and no more. The first value binds it to one version for
//! good; a later version is another inode. Numbers are handed out in sequence and stay below
//! 2^32, because a 32-bit program cannot stat a larger one.

use std::collections::HashMap;

use serde::Deserialize;
use serde::Serialize;

use crate::model::name::SecretName;
use crate::model::secret::Version;

/// The number of an inode.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Node(pub u64);

/// The directory itself.
pub const ROOT: Node = Node(1);

/// One inode.
#[derive(Clone, Debug)]
pub struct Inode<V> {
    /// The secret's name.
    pub name: SecretName,
    /// The version that it shows, once it shows one.
    pub bound: Option<(Version, V)>,
    /// How many references the kernel was given.
    lookups: Lookups,
    /// How often it was asked whether it holds any, and did not answer yet; and how many of those
    /// answers are out of date, because it was given one in between.
    asked: u32,
    outdated: u32,
}

impl<V> Inode<V> {
    /// Whether the kernel owes no answer about it.
    pub(super) const fn settled(&self) -> bool {
        self.asked == 0
    }
}

/// How many references the kernel holds to an inode.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lookups {
    Counted(u64),
    /// An earlier worker gave some; the kernel has to be asked.
    Unknown,
}

/// All inodes.
#[derive(Debug)]
pub struct Tree<V> {
    inodes: HashMap<Node, Inode<V>>,
    by_name: HashMap<SecretName, Vec<Node>>,
    next: u64,
    changed: Vec<Node>,
}

impl<V: Clone> Tree<V> {
    /// A tree with no inodes, whose first number is this.
    ///
    /// ```
    /// use akvfs::model::name::SecretName;
    /// use akvfs::model::tree::Node;
    /// use akvfs::model::tree::Tree;
    ///
    /// let mut tree = Tree::<()>::starting_at(2);
    /// let number = tree.reserve();
    /// tree.insert(number, SecretName::parse("ftpadmin").unwrap());
    /// assert_eq!(number, Node(2));
    /// assert!(tree.inode(number).unwrap().bound.is_none());
    /// ```
    #[must_use]
    pub fn starting_at(next: u64) -> Self {
        Self {
            inodes: HashMap::new(),
            by_name: HashMap::new(),
            next: if next > LAST { FIRST } else { next.max(FIRST) },
            changed: Vec::new(),
        }
    }

    /// A number that no inode has, and that no inode had for a long time.
    pub fn reserve(&mut self) -> Node {
        loop {
            let node = Node(self.next);
            self.next = if self.next >= LAST { FIRST } else { self.next + 1 };
            if !self.inodes.contains_key(&node) {
                return node;
            }
        }
    }

    /// Makes an unbound inode of a reserved number.
    pub fn insert(&mut self, node: Node, name: SecretName) {
        let lookups = Lookups::Counted(0);
        self.put(node, Inode { name, bound: None, lookups, asked: 0, outdated: 0 });
    }

    /// Takes over an inode that an earlier worker made.
    pub fn restore(&mut self, node: Node, name: SecretName, bound: Option<(Version, V)>) {
        let lookups = Lookups::Unknown;
        self.put(node, Inode { name, bound, lookups, asked: 0, outdated: 0 });
    }

    fn put(&mut self, node: Node, inode: Inode<V>) {
        self.by_name.entry(inode.name.clone()).or_default().push(node);
        self.inodes.insert(node, inode);
        self.changed.push(node);
    }

    /// The inode of a number.
    #[must_use]
    pub fn inode(&self, node: Node) -> Option<&Inode<V>> {
        self.inodes.get(&node)
    }

    /// The inodes of a name.
    #[must_use]
    pub fn of(&self, name: &SecretName) -> &[Node] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// An inode of the name that shows no version yet.
    #[must_use]
    pub fn unbound(&self, name: &SecretName) -> Option<Node> {
        let unbound = |node: &&Node| self.inode(**node).is_some_and(|inode| inode.bound.is_none());
        self.of(name).iter().find(unbound).copied()
    }

    /// A number that no inode gets from now on before `ahead` others did.
    #[must_use]
    pub fn ahead(&self, ahead: u64) -> u64 {
        (self.next / ahead).saturating_add(2).saturating_mul(ahead)
    }

    /// All inodes there are.
    pub fn all(&self) -> impl Iterator<Item = (Node, &Inode<V>)> {
        self.inodes.iter().map(|(node, inode)| (*node, inode))
    }

    /// Binds an inode that is unbound; one that is bound stays what it is.
    pub fn bind(&mut self, node: Node, version: &Version, value: &V) {
        if let Some(inode) = self.inodes.get_mut(&node)
            && inode.bound.is_none()
        {
            inode.bound = Some((version.clone(), value.clone()));
            self.changed.push(node);
        }
    }

    /// The kernel is given one reference more.
    pub fn looked_up(&mut self, node: Node) {
        if let Some(inode) = self.inodes.get_mut(&node) {
            inode.outdated = inode.asked;
            if let Lookups::Counted(count) = inode.lookups {
                inode.lookups = Lookups::Counted(count.saturating_add(1));
            }
        }
    }

    /// The kernel is asked whether it holds an inode. It answers each time, in order.
    pub fn asked(&mut self, node: Node) {
        if let Some(inode) = self.inodes.get_mut(&node) {
            inode.asked = inode.asked.saturating_add(1);
        }
    }

    /// The kernel gave references back. The count is not exact where a worker or a relay died in
    /// between, so what remains may have to be asked for.
    pub fn forgotten(&mut self, node: Node, lookups: u64) -> Remaining {
        let Some(inode) = self.inodes.get_mut(&node) else {
            return Remaining::None;
        };
        let Lookups::Counted(count) = inode.lookups else {
            return Remaining::Unknown;
        };
        let left = count.saturating_sub(lookups);
        inode.lookups = Lookups::Counted(left);
        if left == 0 { Remaining::None } else { Remaining::Unknown }
    }

    /// The kernel answered whether it holds an inode.
    pub fn told(&mut self, node: Node, held: bool) {
        let Some(inode) = self.inodes.get_mut(&node) else {
            return;
        };
        inode.asked = inode.asked.saturating_sub(1);
        let outdated = inode.outdated > 0;
        inode.outdated = inode.outdated.saturating_sub(1);
        if !held && !outdated {
            inode.lookups = Lookups::Counted(0);
        }
    }

    /// Drops an inode, unless the kernel may hold it.
    pub fn release(&mut self, node: Node) {
        if self.inodes.get(&node).is_some_and(|inode| inode.lookups == Lookups::Counted(0)) {
            self.remove(node);
        }
    }

    fn remove(&mut self, node: Node) {
        let Some(inode) = self.inodes.remove(&node) else {
            return;
        };
        self.changed.push(node);
        if let Some(nodes) = self.by_name.get_mut(&inode.name) {
            nodes.retain(|other| *other != node);
            if nodes.is_empty() {
                self.by_name.remove(&inode.name);
            }
        }
    }

    /// The inodes that changed since this was last asked.
    pub fn changes(&mut self) -> Vec<Node> {
        std::mem::take(&mut self.changed)
    }
}

/// What the kernel holds of an inode after it gave references back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Remaining {
    /// Nothing: the inode is gone.
    None,
    /// Something, or nobody knows.
    Unknown,
}

const FIRST: u64 = 2;
const LAST: u64 = u32::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> SecretName {
        SecretName::parse("n").unwrap()
    }

    #[test]
    fn an_inode_lives_until_the_kernel_gave_back_all_it_was_given() {
        let mut tree = Tree::<u8>::starting_at(0);
        let node = tree.reserve();
        tree.insert(node, name());
        tree.looked_up(node);
        tree.looked_up(node);
        assert_eq!(tree.forgotten(node, 1), Remaining::Unknown);
        tree.release(node);
        assert!(tree.inode(node).is_some());
        assert_eq!(tree.forgotten(node, 1), Remaining::None);
        tree.release(node);
        assert!(tree.inode(node).is_none() && tree.of(&name()).is_empty());
    }

    #[test]
    fn numbers_stay_below_two_to_the_32_and_skip_those_in_use() {
        let mut tree = Tree::<u8>::starting_at(LAST);
        tree.insert(Node(2), name());
        let ahead = tree.ahead(1024);
        assert_eq!(tree.reserve(), Node(LAST));
        assert_eq!(tree.reserve(), Node(3));
        assert_eq!(Tree::<u8>::starting_at(ahead).reserve(), Node(FIRST));
    }

    #[test]
    fn a_bound_inode_never_shows_another_version() {
        let mut tree = Tree::<u8>::starting_at(0);
        tree.insert(Node(2), name());
        let version = |digit: &str| Version {
            id: digit.repeat(32).parse().unwrap(),
            created: 0,
            updated: 0,
            not_before: None,
            expires: None,
            about: Default::default(),
        };
        tree.bind(Node(2), &version("1"), &1);
        tree.bind(Node(2), &version("2"), &2);
        assert_eq!(tree.inode(Node(2)).unwrap().bound, Some((version("1"), 1)));
    }
}
