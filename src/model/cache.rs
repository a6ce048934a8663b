//! The cache of one vault: events in, effects out.
//!
//! It promises what docs/SEMANTICS.md says: one version for an inode, no caller kept waiting for
//! what is in use, nothing served past `stale`, a refusal within one refresh, one request under
//! way for a name. It knows no clock, no vault and no kernel; it is told and it tells.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::VecDeque;

use crate::model::backoff::Backoff;
use crate::model::dice::Dice;
use crate::model::entry::Ahead;
use crate::model::entry::Entry;
use crate::model::event::Effect;
use crate::model::event::Event;
use crate::model::event::Notice;
use crate::model::event::Value;
use crate::model::listing::Listing;
use crate::model::moment::Moment;
use crate::model::name::SecretName;
use crate::model::name::VersionId;
use crate::model::policy::Policy;
use crate::model::prefetch::Prefetch;
use crate::model::queue::Class;
use crate::model::queue::Queue;
use crate::model::queue::Wish;
use crate::model::tree::Node;
use crate::model::tree::Tree;
use crate::model::word::Heard;

/// The effects of one event.
pub type Effects<W, V> = Vec<Effect<W, V>>;

/// The cache of one vault, as one principal sees it.
#[derive(Debug)]
pub struct Cache<W, V> {
    pub(super) policy: Policy,
    pub(super) entries: HashMap<SecretName, Entry<W, V>>,
    pub(super) tree: Tree<V>,
    pub(super) listing: Listing<W>,
    pub(super) prefetch: Prefetch<W>,
    pub(super) queue: Queue,
    pub(super) backoff: Backoff,
    pub(super) dice: Dice,
    /// The names that a person configured: shown where the vault refuses its list.
    pub(super) configured: Vec<SecretName>,
    /// What is due when.
    pub(super) agenda: BTreeSet<(Moment, SecretName)>,
    /// The names of which nothing but a no is remembered, the oldest first.
    pub(super) refused: VecDeque<(Moment, SecretName)>,
    /// When names that were never heard of were looked up, within `open_timeout`.
    pub(super) unheard_of: VecDeque<Moment>,
    /// So many names of which nothing was held were missing, with none between that was there.
    pub(super) missing_in_a_row: u32,
    /// When everything in use was last suspected to be refused.
    pub(super) suspected: Option<Moment>,
    /// The names in use whose value went because it was not confirmed for `stale`, and when the
    /// vault was last asked for it in vain.
    pub(super) lost: BTreeMap<SecretName, Moment>,
    /// The names that changed since a later worker was last provided for.
    pub(super) changed: Vec<SecretName>,
}

impl<W, V: Value> Cache<W, V> {
    /// A cache that knows nothing. `seed` decides its jitter, `configured` the names that it
    /// shows where the vault refuses its list.
    ///
    /// ```
    /// use akvfs::model::cache::Cache;
    /// use akvfs::model::event::Value;
    /// use akvfs::model::policy::Policy;
    ///
    /// #[derive(Clone)]
    /// struct Bytes;
    /// impl Value for Bytes {
    ///     fn serial(&self) -> u64 { 0 }
    /// }
    /// let mut cache = Cache::<u32, Bytes>::new(Policy::default(), 7, Vec::new());
    /// assert!(cache.wake(Default::default()).is_none());
    /// ```
    #[must_use]
    pub fn new(policy: Policy, seed: u64, configured: Vec<SecretName>) -> Self {
        Self {
            policy,
            entries: HashMap::new(),
            tree: Tree::starting_at(0),
            listing: Listing::default(),
            prefetch: Prefetch::default(),
            queue: Queue::default(),
            backoff: Backoff::default(),
            dice: Dice::seeded(seed),
            configured,
            agenda: BTreeSet::new(),
            refused: VecDeque::new(),
            unheard_of: VecDeque::new(),
            missing_in_a_row: 0,
            suspected: None,
            lost: BTreeMap::new(),
            changed: Vec::new(),
        }
    }

