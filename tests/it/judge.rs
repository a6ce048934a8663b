//! Holds what the model did against the reference, and notes each promise that was broken.

use std::collections::HashMap;
use std::time::Duration;

use akvfs::model::event::Answer;
use akvfs::model::event::Item;
use akvfs::model::event::Sight;
use akvfs::model::failure::Refusal;
use akvfs::model::failure::Why;
use akvfs::model::moment::Moment;
use akvfs::model::policy::BACKOFF_LONGEST;
use akvfs::model::policy::Policy;
use akvfs::model::refresh::Outcome;
use akvfs::model::tree::Node;

use crate::desk::TestValue;
use crate::desk::version;
use crate::reference::Reference;
use crate::reference::Said;
use crate::reference::Stamp;
use crate::reference::Standing;

/// The seven promises.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Promise {
    /// Nothing is served older than what was already served; an inode never changes version.
    NeverOlder,
    /// What is in use is answered at once, and without a request where it is fresh.
    Prompt,
    /// One request for a name, eight in all, a burst of 200 and then 20 a second.
    Thrift,
    /// Everybody is answered, once, in time; and the clock does not ring in vain.
    Answered,
    /// Nothing is served past `stale`, nor after a no.
    NoLonger,
    /// A no is the vault's; an outage takes nothing away.
    NoInvention,
    /// A later worker answers as the earlier one.
    Restart,
}

/// How long a 404 lasts, and for how long the first of two is not believed.
const MISSING_FOR: Duration = Duration::from_secs(5);

/// A request's slack in comparisons of budgets, which the model keeps in whole nanoseconds.
const GRAIN: f64 = 1e-6;

#[derive(Debug)]
pub(crate) struct Judge {
    policy: Policy,
    reference: Reference,
    pub(crate) broken: Vec<(Promise, String)>,
    /// What each number ever stood for.
    inodes: HashMap<Node, (String, Option<u64>)>,
    /// When a caller last came who was given a value by the worker.
    uses: HashMap<String, Moment>,
    slept: Moment,
    /// Until when a crowd of strangers may be asked for.
    crowd: Moment,
    /// From when on the vault has answered everything within a second.
    calm: Moment,
    /// It has not answered since it was last away: it is asked one thing at a time.
    ill: bool,
    budget: Allowance,
    strange: Allowance,
    /// When the list was last read to its end, if it has not been refused since.
    walked: Option<Moment>,
}

#[derive(Debug)]
struct Allowance {
    left: f64,
    at: Moment,
    burst: f64,
    per_second: f64,
}

impl Allowance {
    fn new(at: Moment, burst: f64, per_second: f64) -> Self {
        Self { left: burst, at, burst, per_second }
    }

    fn take(&mut self, now: Moment) -> bool {
        let earned = now.since(self.at).as_secs_f64() * self.per_second;
        self.left = (self.left + earned).min(self.burst) - 1.0;
        self.at = now;
        self.left > -GRAIN
    }
}

impl Judge {
    pub(crate) fn new(now: Moment, policy: Policy) -> Self {
        Self {
            reference: Reference::new(policy.stale),
            policy,
            broken: Vec::new(),
            inodes: HashMap::new(),
            uses: HashMap::new(),
            slept: Moment::default(),
            crowd: Moment::default(),
            calm: now,
            ill: false,
            budget: Allowance::new(now, 200.0, 20.0),
            strange: Allowance::new(now, 20.0, 2.0),
            walked: None,
        }
    }

    pub(crate) fn broke(&mut self, promise: Promise, how: String) {
        self.broken.push((promise, how));
    }

    fn demand(&mut self, kept: bool, promise: Promise, how: impl FnOnce() -> String) {
        if !kept {
            self.broke(promise, how());
        }
    }

    pub(crate) fn slept(&mut self, now: Moment) {
        self.slept = now;
        self.calm_from(now);
    }

    pub(crate) fn calm_from(&mut self, when: Moment) {
        self.calm = self.calm.max(when);
    }

    /// Strangers come, and wait for so long.
    pub(crate) fn crowded(&mut self, now: Moment) {
        self.crowd = now + self.policy.open_timeout * 2;
        self.calm_from(self.crowd);
    }

    /// The vault answered.
    pub(crate) fn well(&mut self, now: Moment) {
        if std::mem::take(&mut self.ill) {
            self.calm_from(now);
        }
    }

    /// The vault was asked, and does not answer well, or not within a second.
    pub(crate) fn unwell(&mut self, now: Moment, after: Duration, retry_after: Option<Duration>) {
        self.ill = true;
        self.calm_from(now + after + retry_after.unwrap_or_default().max(BACKOFF_LONGEST));
    }

    pub(crate) fn said(
        &mut self,
        name: &str,
        asked: Moment,
        answered: Moment,
        said: Said,
        stamp: Stamp,
    ) {
        self.reference.said(name, asked, answered, said, stamp);
    }

