//! What it costs to know that names in use are still what they were: a walk of the vault's list,
//! or a request for each.
//!
//! A page of the list says of up to 25 names when each last changed, so that a walk confirms many
//! names for one request. But the list counts in whole seconds, and it says nothing of the right
//! to read a value. So a walk confirms a name only if the vault's clock had moved past its last
//! change when its value was read; and between walks names have their turn, evenly in time, so that
//! one is asked about itself in each refresh, and each within `confirm`.

use std::time::Duration;

use crate::model::cache::Cache;
use crate::model::cache::Effects;
use crate::model::event::Item;
use crate::model::event::Value;
use crate::model::moment::Moment;
use crate::model::name::SecretName;
use crate::model::policy::Policy;
use crate::model::policy::TURNS_APART;
use crate::model::queue::Class;
use crate::model::queue::Wish;

/// How long the list is, in requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pages {
    /// So many, when it was last walked to its end.
    Exactly(u32),
    /// More than so many: a walk that no longer paid was given up there.
    MoreThan(u32),
}

impl Pages {
    /// What a walk is expected to cost. The length of a list that was not walked to its end is
    /// guessed, twice as long as what was seen of it; one that was never seen is tried.
    pub(super) fn cost(self) -> u32 {
        match self {
            Self::Exactly(pages) => pages.max(1),
            Self::MoreThan(pages) => pages.saturating_mul(2).max(1),
        }
    }
}

/// Whether walks are cheaper than a request for each of so many names. Where they are equal the
/// requests are better: they say more.
#[must_use]
pub fn pays(pages: Pages, names: usize, policy: &Policy) -> bool {
    usize::try_from(cost(pages, names, policy)).is_ok_and(|cost| cost < names)
}

/// How many requests a refresh takes in which so many names are confirmed by a walk, those
/// included whose turn it is.
#[must_use]
pub fn cost(pages: Pages, names: usize, policy: &Policy) -> u32 {
    let turns = policy.refresh.div_duration_f64(turn(names, policy)).round();
    pages.cost().saturating_add(turns as u32)
}

/// How long after one of so many names it is the turn of the next.
#[must_use]
pub fn turn(names: usize, policy: &Policy) -> Duration {
    let all = names.max(1) as f64;
    policy.confirm.mul_f64(IN_TIME / all).min(policy.refresh.mul_f64(IN_TIME))
}

impl<W, V: Value> Cache<W, V> {
    /// How many names are in use.
    fn in_use(&self) -> usize {
        self.entries.values().filter(|entry| entry.in_use()).count()
    }

    /// Whether names in use are to be confirmed by walking the list, as far as is known now.
    pub(super) fn walk_pays(&self, now: Moment) -> bool {
        let denied = self.listing.denied.is_some_and(|at| now.since(at) < self.policy.confirm);
        !denied && pays(self.listing.pages, self.in_use(), &self.policy)
    }

    /// Whether it would no longer pay to go on with a walk that nobody else waits for.
    pub(super) fn walk_is_too_long(&self, pages: u32) -> bool {
        !pays(Pages::Exactly(pages.saturating_add(1)), self.in_use(), &self.policy)
    }

    /// A walk begins that is to confirm names: from now on they have their turns.
    pub(super) fn begin_turns(&mut self, now: Moment) {
        let turn = turn(self.in_use(), &self.policy);
        self.listing.turn.get_or_insert(now + turn);
    }

    /// Those that were not asked about themselves for the longest time are, if it is their turn.
    pub(super) fn take_turns(&mut self, now: Moment) {
        if self.listing.turn.is_none_or(|at| at > now) {
            return;
        }
        self.listing.turn = None;
        if !self.listing.confirms {
            return;
        }
        let in_use = self.entries.iter().filter(|(_, entry)| entry.may_be_asked_early());
        let mut names: Vec<(Moment, SecretName)> = in_use
            .filter_map(|(name, entry)| Some((entry.held.as_ref()?.confirmed, name.clone())))
            .collect();
        names.sort_unstable();
        let turn = turn(names.len(), &self.policy);
        let together = TURNS_APART.div_duration_f64(turn).ceil().max(1.0);
        let pause = turn.mul_f64(together);
        // More than it is the turn of, where nobody could be asked for a while.
        let late = |confirmed: Moment| now.since(confirmed) + pause > self.policy.confirm;
        let late = names.iter().filter(|(confirmed, _)| late(*confirmed)).count();
        // One is asked whatever else there is to ask; of many the rest may wait for the walk's pages.
        let mut class = Class::Background;
        for (_, name) in names.into_iter().take(late.max(together as usize)) {
            self.line_up_as(now, &name, std::mem::replace(&mut class, Class::Idle));
        }
        self.listing.turn = Some(now + pause);
    }

