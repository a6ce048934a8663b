//! What is asked of a service by others than the kernel: how it stands, and that the vault is asked.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::alarm::Alarm;
use crate::alarm::Alarms;
use crate::alarm::Standing;
use crate::clock;
use crate::model::cache::Effects;
use crate::model::event::Answer;
use crate::model::event::Effect;
use crate::model::event::Event;
use crate::model::failure::Refusal;
use crate::model::failure::Why;
use crate::model::moment::Moment;
use crate::model::name::SecretName;
use crate::model::refresh::Outcome;
use crate::model::status::List;
use crate::model::status::NameStatus;
use crate::model::status::State;
use crate::model::status::Troubles;
use crate::model::tree::Node;
use crate::service::server::Caller;
use crate::service::server::Service;

/// How a service stands.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The names of which something is known.
    pub names: Vec<NameStatus>,
    /// Whether the vault lets us list its names.
    pub list: List,
    /// What is amiss.
    pub alarms: Vec<Standing>,
    /// Until when the token is good, if there is one.
    pub token: Option<Moment>,
}

impl Service {
    /// How it stands.
    #[must_use]
    pub fn overview(&self) -> Overview {
        self.look_after();
        let now = clock::now();
        let alarms = self.bulletin().alarms.lock().1.standing();
        let token = self.tokens().expires();
        let state = self.state().lock();
        Overview { names: state.cache.status(now), list: state.cache.list(), alarms, token }
    }

    /// How these names stand, or all of which something is known.
    #[must_use]
    pub fn names(&self, names: &[SecretName]) -> Vec<NameStatus> {
        let now = clock::now();
        let state = self.state().lock();
        if names.is_empty() {
            return state.cache.status(now);
        }
        let status = |name| state.cache.status_of_name(now, name);
        names.iter().filter_map(status).collect()
    }

    /// The names in use, those that are refused included. One that is missing may never have been
    /// more than a mistyped word.
    #[must_use]
    pub fn in_use(&self) -> Vec<SecretName> {
        let names = self.names(&[]).into_iter();
        let in_use = names.filter(|name| match name.state {
            State::Idle | State::Asked | State::No(Why::Refused(Refusal::Missing)) => false,
            State::Fresh | State::Late | State::No(_) => true,
        });
        in_use.map(|name| name.name).collect()
    }

    /// Has the vault asked for a name now.
    pub fn refresh(&self, name: SecretName, then: impl FnOnce(Outcome) + Send + 'static) {
        self.handle(Event::Refresh { name, to: told(then) });
    }

    /// Has the vault's list walked now.
    pub fn refresh_listing(&self, then: impl FnOnce(Outcome) + Send + 'static) {
        self.handle(Event::RefreshListing { to: told(then) });
    }

    /// Keeps names in use for somebody who watches them. To be called once a refresh.
    pub fn watch(&self, names: &[SecretName]) {
        for name in names {
            self.handle(Event::Watch { name: name.clone(), to: told(|_| {}) });
        }
    }

    /// Of these names, those that this mount shows.
    #[must_use]
    pub fn shown(&self, names: &[SecretName]) -> HashSet<SecretName> {
        let state = self.state().lock();
        names.iter().filter(|name| (state.shown)(name)).cloned().collect()
    }

    /// Tells whoever waits for it that something is known of a name that was not.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.bulletin().changed.subscribe()
    }

    /// The kernel was told something, and says what became of it: under the number of an inode
    /// whether it holds that.
    pub fn told(&self, serial: u64, held: bool) {
        if serial != 0 {
            self.handle(Event::Told { node: Node(serial), held });
        }
        self.bulletin().acknowledge();
    }

    /// Returns once the kernel has been told all that it was to be told when this was called, or
    /// after so long; whether it has.
    pub async fn settled(&self, patience: Duration) -> bool {
        self.bulletin().settled(patience).await
    }
}

/// What whoever is not the kernel is told.
#[derive(Default)]
pub(super) struct Bulletin {
    /// How often something may have become known of names.
    changed: watch::Sender<u64>,
    /// How many notices there were for the kernel, and of how many it has heard. Each is counted
    /// before it goes into the line, so who waits for the first number waits for those in front too.
    announced: AtomicU64,
    acknowledged: watch::Sender<u64>,
    /// When it was last looked for causes of alarm, and which there are.
    alarms: Mutex<(Moment, Alarms)>,
    /// Whether the last value found no room.
    full: AtomicBool,
}