    /// Takes an event at a time, and says what to do about it.
    pub fn handle(&mut self, now: Moment, event: Event<W, V>) -> Effects<W, V> {
        let mut effects = Vec::new();
        self.overdue(now, &mut effects);
        match event {
            Event::Lookup { name, to } => self.lookup(now, name, to, &mut effects),
            Event::Attributes { node, to } => self.look(now, node, to, false, &mut effects),
            Event::Read { node, to } => self.look(now, node, to, true, &mut effects),
            Event::Forget { node, lookups } => self.forget(node, lookups, &mut effects),
            Event::OpenDirectory { to } => self.open_directory(now, to, &mut effects),
            Event::ReadDirectory { after, to } => self.read_directory(now, after, to, &mut effects),
            Event::Answered { name, word, retry_after, date } => {
                let heard = Heard { now, date, retry_after };
                self.answered(heard, &name, word, &mut effects);
            }
            Event::Paged(result) => self.paged(now, result, &mut effects),
            Event::Told { node, held } => {
                self.tree.told(node, held);
                self.release(node);
            }
            Event::Prefetch { to } => self.prefetch(now, to),
            Event::ListDenied => self.listing.denied = Some(now),
            Event::Refresh { name, to } => self.refresh(now, name, to),
            Event::RefreshListing { to } => self.refresh_listing(now, to, &mut effects),
            Event::Watch { name, to } => self.watch(now, name, to, &mut effects),
            Event::Slept => self.tell_all(&mut effects),
            Event::Tick => {}
        }
        self.pump(now, &mut effects);
        effects
    }

    /// When the next [`Event::Tick`] is wanted, at the latest.
    #[must_use]
    pub fn wake(&mut self, now: Moment) -> Option<Moment> {
        let due = self.agenda.first().map(|(at, _)| *at);
        let turn = self.queue.wake(now, &self.backoff);
        [due, self.listing_due(), turn].into_iter().flatten().min()
    }

    /// The version that is held of a name.
    #[must_use]
    pub fn holds(&self, name: &SecretName) -> Option<VersionId> {
        self.entries.get(name)?.held.as_ref().map(|held| held.version.id)
    }

    /// The secret that an inode is of.
    #[must_use]
    pub fn name_of(&self, node: Node) -> Option<&SecretName> {
        self.tree.inode(node).map(|inode| &inode.name)
    }