    /// A page of the list came.
    pub(crate) fn listed(&mut self, asked: Moment, answered: Moment, items: &[Item]) {
        for Item { name, updated, .. } in items.iter().filter(|item| item.enabled) {
            self.reference.listed(name.as_str(), asked, answered, *updated);
        }
    }

    pub(crate) fn walked(&mut self, walked: Option<Moment>) {
        self.walked = walked;
    }

    /// A request goes out.
    pub(crate) fn asked(&mut self, now: Moment, under_way: usize, twice: bool) {
        self.demand(!twice, Promise::Thrift, || "two requests for one thing".to_owned());
        self.demand(under_way < 8, Promise::Thrift, || "nine under way".to_owned());
        let paid = self.budget.take(now);
        self.demand(paid, Promise::Thrift, || format!("over budget at {now:?}"));
    }

    /// A request goes out for a name that no list ever held, for a caller who came then.
    pub(crate) fn asked_stranger(&mut self, now: Moment, came: Moment) {
        let long = self.policy.trusted_for();
        let fresh = self.walked.is_some_and(|at| at < came && now.since(at) < long);
        if fresh {
            let paid = self.strange.take(now);
            self.demand(paid, Promise::Thrift, || format!("too many strangers at {now:?}"));
        }
    }

    pub(crate) fn in_use(&self, now: Moment, name: &str) -> bool {
        self.uses.get(name).is_some_and(|used| now.since(*used) < self.policy.idle_after())
    }

    fn verified(&self, name: &str) -> Option<Moment> {
        match self.reference.standing_unlisted(name) {
            Standing::Good { verified } => Some(verified),
            Standing::Unknown | Standing::Refused(_) => None,
        }
    }

    fn servable(&self, now: Moment, name: &str) -> bool {
        self.verified(name).is_some_and(|verified| now.since(verified) < self.policy.stale)
    }

    /// Whether there is a value to serve: the last one said may be too old to be believed.
    fn certain(&self, now: Moment, name: &str) -> bool {
        let said = self.reference.last_said(name);
        let older = said.and_then(|said| self.reference.newer_served(name, now, said));
        self.servable(now, name) && older.is_none()
    }

    /// Whether a caller who comes now must not wait: the name is in use, and the vault was heard
    /// of it, or not, since the machine last slept. A refresh that is shorter than a request may
    /// take leaves no room for a crowd.
    pub(crate) fn is_prompt(&self, now: Moment, name: &str) -> bool {
        let heard = self.reference.words(name).last().map_or(Moment::default(), |word| word.1);
        let room = self.policy.refresh >= self.policy.request_timeout() || now > self.crowd;
        self.in_use(now, name) && self.certain(now, name) && heard > self.slept && room
    }

    /// Whether a caller who comes now must not cause a request.
    pub(crate) fn is_quiet(&self, now: Moment, name: &str) -> bool {
        let fresh = |verified| now.since(verified) <= self.policy.refresh;
        self.is_prompt(now, name) && self.verified(name).is_some_and(fresh)
    }

    /// When a caller who comes now must have an answer, at the latest.
    pub(crate) fn deadline(&self, now: Moment, name: &str, held: bool) -> Moment {
        let short = now + self.policy.idle_patience();
        if held && self.servable(short, name) { short } else { now + self.policy.open_timeout }
    }

    /// The worker answered a caller who came then.
    pub(crate) fn answered(
        &mut self,
        now: Moment,
        name: &str,
        came: Moment,
        answer: &Answer<TestValue>,
    ) {
        match answer {
            Answer::Entry(sight) | Answer::Attributes(sight) => {
                self.sight(now, name, came, sight);
            }
            Answer::Bytes(..) => {
                self.uses.insert(name.to_owned(), came);
            }
            Answer::Missing(ttl) => {
                self.missing(now, name);
                let long = *ttl <= MISSING_FOR;
                self.demand(long, Promise::NoInvention, || format!("{name} missing for {ttl:?}"));
            }
            Answer::No(Why::Refused(Refusal::Missing)) => self.missing(now, name),
            Answer::No(Why::Refused(refusal)) => {
                let said = self.reference.standing(name) == Standing::Refused(*refusal);
                self.demand(said, Promise::NoInvention, || format!("nobody refused {name}"));
            }
            Answer::No(Why::Failed(failure)) => {
                let lost = self.in_use(now, name) && self.certain(now, name);
                let how = || format!("{name} was good and in use, and is {failure:?} at {now:?}");
                self.demand(!lost, Promise::NoInvention, how);
            }
            Answer::Ready | Answer::Names(_) | Answer::Refreshed(_) => {}
            Answer::Unknown => self.broke(Promise::Restart, format!("an inode of {name} is lost")),
        }
    }