impl Bulletin {
    /// Something may have become known of names.
    pub(super) fn changed(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The kernel will be told of some of these. To be called before anybody else can see what the
    /// model knows now.
    pub(super) fn announce<W, V>(&self, effects: &Effects<W, V>) {
        let notices = effects.iter().filter(|effect| matches!(effect, Effect::Tell(_))).count();
        self.announced.fetch_add(u64::try_from(notices).unwrap_or(0), Ordering::SeqCst);
    }

    /// The kernel was told of one.
    fn acknowledge(&self) {
        self.acknowledged.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Waits until the kernel was told of all that were announced before, for so long at most.
    async fn settled(&self, patience: Duration) -> bool {
        let announced = self.announced.load(Ordering::SeqCst);
        let mut told = self.acknowledged.subscribe();
        let all = told.wait_for(|count| *count >= announced);
        tokio::time::timeout(patience, all).await.is_ok_and(|told| told.is_ok())
    }

    /// Whether the last value found no room.
    pub(super) fn full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }
}

impl Service {
    /// Looks for causes of alarm, if that was not done only just.
    pub(super) fn look_after_a_while(&self) {
        let looked = self.bulletin().alarms.lock().0;
        if clock::now().since(looked) >= GLANCE {
            self.look_after();
        }
    }

    fn look_after(&self) {
        let now = clock::now();
        let mut alarms = self.bulletin().alarms.lock();
        alarms.0 = now;
        let Troubles { unauthorized, late, lost, stretched } =
            self.state().lock().cache.troubles(now);
        let full = self.bulletin().full.load(Ordering::Relaxed);
        let causes = [
            (
                Alarm::Unauthorized,
                unauthorized.then(|| "the vault takes no token, a new one neither".to_owned()),
            ),
            (Alarm::Unverified, some(&late, "not confirmed for two refreshes")),
            (Alarm::StaleEnded, some(&lost, "not confirmed for stale=, and served no more")),
            (Alarm::RoomFull, full.then(|| "no room for a value: raise room=".to_owned())),
            (
                Alarm::IntervalStretched,
                stretched.map(|turn| {
                    let seconds = turn.as_secs();
                    format!("more names in use than refresh= leaves time for: {seconds} s a turn")
                }),
            ),
        ];
        for (alarm, cause) in causes {
            alarms.1.set(alarm, cause);
        }
    }
}

/// What is the matter with these names, if there are any.
fn some(names: &[SecretName], what: &str) -> Option<String> {
    let first: Vec<&str> = names.iter().take(NAMED).map(SecretName::as_str).collect();
    let more = match names.len().checked_sub(NAMED) {
        Some(more) if more > 0 => format!(" and {more} more"),
        Some(_) | None => String::new(),
    };
    (!names.is_empty()).then(|| format!("in use and {what}: {}{more}", first.join(", ")))
}

/// Causes of alarm are looked for at most so often.
const GLANCE: Duration = Duration::from_secs(1);

/// So many names are spelled out.
const NAMED: usize = 5;

fn told(then: impl FnOnce(Outcome) + Send + 'static) -> Caller {
    Box::new(move |answer| {
        if let Answer::Refreshed(outcome) = answer {
            then(outcome);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Notice;

    #[tokio::test]
    async fn it_is_settled_when_the_kernel_was_told_of_all_that_came_before() {
        let bulletin = Bulletin::default();
        let notices: Effects<(), ()> = vec![
            Effect::Tell(Notice::Listing),
            Effect::AskPage { first: true },
            Effect::Tell(Notice::Listing),
        ];
        let soon = Duration::from_millis(10);
        assert!(bulletin.settled(soon).await);
        bulletin.announce(&notices);
        assert!(!bulletin.settled(soon).await);
        bulletin.acknowledge();
        assert!(!bulletin.settled(soon).await);
        let (settled, ()) = tokio::join!(bulletin.settled(Duration::from_secs(10)), async {
            bulletin.announce(&notices);
            bulletin.acknowledge();
        });
        assert!(settled, "what came later is not waited for");
        assert!(!bulletin.settled(soon).await);
    }
}
