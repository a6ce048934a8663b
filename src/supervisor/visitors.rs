//! Those who come by the control socket: handed to the worker, or told what the supervisor knows.
//!
//! It also keeps what the supervisor alone can be alarmed by: a worker that dies again and again,
//! and a mount that somebody made writable.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::PollFlags;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::open;

use crate::alarm::Alarm;
use crate::alarm::Alarms;
use crate::clock;
use crate::control::protocol::Serving;
use crate::control::reception;
use crate::control::reception::Facts;
use crate::log;
use crate::supervisor::door::Door;
use crate::supervisor::mount::Mounted;
use crate::supervisor::mountinfo::Table;
use crate::supervisor::pair::Pair;
use crate::supervisor::waiting::Source;

/// The control socket, and what is said there without a worker.
#[derive(Debug)]
pub struct Visitors {
    door: Option<Door>,
    /// The table of mounts, which tells when it has changed.
    table: Option<OwnedFd>,
    /// Those of this process, of which the clerk has his own.
    alarms: Arc<Mutex<Alarms>>,
    directory: String,
    vault: String,
    minor: u32,
    since: i64,
}

impl Visitors {
    /// Opens the door, in that directory if there is one. A mount without one is served as well.
    #[must_use]
    pub fn begin(
        mounted: &Mounted,
        vault: &str,
        directory: Option<&Path>,
        alarms: Arc<Mutex<Alarms>>,
    ) -> Self {
        let opened = directory.map(|directory| {
            Door::open(directory, mounted.minor).map_err(|error| {
                let directory = directory.display();
                log::warning(format_args!("no control socket in {directory}: {error}"));
            })
        });
        Self {
            door: opened.and_then(Result::ok),
            table: open(TABLE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok(),
            alarms,
            directory: mounted.directory.to_string_lossy().into_owned(),
            vault: vault.to_owned(),
            minor: mounted.minor,
            since: clock::wall(),
        }
    }

    /// What tells that somebody is at the door, and that the table of mounts has changed.
    #[must_use]
    pub fn sources(&self) -> [Option<Source<'_>>; 2] {
        let door = self.door.as_ref().and_then(Door::descriptor);
        [
            door.map(|door| (door, PollFlags::IN)),
            self.table.as_ref().map(|table| (table, PollFlags::PRI)),
        ]
    }

    /// For how long nobody is let in.
    #[must_use]
    pub fn rest_for(&self) -> Option<Duration> {
        self.door.as_ref().and_then(Door::rests_for)
    }

    /// Sees to whoever is at the door.
    pub fn receive(&mut self, pair: &Pair, state: Serving) {
        for _ in 0..AT_ONCE {
            let Some(visitor) = self.door.as_mut().and_then(Door::let_in) else { return };
            self.look_at(pair);
            let facts = self.facts(pair, state);
            let is_served = matches!(state, Serving::Serving | Serving::Leaving);
            if !is_served {
                reception::stand_in(&visitor, facts);
            } else if reception::hand_over(pair.visitors(), &visitor, &facts).is_err() {
                // It has not taken those who came before.
                reception::stand_in(&visitor, Facts { state: Serving::Silent, ..facts });
            }
        }
    }

    /// Looks whether the mount was made writable.
    pub fn look_at_table(&mut self) {
        let Ok(table) = Table::read() else { return };
        let writable = table.of_device(0, self.minor).find(|mount| !mount.is_read_only);
        let cause = writable.map(|mount| {
            let directory = mount.directory.display();
            format!("{directory} was remounted read-write: every change is refused all the same")
        });
        self.alarms.lock().set(Alarm::ReadWrite, cause);
    }

    /// Takes note of how relay and worker fare.
    pub fn look_at(&mut self, pair: &Pair) {
        let last = pair.last_death().unwrap_or_default();
        let cause = pair.is_dying().then(|| format!(
                "the worker died again and again ({last}); it is started at longer and longer intervals"
            ));
        self.alarms.lock().set(Alarm::CrashLoop, cause);
    }

    fn facts(&self, pair: &Pair, state: Serving) -> Facts {
        Facts {
            directory: self.directory.clone(),
            vault: self.vault.clone(),
            state,
            since: clock::rfc3339(self.since),
            restarts: pair.deaths(),
            alarms: self.alarms.lock().standing(),
            error: pair.last_death().map(ToOwned::to_owned),
        }
    }
}

const TABLE: &str = "/proc/self/mountinfo";

/// So many are seen to before anything else is.
const AT_ONCE: usize = 16;
