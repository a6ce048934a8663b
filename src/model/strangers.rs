//! Names that nobody ever heard of: a crowd of them must not take what others need.
//!
//! A look-up does not say what it is for, and shows a name that is not known yet as there, so that
//! a program which tries names until one is free, such as mkstemp(3), would try for minutes. What
//! the vault's list does not hold is asked about slowly; and where there is no list yet, a crowd is
//! reason enough to learn it, if it is not long.

use crate::model::cache::Cache;
use crate::model::economy::Pages;
use crate::model::event::Value;
use crate::model::failure::Refusal;
use crate::model::failure::Why;
use crate::model::moment::Moment;
use crate::model::name::SecretName;
use crate::model::policy::STRANGERS_BURST;
use crate::model::policy::STRANGERS_PAGES;
use crate::model::policy::UNHEARD_OF;
use crate::model::queue::Class;
use crate::model::queue::Wish;

impl<W, V: Value> Cache<W, V> {
    /// A name that is not known is looked up. Returns whether more such names were looked up of
    /// late than could be asked about in time.
    pub(super) fn is_one_too_many(&mut self, now: Moment, name: &SecretName) -> bool {
        if self.listing.number(name).is_some() {
            return false;
        }
        let over = |at: &Moment| now.since(*at) >= self.policy.open_timeout;
        while self.unheard_of.front().is_some_and(over) {
            self.unheard_of.pop_front();
        }
        if self.unheard_of.len() >= UNHEARD_OF {
            return true;
        }
        self.unheard_of.push_back(now);
        if u32::try_from(self.unheard_of.len()).is_ok_and(|count| count > STRANGERS_BURST) {
            self.learn_the_list(now);
        }
        false
    }

    /// Whether a name that nothing is held of is asked about slowly: a fresh listing does not hold
    /// it; or there is none, nobody configured it, and of late every name like it was missing.
    pub(super) fn is_stranger(&self, now: Moment, name: &SecretName) -> bool {
        if self.listing.fresh(now, &self.policy) {
            return self.listing.misses(now, name, &self.policy);
        }
        self.missing_in_a_row >= STRANGERS_BURST
            && !self.listing.walked(name)
            && !self.configured.contains(name)
            && self.entries.get(name).is_none_or(|entry| entry.newest.is_none())
    }

    /// The vault answered about a name of which nothing is held: why there is no value, if there is
    /// none.
    pub(super) fn met(&mut self, why: Option<Why>) {
        match why {
            Some(Why::Refused(Refusal::Missing)) => {
                self.missing_in_a_row = self.missing_in_a_row.saturating_add(1);
            }
            None | Some(Why::Refused(_)) => self.missing_in_a_row = 0,
            Some(Why::Failed(_)) => {}
        }
    }

    /// Walks the list, before anything else, unless it is known, or cannot be had, or is long.
    fn learn_the_list(&mut self, now: Moment) {
        let denied = self.listing.denied.is_some_and(|at| now.since(at) < self.policy.confirm);
        let long = match self.listing.pages {
            Pages::Exactly(pages) | Pages::MoreThan(pages) => pages >= STRANGERS_PAGES,
        };
        let idle = self.listing.walk.is_none() && self.listing.pause(now).is_none();
        if idle && !denied && !long && !self.listing.fresh(now, &self.policy) {
            self.listing.learns = true;
            self.walk(Class::Held);
        }
    }

    /// The list is known: those who wait for names that it does not hold stand back.
    pub(super) fn strangers_stand_back(&mut self, now: Moment) {
        let waits = self.entries.iter().filter(|(name, entry)| {
            let stranger = entry.held.is_none() && self.listing.misses(now, name, &self.policy);
            stranger && entry.asking.is_none() && !entry.waiters.is_empty()
        });
        let names: Vec<SecretName> = waits.map(|(name, _)| name.clone()).collect();
        for name in names {
            let wish = Wish::Name(name);
            if self.queue.holds(&wish) {
                self.queue.withdraw(&wish);
                self.queue.push(wish, Class::Stranger);
            }
        }
    }
}
