//! What the vault's word changes: a version found or confirmed, a refusal, a failure.

use std::time::Duration;

use crate::model::backoff::pause;
use crate::model::cache::Cache;
use crate::model::cache::Effects;
use crate::model::entry::Held;
use crate::model::entry::Newest;
use crate::model::entry::Verdict;
use crate::model::entry::Waiter;
use crate::model::event::Answer;
use crate::model::event::Effect;
use crate::model::event::Notice;
use crate::model::event::Value;
use crate::model::event::Word;
use crate::model::failure::Failure;
use crate::model::failure::Refusal;
use crate::model::failure::Why;
use crate::model::moment::Moment;
use crate::model::name::SecretName;
use crate::model::policy::BACKOFF_LONGEST_WAITED;
use crate::model::policy::CONFIRM_AFTER;
use crate::model::policy::MISSING_FOR;
use crate::model::policy::REFUSALS_REMEMBERED;
use crate::model::refresh::Said;
use crate::model::secret::Version;
use crate::model::tree::Node;

/// When an answer came, what the vault's clock showed, and how long it asks to be left alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) now: Moment,
    pub(super) date: Option<i64>,
    pub(super) retry_after: Option<Duration>,
}

impl<W, V: Value> Cache<W, V> {
    pub(super) fn answered(
        &mut self,
        heard: Heard,
        name: &SecretName,
        word: Word<V>,
        effects: &mut Effects<W, V>,
    ) {
        let Heard { now, date, retry_after } = heard;
        self.queue.done();
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        let Some(asked) = entry.asking.take() else {
            return;
        };
        let word = self.policy.weigh(word, date, entry.servable(now, &self.policy).is_some());
        let (why, said) = (word.why(), Said::by(&word));
        if entry.held.is_none() {
            self.met(why);
        }
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        match word {
            Word::New(version, value) => {
                self.backoff.answered(now);
                let settled = is_settled(date, &version);
                let ends = self.policy.ends(now, date, &version);
                let held =
                    Held { version, value, verified: asked, confirmed: asked, settled, ends };
                self.found(now, name, held, effects);
            }
            Word::Same(version) => {
                self.backoff.answered(now);
                let ends = self.policy.ends(now, date, &version);
                match entry.held.as_mut().filter(|held| held.version.id == version.id) {
                    Some(held) => {
                        held.settled = is_settled(date, &version);
                        held.ends = ends;
                        held.version = version;
                        held.confirmed = held.confirmed.max(asked);
                        self.confirmed(now, asked, name, effects);
                    }
                    None => entry.next = Some(now),
                }
            }
            Word::No(Why::Refused(refusal)) => {
                self.backoff.answered(now);
                self.refused(now, name, refusal, effects);
            }
            Word::No(Why::Failed(failure)) => {
                self.backoff.failed(now, asked, failure, retry_after, &mut self.dice);
                self.failed(now, name, failure, effects);
            }
        }
        self.prefetch_heard(now, name, why, effects);
        self.heard(now, name, said);
        self.answer_seekers(now, name, said, effects);
        self.filed(now, name);
    }

    pub(super) fn found(
        &mut self,
        now: Moment,
        name: &SecretName,
        fresh: Held<V>,
        effects: &mut Effects<W, V>,
    ) {
        let asked = fresh.verified;
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        if !entry.read && entry.unused_for(now, self.policy.idle_after()) {
            // It was only looked at, and went idle while it was asked about.
            return;
        }
        if !entry.takes(now, &fresh.version) {
            self.confirmed(now, asked, name, effects);
            if let Some(entry) = self.entries.get_mut(name) {
                entry.rival = Some(fresh.version.id);
                entry.next = Some(now + CONFIRM_AFTER.min(self.policy.refresh));
            }
            return;
        }
        let before = entry.held.as_ref().map(|held| held.version.id);
        let rotated = before.is_some_and(|id| id != fresh.version.id);
        // A refusal in between makes an older version no newer.
        let replaced = before.or_else(|| entry.newest.and_then(|newest| newest.replaced));
        entry.newest = Some(Newest { created: fresh.version.created, taken: now, replaced });
        entry.held = Some(fresh);
        if rotated {
            // Before the listing: that notice waits for whoever reads the directory.
            effects.push(Effect::Tell(Notice::Entry(name.clone())));
            if entry
                .node
                .and_then(|node| self.tree.inode(node))
                .is_some_and(|inode| inode.bound.is_some())
            {
                self.retire(name, effects);
            }
        }
        if self.listing.seen(name, true) {
            self.tell_listing(effects);
        }
        self.confirmed(now, asked, name, effects);
    }

