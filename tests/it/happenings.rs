//! What may happen to a mount, at random.

use std::time::Duration;

use akvfs::model::event::Event;
use akvfs::model::failure::Failure;
use akvfs::model::failure::Refusal;
use akvfs::model::policy::Policy;
use proptest::collection::vec;
use proptest::prelude::Just;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prop_oneof;

use crate::azure::DENIED;
use crate::azure::Fate;
use crate::simulation::Simulation;
use crate::simulation::Wants;

/// The names that the vault has at first.
pub(crate) const NAMES: [&str; 6] = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot"];

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happening {
    /// So many callers open a name, and read it or not; the last keeps it open or not.
    Open {
        name: usize,
        callers: u32,
        read: bool,
        keep: bool,
    },
    /// A file that was kept open is opened once more, through its descriptor or its bind mount.
    Again(usize),
    Close(usize),
    /// The kernel needs memory.
    Evict(usize),
    /// Callers open names that the vault never had.
    Strangers(u32),
    /// A caller reads the directory, and stats each name in it or not.
    List {
        stat: bool,
    },
    /// Somebody wants the vault's word on a name now; or watches it, and says so.
    Refresh {
        name: usize,
        watch: bool,
    },
    /// Somebody wants the list to be walked now.
    RefreshListing,
    Befall(usize, Fate),
    ListDenied(bool),
    Outage(Option<(Failure, Option<u64>)>),
    Hiccups(u32),
    Latency(u64),
    /// So many milliseconds pass.
    Wait(u64),
    /// The machine sleeps for so many seconds.
    Sleep(u64),
    /// The worker is killed, another takes over; the kernel's word on so many inodes is lost.
    Restart {
        lost: usize,
    },
    GiveUp,
    /// Every value is wanted before anybody comes.
    Prefetch,
}

impl Simulation {
    pub(crate) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Open { name, callers, read, keep } => {
                let name = NAMES[name % NAMES.len()];
                for caller in 1..=callers {
                    self.come(name, Wants::Entry, read, keep && caller == callers);
                }
            }
            Happening::Again(index) => {
                if let Some((node, name)) = pick(&self.kept, index).cloned() {
                    self.kernel.pin(node);
                    self.come(&name, Wants::Attributes(node), true, false);
                }
            }
            Happening::Close(index) => {
                if !self.kept.is_empty() {
                    let (node, _) = self.kept.swap_remove(index % self.kept.len());
                    self.kernel.unpin(node);
                }
            }
            Happening::Evict(index) => {
                if let Some(node) = pick(&self.kernel.idle(), index).copied() {
                    let lookups = self.kernel.evict(node);
                    self.handle(Event::Forget { node, lookups });
                }
            }
            Happening::Strangers(count) => {
                for _ in 0..count {
                    self.strangers += 1;
                    let name = format!("stranger-{}", self.strangers);
                    self.come(&name, Wants::Entry, true, false);
                }
                self.judge.crowded(self.now);
            }
            Happening::List { stat } => match self.listing.clone() {
                Some(names) => self.read_directory(names, stat),
                None if self.no_opendir => {
                    self.come("", Wants::Names { after: 0, stat }, false, false);
                }
                None => self.come("", Wants::Directory { stat }, false, false),
            },
            Happening::Refresh { name, watch } => {
                let wants = if watch { Wants::Watch } else { Wants::Refresh };
                self.come(NAMES[name % NAMES.len()], wants, false, false);
            }
            Happening::RefreshListing => self.come("", Wants::RefreshListing, false, false),
            Happening::Befall(index, fate) => {
                self.azure.befall(self.now, NAMES[index % NAMES.len()], fate);
            }
            Happening::ListDenied(denied) => self.azure.no_list = denied,
            Happening::Outage(outage) => {
                let seconds =
                    |(why, retry): (Failure, Option<u64>)| (why, retry.map(Duration::from_secs));
                self.azure.outage = outage.map(seconds);
            }
            Happening::Hiccups(count) => self.azure.hiccups = count,
            Happening::Latency(millis) => self.azure.latency = Duration::from_millis(millis),
            Happening::Wait(millis) => self.wait(Duration::from_millis(millis)),
            Happening::Sleep(seconds) => self.sleep(Duration::from_secs(seconds)),
            Happening::Restart { lost } => self.restart(lost),
            Happening::Prefetch => self.handle(Event::Prefetch { to: None }),
            Happening::GiveUp => {
                self.cache.give_up_idle(self.now);
                self.shelf.keep(self.cache.changes());
            }
        }
    }
}

