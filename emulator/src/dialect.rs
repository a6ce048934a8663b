//! The token services of machines that are no plain VM: who speaks which dialect, and what all of
//! them are strict about.

use std::fmt;

use serde::Serialize;

use crate::answer::Answer;
use crate::app_service;
use crate::arc;
use crate::asked::Asked;
use crate::azure_ml;
use crate::clock;
use crate::cloud_shell;
use crate::identity::Identity;
use crate::identity::Token;
use crate::metadata::token_text;
use crate::service_fabric;
use crate::state::State;

/// A way in which tokens are asked for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Dialect {
    /// App Service since 2019.
    AppService,
    /// Azure ML, and App Service before 2019.
    AzureMl,
    /// Cloud Shell.
    CloudShell,
    /// The agent of Azure Arc.
    Arc,
    /// A Service Fabric cluster.
    ServiceFabric,
}

/// What the token services keep.
#[derive(Default)]
pub(crate) struct Doors {
    /// What each wants to be shown.
    pub(crate) secrets: Vec<(Dialect, String)>,
    /// Whether the older services write the end of a token as a date.
    pub(crate) writes_dates: bool,
    /// Puts a key into a file, and says which.
    pub(crate) put_key: Option<PutKey>,
    /// The keys that were asked to be shown, and have not been.
    pub(crate) keys: Vec<String>,
    /// All keys that there ever were.
    pub(crate) all_keys: Vec<String>,
    /// What the next challenge names instead of a file that was written.
    pub(crate) realm: Option<String>,
}

/// Puts a key into a file that only its reader can read, and gives the path.
pub type PutKey = Box<dyn Fn(&str) -> String + Send>;

/// A token that was issued, and what can be said of its life.
pub(crate) struct Issued {
    pub(crate) text: String,
    pub(crate) seconds: u64,
    pub(crate) now: u64,
    pub(crate) expires: u64,
}

/// Answers whoever came by such a door.
pub(crate) fn answer(dialect: Dialect, state: &mut State, asked: &Asked, number: u64) -> Answer {
    let answer = match dialect {
        Dialect::AppService => app_service::answer(state, asked, number),
        Dialect::AzureMl => azure_ml::answer(state, asked, number),
        Dialect::CloudShell => cloud_shell::answer(state, asked, number),
        Dialect::Arc => arc::answer(state, asked, number),
        Dialect::ServiceFabric => service_fabric::answer(state, asked, number),
    };
    dated(state, answer)
}

/// With the date as the service's own clock has it.
pub(crate) fn dated(state: &State, answer: Answer) -> Answer {
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(now(state));
    answer.with("Date", httpdate::fmt_http_date(now))
}

/// The time by the machine's token service.
fn now(state: &State) -> u64 {
    clock::epoch_seconds().saturating_add_signed(state.machine.ahead)
}

/// Issues a token; a careful client wants it for a vault of this cloud.
pub(crate) fn issue(state: &mut State, identity: &Identity, resource: &str, number: u64) -> Issued {
    if !state.vaults.iter().any(|vault| vault.resource() == resource) {
        state.violate(number, format!("a token was asked for {resource}"));
    }
    let lifetime = state.machine.lifetime;
    let (now, seconds) = (now(state), lifetime.as_secs());
    let expires = now + seconds;
    let text = token_text(identity, resource, expires, &state.hex());
    state.machine.tokens.push(Token {
        text: text.clone(),
        identity: identity.clone(),
        resource: resource.to_owned(),
        expires: clock::now() + lifetime,
    });
    Issued { text, seconds, now, expires }
}

/// Notes whatever the request has beside these names in its query and these headers.
pub(crate) fn only(
    state: &mut State,
    asked: &Asked,
    number: u64,
    names: &[&str],
    headers: &[&str],
) {
    if asked.has_duplicates() {
        state.violate(number, format!("{} says something twice", asked.query));
    }
    for (name, _) in asked.pairs() {
        if !names.contains(&name.as_str()) {
            state.violate(number, format!("{} was told {name}", asked.path));
        }
    }
    for (name, _) in &asked.headers {
        if !headers.contains(&name.as_str()) && !ANYBODY.contains(&name.as_str()) {
            state.violate(number, format!("{} was sent the header {name}", asked.path));
        }
    }
}

/// Whether the request shows what this door wants to be shown. What it shows instead is noted.
pub(crate) fn is_shown(
    dialect: Dialect,
    header: &str,
    state: &mut State,
    asked: &Asked,
    number: u64,
) -> bool {
    let mut secrets = state.doors.secrets.iter();
    let wanted = secrets.find(|(door, _)| *door == dialect).map(|(_, secret)| secret.as_str());
    let is_shown = wanted.is_some() && asked.header(header) == wanted;
    if !is_shown {
        state.violate(number, format!("{} was not shown its {header}", asked.path));
    }
    is_shown
}

impl fmt::Debug for Doors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Doors").field("writes_dates", &self.writes_dates).finish_non_exhaustive()
    }
}

/// What every client says.
const ANYBODY: [&str; 3] = ["accept", "host", "user-agent"];
