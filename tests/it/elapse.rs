//! What time brings to the simulation: answers, the clock's ring, sleep, and the next worker.

use std::time::Duration;

use akvfs::model::cache::Cache;
use akvfs::model::event::Answer;
use akvfs::model::event::Effect;
use akvfs::model::event::Event;
use akvfs::model::event::Sight;
use akvfs::model::event::Word;
use akvfs::model::failure::Failure;
use akvfs::model::failure::Why;
use akvfs::model::moment::Moment;
use akvfs::model::name::SecretName;
use akvfs::model::secret::Version;
use akvfs::model::tree::Node;
use akvfs::model::tree::ROOT;

use crate::azure::Spoken;
use crate::desk::TestValue;
use crate::desk::name;
use crate::desk::version;
use crate::happenings::NAMES;
use crate::judge::Promise;
use crate::reference::Said;
use crate::reference::Stamp;
use crate::simulation::Request;
use crate::simulation::Simulation;
use crate::simulation::What;
use crate::simulation::event;

impl Simulation {
    /// Time passes, and everything that falls into it happens.
    pub(crate) fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        let mut rings = 0;
        loop {
            let ring = self.cache.wake(self.now);
            let answer = self.requests.iter().map(|request| request.due).min();
            let told = self.told.front().map(|(at, ..)| *at);
            let next = [ring, answer, told].into_iter().flatten().min();
            let Some(next) = next.map(|next| next.max(self.now)).filter(|next| *next <= end) else {
                break;
            };
            rings = if next > self.now { 0 } else { rings };
            if rings > MOST_RINGS {
                let how = format!("the clock rings without end at {:?}", self.now);
                return self.judge.broke(Promise::Answered, how);
            }
            self.pass_to(next);
            if ring.is_some_and(|ring| ring <= next) {
                rings += 1;
                self.handle(Event::Tick);
            } else if answer.is_some_and(|answer| answer <= next) {
                self.deliver();
            } else if let Some((_, node, held)) = self.told.pop_front() {
                self.handle(Event::Told { node, held });
            }
            self.settle();
            if !self.judge.broken.is_empty() {
                return;
            }
        }
        self.pass_to(end);
        self.handle(Event::Tick);
        self.settle();
    }

    fn pass_to(&mut self, next: Moment) {
        let late = self.callers.values().find(|caller| caller.deadline < next);
        if let Some(late) = late {
            let how = format!("{late:?} still waits at {next:?}");
            self.judge.broke(Promise::Answered, how);
        }
        self.now = next;
    }

    fn deliver(&mut self) {
        let first = (0..self.requests.len()).min_by_key(|index| self.requests[*index].due);
        let Some(first) = first else { return };
        let Request { asked, what, .. } = self.requests.remove(first);
        match what {
            What::Secret(text, spoken) => self.deliver_secret(&text, asked, spoken),
            What::Page(page) => {
                if !matches!(page, Err((Why::Failed(_), _))) {
                    self.judge.well(self.now);
                }
                if let Ok(page) = &page {
                    self.judge.listed(asked, self.now, &page.items);
                }
                match &page {
                    Ok(page) if !page.more => self.judge.walked(Some(self.now)),
                    Err((Why::Refused(_), _)) => self.judge.walked(None),
                    _ => {}
                }
                self.handle(Event::Paged(page));
            }
        }
    }

    fn deliver_secret(&mut self, text: &str, asked: Moment, spoken: Spoken) {
        let stamp = Stamp { updated: spoken.updated, date: spoken.date };
        self.judge.said(text, asked, self.now, spoken.said, stamp);
        if spoken.failure.is_none() {
            self.judge.well(self.now);
        }
        let name = name(text);
        let word = match spoken.said {
            Said::Is(number) => {
                let version = Version { updated: spoken.updated, ..version(number) };
                if self.cache.holds(&name) == Some(version.id) {
                    Word::Same(version)
                } else {
                    Word::New(version, TestValue(number))
                }
            }
            Said::Listed(_) => return,
            Said::No(refusal) => Word::No(refusal.into()),
            Said::Nothing => Word::No(spoken.failure.unwrap_or(Failure::Unreachable).into()),
        };
        let (retry_after, date) = (spoken.retry_after, Some(spoken.date));
        self.handle(Event::Answered { name, word, retry_after, date });
    }

    /// The machine sleeps: the boot clock goes on, the kernel's does not.
    pub(crate) fn sleep(&mut self, span: Duration) {
        self.now = self.now + span;
        self.kernel.slept(span);
        self.judge.slept(self.now + self.policy.request_timeout());
        for caller in self.callers.values_mut() {
            caller.deadline = caller.deadline.max(self.now);
        }
        self.handle(Event::Slept);
    }

    /// The worker is killed and another takes over. Its requests die with it; the callers' are
    /// sent again.
    pub(crate) fn restart(&mut self, lost: usize) {
        self.requests.clear();
        self.told.clear();
        self.workers += 1;
        let (copy, _) = self.shelf.restore(self.now, &self.policy, self.workers);
        self.compare(copy);
        for node in self.kernel.idle().into_iter().take(lost) {
            self.kernel.evict(node);
        }
        let (cache, effects) = self.shelf.restore(self.now, &self.policy, self.workers);
        self.cache = cache;
        self.shelf.keep(self.cache.changes());
        for effect in effects {
            self.carry_out(effect);
        }
        self.handle(Event::Tick);
        self.judge.walked(None);
        self.judge.calm_from(self.now);
        let waiting: Vec<u32> = self.callers.keys().copied().collect();
        for to in waiting {
            if let Some(caller) = self.callers.get_mut(&to) {
                caller.sent = self.now;
                let held = name_held(&self.cache, &caller.name);
                caller.deadline = match caller.wants.is_word() {
                    true => self.now + self.policy.open_timeout,
                    false => self.judge.deadline(self.now, &caller.name, held),
                };
                let event = event(to, caller);
                self.handle(event);
            }
        }
    }

    /// Asks the worker that dies and the one that takes over the same questions.
    fn compare(&mut self, mut later: Cache<u32, TestValue>) {
        let held: Vec<Node> = self.kernel.inodes.keys().copied().collect();
        for text in NAMES {
            let ask = || Event::Lookup { name: name(text), to: 0 };
            let old = sole(self.cache.handle(self.now, ask()));
            let new = sole(later.handle(self.now, ask()));
            let fresh = |answer: &Option<Answer<TestValue>>| match answer {
                Some(Answer::Entry(sight)) if !held.contains(&sight.node) => {
                    Some(Answer::Entry(Sight { node: ROOT, ..sight.clone() }))
                }
                other => other.clone(),
            };
            if fresh(&old) != fresh(&new) {
                let how = format!("a look-up of {text} was {old:?} and is {new:?}");
                self.judge.broke(Promise::Restart, how);
            }
        }
        for node in held {
            let ask = || Event::Attributes { node, to: 0 };
            let old = sole(self.cache.handle(self.now, ask()));
            let new = sole(later.handle(self.now, ask()));
            if old != new {
                let how = format!("{node:?} was {old:?} and is {new:?}");
                self.judge.broke(Promise::Restart, how);
            }
        }
        let ask = || Event::ReadDirectory { after: 0, to: 0 };
        let old = names(self.cache.handle(self.now, ask()));
        let new = names(later.handle(self.now, ask()));
        if old != new {
            self.judge.broke(Promise::Restart, format!("the directory was {old:?} and is {new:?}"));
        }
    }
}

type Effects = Vec<Effect<u32, TestValue>>;

/// The answer to a question that has nobody's name on it, if there is one at once.
fn sole(effects: Effects) -> Option<Answer<TestValue>> {
    effects.into_iter().find_map(|effect| {
        if let Effect::Answer { to: 0, answer } = effect { Some(answer) } else { None }
    })
}

fn names(effects: Effects) -> Vec<(u64, String)> {
    match sole(effects) {
        Some(Answer::Names(names)) => {
            names.iter().map(|listed| (listed.cookie, listed.name.to_string())).collect()
        }
        _ => Vec::new(),
    }
}

pub(crate) fn name_held(cache: &Cache<u32, TestValue>, text: &str) -> bool {
    SecretName::parse(text).is_some_and(|name| cache.holds(&name).is_some())
}

/// So many rings at one moment are more than there can be things to do.
const MOST_RINGS: u32 = 30;
