//! The model, its lock, and its effects.

use std::collections::HashSet;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use parking_lot::MutexGuard;
use tokio::runtime::Handle;

use crate::arena::store::Arena;
use crate::arena::store::OpenError;
use crate::clock;
use crate::identity::tokens::Tokens;
use crate::log;
use crate::model::cache::Cache;
use crate::model::cache::Effects;
use crate::model::event::Answer;
use crate::model::event::Effect;
use crate::model::event::Event;
use crate::model::event::Notice;
use crate::model::event::Word;
use crate::model::failure::Failure;
use crate::model::failure::Why;
use crate::model::moment::Moment;
use crate::model::name::SecretName;
use crate::model::policy::Policy;
use crate::model::secret::Secret;
use crate::model::tree::Node;
use crate::service::desk::Bulletin;
use crate::service::keeper::Keeper;
use crate::service::keeper::Left;
use crate::service::keeper::Stored;
use crate::service::walk::Walk;
use crate::timer::Timer;
use crate::vault::client::Vault;
use crate::vault::problem::Problem;

/// Whoever waits for an answer: called once.
pub type Caller = Box<dyn FnOnce(Answer<Stored>) + Send>;

/// What somebody else must know. Telling never waits.
pub type Tell = Box<dyn Fn(News) + Send + Sync>;

/// What there is to tell.
#[derive(Debug)]
pub enum News {
    /// Something that the kernel is to be told.
    Notice(Notice),
    /// So many bytes of the arena are in use.
    Used(u64),
}

/// One cache of one vault, served.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    vault: Vault,
    tokens: Tokens,
    policy: Policy,
    runtime: Handle,
    tell: Tell,
    timer: Timer,
    bulletin: Bulletin,
    since: i64,
}

pub(super) struct State {
    pub(super) cache: Cache<Caller, Stored>,
    keeper: Keeper,
    walk: Walk,
    pub(super) shown: Box<dyn Fn(&SecretName) -> bool + Send>,
    /// How far the boot clock is ahead of the time awake.
    asleep: Duration,
    /// What the timer is set to.
    wake: Option<Moment>,
    used: u64,
    identity_kept: bool,
    /// What kept the vault's word away, so that only a change is logged.
    trouble: Option<Why>,
    /// The names of which the vault said what makes no sense, for the same reason.
    puzzling: HashSet<SecretName>,
}

/// The names that a cache is about.
pub struct Names {
    /// Which of the vault's names are listed; all may be looked up.
    pub shown: Box<dyn Fn(&SecretName) -> bool + Send>,
    /// The names to list where the vault refuses its list.
    pub configured: Vec<SecretName>,
}

impl fmt::Debug for Names {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Names").field("configured", &self.configured).finish_non_exhaustive()
    }
}

/// What an earlier worker left, opened.
#[derive(Debug)]
pub struct Legacy {
    keeper: Keeper,
    /// What it left.
    pub left: Left,
}

impl Legacy {
    /// Opens the arena.
    pub fn open(arena: OwnedFd) -> Result<Self, OpenError> {
        let (arena, records) = Arena::open(arena)?;
        let (keeper, left) = Keeper::open(arena, records);
        Ok(Self { keeper, left })
    }
}

impl Service {
    /// Goes on where an earlier worker ended, or begins. Must be called on a tokio runtime.
    pub fn start(
        legacy: Legacy,
        vault: Vault,
        tokens: Tokens,
        policy: Policy,
        names: Names,
        tell: Tell,
    ) -> std::io::Result<Self> {
        let Legacy { mut keeper, left } = legacy;
        let now = clock::now();
        let since = left.since.unwrap_or_else(clock::wall);
        keeper.keep_since(since);
        let (cache, effects) = Cache::restore(
            now,
            policy.clone(),
            clock::seed(),
            names.configured,
            left.saved,
            &left.values,
        );
        drop(left.values);
        let state = State {
            cache,
            keeper,
            walk: Walk::default(),
            shown: names.shown,
            asleep: asleep(now),
            wake: None,
            used: 0,
            identity_kept: left.identity.is_some(),
            trouble: None,
            puzzling: HashSet::new(),
        };
        let service = Self(Arc::new(Inner {
            state: Mutex::new(state),
            vault,
            tokens,
            policy,
            runtime: Handle::current(),
            tell,
            timer: Timer::new()?,
            bulletin: Bulletin::default(),
            since,
        }));
        service.0.bulletin.announce(&effects);
        service.carry_out(effects);
        service.handle(Event::Tick);
        let waiting = service.clone();
        std::thread::Builder::new().name("timer".to_owned()).spawn(move || {
            while waiting.0.timer.wait().is_ok() {
                waiting.handle(Event::Tick);
            }
        })?;
        Ok(service)
    }

