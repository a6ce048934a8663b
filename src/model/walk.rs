//! The cache's directory: when the vault's list is walked, and who is told.

use std::time::Duration;

use crate::model::backoff::pause;
use crate::model::cache::Cache;
use crate::model::cache::Effects;
use crate::model::economy::Pages;
use crate::model::entry::Held;
use crate::model::event::Answer;
use crate::model::event::Effect;
use crate::model::event::Listed;
use crate::model::event::Notice;
use crate::model::event::Page;
use crate::model::event::Value;
use crate::model::failure::Failure;
use crate::model::failure::Refusal;
use crate::model::failure::Why;
use crate::model::listing::Source;
use crate::model::listing::Walk;
use crate::model::moment::Moment;
use crate::model::name::SecretName;
use crate::model::policy::BACKOFF_LONGEST_WAITED;
use crate::model::policy::LISTED_AT_ONCE;
use crate::model::policy::STRANGERS_PAGES;
use crate::model::queue::Class;
use crate::model::queue::Wish;
use crate::model::refresh::Outcome;
use crate::model::refresh::first_over;

impl<W, V: Value> Cache<W, V> {
    pub(super) fn open_directory(&mut self, now: Moment, to: W, effects: &mut Effects<W, V>) {
        if self.listing.known() {
            effects.push(Effect::Answer { to, answer: Answer::Ready });
            return;
        }
        self.listing.waiters.push((to, now));
        if self.listing.walk.is_some() {
            return;
        }
        match self.listing.pause(now) {
            Some(next) => self.listing.next = Some(next.min(now + BACKOFF_LONGEST_WAITED)),
            None => self.walk(Class::Waited),
        }
    }

    pub(super) fn read_directory(
        &mut self,
        now: Moment,
        after: u64,
        to: W,
        effects: &mut Effects<W, V>,
    ) {
        let mut names = Vec::new();
        for (cookie, name) in self.listing.after(after, LISTED_AT_ONCE) {
            let shown = self.entries.get(&name).and_then(|entry| entry.node);
            let kept = self.listing.number(&name);
            let node = match (shown, kept) {
                (Some(node), _) => node,
                (None, Some(Some(kept))) => *kept,
                (None, kept) => {
                    let left = self.tree.unbound(&name);
                    let node = left.unwrap_or_else(|| self.tree.reserve());
                    if let Some(kept) = kept {
                        *kept = Some(node);
                    }
                    node
                }
            };
            names.push(Listed { cookie, node, name });
        }
        effects.push(Effect::Answer { to, answer: Answer::Names(names) });
        self.listing.read = Some(now);
        self.listing.in_kernel = true;
        if self.listing.walk.is_some() || self.listing.pause(now).is_some() {
            return;
        }
        match self.listing.source {
            Source::Walk(at) if now.since(at) < self.policy.refresh => {
                let soon = at + self.dice.shorten_a_little(self.policy.refresh);
                self.listing.next.get_or_insert(soon.max(now));
            }
            Source::Walk(_) | Source::Nothing | Source::Seen => self.walk(Class::Background),
        }
    }

    pub(super) fn paged(
        &mut self,
        now: Moment,
        result: Result<Page, (Why, Option<Duration>)>,
        effects: &mut Effects<W, V>,
    ) {
        self.queue.done();
        let known = self.listing.known();
        match result
            .map_err(|(why, retry)| (if known { self.policy.weigh_no(why) } else { why }, retry))
        {
            Ok(page) => {
                self.backoff.answered(now);
                self.leafed(now, page, effects);
            }
            Err((why @ Why::Refused(Refusal::Denied(_) | Refusal::Disabled), _)) => {
                self.backoff.answered(now);
                self.listing.denied = Some(now);
                let relied = matches!(self.listing.source, Source::Walk(_));
                if std::mem::take(&mut self.listing.confirms) && relied {
                    self.suspect_all(now);
                }
                let held = self.entries.iter().filter(|(_, entry)| entry.held.is_some());
                let mut seen: Vec<SecretName> = held.map(|(name, _)| name.clone()).collect();
                seen.extend(self.configured.iter().cloned());
                seen.sort_unstable();
                seen.dedup();
                if self.listing.refused(seen) {
                    self.tell_listing(effects);
                }
                self.ready(now, now, effects);
                self.answer_listing_seekers(now, Outcome::No(why), effects);
            }
            Err((Why::Refused(Refusal::Missing | Refusal::Expired | Refusal::NotYet), retry)) => {
                self.walk_failed(now, Failure::Nonsense, retry, effects);
            }
            Err((Why::Failed(failure), retry)) => self.walk_failed(now, failure, retry, effects),
        }
    }

