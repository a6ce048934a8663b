//! Deaths of the processes of a mount, and whoever takes their place.

use rustix::process::Signal;
use rustix::process::kill_process;

use crate::namespace::Process;
use crate::world::World;
use crate::world::until;

impl World {
    /// Kills a process and waits until another has taken its place.
    #[track_caller]
    pub(crate) fn replace(&self, role: &str) -> Process {
        self.end_with(role, Signal::KILL)
    }

    /// Sends a process a signal that ends it until another has taken its place.
    #[track_caller]
    pub(crate) fn end_with(&self, role: &str, signal: Signal) -> Process {
        let mut old = None;
        until(&format!("there is a {role}"), || {
            old = self.process(role);
            old.is_some()
        });
        let old = old.unwrap();
        let mut new = None;
        until(&format!("there is another {role} after {signal:?}"), || {
            // The first SIGSEGV is taken by Rust's runtime, which then lets go of it.
            let _gone = kill_process(old.pid, signal);
            new = self.process(role).filter(|new| new.pid != old.pid);
            new.is_some()
        });
        new.unwrap()
    }

    /// Waits until another process has taken the place of one.
    #[track_caller]
    pub(crate) fn successor(&self, role: &str, old: &Process) -> Process {
        let mut new = None;
        until(&format!("there is another {role}"), || {
            new = self.process(role).filter(|new| new.pid != old.pid);
            new.is_some()
        });
        new.unwrap()
    }

    /// Kills all that serves, the supervisor first, so that it can do nothing about it.
    #[track_caller]
    pub(crate) fn kill_all(&self) {
        for role in ["supervisor", "relay", "worker"] {
            if let Some(process) = self.process(role) {
                // The others end with the supervisor.
                let _gone = kill_process(process.pid, Signal::KILL);
            }
        }
        until("all are gone", || self.akvfs_processes().is_empty());
    }
}

impl Process {
    /// Stops every thread of it. The signal alone is under way when kill(2) returns, and a request
    /// that comes before it is answered.
    #[track_caller]
    pub(crate) fn stop(&self) {
        kill_process(self.pid, Signal::STOP).unwrap();
        let tasks = format!("/proc/{}/task", self.pid.as_raw_nonzero());
        until("it is stopped", || {
            std::fs::read_dir(&tasks).unwrap().all(|task| {
                let stat = std::fs::read_to_string(task.unwrap().path().join("stat"));
                stat.is_ok_and(|stat| stat.contains(") T "))
            })
        });
    }
}
