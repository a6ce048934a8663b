//! Fetches values before anybody comes for them, behind the mount's back or before it is ready.

use std::fmt;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock;
use crate::model::event::Event;
use crate::service::server::Caller;
use crate::service::server::Service;

/// How far a prefetch came that was not waited for to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stalled {
    /// So many names were answered.
    pub done: usize,
    /// Of so many; none if not even the list came.
    pub total: Option<usize>,
}

impl fmt::Display for Stalled {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("prefetch: ")?;
        match self.total {
            Some(total) => write!(out, "{} of {total} names answered so far", self.done)?,
            None => out.write_str("the vault's list is not to be had")?,
        }
        out.write_str("; it goes on behind")
    }
}

impl Service {
    /// Fetches every value, when there is time for it.
    pub fn prefetch(&self) {
        self.handle(Event::Prefetch { to: None });
    }

    /// Fetches every value, and returns when each name was answered; or when, for as long as a
    /// caller would wait, nothing came any more. Then it goes on behind. Now and then `tell` is told
    /// how far it is, and of how many, as soon as that is known.
    pub async fn prefetch_first(&self, tell: impl Fn(usize, Option<usize>)) -> Result<(), Stalled> {
        let (sender, mut all) = oneshot::channel();
        let to: Caller = Box::new(move |_| {
            // Nobody listens any more if it took too long.
            let _ = sender.send(());
        });
        self.handle(Event::Prefetch { to: Some(to) });
        let mut last = None;
        let mut since = clock::now();
        loop {
            if tokio::time::timeout(LOOK, &mut all).await.is_ok() {
                return Ok(());
            }
            let progress = self.prefetched();
            if progress != last {
                last = progress;
                since = clock::now();
            }
            let (done, total) = progress.unzip();
            tell(done.unwrap_or(0), total);
            if clock::now().since(since) >= self.policy().open_timeout {
                return Err(Stalled { done: done.unwrap_or(0), total });
            }
        }
    }
}

const LOOK: Duration = Duration::from_millis(200);
