//! The model between a simulated kernel and a simulated vault, with the reference beside it: it
//! plays random events and notes each promise that was broken.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::Duration;

use akvfs::model::cache::Cache;
use akvfs::model::event::Answer;
use akvfs::model::event::Effect;
use akvfs::model::event::Event;
use akvfs::model::event::Listed;
use akvfs::model::event::Notice;
use akvfs::model::failure::Why;
use akvfs::model::moment::Moment;
use akvfs::model::policy::Policy;
use akvfs::model::refresh::Outcome;
use akvfs::model::tree::Node;

use crate::azure::Azure;
use crate::azure::Paged;
use crate::azure::Spoken;
use crate::desk::TestValue;
use crate::desk::name;
use crate::elapse::name_held;
use crate::happenings::Happening;
use crate::happenings::NAMES;
use crate::judge::Judge;
use crate::judge::Promise;
use crate::kernel::Kernel;
use crate::kernel::Known;
use crate::shelf::Shelf;

#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) name: String,
    came: Moment,
    pub(crate) sent: Moment,
    pub(crate) deadline: Moment,
    pub(crate) wants: Wants,
    read: bool,
    keep: bool,
    by_path: bool,
    /// The number that the directory gave for the name.
    listed: Option<Node>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wants {
    Entry,
    Attributes(Node),
    Bytes(Node),
    Directory { stat: bool },
    Names { after: u64, stat: bool },
    Refresh,
    Watch,
    RefreshListing,
}

impl Wants {
    /// Whether somebody wants to hear of the vault, and not to read.
    pub(crate) fn is_word(self) -> bool {
        matches!(self, Self::Refresh | Self::Watch | Self::RefreshListing)
    }
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) due: Moment,
    pub(crate) asked: Moment,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Secret(String, Spoken),
    Page(Paged),
}

pub(crate) struct Simulation {
    pub(crate) now: Moment,
    pub(crate) policy: Policy,
    pub(crate) cache: Cache<u32, TestValue>,
    pub(crate) shelf: Shelf,
    pub(crate) azure: Azure,
    pub(crate) kernel: Kernel,
    pub(crate) judge: Judge,
    pub(crate) requests: Vec<Request>,
    pub(crate) callers: BTreeMap<u32, Caller>,
    pub(crate) next_caller: u32,
    /// What the kernel's callers do next.
    pub(crate) steps: VecDeque<Caller>,
    /// The kernel's word, on its way, on whether it holds an inode.
    pub(crate) told: VecDeque<(Moment, Node, bool)>,
    pub(crate) kept: Vec<(Node, String)>,
    pub(crate) listing: Option<Vec<Listed>>,
    pub(crate) listed: Vec<Listed>,
    pub(crate) no_opendir: bool,
    pub(crate) strangers: u32,
    pub(crate) workers: u64,
}

impl Simulation {
    pub(crate) fn new(policy: Policy) -> Self {
        let now = Moment::after_boot(Duration::from_secs(1000));
        Self {
            now,
            cache: Cache::new(policy.clone(), 1, Vec::new()),
            shelf: Shelf::default(),
            azure: Azure::new(now, &NAMES),
            kernel: Kernel::default(),
            judge: Judge::new(now, policy.clone()),
            policy,
            requests: Vec::new(),
            callers: BTreeMap::new(),
            next_caller: 0,
            steps: VecDeque::new(),
            told: VecDeque::new(),
            kept: Vec::new(),
            listing: None,
            listed: Vec::new(),
            no_opendir: false,
            strangers: 0,
            workers: 1,
        }
    }

    pub(crate) fn play(&mut self, happenings: &[Happening]) {
        for happening in happenings {
            self.happen(*happening);
            self.settle();
            if !self.judge.broken.is_empty() {
                return;
            }
        }
        // Whoever still waits gets an answer.
        self.wait(self.policy.open_timeout + Duration::from_secs(1));
        self.settle();
    }

    pub(crate) fn come(&mut self, name: &str, wants: Wants, read: bool, keep: bool) {
        let caller = Caller {
            name: name.to_owned(),
            came: self.now,
            sent: self.now,
            deadline: self.now,
            wants,
            read,
            keep,
            by_path: wants == Wants::Entry,
            listed: None,
        };
        self.steps.push_back(caller);
    }

    /// A caller has read the directory, and may now stat what is in it.
    pub(crate) fn read_directory(&mut self, names: Vec<Listed>, stat: bool) {
        for listed in names.into_iter().filter(|_| stat) {
            self.come(listed.name.as_str(), Wants::Entry, false, false);
            if let Some(caller) = self.steps.back_mut() {
                caller.listed = Some(listed.node);
            }
        }
    }

