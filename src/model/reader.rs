//! What callers get: the kernel's look-ups and questions, answered from what is held or put in line.

use std::time::Duration;

use crate::model::backoff::pause;
use crate::model::cache::Cache;
use crate::model::cache::Effects;
use crate::model::entry::Ahead;
use crate::model::entry::Entry;
use crate::model::entry::Standing;
use crate::model::entry::Waiter;
use crate::model::event::Answer;
use crate::model::event::Effect;
use crate::model::event::Notice;
use crate::model::event::Sight;
use crate::model::event::Value;
use crate::model::failure::Failure;
use crate::model::failure::Refusal;
use crate::model::failure::Why;
use crate::model::moment::Moment;
use crate::model::name::SecretName;
use crate::model::policy::BACKOFF_LONGEST_WAITED;
use crate::model::policy::LOOK_AHEAD;
use crate::model::policy::LOOKING_THROUGH;
use crate::model::queue::Class;
use crate::model::queue::Wish;
use crate::model::tree::Node;
use crate::model::tree::Remaining;

impl<W, V: Value> Cache<W, V> {
    pub(super) fn lookup(
        &mut self,
        now: Moment,
        name: SecretName,
        to: W,
        effects: &mut Effects<W, V>,
    ) {
        if !self.entries.contains_key(&name) && self.is_one_too_many(now, &name) {
            let answer = Answer::No(Why::Failed(Failure::Unreachable));
            return effects.push(Effect::Answer { to, answer });
        }
        let entry = self.entries.entry(name.clone()).or_insert_with(|| Entry::new(now));
        let outage = self.backoff.outage(now, self.policy.refresh);
        let standing = entry.standing(now, &self.policy, outage);
        entry.used = now;
        let was_ahead = std::mem::replace(&mut entry.ahead, Ahead::No) == Ahead::Asked;
        if let Standing::Refused(Why::Refused(Refusal::Missing)) = standing {
            let left = entry.verdict.map_or(Duration::ZERO, |verdict| verdict.until.since(now));
            effects.push(Effect::Answer { to, answer: Answer::Missing(left) });
            return self.filed(now, &name);
        }
        let served = match standing {
            Standing::Served(ttl) => Some(ttl),
            Standing::Refused(_) | Standing::Asked => None,
        };
        let node = self.current(&name, served.is_some(), effects);
        self.tree.looked_up(node);
        if served.is_some() {
            self.bind(&name, node);
        }
        let sight = self.sight(node, served.unwrap_or_default());
        effects.push(Effect::Answer { to, answer: sight.map_or(Answer::Unknown, Answer::Entry) });
        self.filed(now, &name);
        if was_ahead {
            self.look_ahead(now, &name);
        }
    }

    /// The inode that a look-up is shown: the current one, or an unbound one where that is bound
    /// and the vault has to be asked whether it is still the newest.
    pub(super) fn current(
        &mut self,
        name: &SecretName,
        served: bool,
        effects: &mut Effects<W, V>,
    ) -> Node {
        let known = self.entries.get(name).and_then(|entry| entry.node);
        if let Some(node) = known
            && let Some(inode) = self.tree.inode(node)
            && (served || inode.bound.is_none())
        {
            return node;
        }
        if known.is_some() {
            self.retire(name, effects);
        }
        let kept = self.listing.number(name).and_then(Option::take);
        let left = kept.or_else(|| self.tree.unbound(name));
        let node = left.unwrap_or_else(|| self.tree.reserve());
        if self.tree.inode(node).is_none() {
            self.tree.insert(node, name.clone());
        }
        if let Some(entry) = self.entries.get_mut(name) {
            entry.node = Some(node);
        }
        node
    }