    /// Somebody who came then is told what came of a refresh: the vault must have been asked since,
    /// and have said so.
    pub(crate) fn refreshed(&mut self, now: Moment, name: &str, came: Moment, outcome: Outcome) {
        let words = self.reference.words(name).iter();
        let since: Vec<Said> =
            words.filter(|(asked, ..)| *asked >= came).map(|(.., said)| *said).collect();
        let over = now >= came + self.policy.open_timeout;
        let said = match outcome {
            Outcome::New(id) | Outcome::Same(id) => since.iter().any(|said| match said {
                // An older version may wait to be said again when the time is over.
                Said::Is(number) => version(*number).id == id || over,
                Said::No(_) | Said::Nothing | Said::Listed(_) => false,
            }),
            Outcome::No(Why::Refused(refusal)) => since.contains(&Said::No(refusal)),
            Outcome::No(Why::Failed(failure)) => over || !failure.may_pass(),
            Outcome::Unasked => over,
            Outcome::Listed => false,
        };
        let how = || format!("{name} is {outcome:?} at {now:?}, of {since:?} since {came:?}");
        self.demand(said, Promise::NoInvention, how);
    }

    fn sight(&mut self, now: Moment, name: &str, came: Moment, sight: &Sight<TestValue>) {
        let node = sight.node;
        self.demand(node.0 < 1 << 32, Promise::Restart, || format!("{node:?} is too large"));
        let known = self.inodes.entry(node).or_insert_with(|| (name.to_owned(), None));
        let other = known.0 != name;
        self.demand(!other, Promise::Restart, || format!("{node:?} is given twice"));
        let Some((_, value)) = &sight.bound else {
            let known = sight.ttl.is_zero();
            return self.demand(known, Promise::NoLonger, || format!("{name} is kept unbound"));
        };
        self.bound(node, value.0);
        let until = self.reference.servable_until(name);
        let kept = until.is_some_and(|until| now < until && now + sight.ttl <= until);
        let how = || format!("{name} is given until {:?}, not {until:?}", now + sight.ttl);
        self.demand(kept, Promise::NoLonger, how);
        self.uses.insert(name.to_owned(), came);
    }

    fn missing(&mut self, now: Moment, name: &str) {
        let last = self.reference.last_word_was_missing(name);
        let twice = self.reference.standing(name) == Standing::Refused(Refusal::Missing);
        let said = last && (twice || !self.in_use(now, name) || !self.certain(now, name));
        self.demand(said, Promise::NoInvention, || format!("{name} is not missing at {now:?}"));
    }

    /// A number stands for one version for good.
    fn bound(&mut self, node: Node, version: u64) {
        if let Some((name, bound)) = self.inodes.get_mut(&node) {
            let other = bound.replace(version).filter(|bound| *bound != version);
            if let Some(other) = other {
                let how = format!("{node:?} of {name} was version {other} and is {version}");
                self.broke(Promise::NeverOlder, how);
            }
        }
    }

    /// A caller who came then opens a file by its path, or one that somebody had open.
    pub(crate) fn opened(
        &mut self,
        now: Moment,
        name: &str,
        came: Moment,
        node: Node,
        version: u64,
        by_path: bool,
    ) {
        self.bound(node, version);
        let standing = self.reference.standing(name);
        let allowed = self.reference.servable_until(name).is_some_and(|until| now < until);
        self.demand(allowed, Promise::NoLonger, || format!("{name} is {standing:?} at {now:?}"));
        if by_path {
            if let Some(newer) = self.reference.newer_served(name, came, version) {
                let how = format!("{name} was {newer} and is {version} at {now:?}");
                self.broke(Promise::NeverOlder, how);
            }
            if let Some(newer) = self.reference.newer_said(name, came, version) {
                let how = format!("{name} is {version}, and {newer} was known before {came:?}");
                self.broke(Promise::NeverOlder, how);
            }
            self.reference.served(name, came, now, version);
        }
    }

    /// A caller opens what the vault has been refusing for so long.
    pub(crate) fn opened_though_refused(
        &mut self,
        now: Moment,
        name: &str,
        since: Moment,
        right: bool,
        latency: Duration,
    ) {
        // A right can go without a sign in the list.
        let refresh = if self.policy.confirm > self.policy.refresh && right {
            self.policy.confirm + self.policy.refresh
        } else {
            self.policy.refresh
        };
        let heard = self.reference.struck(name).unwrap_or(since + refresh);
        let known = heard.max(self.calm + self.policy.refresh) + MISSING_FOR + latency * 2;
        let how = || format!("{name} was refused at {since:?} and is open at {now:?}");
        self.demand(self.ill || now <= known, Promise::NoLonger, how);
    }

    pub(crate) fn read(&mut self, node: Node, version: u64) {
        self.bound(node, version);
    }
}
