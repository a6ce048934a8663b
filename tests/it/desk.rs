//! A cache on a desk: a test plays the kernel, the vault and the clock by hand.

use std::collections::HashMap;
use std::time::Duration;

use akvfs::model::cache::Cache;
use akvfs::model::cache::Effects;
use akvfs::model::event::Answer;
use akvfs::model::event::Effect;
use akvfs::model::event::Event;
use akvfs::model::event::Item;
use akvfs::model::event::Listed;
use akvfs::model::event::Notice;
use akvfs::model::event::Page;
use akvfs::model::event::Sight;
use akvfs::model::event::Value;
use akvfs::model::event::Word;
use akvfs::model::failure::Failure;
use akvfs::model::failure::Refusal;
use akvfs::model::failure::Why;
use akvfs::model::moment::Moment;
use akvfs::model::name::SecretName;
use akvfs::model::policy::Policy;
use akvfs::model::secret::Version;
use akvfs::model::tree::Node;

use crate::shelf::Shelf;

/// The value of a version: its number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TestValue(pub u64);

impl Value for TestValue {
    fn serial(&self) -> u64 {
        self.0
    }
}

/// A version by its number: a later one has a higher number.
pub(crate) fn version(number: u64) -> Version {
    let created = i64::try_from(number).unwrap();
    let id = format!("{number:032x}").parse().unwrap();
    let about = Default::default();
    Version { id, created, updated: created, not_before: None, expires: None, about }
}

/// A time of the vault's that is long after every change.
pub(crate) const FAR: i64 = 1 << 40;

pub(crate) fn name(text: &str) -> SecretName {
    SecretName::parse(text).unwrap()
}