    pub(super) fn look(
        &mut self,
        now: Moment,
        node: Node,
        to: W,
        bytes: bool,
        effects: &mut Effects<W, V>,
    ) {
        let Some((name, unbound)) =
            self.tree.inode(node).map(|inode| (inode.name.clone(), inode.bound.is_none()))
        else {
            effects.push(Effect::Answer { to, answer: Answer::Unknown });
            return;
        };
        let entry = self.entries.entry(name.clone()).or_insert_with(|| Entry::new(now));
        let kept = self.listing.number(&name).is_some_and(|kept| kept.is_some());
        if unbound && entry.node.is_none() && !kept {
            entry.node = Some(node);
        }
        let outage = self.backoff.outage(now, self.policy.refresh);
        let standing = entry.standing(now, &self.policy, outage);
        entry.used = now;
        entry.read |= bytes;
        let known = entry.held.is_some();
        entry.ahead = Ahead::No;
        let waiter = Waiter { to, node, bytes, since: now };
        match standing {
            Standing::Served(ttl) => self.serve(&name, waiter, ttl, effects),
            Standing::Refused(why) => {
                effects.push(Effect::Answer { to: waiter.to, answer: Answer::No(why) });
            }
            Standing::Asked => {
                entry.waiters.push(waiter);
                self.want(now, &name);
                if !known {
                    self.look_ahead(now, &name);
                }
            }
        }
        self.filed(now, &name);
    }

    /// Answers a caller with the version that its inode is bound to; an unbound inode is bound to
    /// the version that is held.
    pub(super) fn serve(
        &mut self,
        name: &SecretName,
        to: Waiter<W>,
        ttl: Duration,
        effects: &mut Effects<W, V>,
    ) {
        self.bind(name, to.node);
        let answer = match self.sight(to.node, ttl) {
            Some(Sight { bound: Some((_, value)), .. }) if to.bytes => {
                Answer::Bytes(name.clone(), value)
            }
            Some(sight) => Answer::Attributes(sight),
            None => Answer::Unknown,
        };
        effects.push(Effect::Answer { to: to.to, answer });
    }

