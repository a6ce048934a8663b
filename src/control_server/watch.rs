//! Telling somebody what a name is now, each time that changes.
//!
//! Nobody's past is known here: who watches is told first what is so, and compares. So he may come
//! again after a worker has died, and misses nothing that still holds.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::MissedTickBehavior;
use tokio::time::interval;
use tokio::time::sleep;

use crate::control::protocol::Found;
use crate::control::protocol::Line;
use crate::control::protocol::Seen;
use crate::control_server::conversation::Conversation;
use crate::control_server::server::Desk;
use crate::model::failure::Why;
use crate::model::name::SecretName;
use crate::model::status::NameStatus;
use crate::model::status::State;
use crate::service::server::Service;

impl Conversation {
    /// Tells of these names, or of all in use, until whoever asked goes away.
    pub(super) async fn watch(&mut self, desk: &Desk, secrets: Vec<SecretName>) -> io::Result<()> {
        let Ok(_place) = desk.watching.try_acquire() else {
            return self.complain("too many watch this mount").await;
        };
        let service = &desk.service;
        let shown = service.shown(&secrets);
        if let Some(hidden) = secrets.iter().find(|name| !shown.contains(name)) {
            return self.complain(&format!("secrets= does not show {hidden}")).await;
        }
        let mut changes = service.changes();
        let mut turn = interval(service.policy().refresh);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = HashMap::new();
        let mut word = [0; 64];
        loop {
            self.tell(service, &secrets, &mut told).await?;
            tokio::select! {
                _ = turn.tick() => service.watch(&secrets),
                changed = changes.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    // What belongs together comes together.
                    sleep(BREATH).await;
                }
                heard = self.stream.read(&mut word) => match heard {
                    Ok(0) | Err(_) => return Ok(()),
                    Ok(_) => return self.complain("there is nothing more to ask").await,
                },
            }
        }
    }

    async fn tell(
        &mut self,
        service: &Service,
        secrets: &[SecretName],
        told: &mut HashMap<SecretName, Seen>,
    ) -> io::Result<()> {
        let mut news = Vec::new();
        for status in service.names(secrets) {
            let Some(seen) = seen(&status) else { continue };
            if told.get(&status.name) != Some(&seen) {
                told.insert(status.name, seen.clone());
                news.push(seen);
            }
        }
        if news.is_empty() {
            return Ok(());
        }
        // Whoever is told opens the file, and must find what he was told of.
        if !service.settled(PATIENCE).await {
            return self.complain("the kernel has not been told in time").await;
        }
        for seen in news {
            self.say(&Line::Secret(seen)).await?;
        }
        Ok(())
    }
}

/// What there is to tell of a name: its version, or that it is refused. An outage is no news.
fn seen(status: &NameStatus) -> Option<Seen> {
    let name = status.name.to_string();
    match (status.state, &status.version) {
        (State::No(Why::Refused(refusal)), _) => {
            Some(Seen { name, found: Found::No(Why::Refused(refusal).into()), version: None })
        }
        (_, Some(version)) => Some(Seen { name, found: Found::New, version: Some(version.id) }),
        (
            State::No(Why::Failed(_)) | State::Fresh | State::Late | State::Idle | State::Asked,
            None,
        ) => None,
    }
}

/// Changes that come within such a time are told together.
const BREATH: Duration = Duration::from_millis(100);

const PATIENCE: Duration = Duration::from_secs(5);
