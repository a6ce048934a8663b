//! Values fetched before anybody comes for them.
//!
//! Each name in the directory is asked about once, behind all others. What may heal is tried again
//! until it has; what was refused was answered. A value fetched so counts as read: it is held as
//! long as one that was.

use std::collections::HashSet;

use crate::model::backoff::pause;
use crate::model::cache::Cache;
use crate::model::cache::Effects;
use crate::model::entry::Ahead;
use crate::model::entry::Entry;
use crate::model::event::Answer;
use crate::model::event::Effect;
use crate::model::event::Value;
use crate::model::failure::Why;
use crate::model::moment::Moment;
use crate::model::name::SecretName;
use crate::model::policy::PREFETCH_WITHIN;
use crate::model::queue::Class;
use crate::model::queue::Wish;

/// How far it is.
#[derive(Debug)]
pub struct Prefetch<W> {
    /// Whether the names are still to be learnt from the vault's list.
    pub wanted: bool,
    left: HashSet<SecretName>,
    total: usize,
    waiters: Vec<W>,
}

impl<W> Default for Prefetch<W> {
    fn default() -> Self {
        Self { wanted: false, left: HashSet::new(), total: 0, waiters: Vec::new() }
    }
}

impl<W, V: Value> Cache<W, V> {
    /// How many names were answered, and of how many; none before the list is known.
    #[must_use]
    pub fn prefetched(&self) -> Option<(usize, usize)> {
        let Prefetch { wanted, left, total, .. } = &self.prefetch;
        (!wanted).then(|| (total - left.len(), *total))
    }

    /// Begins, at once if somebody waits for it to end.
    pub(super) fn prefetch(&mut self, now: Moment, to: Option<W>) {
        self.prefetch.wanted = true;
        let waits = to.is_some();
        self.prefetch.waiters.extend(to);
        if self.listing.walk.is_some() {
            return;
        }
        if waits {
            return self.walk(Class::Waited);
        }
        let start = now + self.dice.part(PREFETCH_WITHIN.min(self.policy.refresh));
        self.listing.next = Some(self.listing.next.map_or(start, |next| next.min(start)));
    }

    /// The directory is known: each name of which nothing is held is put in line.
    pub(super) fn prefetch_listed(&mut self, now: Moment, effects: &mut Effects<W, V>) {
        if !std::mem::take(&mut self.prefetch.wanted) {
            return;
        }
        let names: Vec<SecretName> =
            self.listing.after(0, usize::MAX).into_iter().map(|(_, name)| name).collect();
        self.prefetch.total = names.len();
        for name in names {
            let entry = self.entries.entry(name.clone()).or_insert_with(|| Entry::new(now));
            if entry.held.is_some() || entry.verdict.is_some() {
                continue;
            }
            entry.read = true;
            entry.used = now;
            self.prefetch.left.insert(name.clone());
            if entry.asking.is_some() {
                continue;
            }
            entry.ahead = Ahead::Wanted;
            self.queue.push(Wish::Name(name.clone()), Class::Ahead);
            self.filed(now, &name);
        }
        self.prefetch_ended(effects);
    }

    /// The vault was asked about a name: what came of it, if it was no value.
    pub(super) fn prefetch_heard(
        &mut self,
        now: Moment,
        name: &SecretName,
        why: Option<Why>,
        effects: &mut Effects<W, V>,
    ) {
        if !self.prefetch.left.contains(name) {
            return;
        }
        let passes = matches!(why, Some(Why::Failed(failure)) if failure.may_pass());
        if passes && let Some(entry) = self.entries.get_mut(name) {
            entry.ahead = Ahead::Wanted;
            let again = now + self.dice.shorten(pause(entry.failures));
            entry.next = Some(entry.next.map_or(again, |next| next.min(again)));
            return;
        }
        self.prefetch.left.remove(name);
        self.prefetch_ended(effects);
    }

    fn prefetch_ended(&mut self, effects: &mut Effects<W, V>) {
        if self.prefetch.left.is_empty() {
            let ready = |to| Effect::Answer { to, answer: Answer::Ready };
            effects.extend(self.prefetch.waiters.drain(..).map(ready));
        }
    }
}