pub(crate) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) struct Desk {
    pub(crate) cache: Cache<u32, TestValue>,
    pub(crate) now: Moment,
    callers: u32,
    /// What each caller was told, and when.
    pub(crate) told: HashMap<u32, (Moment, Answer<TestValue>)>,
    /// What the vault was asked and did not answer yet.
    pub(crate) asked: Vec<SecretName>,
    /// How many pages were asked for and not brought yet.
    pub(crate) pages: u32,
    /// What the kernel was told since this was last emptied.
    pub(crate) notices: Vec<Notice>,
    /// The requests so far.
    pub(crate) requests: u32,
    policy: Policy,
    shelf: Shelf,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self::with(Policy::default())
    }

    pub(crate) fn with(policy: Policy) -> Self {
        Self {
            cache: Cache::new(policy.clone(), 7, Vec::new()),
            policy,
            shelf: Shelf::default(),
            now: Moment::after_boot(seconds(1000)),
            callers: 0,
            told: HashMap::new(),
            asked: Vec::new(),
            pages: 0,
            notices: Vec::new(),
            requests: 0,
        }
    }

    pub(crate) fn tell(&mut self, event: Event<u32, TestValue>) {
        let effects = self.cache.handle(self.now, event);
        self.carry_out(effects);
    }

    /// Another worker takes over; what the earlier one had asked for dies with it.
    pub(crate) fn restart(&mut self) {
        self.asked.clear();
        self.pages = 0;
        let (cache, effects) = self.shelf.restore(self.now, &self.policy, 8);
        self.cache = cache;
        self.carry_out(effects);
        self.tell(Event::Tick);
    }

    fn carry_out(&mut self, effects: Effects<u32, TestValue>) {
        self.shelf.keep(self.cache.changes());
        for effect in effects {
            match effect {
                Effect::Answer { to, answer } => {
                    let earlier = self.told.insert(to, (self.now, answer));
                    assert!(earlier.is_none(), "caller {to} is answered twice");
                }
                Effect::Ask(name) => {
                    self.requests += 1;
                    self.asked.push(name);
                }
                Effect::AskPage { .. } => {
                    self.requests += 1;
                    self.pages += 1;
                }
                Effect::Tell(notice) => self.notices.push(notice),
            }
        }
    }

    /// Lets time pass; the vault is silent meanwhile.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        let mut still = 0;
        while let Some(at) = self.cache.wake(self.now).filter(|at| *at <= end) {
            still = if at > self.now { 0 } else { still + 1 };
            assert!(still < 10, "the clock rings without end at {:?}", self.now);
            self.now = self.now.max(at);
            self.tell(Event::Tick);
        }
        self.now = end;
        self.tell(Event::Tick);
    }

    pub(crate) fn lookup(&mut self, text: &str) -> Answer<TestValue> {
        self.callers += 1;
        let to = self.callers;
        self.tell(Event::Lookup { name: name(text), to });
        self.told.get(&to).unwrap().1.clone()
    }

    /// Looks a name up, and returns what the kernel may know of its inode.
    pub(crate) fn sight(&mut self, text: &str) -> Sight<TestValue> {
        let answer = self.lookup(text);
        let Answer::Entry(sight) = answer else { panic!("{text} is {answer:?}") };
        sight
    }

    /// Asks for the attributes of an inode; returns the caller.
    pub(crate) fn stat(&mut self, node: Node) -> u32 {
        self.callers += 1;
        self.tell(Event::Attributes { node, to: self.callers });
        self.callers
    }

    /// Asks for the bytes of an inode; returns the caller.
    pub(crate) fn read(&mut self, node: Node) -> u32 {
        self.callers += 1;
        self.tell(Event::Read { node, to: self.callers });
        self.callers
    }

    /// Looks a name up and asks for its bytes; returns the caller.
    pub(crate) fn open(&mut self, text: &str) -> u32 {
        let node = self.sight(text).node;
        self.read(node)
    }

    pub(crate) fn open_directory(&mut self) -> u32 {
        self.callers += 1;
        self.tell(Event::OpenDirectory { to: self.callers });
        self.callers
    }

    pub(crate) fn names(&mut self, after: u64) -> Vec<Listed> {
        self.callers += 1;
        let to = self.callers;
        self.tell(Event::ReadDirectory { after, to });
        let answer = &self.told[&to].1;
        let Answer::Names(names) = answer else { panic!("a directory is {answer:?}") };
        names.clone()
    }

    pub(crate) fn answer(&mut self, text: &str, word: Word<TestValue>) {
        let at = self.asked.iter().position(|asked| asked.as_str() == text);
        self.asked.remove(at.unwrap_or_else(|| panic!("nobody asked for {text}")));
        self.tell(Event::Answered { name: name(text), word, retry_after: None, date: Some(FAR) });
    }

    /// The vault has this version.
    pub(crate) fn found(&mut self, text: &str, number: u64) {
        let word = if self.cache.holds(&name(text)) == Some(version(number).id) {
            Word::Same(version(number))
        } else {
            Word::New(version(number), TestValue(number))
        };
        self.answer(text, word);
    }

    /// The vault has this version of what was asked for first.
    pub(crate) fn confirm_first(&mut self, number: u64) {
        let asked = self.asked.first().expect("something was asked for").clone();
        self.found(asked.as_str(), number);
    }

    pub(crate) fn refused(&mut self, text: &str, refusal: Refusal) {
        self.answer(text, Word::No(refusal.into()));
    }

    pub(crate) fn failed(&mut self, text: &str, failure: Failure) {
        self.answer(text, Word::No(failure.into()));
    }

    /// The vault's list is this, in one page.
    pub(crate) fn listed(&mut self, names: &[&str]) {
        self.pages = self.pages.checked_sub(1).expect("a page was asked for");
        let item =
            |text: &&str| Item { name: name(text), enabled: true, updated: 0, created: None };
        let items = names.iter().map(item).collect();
        self.tell(Event::Paged(Ok(Page { items, more: false })));
    }

    pub(crate) fn no_list(&mut self, why: impl Into<Why>) {
        self.pages = self.pages.checked_sub(1).expect("a page was asked for");
        self.tell(Event::Paged(Err((why.into(), None))));
    }

    pub(crate) fn told(&self, caller: u32) -> Option<&Answer<TestValue>> {
        self.told.get(&caller).map(|(_, answer)| answer)
    }

    /// What a caller read, if it got a value.
    pub(crate) fn got(&self, caller: u32) -> Option<u64> {
        let answer = self.told(caller);
        if let Some(Answer::Attributes(Sight { bound: Some((_, value)), .. })) = answer {
            return Some(value.0);
        }
        if let Some(Answer::Bytes(_, value)) = answer { Some(value.0) } else { None }
    }

    /// Opens a name that nobody asked for before, and the vault has it.
    pub(crate) fn first(&mut self, text: &str, number: u64) -> Node {
        let node = self.sight(text).node;
        let caller = self.read(node);
        self.found(text, number);
        assert_eq!(self.got(caller), Some(number));
        node
    }
}