    /// Asks for a page of a walk, which may be its first.
    pub(super) fn turn_page(&mut self, now: Moment) -> bool {
        if let Some(walk) = &mut self.listing.walk {
            walk.asked = now;
            return false;
        }
        let confirms = self.listing.confirms;
        let learns = std::mem::take(&mut self.listing.learns);
        if confirms {
            self.begin_turns(now);
        }
        self.listing.walk =
            Some(Walk { began: now, asked: now, pages: 0, items: Vec::new(), confirms, learns });
        true
    }

    /// A page came: names on it are confirmed, and the walk goes on, or ends.
    fn leafed(&mut self, now: Moment, page: Page, effects: &mut Effects<W, V>) {
        let Some(mut walk) = self.listing.walk.take() else {
            return;
        };
        if walk.confirms {
            for item in &page.items {
                self.glimpsed(now, walk.asked, item);
            }
        }
        walk.pages = walk.pages.saturating_add(1);
        walk.items.extend(page.items);
        if !page.more {
            self.listing.pages = Pages::Exactly(walk.pages);
            self.listing.denied = None;
            return self.walked(now, walk, effects);
        }
        let wanted = self.listing.is_sought() || self.listing_used(now) || self.prefetch.wanted;
        let learns = walk.learns && walk.pages < STRANGERS_PAGES;
        if !wanted && !learns && self.walk_is_too_long(walk.pages) {
            self.listing.pages = Pages::MoreThan(walk.pages);
            self.listing.confirms = false;
            self.walk_confirms_nothing(now, effects);
            return self.mind_the_cost(now);
        }
        self.listing.walk = Some(walk);
        let class = if learns { Class::Held } else { self.listing.class() };
        self.queue.push(Wish::Page, class);
    }

    fn walked(&mut self, now: Moment, walk: Walk, effects: &mut Effects<W, V>) {
        let (began, confirmed) = (walk.began, walk.confirms);
        let change = self.listing.replace(now, walk.items);
        if change.names {
            self.tell_listing(effects);
        }
        for name in change.touched {
            self.touched(now, &name, effects);
        }
        if confirmed {
            self.walk_confirms_nothing(now, effects);
        }
        self.strangers_stand_back(now);
        self.ready(now, began, effects);
        self.answer_listing_seekers(now, Outcome::Listed, effects);
    }

