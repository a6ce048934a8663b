//! The same test for many cases, each in a world of its own, some at a time.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::panic::resume_unwind;
use std::thread;

use parking_lot::Mutex;

/// Runs the cases, and fails with the first that failed once all have run.
pub(crate) fn together<C: Send>(cases: impl IntoIterator<Item = C>, run: impl Fn(C) + Sync) {
    let cases = Mutex::new(cases.into_iter().collect::<Vec<C>>());
    let failed = Mutex::new(None);
    let work = || {
        loop {
            let Some(case) = cases.lock().pop() else { return };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(case))) {
                failed.lock().get_or_insert(panic);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    if let Some(panic) = failed.into_inner() {
        resume_unwind(panic);
    }
}

/// They mostly wait.
const AT_ONCE: usize = 12;
