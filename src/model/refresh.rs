//! Who wants the vault's word on a name, or on the list, now: what is known already does not count,
//! nor does what was under way when they asked.
//!
//! Who refreshes is no user of a name: an idle one stays idle. Who watches one is.

use std::time::Duration;

use crate::model::backoff::pause;
use crate::model::cache::Cache;
use crate::model::cache::Effects;
use crate::model::entry::Entry;
use crate::model::entry::Standing;
use crate::model::event::Answer;
use crate::model::event::Effect;
use crate::model::event::Notice;
use crate::model::event::Value;
use crate::model::event::Word;
use crate::model::failure::Failure;
use crate::model::failure::Why;
use crate::model::listing::Source;
use crate::model::moment::Moment;
use crate::model::name::SecretName;
use crate::model::name::VersionId;
use crate::model::policy::BACKOFF_LONGEST_WAITED;
use crate::model::queue::Class;

/// One who waits for the vault's word.
#[derive(Debug)]
pub struct Seeker<W> {
    /// Who.
    pub to: W,
    /// Since when.
    pub since: Moment,
    /// The version that was held then.
    pub before: Option<VersionId>,
    /// Whether the request that is under way, if one is, was sent for this one too.
    pub asked: bool,
    /// What the last one that was sent for it came to, if that was not the end of it.
    pub heard: Option<Said>,
}

impl<W> Seeker<W> {
    const fn new(to: W, since: Moment, before: Option<VersionId>) -> Self {
        Self { to, since, before, asked: false, heard: None }
    }

    /// What it means to him that this is the version.
    fn found(&self, id: VersionId) -> Outcome {
        if self.before == Some(id) { Outcome::Same(id) } else { Outcome::New(id) }
    }
}

/// What came of a refresh.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// There is a version that was not held before.
    New(VersionId),
    /// The version that was held before is the newest.
    Same(VersionId),
    /// The list was walked.
    Listed,
    /// There is no value, or its newest version could not be heard of, and why.
    No(Why),
    /// Its turn did not come in time: more was asked for than may be sent.
    Unasked,
}

/// What an answer of the vault comes down to.
#[derive(Clone, Copy, Debug)]
pub enum Said {
    /// A version.
    Version(VersionId),
    /// No value, and why.
    No(Why),
}

impl Said {
    pub(super) fn by<V>(word: &Word<V>) -> Self {
        match word {
            Word::New(version, _) | Word::Same(version) => Self::Version(version.id),
            Word::No(why) => Self::No(*why),
        }
    }
}

impl<W, V: Value> Cache<W, V> {
    pub(super) fn refresh(&mut self, now: Moment, name: SecretName, to: W) {
        let entry = self.entries.entry(name.clone()).or_insert_with(|| Entry::new(now));
        if entry.held.is_none() {
            // What comes is kept for as long as what was looked at.
            entry.used = now;
        }
        let before = entry.held.as_ref().map(|held| held.version.id);
        entry.seekers.push(Seeker::new(to, now, before));
        if entry.asking.is_none() {
            self.line_up(now, &name);
        }
        self.filed(now, &name);
    }

    /// A name that is watched is in use. The vault is asked at once where its word is not known.
    pub(super) fn watch(
        &mut self,
        now: Moment,
        name: SecretName,
        to: W,
        effects: &mut Effects<W, V>,
    ) {
        let entry = self.entries.entry(name.clone()).or_insert_with(|| Entry::new(now));
        entry.used = now;
        match entry.standing(now, &self.policy, true) {
            // One who waits for the word is enough.
            Standing::Asked if entry.seekers.is_empty() => self.refresh(now, name, to),
            Standing::Asked | Standing::Served(_) | Standing::Refused(_) => {
                let answer = Answer::Refreshed(Outcome::Unasked);
                effects.push(Effect::Answer { to, answer });
                self.filed(now, &name);
            }
        }
    }