    /// A page that was asked for at `asked` says this of a name.
    pub(super) fn glimpsed(&mut self, now: Moment, asked: Moment, item: &Item) {
        let Some(entry) = self.entries.get_mut(&item.name).filter(|entry| entry.awake) else {
            return;
        };
        let in_doubt = entry.in_doubt() || entry.asking.is_some();
        let Some(held) = entry.held.as_mut().filter(|held| !in_doubt && held.verified < asked)
        else {
            return;
        };
        if !item.is_of(&held.version) {
            return self.line_up(now, &item.name);
        }
        if held.settled {
            held.verified = asked;
            entry.failed = None;
            entry.failures = 0;
            entry.next = Some(now.max(asked + self.policy.refresh));
            self.queue.spare(&Wish::Name(item.name.clone()));
            self.filed(now, &item.name);
        }
    }

    /// The vault began to refuse: whatever is in use may be refused as well.
    pub(super) fn suspect_all(&mut self, now: Moment) {
        let lately = |at: Moment| now.since(at) < self.policy.refresh / 2;
        if self.suspected.is_some_and(lately) {
            return;
        }
        self.suspected = Some(now);
        let in_use = self.entries.iter().filter(|(_, entry)| entry.may_be_asked_early());
        let names: Vec<SecretName> = in_use.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.line_up(now, &name);
        }
    }

    /// Until when a name that is due may wait for a walk that is under way: a walk that takes
    /// longer than a request has no hold on it.
    pub(super) fn walk_may_confirm(&self, now: Moment) -> Option<Moment> {
        let walk = self.listing.walk.as_ref().filter(|walk| walk.confirms)?;
        Some(walk.began + self.policy.request_timeout()).filter(|until| *until > now)
    }

    /// A walk that names in use waited for came to nothing: they are asked about themselves.
    pub(super) fn walk_confirms_nothing(&mut self, now: Moment, effects: &mut Effects<W, V>) {
        let late = self.entries.iter().filter(|(_, entry)| {
            let over = |verified: Moment| verified + self.policy.refresh <= now;
            // One that the vault must say once more has its own time for that.
            let due = entry.awake && !entry.in_doubt();
            due && entry.held.as_ref().is_some_and(|held| over(held.verified))
        });
        let names: Vec<SecretName> = late.map(|(name, _)| name.clone()).collect();
        for name in names {
            if let Some(entry) = self.entries.get_mut(&name) {
                entry.next = Some(now);
            }
            self.review(now, &name, effects);
        }
    }

    /// The first name in use makes somebody look, once in a refresh, whether a walk pays. The
    /// first time is before the first name would be asked about again.
    pub(super) fn mind_the_cost(&mut self, now: Moment) {
        let walking = self.listing.walk.is_some() || self.queue.holds(&Wish::Page);
        if self.listing.next.is_none() && !walking {
            let soon = self.dice.shorten(self.policy.refresh.mul_f64(0.7));
            self.listing.next = Some(now + soon);
        }
    }
}

/// So much of the time that there is do turns take.
const IN_TIME: f64 = 0.95;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheaper_way_is_taken_and_the_more_certain_one_when_they_cost_the_same() {
        let policy = Policy::default();
        let pays = |pages, names| pays(Pages::Exactly(pages), names, &policy);
        assert!(!pays(1, 1) && !pays(1, 2) && pays(1, 3));
        assert!(pays(12, 300));
        assert!(!pays(400, 400) && pays(400, 500) && pays(400, 10_000));
    }

    #[test]
    fn a_list_that_was_not_walked_to_its_end_is_thought_twice_as_long() {
        let policy = Policy::default();
        assert!(!pays(Pages::MoreThan(10), 20, &policy));
        assert!(pays(Pages::MoreThan(10), 30, &policy));
    }

    #[test]
    fn every_name_has_its_turn_within_confirm_and_one_in_each_refresh() {
        let policy = Policy::default();
        for names in [1, 2, 15, 300, 10_000] {
            let turn = turn(names, &policy);
            assert!(turn.mul_f64(names as f64) < policy.confirm && turn < policy.refresh);
        }
        let minute = Policy { confirm: policy.refresh, ..policy };
        assert!(!pays(Pages::Exactly(1), 300, &minute));
    }
}