    /// The cache's durations.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// When the mount was made, in seconds since 1970.
    #[must_use]
    pub fn since(&self) -> i64 {
        self.0.since
    }

    /// The secret that an inode is of.
    #[must_use]
    pub fn name_of(&self, node: Node) -> Option<SecretName> {
        self.0.state.lock().cache.name_of(node).cloned()
    }

    /// How many names were prefetched, and of how many, once the list is known.
    pub(super) fn prefetched(&self) -> Option<(usize, usize)> {
        self.0.state.lock().cache.prefetched()
    }

    pub(super) fn vault(&self) -> &Vault {
        &self.0.vault
    }

    pub(super) fn state(&self) -> &Mutex<State> {
        &self.0.state
    }

    pub(super) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    pub(super) fn bulletin(&self) -> &Bulletin {
        &self.0.bulletin
    }

    /// Returns when the model has time for the caller: never, if a thought of its has no end.
    pub fn take_turn(&self) {
        drop(self.0.state.lock());
    }

    /// Tells the model something, and does what it says.
    pub fn handle(&self, event: Event<Caller, Stored>) {
        self.act(self.0.state.lock(), event);
    }

    fn act(&self, mut state: MutexGuard<'_, State>, event: Event<Caller, Stored>) {
        let effects = self.think(&mut state, event);
        drop(state);
        self.carry_out(effects);
        self.0.bulletin.changed();
        self.look_after_a_while();
    }

    /// Lets the model decide, and keeps what a later worker must know before anybody is answered.
    fn think(&self, state: &mut State, event: Event<Caller, Stored>) -> Effects<Caller, Stored> {
        let now = clock::now();
        let mut effects = Vec::new();
        let asleep = asleep(now);
        if asleep > state.asleep + NAP {
            log::info(format_args!("the machine slept: everything is asked for again"));
            effects = state.cache.handle(now, Event::Slept);
        }
        state.asleep = state.asleep.max(asleep);
        effects.extend(state.cache.handle(now, event));
        self.0.bulletin.announce(&effects);
        // The kernel does no more than ask again, and whoever it asks for waits for this lock: so
        // telling it need not wait for the arena. It is told of what is decided before anybody
        // else can see that, and in that order.
        let (notices, effects) =
            effects.into_iter().partition::<Vec<_>, _>(|it| matches!(it, Effect::Tell(_)));
        self.carry_out(notices);
        let changes = state.cache.changes();
        state.keeper.keep(changes);
        let wake = state.cache.wake(now);
        // A moment that is past has gone off already, and must go off again.
        if wake != state.wake || wake.is_some_and(|at| at <= now) {
            state.wake = wake;
            self.0.timer.set(wake);
        }
        let used = state.keeper.used();
        if used > state.used {
            state.used = used;
            (self.0.tell)(News::Used(used));
        }
        effects
    }

    fn carry_out(&self, effects: Effects<Caller, Stored>) {
        for effect in effects {
            match effect {
                Effect::Answer { to, answer } => to(answer),
                Effect::Tell(notice) => (self.0.tell)(News::Notice(notice)),
                Effect::Ask(name) => {
                    let service = self.clone();
                    self.0.runtime.spawn(async move { service.ask(name).await });
                }
                Effect::AskPage { first } => {
                    let service = self.clone();
                    self.0.runtime.spawn(async move { service.ask_page(first).await });
                }
            }
        }
    }

