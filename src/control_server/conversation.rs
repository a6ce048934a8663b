//! One connection: what is asked, and the answer.

use std::io;
use std::os::unix::net::UnixStream as Plain;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::clock;
use crate::control::protocol::Complaint;
use crate::control::protocol::LONGEST_REQUEST;
use crate::control::protocol::Line;
use crate::control::protocol::Mount;
use crate::control::protocol::Request;
use crate::control::protocol::Secret;
use crate::control::protocol::Seen;
use crate::control::protocol::Token;
use crate::control::reception::Facts;
use crate::control_server::server::Desk;
use crate::model::failure::Refusal;
use crate::model::moment::Moment;
use crate::model::name::SecretName;
use crate::model::refresh::Outcome;
use crate::model::status::NameStatus;
use crate::service::server::Service;

/// One connection.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) stream: UnixStream,
}

impl Conversation {
    /// Takes a connection over. Must be called on a tokio runtime.
    pub(super) fn begin(stream: Plain) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream: UnixStream::from_std(stream)? })
    }

    /// Hears what is asked, and answers. `place` is given back when it is over.
    pub(super) async fn go(mut self, desk: &Desk, facts: Facts, place: OwnedSemaphorePermit) {
        let asked = timeout(PATIENCE, self.hear()).await;
        let gone = match asked {
            Ok(Ok(Request::Status)) => {
                let mount = Line::Mount(Box::new(describe(desk, facts)));
                self.say(&mount).await
            }
            Ok(Ok(Request::Refresh { secrets })) => self.refresh(&desk.service, secrets).await,
            Ok(Ok(Request::Watch { secrets })) => {
                // Who watches takes no place from those who ask.
                drop(place);
                self.watch(desk, secrets).await
            }
            Ok(Err(why)) => self.complain(why).await,
            Err(_) => self.complain("nothing was asked in time").await,
        };
        // Whoever went away needs no answer.
        drop(gone);
    }

    /// Says a line, to somebody who takes it in time.
    pub(super) async fn say(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        timeout(PATIENCE, self.stream.write_all(&text)).await?
    }

    pub(super) async fn complain(&mut self, message: &str) -> io::Result<()> {
        self.say(&Line::Error(Complaint { message: message.to_owned() })).await
    }

    async fn hear(&mut self) -> Result<Request, &'static str> {
        let mut text = Vec::new();
        let mut part = [0; 4096];
        loop {
            let length = self.stream.read(&mut part).await.unwrap_or(0);
            let new = part.get(..length).unwrap_or_default();
            let end = new.iter().position(|byte| *byte == b'\n');
            text.extend_from_slice(new.get(..end.unwrap_or(length)).unwrap_or_default());
            if text.len() >= LONGEST_REQUEST {
                return Err("what is asked is too long");
            }
            if end.is_some() || length == 0 {
                return serde_json::from_slice(&text).map_err(|_| "what is asked makes no sense");
            }
        }
    }

    async fn refresh(&mut self, service: &Service, secrets: Vec<SecretName>) -> io::Result<()> {
        let most = service.policy().open_timeout.as_millis();
        self.say(&Line::Wait(u64::try_from(most).unwrap_or(u64::MAX))).await?;
        let (sender, mut outcomes) = mpsc::unbounded_channel::<(Option<SecretName>, Outcome)>();
        let whole = secrets.is_empty();
        let names = if whole { service.in_use() } else { secrets };
        let shown = service.shown(&names);
        for name in names {
            let sender = sender.clone();
            let then = |name: SecretName| move |outcome| drop(sender.send((Some(name), outcome)));
            if shown.contains(&name) {
                service.refresh(name.clone(), then(name));
            } else {
                // The mount has no such file, whatever the vault has.
                then(name)(Outcome::No(Refusal::Missing.into()));
            }
        }
        if whole {
            service.refresh_listing(move |outcome| drop(sender.send((None, outcome))));
        } else {
            drop(sender);
        }
        while let Some((name, outcome)) = outcomes.recv().await {
            if !service.settled(PATIENCE).await {
                return self.complain("the kernel has not been told in time").await;
            }
            let line = match name {
                Some(name) => Line::Secret(Seen::by(name.to_string(), outcome)),
                None => Line::List(Seen::by(String::new(), outcome)),
            };
            self.say(&line).await?;
        }
        self.say(&Line::Done).await
    }
}

fn describe(desk: &Desk, facts: Facts) -> Mount {
    let overview = desk.service.overview();
    let (now, wall) = (clock::now(), clock::wall());
    let time = |at: Moment| clock::rfc3339(wall_time(at, now, wall));
    let mut mount = facts.mount();
    mount.identity = Some(desk.identity.clone());
    mount.token = overview.token.map(|expires| Token { expires: time(expires) });
    mount.list = overview.list.into();
    mount.sandbox = desk.sandbox.clone();
    mount.alarms.extend(overview.alarms);
    mount.secrets = overview.names.into_iter().map(|name| secret(name, time)).collect();
    mount
}

fn secret(status: NameStatus, time: impl Fn(Moment) -> String) -> Secret {
    let version = status.version.as_ref();
    let about = version.map(|version| &*version.about);
    Secret {
        name: status.name.clone(),
        state: status.state.into(),
        version: version.map(|version| version.id),
        created: version.map(|version| clock::rfc3339(version.created)),
        updated: version.map(|version| clock::rfc3339(version.updated)),
        expires: version.and_then(|version| version.expires).map(clock::rfc3339),
        content_type: about.and_then(|about| about.content_type.clone()),
        tags: about.map(|about| about.tags.clone()).unwrap_or_default(),
        verified: status.verified.map(&time),
        next: status.next.map(&time),
    }
}

/// A moment of the boot clock as seconds since 1970.
fn wall_time(at: Moment, now: Moment, wall: i64) -> i64 {
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    wall.saturating_add(seconds(at.since(now))).saturating_sub(seconds(now.since(at)))
}

/// How long it may take to ask, and to take a line of the answer.
const PATIENCE: Duration = Duration::from_secs(5);