    /// Gives up the value that has been idle for the longest. Returns whether there was one.
    pub fn give_up_idle(&mut self, now: Moment) -> bool {
        let idle = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.held.is_some() && !entry.awake && entry.waiters.is_empty());
        let oldest = idle.min_by_key(|(_, entry)| entry.used).map(|(name, _)| name.clone());
        let Some(name) = oldest else { return false };
        if let Some(entry) = self.entries.get_mut(&name) {
            entry.held = None;
            entry.next = None;
        }
        self.filed(now, &name);
        true
    }

    /// Sends what may go.
    pub(super) fn pump(&mut self, now: Moment, effects: &mut Effects<W, V>) {
        while let Some(wish) = self.queue.next(now, &self.backoff) {
            match wish {
                Wish::Name(name) => match self.entries.get_mut(&name) {
                    Some(entry) if entry.wanted() => {
                        entry.sent(now);
                        if entry.ahead == Ahead::Wanted {
                            entry.ahead = Ahead::Asked;
                        }
                        effects.push(Effect::Ask(name.clone()));
                        self.filed(now, &name);
                    }
                    Some(_) | None => self.queue.done(),
                },
                Wish::Page => {
                    let first = self.turn_page(now);
                    effects.push(Effect::AskPage { first });
                }
            }
        }
    }

    /// Does everything that is due.
    pub(super) fn overdue(&mut self, now: Moment, effects: &mut Effects<W, V>) {
        while let Some((_, name)) = self.agenda.first().filter(|(at, _)| *at <= now).cloned() {
            self.review(now, &name, effects);
        }
        self.take_turns(now);
        self.listing_overdue(now, effects);
    }

    pub(super) fn review(&mut self, now: Moment, name: &SecretName, effects: &mut Effects<W, V>) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        if entry.verdict.is_some_and(|verdict| verdict.until <= now) {
            entry.verdict = None;
        }
        if entry.held.is_some() && entry.servable(now, &self.policy).is_none() {
            entry.held = None;
            self.lost(now, name);
            self.withdrawn(name, effects);
        }
        self.end_patience(now, name, effects);
        self.end_search(now, name, effects);
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        if entry.awake && entry.unused_for(now, self.policy.idle_after()) {
            entry.awake = false;
            entry.next = Some(now + self.dice.shorten(self.policy.idle_refresh()));
            if !entry.read {
                entry.held = None;
            }
            self.retire(name, effects);
            effects.push(Effect::Tell(Notice::Entry(name.clone())));
            // Which of its inodes the kernel gave up may not have been heard: a relay may have died.
            for node in self.tree.of(name).to_vec() {
                self.tell_inode(node, effects);
            }
        }
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        if entry.unused_for(now, self.policy.held_for()) {
            entry.held = None;
        }
        if entry.held.is_none() && entry.waiters.is_empty() && entry.seekers.is_empty() {
            entry.next = None;
        }
        if entry.asking.is_none() && entry.next.is_some_and(|next| next <= now) {
            let waits = entry.in_doubt() || !entry.awake || entry.is_sought();
            let listed = !waits && entry.settled();
            let later = self.walk_may_confirm(now).filter(|_| listed);
            if let Some(entry) = self.entries.get_mut(name) {
                entry.next = later;
            }
            if later.is_none() {
                let class = if waits { Class::Background } else { Class::Due };
                self.line_up_as(now, name, class);
            }
        }
        if let Some(entry) = self.entries.get(name)
            && entry.empty()
            && entry.node.is_some()
            && entry.lingers(&self.policy) <= now
        {
            // Looked up and never asked about: the kernel would keep it for as long as it likes.
            effects.push(Effect::Tell(Notice::Entry(name.clone())));
        }
        self.filed(now, name);
    }

    /// An entry changed: its place in the agenda is set anew, and it is dropped if it is empty.
    pub(super) fn filed(&mut self, now: Moment, name: &SecretName) {
        self.changed.push(name.clone());
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        if let Some(at) = entry.agenda.take() {
            self.agenda.remove(&(at, name.clone()));
        }
        if entry.empty() {
            self.queue.withdraw(&Wish::Name(name.clone()));
            if entry.lingers(&self.policy) <= now {
                let node = entry.node;
                self.entries.remove(name);
                if let Some(node) = node {
                    self.release(node);
                }
                return;
            }
        }
        entry.agenda = entry.due(now, &self.policy);
        if let Some(at) = entry.agenda {
            self.agenda.insert((at, name.clone()));
        }
    }

    /// Tells the kernel to ask for everything again.
    pub(super) fn tell_all(&mut self, effects: &mut Effects<W, V>) {
        let mut nodes: Vec<Node> = self.tree.all().map(|(node, _)| node).collect();
        nodes.sort_unstable();
        let mut names: Vec<&SecretName> = self.tree.all().map(|(_, inode)| &inode.name).collect();
        names.sort_unstable();
        names.dedup();
        effects.extend(names.into_iter().map(|name| Effect::Tell(Notice::Entry(name.clone()))));
        for node in nodes {
            self.tell_inode(node, effects);
        }
        effects.push(Effect::Tell(Notice::Listing));
    }

    /// Tells the kernel to ask for an inode's attributes again, and to say if it holds it. The
    /// name has to be told first: that notice waits for look-ups under way, so that the kernel
    /// has every inode that it was given when it is asked.
    pub(super) fn tell_inode(&mut self, node: Node, effects: &mut Effects<W, V>) {
        self.tree.asked(node);
        effects.push(Effect::Tell(Notice::Attributes(node)));
    }
}