    /// A name is shown with the number that the directory gave, if the kernel still trusts that.
    fn numbered(&mut self, caller: &Caller, node: Node) {
        let trusted = caller.listed.filter(|_| self.listing.is_some());
        if let Some(listed) = trusted.filter(|listed| *listed != node) {
            let how = format!("{} is listed as {listed:?} and shown as {node:?}", caller.name);
            self.judge.broke(Promise::Restart, how);
        }
    }

    /// Lets the kernel's callers go on until all of them wait or are done.
    pub(crate) fn settle(&mut self) {
        while let Some(caller) = self.steps.pop_front() {
            self.step(caller);
        }
    }

    /// A caller does what it wants next, with the kernel's own knowledge where that suffices.
    fn step(&mut self, mut caller: Caller) {
        match caller.wants {
            Wants::Entry => match self.kernel.known(self.now, &caller.name) {
                Known::Nothing => self.send(caller),
                Known::Missing => {}
                Known::Node(node) => {
                    self.numbered(&caller, node);
                    self.kernel.pin(node);
                    caller.wants = Wants::Attributes(node);
                    self.step(caller);
                }
            },
            Wants::Attributes(node) => match self.kernel.shows(self.now, node) {
                None => self.send(caller),
                Some(version) => self.opened(caller, node, version),
            },
            Wants::Bytes(_)
            | Wants::Directory { .. }
            | Wants::Names { .. }
            | Wants::Refresh
            | Wants::Watch
            | Wants::RefreshListing => self.send(caller),
        }
    }

    /// A caller has a file.
    fn opened(&mut self, mut caller: Caller, node: Node, version: u64) {
        self.judge.opened(self.now, &caller.name, caller.came, node, version, caller.by_path);
        if let Some((since, right)) = self.azure.refused_since(&caller.name) {
            let latency = self.azure.latency;
            self.judge.opened_though_refused(self.now, &caller.name, since, right, latency);
        }
        if caller.keep {
            self.kept.push((node, caller.name.clone()));
            self.kernel.pin(node);
        }
        if caller.read {
            caller.wants = Wants::Bytes(node);
            self.steps.push_back(caller);
        } else {
            self.kernel.unpin(node);
        }
    }

    /// A request goes to the worker.
    fn send(&mut self, mut caller: Caller) {
        self.next_caller += 1;
        let to = self.next_caller;
        let held = name_held(&self.cache, &caller.name);
        caller.sent = self.now;
        caller.deadline = match caller.wants.is_word() {
            true => self.now + self.policy.open_timeout,
            false => self.judge.deadline(self.now, &caller.name, held),
        };
        let reads = !caller.wants.is_word();
        let prompt = reads && self.judge.is_prompt(self.now, &caller.name);
        let due = self.cache.wake(self.now).is_some_and(|at| at <= self.now);
        let quiet = reads && self.judge.is_quiet(self.now, &caller.name) && !due;
        self.callers.insert(to, caller.clone());
        let asked = self.requests.len();
        self.handle(event(to, &caller));
        if caller.wants == Wants::Entry && self.callers.contains_key(&to) {
            self.judge.broke(Promise::Answered, format!("a look-up waits: {caller:?}"));
        }
        if prompt && self.callers.contains_key(&to) {
            let what = format!("{} is in use and waits at {:?}", caller.name, self.now);
            self.judge.broke(Promise::Prompt, what);
        }
        let new = self.requests.iter().skip(asked);
        if quiet && new.clone().any(|request| request.is_for(&caller.name)) {
            let what = format!("{} is in use, fresh, and asked for", caller.name);
            self.judge.broke(Promise::Prompt, what);
        }
    }

    pub(crate) fn handle(&mut self, event: Event<u32, TestValue>) {
        let effects = self.cache.handle(self.now, event);
        self.shelf.keep(self.cache.changes());
        for effect in effects {
            self.carry_out(effect);
        }
    }