/// A mount, and what happens to it.
pub(crate) fn games() -> impl Strategy<Value = (Policy, Vec<Happening>)> {
    (policies(), vec(happenings(), 1..60))
}

/// Cautious and hasty mounts.
fn policies() -> impl Strategy<Value = Policy> {
    let policy = |refresh, stale, open_timeout, confirm| Policy {
        refresh: Duration::from_secs(refresh),
        stale: Duration::from_secs(stale),
        open_timeout: Duration::from_secs(open_timeout),
        keep: Duration::from_secs(24 * 3600),
        confirm: Duration::from_secs(confirm),
        ..Policy::default()
    };
    prop_oneof![
        2 => Just(policy(60, 3600, 10, 60)),
        3 => Just(policy(60, 3600, 10, 900)),
        1 => Just(policy(60, 600, 20, 900)),
        1 => Just(policy(20, 120, 10, 60)),
        1 => Just(policy(1, 30, 10, 10)),
    ]
}

fn happenings() -> impl Strategy<Value = Happening> {
    // Most things happen to one name, or its story would be over before it began.
    let name = || prop_oneof![2 => Just(0), 1 => 0..NAMES.len()];
    let open = (name(), 1_u32..4, any::<bool>(), any::<bool>())
        .prop_map(|(name, callers, read, keep)| Happening::Open { name, callers, read, keep });
    let fate = prop_oneof![
        4 => Just(Fate::Rotate),
        2 => Just(Fate::Refuse(DENIED)),
        2 => Just(Fate::Refuse(Refusal::Disabled)),
        3 => Just(Fate::Refuse(Refusal::Missing)),
        5 => Just(Fate::Allow),
        1 => Just(Fate::Revert),
        3 => (1_u32..4).prop_map(Fate::Lag),
    ];
    let outage = prop_oneof![
        Just((Failure::Unreachable, None)),
        Just((Failure::Unreachable, Some(0))),
        Just((Failure::Throttled, Some(30))),
        Just((Failure::NoToken, None)),
        Just((Failure::NoIdentity, None)),
        Just((Failure::Unauthorized, None)),
        Just((Failure::Nonsense, None)),
    ];
    let latency = prop_oneof![Just(5), Just(80), Just(900), Just(3000)];
    let wait = prop_oneof![
        1 => 0_u64..50,
        1 => 50_u64..2_000,
        2 => 2_000_u64..20_000,
        // About one refresh.
        4 => 20_000_u64..70_000,
        1 => 70_000_u64..1_000_000,
        1 => 1_000_000_u64..10_000_000,
    ];
    let strangers = prop_oneof![3 => 1_u32..40, 1 => 100_u32..250];
    prop_oneof![
        20 => open,
        5 => (0_usize..8).prop_map(Happening::Again),
        2 => (0_usize..8).prop_map(Happening::Close),
        4 => (0_usize..8).prop_map(Happening::Evict),
        1 => strangers.prop_map(Happening::Strangers),
        4 => any::<bool>().prop_map(|stat| Happening::List { stat }),
        5 => (name(), any::<bool>())
            .prop_map(|(name, watch)| Happening::Refresh { name, watch }),
        1 => Just(Happening::RefreshListing),
        12 => (name(), fate).prop_map(|(name, fate)| Happening::Befall(name, fate)),
        1 => any::<bool>().prop_map(Happening::ListDenied),
        3 => outage.prop_map(|outage| Happening::Outage(Some(outage))),
        4 => Just(Happening::Outage(None)),
        2 => (1_u32..4).prop_map(Happening::Hiccups),
        3 => latency.prop_map(Happening::Latency),
        25 => wait.prop_map(Happening::Wait),
        1 => (10_u64..10_000).prop_map(Happening::Sleep),
        2 => (0_usize..4).prop_map(|lost| Happening::Restart { lost }),
        1 => Just(Happening::GiveUp),
        1 => Just(Happening::Prefetch),
    ]
}

fn pick<T>(from: &[T], index: usize) -> Option<&T> {
    from.get(index.checked_rem(from.len())?)
}