    async fn ask(&self, name: SecretName) {
        log::debug(format_args!("asks for {name}"));
        let deadline = clock::now() + self.0.policy.request_timeout();
        let result = self.0.vault.secret(&name, None, deadline).await;
        let mut state = self.0.state.lock();
        self.keep_identity(&mut state);
        self.note(&mut state, Some(&name), result.as_ref().err());
        let (word, retry_after, date) = match result {
            Ok(secret) => {
                // A vault that shows no clock leaves us ours.
                let date = Some(secret.date.unwrap_or_else(clock::wall));
                (self.received(&mut state, &name, secret), None, date)
            }
            Err(problem) => (Word::No(problem.why), problem.retry_after, None),
        };
        self.act(state, Event::Answered { name, word, retry_after, date });
    }

    async fn ask_page(&self, first: bool) {
        let link = self.0.state.lock().walk.begin(first);
        let deadline = clock::now() + self.0.policy.request_timeout();
        let result = self.0.vault.page(link.as_ref(), deadline).await;
        let mut state = self.0.state.lock();
        self.keep_identity(&mut state);
        self.note(&mut state, None, result.as_ref().err());
        let page = match result {
            Ok(page) => {
                let State { walk, shown, .. } = &mut *state;
                walk.turn(page, &*shown).ok_or((Why::Failed(Failure::Nonsense), None))
            }
            Err(problem) => Err((problem.why, problem.retry_after)),
        };
        self.act(state, Event::Paged(page));
    }

    /// What an answer means to the model. A value that is new is stored first; where there is no room,
    /// what has been idle for the longest goes.
    fn received(&self, state: &mut State, name: &SecretName, secret: Secret) -> Word<Stored> {
        if state.cache.holds(name) == Some(secret.version.id) {
            return Word::Same(secret.version);
        }
        loop {
            if let Ok(stored) = state.keeper.store(&secret.value) {
                self.0.bulletin.full(false);
                return Word::New(secret.version, stored);
            }
            if !state.cache.give_up_idle(clock::now()) {
                self.0.bulletin.full(true);
                log::warning(format_args!("no room for the value of {name}: raise room="));
                return Word::No(Why::Failed(Failure::NoRoom));
            }
        }
    }

    /// Keeps who we turned out to be, for a later worker.
    fn keep_identity(&self, state: &mut State) {
        if !state.identity_kept
            && let Some(identity) = self.0.tokens.kept()
        {
            state.keeper.keep_identity(&identity);
            state.identity_kept = true;
        }
    }

    /// Logs that the vault's word stays away, or comes again. An answer about a name that makes no
    /// sense is a matter of that name alone.
    fn note(&self, state: &mut State, name: Option<&SecretName>, problem: Option<&Problem>) {
        if let (Some(name), Some(problem)) = (name, problem)
            && problem.why == Why::Failed(Failure::Nonsense)
        {
            if state.puzzling.len() < MOST_PUZZLING && state.puzzling.insert(name.clone()) {
                log::warning(format_args!("{problem}"));
            }
            return;
        }
        if let Some(name) = name {
            state.puzzling.remove(name);
        }
        let trouble = match problem.map(|problem| problem.why) {
            Some(why @ Why::Failed(_)) => Some(why),
            Some(Why::Refused(_)) | None => None,
        };
        match (trouble, problem) {
            (Some(why), Some(problem)) if state.trouble != Some(why) => {
                log::warning(format_args!("{problem}"));
            }
            (None, Some(problem)) => log::info(format_args!("{problem}")),
            (None, None) if state.trouble.is_some() => {
                log::info(format_args!("{} answers again", self.0.vault.address().host()));
            }
            _ => {}
        }
        state.trouble = trouble;
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Service").finish_non_exhaustive()
    }
}

/// For how long the machine slept since it was booted.
fn asleep(now: Moment) -> Duration {
    now.uptime().saturating_sub(clock::awake())
}

/// A sleep shorter than this is none: the two clocks are not read at the same moment.
const NAP: Duration = Duration::from_secs(5);

/// So many puzzling names are remembered; of more, nothing is said.
const MOST_PUZZLING: usize = 1000;