    /// Binds an inode, if it is unbound, to the version that is held. A number that the directory
    /// keeps for the next look-up is that look-up's no longer, unless it is shown this version.
    fn bind(&mut self, name: &SecretName, node: Node) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        if let Some(held) = &entry.held {
            self.tree.bind(node, &held.version, &held.value);
        }
        if let Some(kept) = self.listing.number(name).filter(|kept| **kept == Some(node)) {
            *kept = None;
            entry.node.get_or_insert(node);
        }
    }

    pub(super) fn sight(&self, node: Node, ttl: Duration) -> Option<Sight<V>> {
        let inode = self.tree.inode(node)?;
        let bound = inode.bound.clone();
        let held = self.entries.get(&inode.name).and_then(|entry| entry.held.as_ref());
        let held = held.filter(|held| {
            bound.as_ref().is_some_and(|(version, _)| version.id == held.version.id)
        });
        let name = inode.name.clone();
        Some(Sight { node, name, bound, ttl, verified: held.map(|held| held.verified) })
    }

    pub(super) fn forget(&mut self, node: Node, lookups: u64, effects: &mut Effects<W, V>) {
        match self.tree.forgotten(node, lookups) {
            Remaining::None => self.release(node),
            Remaining::Unknown => {
                let name = self.tree.inode(node).map(|inode| inode.name.clone());
                effects.extend(name.map(|name| Effect::Tell(Notice::Entry(name))));
                self.tell_inode(node, effects);
            }
        }
    }

    /// Drops an inode that the kernel does not hold, unless it is what a look-up is shown. The
    /// directory goes on showing its number, if it never was a version's.
    pub(super) fn release(&mut self, node: Node) {
        let Some(inode) = self.tree.inode(node) else {
            return;
        };
        let (name, unbound) = (inode.name.clone(), inode.bound.is_none() && inode.settled());
        let shown = self.entries.get(&name).and_then(|entry| entry.node);
        if shown == Some(node) {
            return;
        }
        self.tree.release(node);
        if unbound
            && shown.is_none()
            && self.tree.inode(node).is_none()
            && let Some(kept) = self.listing.number(&name)
        {
            kept.get_or_insert(node);
        }
    }

    /// Somebody goes through the directory, name by name: those that follow are asked about before
    /// he comes to them, as far as nothing is known of them.
    fn look_ahead(&mut self, now: Moment, name: &SecretName) {
        let looking = self.listing.read.is_some_and(|read| now.since(read) < LOOKING_THROUGH);
        if !looking {
            return;
        }
        for next in self.listing.following(name, LOOK_AHEAD) {
            let entry = self.entries.entry(next.clone()).or_insert_with(|| Entry::new(now));
            if entry.empty() && entry.failures == 0 {
                entry.ahead = Ahead::Wanted;
                entry.used = now;
                self.queue.push(Wish::Name(next.clone()), Class::Ahead);
            }
            self.filed(now, &next);
        }
    }

    /// Puts a name in line, for callers who wait.
    pub(super) fn want(&mut self, now: Moment, name: &SecretName) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        if entry.asking.is_some() {
            return;
        }
        if let Some((at, _)) = entry.failed.filter(|_| entry.failures > 0) {
            let soon = at + pause(entry.failures).min(BACKOFF_LONGEST_WAITED);
            if soon > now {
                entry.next = Some(entry.next.map_or(soon, |next| next.min(soon)));
                return;
            }
        }
        entry.next = None;
        self.line_up(now, name);
    }

    /// Puts a name in line, for whoever waits or for nobody.
    pub(super) fn line_up(&mut self, now: Moment, name: &SecretName) {
        self.line_up_as(now, name, Class::Background);
    }

    /// Puts a name in line; as this, if it is in use and nobody waits.
    pub(super) fn line_up_as(&mut self, now: Moment, name: &SecretName, in_use: Class) {
        let Some(entry) = self.entries.get(name) else {
            return;
        };
        let class = if entry.waiters.is_empty() {
            match entry.ahead {
                _ if !entry.seekers.is_empty() => Class::Refresh,
                Ahead::Wanted => Class::Ahead,
                Ahead::No | Ahead::Asked if entry.awake => in_use,
                Ahead::No | Ahead::Asked => Class::Idle,
            }
        } else if entry.held.is_some() {
            Class::Held
        } else if self.is_stranger(now, name) {
            Class::Stranger
        } else {
            Class::Waited
        };
        self.queue.push(Wish::Name(name.clone()), class);
    }

    /// Answers the callers whose time is over.
    pub(super) fn end_patience(
        &mut self,
        now: Moment,
        name: &SecretName,
        effects: &mut Effects<W, V>,
    ) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        let waiters = std::mem::take(&mut entry.waiters);
        let (over, waiting) = waiters
            .into_iter()
            .partition(|waiter| entry.patience(waiter.since, now, &self.policy) <= now);
        entry.waiters = waiting;
        let over: Vec<Waiter<W>> = over;
        match entry.servable(now, &self.policy) {
            Some(ttl) if !over.is_empty() => {
                let failure = entry.failed.map_or(Failure::Unreachable, |(_, failure)| failure);
                entry.failed = Some((now, failure));
                self.serve_each(now, name, over, ttl, effects);
            }
            _ => {
                let why = entry.why(self.backoff.why());
                let no =
                    |waiter: Waiter<W>| Effect::Answer { to: waiter.to, answer: Answer::No(why) };
                effects.extend(over.into_iter().map(no));
            }
        }
    }

    /// Answers every caller of a name with the value that is held, if there is one.
    pub(super) fn serve_all(
        &mut self,
        now: Moment,
        name: &SecretName,
        effects: &mut Effects<W, V>,
    ) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        let Some(ttl) = entry.servable(now, &self.policy) else {
            return;
        };
        let waiters = std::mem::take(&mut entry.waiters);
        self.serve_each(now, name, waiters, ttl, effects);
    }

    /// Answers these callers, if there are any: the name is in use from now on.
    fn serve_each(
        &mut self,
        now: Moment,
        name: &SecretName,
        waiters: Vec<Waiter<W>>,
        ttl: Duration,
        effects: &mut Effects<W, V>,
    ) {
        if let Some(entry) = self.entries.get_mut(name).filter(|_| !waiters.is_empty()) {
            entry.awake = true;
            entry.used = now;
        }
        for waiter in waiters {
            self.serve(name, waiter, ttl, effects);
        }
    }
}