    /// The vault answered: whoever asked for that answer has it, if it is one. An older version
    /// than the one held, a first 404, and trouble that may pass, are asked about again.
    pub(super) fn answer_seekers(
        &mut self,
        now: Moment,
        name: &SecretName,
        said: Said,
        effects: &mut Effects<W, V>,
    ) {
        let Some(entry) = self.entries.get_mut(name).filter(|entry| !entry.seekers.is_empty())
        else {
            return;
        };
        let held = entry.held.as_ref().map(|held| held.version.id);
        let is_final = match said {
            Said::Version(id) => held.is_none_or(|held| held == id),
            Said::No(Why::Refused(_)) => held.is_none(),
            Said::No(Why::Failed(failure)) => !failure.may_pass(),
        };
        if !is_final {
            for seeker in entry.seekers.iter_mut().filter(|seeker| seeker.asked) {
                seeker.asked = false;
                seeker.heard = Some(said);
            }
            if let Said::No(Why::Failed(_)) = said {
                let soon = pause(entry.failures).min(BACKOFF_LONGEST_WAITED);
                let soon = now + self.dice.shorten(soon);
                entry.next = Some(entry.next.map_or(soon, |next| next.min(soon)));
            }
            return;
        }
        let seekers = std::mem::take(&mut entry.seekers);
        let (asked, late): (Vec<_>, Vec<_>) = seekers.into_iter().partition(|seeker| seeker.asked);
        entry.seekers = late;
        if !entry.seekers.is_empty() {
            self.line_up(now, name);
        }
        for seeker in asked {
            let outcome = match said {
                Said::Version(id) => seeker.found(id),
                Said::No(why) => Outcome::No(why),
            };
            if seeker.before.is_none() && matches!(outcome, Outcome::New(_)) {
                // The kernel may have been told for a while yet that it is missing.
                effects.push(Effect::Tell(Notice::Entry(name.clone())));
            }
            effects.push(Effect::Answer { to: seeker.to, answer: Answer::Refreshed(outcome) });
        }
    }

    /// Answers those whose time is over by what is known.
    pub(super) fn end_search(
        &mut self,
        now: Moment,
        name: &SecretName,
        effects: &mut Effects<W, V>,
    ) {
        let outage = self.backoff.why();
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        let span = self.policy.open_timeout;
        let seekers = std::mem::take(&mut entry.seekers);
        let (over, waiting): (Vec<_>, Vec<_>) =
            seekers.into_iter().partition(|seeker| seeker.since + span <= now);
        entry.seekers = waiting;
        for seeker in over {
            let held = entry.held.as_ref().map(|held| held.version.id);
            let outcome = match (seeker.heard, held) {
                (Some(Said::Version(_)), Some(held)) => seeker.found(held),
                (Some(Said::Version(id)), None) => seeker.found(id),
                (Some(Said::No(why)), _) => Outcome::No(why),
                (None, _) if seeker.asked || outage.is_some() => Outcome::No(entry.why(outage)),
                (None, _) => Outcome::Unasked,
            };
            effects.push(Effect::Answer { to: seeker.to, answer: Answer::Refreshed(outcome) });
        }
    }

    pub(super) fn refresh_listing(&mut self, now: Moment, to: W, effects: &mut Effects<W, V>) {
        if self.listing.source == Source::Nothing {
            // Nobody reads the directory: there is nothing to be out of date.
            let answer = Answer::Refreshed(Outcome::Unasked);
            return effects.push(Effect::Answer { to, answer });
        }
        let asked = self.listing.walk.is_none();
        self.listing.seekers.push(Seeker { asked, ..Seeker::new(to, now, None) });
        if asked {
            self.walk(Class::Refresh);
        }
    }

    /// A walk of the list ended.
    pub(super) fn answer_listing_seekers(
        &mut self,
        now: Moment,
        outcome: Outcome,
        effects: &mut Effects<W, V>,
    ) {
        let seekers = std::mem::take(&mut self.listing.seekers);
        let over = |seeker: &Seeker<W>| seeker.since + self.policy.open_timeout <= now;
        let (done, mut late): (Vec<_>, Vec<_>) =
            seekers.into_iter().partition(|seeker| seeker.asked || over(seeker));
        late.iter_mut().for_each(|seeker| seeker.asked = true);
        if !late.is_empty() {
            self.walk(Class::Refresh);
        }
        self.listing.seekers = late;
        let answer = |seeker: Seeker<W>| Effect::Answer {
            to: seeker.to,
            answer: Answer::Refreshed(outcome),
        };
        effects.extend(done.into_iter().map(answer));
    }

    /// Answers those who wait for a walk that does not end in time.
    pub(super) fn end_listing_search(&mut self, now: Moment, effects: &mut Effects<W, V>) {
        let span = self.policy.open_timeout;
        let (over, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.listing.seekers)
            .into_iter()
            .partition(|seeker| seeker.since + span <= now);
        self.listing.seekers = waiting;
        let why = self.backoff.why().unwrap_or(Failure::Unreachable);
        for seeker in over {
            let answer = Answer::Refreshed(Outcome::No(why.into()));
            effects.push(Effect::Answer { to: seeker.to, answer });
        }
    }
}

impl<W, V> Entry<W, V> {
    /// Whether anybody waits for the vault's word.
    pub(super) fn is_sought(&self) -> bool {
        !self.waiters.is_empty() || !self.seekers.is_empty()
    }

    /// A request was sent.
    pub(super) fn sent(&mut self, now: Moment) {
        self.asking = Some(now);
        self.seekers.iter_mut().for_each(|seeker| seeker.asked = true);
    }
}

/// When the first of these has waited for so long.
pub(super) fn first_over<W>(seekers: &[Seeker<W>], span: Duration) -> Option<Moment> {
    seekers.iter().map(|seeker| seeker.since + span).min()
}