    /// The vault confirmed the version that is held.
    pub(super) fn confirmed(
        &mut self,
        now: Moment,
        asked: Moment,
        name: &SecretName,
        effects: &mut Effects<W, V>,
    ) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        if let Some(held) = &mut entry.held {
            held.verified = held.verified.max(asked);
        }
        entry.verdict = None;
        entry.struck = None;
        entry.rival = None;
        entry.failed = None;
        entry.failures = 0;
        entry.awake = !entry.unused_for(now, self.policy.idle_after());
        let every = if !entry.awake {
            self.dice.shorten(self.policy.idle_refresh())
        } else if self.listing.confirms && entry.settled() {
            // The next walk comes before that.
            self.policy.refresh
        } else {
            self.dice.shorten_a_little(self.policy.refresh)
        };
        entry.next = Some(now.max(asked + every));
        if entry.awake {
            self.mind_the_cost(now);
        }
        self.serve_all(now, name, effects);
    }

    pub(super) fn refused(
        &mut self,
        now: Moment,
        name: &SecretName,
        refusal: Refusal,
        effects: &mut Effects<W, V>,
    ) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        let held = entry.servable(now, &self.policy).is_some();
        if refusal == Refusal::Missing && held {
            let first = *entry.struck.get_or_insert(now);
            if now.since(first) < MISSING_FOR {
                entry.failed = None;
                entry.failures = 0;
                entry.next = Some(first + MISSING_FOR);
                return self.serve_all(now, name, effects);
            }
        }
        if held && matches!(refusal, Refusal::Denied(_)) {
            self.suspect_all(now);
        }
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        let span = if refusal == Refusal::Missing { MISSING_FOR } else { self.policy.refresh };
        if refusal == Refusal::Missing {
            entry.newest = None;
        }
        entry.held = None;
        entry.next = None;
        entry.failed = None;
        entry.failures = 0;
        self.verdict(now, name, Why::Refused(refusal), span, effects);
        self.withdrawn(name, effects);
        if self.listing.seen(name, false) {
            self.tell_listing(effects);
        }
    }

    pub(super) fn failed(
        &mut self,
        now: Moment,
        name: &SecretName,
        failure: Failure,
        effects: &mut Effects<W, V>,
    ) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        entry.failed = Some((now, failure));
        entry.failures = entry.failures.saturating_add(1);
        let pause = self.dice.shorten(pause(entry.failures));
        if entry.servable(now, &self.policy).is_some() {
            let quiet = if entry.unused_for(now, self.policy.idle_after()) {
                self.policy.idle_refresh() / 4
            } else {
                self.policy.refresh
            };
            entry.next = Some(now + if failure.may_pass() { pause.min(quiet) } else { quiet });
            self.serve_all(now, name, effects);
        } else if failure.may_pass() {
            let soon = pause.min(BACKOFF_LONGEST_WAITED);
            entry.next = (!entry.waiters.is_empty()).then(|| now + soon);
        } else {
            entry.next = None;
            self.verdict(now, name, Why::Failed(failure), pause.min(MISSING_FOR), effects);
        }
    }

    /// Remembers a no for so long, and tells it to everybody who waits.
    pub(super) fn verdict(
        &mut self,
        now: Moment,
        name: &SecretName,
        why: Why,
        span: Duration,
        effects: &mut Effects<W, V>,
    ) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        entry.verdict = Some(Verdict { why, until: now + span });
        entry.struck = None;
        entry.rival = None;
        let no = |waiter: Waiter<W>| Effect::Answer { to: waiter.to, answer: Answer::No(why) };
        effects.extend(entry.waiters.drain(..).map(no));
        self.refused.push_back((now + span, name.clone()));
        while self
            .refused
            .front()
            .is_some_and(|(until, _)| *until <= now || self.refused.len() > REFUSALS_REMEMBERED)
        {
            let Some((until, name)) = self.refused.pop_front() else {
                return;
            };
            if let Some(entry) = self.entries.get_mut(&name)
                && entry.verdict.is_some_and(|verdict| verdict.until == until)
            {
                entry.verdict = None;
                self.filed(now, &name);
            }
        }
    }

    /// A name's value may not be served any more: the kernel has to ask for every inode of it.
    pub(super) fn withdrawn(&mut self, name: &SecretName, effects: &mut Effects<W, V>) {
        effects.push(Effect::Tell(Notice::Entry(name.clone())));
        let bound = |node: &Node| self.tree.inode(*node).is_some_and(|inode| inode.bound.is_some());
        let nodes: Vec<Node> = self.tree.of(name).iter().copied().filter(bound).collect();
        for node in nodes {
            self.tell_inode(node, effects);
        }
        self.retire(name, effects);
    }

    /// The next look-up of a name is shown another inode, and the listing another number.
    pub(super) fn retire(&mut self, name: &SecretName, effects: &mut Effects<W, V>) {
        let Some(node) = self.entries.get_mut(name).and_then(|entry| entry.node.take()) else {
            return;
        };
        self.tree.release(node);
        if self.listing.number(name).is_some() {
            self.tell_listing(effects);
        }
    }
}

/// Whether any later change will bear a later time than this version's last. The vault counts in
/// whole seconds, and the clocks of two of its front ends may differ by one.
fn is_settled(date: Option<i64>, version: &Version) -> bool {
    date.is_some_and(|date| date > version.updated.saturating_add(1))
}