    pub(crate) fn carry_out(&mut self, effect: Effect<u32, TestValue>) {
        match effect {
            Effect::Answer { to, answer } => match self.callers.remove(&to) {
                Some(caller) => self.answered(caller, answer),
                None => {
                    self.judge.broke(Promise::Answered, format!("caller {to} is answered twice"));
                }
            },
            Effect::Ask(secret) => {
                let text = secret.as_str();
                let waits = self.callers.values().filter(|caller| caller.name == text);
                let since = waits.map(|caller| caller.sent).min();
                let known = NAMES.contains(&text);
                let twice = self.requests.iter().any(|request| request.is_for(text));
                self.judge.asked(self.now, self.requests.len(), twice);
                if let Some(since) = since.filter(|_| !known) {
                    self.judge.asked_stranger(self.now, since);
                }
                let spoken = self.azure.ask(self.now, text, self.policy.request_timeout());
                if spoken.failure.is_some() || spoken.after >= Duration::from_secs(1) {
                    self.judge.unwell(self.now, spoken.after, spoken.retry_after);
                }
                let due = self.now + spoken.after;
                let what = What::Secret(text.to_owned(), spoken);
                self.requests.push(Request { due, asked: self.now, what });
            }
            Effect::AskPage { first } => {
                let twice =
                    self.requests.iter().any(|request| matches!(request.what, What::Page(_)));
                self.judge.asked(self.now, self.requests.len(), twice);
                let (page, after) = self.azure.page(first, self.policy.request_timeout());
                if let Err((Why::Failed(_), retry_after)) = page {
                    self.judge.unwell(self.now, after, retry_after);
                }
                let due = self.now + after;
                self.requests.push(Request { due, asked: self.now, what: What::Page(page) });
            }
            Effect::Tell(Notice::Listing) => self.listing = None,
            Effect::Tell(notice) => {
                if let Some((node, held)) = self.kernel.notice(&notice) {
                    self.told.push_back((self.now + Duration::from_millis(5), node, held));
                }
            }
        }
    }

    /// The worker answered a caller.
    fn answered(&mut self, mut caller: Caller, answer: Answer<TestValue>) {
        self.judge.answered(self.now, &caller.name, caller.sent, &answer);
        match (caller.wants, answer) {
            (Wants::Entry, Answer::Entry(sight)) => {
                self.numbered(&caller, sight.node);
                self.kernel.entry(self.now, &caller.name, &sight);
                self.kernel.pin(sight.node);
                caller.wants = Wants::Attributes(sight.node);
                self.steps.push_back(caller);
            }
            (Wants::Entry, Answer::Missing(ttl)) => {
                self.kernel.missing(self.now, &caller.name, ttl)
            }
            (Wants::Attributes(node), Answer::Attributes(sight)) => {
                self.kernel.attributes(self.now, &sight);
                match sight.bound {
                    Some((_, value)) if sight.node == node => self.opened(caller, node, value.0),
                    _ => {
                        let what = format!("{node:?} was asked for, and {sight:?} answered");
                        self.judge.broke(Promise::Restart, what);
                    }
                }
            }
            (Wants::Bytes(node), Answer::Bytes(_, value)) => {
                self.judge.read(node, value.0);
                self.kernel.unpin(node);
            }
            (Wants::Attributes(node) | Wants::Bytes(node), Answer::No(_)) => {
                self.kernel.unpin(node);
            }
            (Wants::Directory { stat }, Answer::Ready) => {
                self.no_opendir = true;
                caller.wants = Wants::Names { after: 0, stat };
                self.steps.push_back(caller);
            }
            (Wants::Directory { .. }, Answer::No(_)) => {}
            (Wants::Refresh, Answer::Refreshed(outcome)) => {
                self.judge.refreshed(self.now, &caller.name, caller.sent, outcome);
                let known = self.kernel.known(self.now, &caller.name);
                if matches!(outcome, Outcome::New(_)) && matches!(known, Known::Missing) {
                    let how = format!("{} is new, and missing to the kernel", caller.name);
                    self.judge.broke(Promise::NeverOlder, how);
                }
            }
            (Wants::Watch | Wants::RefreshListing, Answer::Refreshed(_)) => {}
            (Wants::Names { after, stat }, Answer::Names(names)) => {
                if after == 0 {
                    self.listed.clear();
                }
                match names.last().map(|last| last.cookie) {
                    Some(last) => {
                        self.listed.extend(names);
                        caller.wants = Wants::Names { after: last, stat };
                        self.steps.push_back(caller);
                    }
                    None => {
                        let names = std::mem::take(&mut self.listed);
                        self.listing = Some(names.clone());
                        self.read_directory(names, stat);
                    }
                }
            }
            (wants, answer) => {
                let what = format!("{wants:?} of {} is {answer:?}", caller.name);
                self.judge.broke(Promise::Restart, what);
            }
        }
    }
}

impl Request {
    fn is_for(&self, name: &str) -> bool {
        matches!(&self.what, What::Secret(secret, _) if secret == name)
    }
}

/// What a caller asks of the worker.
pub(crate) fn event(to: u32, caller: &Caller) -> Event<u32, TestValue> {
    match caller.wants {
        Wants::Entry => Event::Lookup { name: name(&caller.name), to },
        Wants::Attributes(node) => Event::Attributes { node, to },
        Wants::Bytes(node) => Event::Read { node, to },
        Wants::Directory { .. } => Event::OpenDirectory { to },
        Wants::Names { after, .. } => Event::ReadDirectory { after, to },
        Wants::Refresh => Event::Refresh { name: name(&caller.name), to },
        Wants::Watch => Event::Watch { name: name(&caller.name), to },
        Wants::RefreshListing => Event::RefreshListing { to },
    }
}