    /// The list says that something about a name changed: the vault is asked soon, and a no that
    /// may be over is forgotten. The list itself is never taken for a yes or a no.
    fn touched(&mut self, now: Moment, name: &SecretName, effects: &mut Effects<W, V>) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        let moved = |held: &Held<V>| !self.listing.shows(name, &held.version);
        if entry.held.as_ref().is_some_and(moved) && entry.asking.is_none() && !entry.in_doubt() {
            entry.next = Some(now);
        }
        if entry.verdict.take().is_some() {
            effects.push(Effect::Tell(Notice::Entry(name.clone())));
        }
        self.filed(now, name);
    }

    /// The directory can be read: whoever waited for it goes on.
    fn ready(&mut self, now: Moment, began: Moment, effects: &mut Effects<W, V>) {
        self.listing.walk = None;
        self.listing.failed = None;
        self.listing.failures = 0;
        self.prefetch_listed(now, effects);
        let waited = !self.listing.waiters.is_empty();
        for (to, _) in self.listing.waiters.drain(..) {
            effects.push(Effect::Answer { to, answer: Answer::Ready });
        }
        // A long walk is followed by a rest, or it would take all requests there are.
        let rest = now + now.since(began) / 2;
        let used = waited || self.listing_used(now);
        self.listing.next = if used || self.listing.confirms {
            Some((began + self.dice.shorten_a_little(self.policy.refresh)).max(rest))
        } else {
            None
        };
    }

    fn walk_failed(
        &mut self,
        now: Moment,
        failure: Failure,
        retry_after: Option<Duration>,
        effects: &mut Effects<W, V>,
    ) {
        self.backoff.failed(now, now, failure, retry_after, &mut self.dice);
        let confirmed = self.listing.walk.take().is_some_and(|walk| walk.confirms);
        self.listing.failed = Some(Why::Failed(failure));
        self.listing.failures = self.listing.failures.saturating_add(1);
        let pause = self.dice.shorten(pause(self.listing.failures));
        if !failure.may_pass() {
            let no = |(to, _)| Effect::Answer { to, answer: Answer::No(Why::Failed(failure)) };
            effects.extend(self.listing.waiters.drain(..).map(no));
        }
        let waited = self.listing.is_sought();
        let pause = if waited { pause.min(BACKOFF_LONGEST_WAITED) } else { pause };
        let wanted = waited || self.listing_used(now) || confirmed || self.prefetch.wanted;
        self.listing.next = wanted.then(|| now + pause);
        if confirmed {
            self.walk_confirms_nothing(now, effects);
        }
        if !failure.may_pass() {
            self.answer_listing_seekers(now, Outcome::No(failure.into()), effects);
        }
    }

    pub(super) fn listing_overdue(&mut self, now: Moment, effects: &mut Effects<W, V>) {
        if self.listing_copy_ends().is_some_and(|end| end <= now) {
            self.tell_listing(effects);
        }
        self.end_listing_search(now, effects);
        let outage = self.backoff.why().unwrap_or(Failure::Unreachable);
        let why = self.listing.failed.unwrap_or(Why::Failed(outage));
        let waiters = std::mem::take(&mut self.listing.waiters);
        for (to, since) in waiters {
            if since + self.policy.open_timeout <= now {
                effects.push(Effect::Answer { to, answer: Answer::No(why) });
            } else {
                self.listing.waiters.push((to, since));
            }
        }
        if self.listing.next.is_some_and(|next| next <= now) {
            self.listing.next = None;
            let waited = self.listing.is_sought();
            if self.listing.walk.is_none() {
                self.listing.confirms = self.walk_pays(now);
                let wanted = waited || self.listing_used(now) || self.prefetch.wanted;
                if wanted || self.listing.confirms {
                    self.walk(self.listing.class());
                }
            }
        }
    }

    pub(super) fn listing_due(&self) -> Option<Moment> {
        let first = self.listing.waiters.iter().map(|(_, since)| *since + self.policy.open_timeout);
        let sought = first_over(&self.listing.seekers, self.policy.open_timeout);
        let listing = &self.listing;
        let due = [self.listing_copy_ends(), first.min(), listing.next, listing.turn, sought];
        due.into_iter().flatten().min()
    }

    /// Tells the kernel to read the directory again, if it may hold a copy.
    pub(super) fn tell_listing(&mut self, effects: &mut Effects<W, V>) {
        if std::mem::take(&mut self.listing.in_kernel) {
            effects.push(Effect::Tell(Notice::Listing));
        }
    }

    pub(super) fn walk(&mut self, class: Class) {
        self.listing.next = None;
        self.queue.push(Wish::Page, class);
    }

    fn listing_used(&self, now: Moment) -> bool {
        self.listing.read.is_some_and(|read| now.since(read) < self.policy.idle_after())
    }

    /// The kernel's copy never expires by itself, so its end is part of the promise that nothing
    /// is shown for longer than the kernel's longest time.
    fn listing_copy_ends(&self) -> Option<Moment> {
        let read = self.listing.read.filter(|_| self.listing.in_kernel)?;
        Some(read + self.policy.kernel_ttl())
    }
}
