//! Secrets that are rotated over and over, at any rate, while something else happens.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Condvar;
use parking_lot::Mutex;

use crate::clock;
use crate::vault::Vault;

/// A rotation that goes on until it is stopped or dropped.
#[derive(Debug)]
pub struct Rotation {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    over: bool,
    rotations: usize,
}

impl Vault {
    /// Sets these secrets to their version 0, then one after the other to the next, one every
    /// `every`. What `value` makes of a name and a number is the value.
    ///
    /// # Panics
    /// If the system has no thread left.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test can do nothing without it")]
    pub fn rotate_every(
        &self,
        every: Duration,
        names: &[&str],
        value: impl Fn(&str, usize) -> String + Send + 'static,
    ) -> Rotation {
        for name in names {
            self.put(name, &value(name, 0));
        }
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let (vault, shared) = (self.clone(), Arc::<Shared>::default());
        let seen = Arc::clone(&shared);
        let rotate = move || {
            let mut due = clock::now();
            for number in 1.. {
                for name in &names {
                    // What a busy machine was late for is not made up for all at once.
                    due = clock::now().max(due + every);
                    if seen.is_over_by(due) {
                        return;
                    }
                    vault.put(name, &value(name, number));
                    seen.state.lock().rotations += 1;
                }
            }
        };
        let thread = std::thread::Builder::new().name("rotation".to_owned());
        let thread = thread.spawn(rotate).expect("a thread can be started");
        Rotation { shared, thread: Some(thread) }
    }
}

impl Rotation {
    /// How many there were so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.state.lock().rotations
    }
}

impl Shared {
    /// Waits until then, or until it is over; whether it is.
    fn is_over_by(&self, due: std::time::Instant) -> bool {
        let mut state = self.state.lock();
        self.changed.wait_while_until(&mut state, |state| !state.over, due);
        state.over
    }
}

impl Drop for Rotation {
    fn drop(&mut self) {
        self.shared.state.lock().over = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
