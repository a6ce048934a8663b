//! What is said on a control connection: one line of JSON that asks, and lines that answer.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

use crate::alarm::Standing;
use crate::model::failure::Failure;
use crate::model::failure::Refusal;
use crate::model::failure::Why;
use crate::model::name::SecretName;
use crate::model::name::VersionId;
use crate::model::refresh::Outcome;
use crate::model::status;

/// The longest line that asks, its end included.
pub const LONGEST_REQUEST: usize = 64 << 10;

/// What is asked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "ask", rename_all = "camelCase", deny_unknown_fields)]
pub enum Request {
    /// How the mount stands.
    Status,
    /// That the vault is asked now.
    Refresh {
        /// For these; for all in use and for the list, if there are none.
        secrets: Vec<SecretName>,
    },
    /// To be told what changes, from what is so now on.
    Watch {
        /// Of these; of all in use, if there are none.
        secrets: Vec<SecretName>,
    },
}

/// A line that answers.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    /// How the mount stands. To what is not `status` it means that there is no worker right now.
    Mount(Box<Mount>),
    /// How many milliseconds a refresh takes at most.
    Wait(u64),
    /// What came of the refresh of a secret, or what a watched one is now.
    Secret(Seen),
    /// What came of the walk of the list.
    List(Seen),
    /// Everything has been said.
    Done,
    /// It cannot be answered.
    Error(Complaint),
}

/// Why something cannot be answered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Complaint {
    /// In a few words.
    pub message: String,
}

/// How a mount stands: what `akvfs status --json` shows. Members are added; none changes or goes.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// The real path.
    pub directory: String,
    /// The vault, as it was typed.
    pub vault: String,
    /// What its processes do.
    pub state: Serving,
    /// When it was mounted.
    pub since: Option<String>,
    /// Who asks the vault.
    pub identity: Option<Identity>,
    /// The token in use.
    pub token: Option<Token>,
    /// Whether the vault lets it list its names: `allowed`, `refused` or `unknown`.
    pub list: Listing,
    /// How often worker and relay died.
    pub restarts: u64,
    /// What the worker may not do.
    pub sandbox: Vec<String>,
    /// What a person must know.
    pub alarms: Vec<Standing>,
    /// The names of which something is known.
    pub secrets: Vec<Secret>,
    /// Why the worker is not there, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What the processes of a mount do.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Serving {
    /// They serve.
    #[default]
    Serving,
    /// The worker starts.
    Starting,
    /// The worker dies again and again, and is started at longer and longer intervals.
    CrashLoop,
    /// The mount's path is gone; open files are served for a while.
    Leaving,
    /// There are none: the mount only looks alive.
    Dead,
    /// They do not answer.
    Silent,
}

/// Who asks the vault.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Where its tokens come from.
    pub source: String,
    /// The sources that come before it, and why none of them was taken.
    pub passed_over: Vec<PassedOver>,
}

/// A source of tokens that was not taken.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PassedOver {
    /// Which.
    pub source: String,
    /// Why not.
    pub why: String,
}

/// The token in use.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Token {
    /// Until when the vault takes it.
    pub expires: String,
}

/// Whether the vault lets a mount list its names.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listing {
    /// It does.
    Allowed,
    /// It does not.
    Refused,
    /// It was not asked yet, or did not answer.
    #[default]
    Unknown,
}

/// What is known of a name.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    /// The name.
    pub name: SecretName,
    /// How it stands.
    pub state: State,
    /// The version that is held.
    pub version: Option<VersionId>,
    /// When that was made.
    pub created: Option<String>,
    /// When it, or what is said of it, last changed.
    pub updated: Option<String>,
    /// When it ends, for those who care.
    pub expires: Option<String>,
    /// What the value is said to be.
    pub content_type: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// When the vault last confirmed it.
    pub verified: Option<String>,
    /// When the vault is asked next, if nobody comes for it before.
    pub next: Option<String>,
}

/// How a name stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// In use, and confirmed within two refreshes.
    Fresh,
    /// In use, and not confirmed for two refreshes.
    Late,
    /// Held, and not in use.
    Idle,
    /// The vault is being asked.
    Asked,
    /// There is no value.
    #[serde(untagged)]
    No(No),
}

/// Why there is no value.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum No {
    /// The vault has no such secret.
    Missing,
    /// It is disabled.
    Disabled,
    /// The vault refuses it: policy, role or firewall.
    Refused,
    /// Its time is over, and `enforce-dates` is set.
    Expired,
    /// Its time is to come, and `enforce-dates` is set.
    NotYet,
    /// There is no identity.
    NoIdentity,
    /// The identity gave no token.
    NoToken,
    /// The vault takes no token.
    Unauthorized,
    /// Too many requests.
    Throttled,
    /// The vault was not reached.
    Unreachable,
    /// The vault's firewall refuses us, and `on-firewall=stale` takes that for an outage.
    Firewall,
    /// Its answer makes no sense.
    Nonsense,
    /// There is no room for the value.
    NoRoom,
}

/// What came of asking for one name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// A version that was not held before.
    New,
    /// The version that was held before.
    Unchanged,
    /// The list was walked.
    Listed,
    /// More was asked for than may be sent in that time.
    NotAsked,
    /// There is no value, or none could be heard of.
    #[serde(untagged)]
    No(No),
}

/// A name, and what came of asking for it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Seen {
    /// The name; empty for the list.
    pub name: String,
    /// What came of it.
    pub found: Found,
    /// The version, if there is one.
    pub version: Option<VersionId>,
}

impl From<Why> for No {
    fn from(why: Why) -> Self {
        match why {
            Why::Refused(Refusal::Missing) => Self::Missing,
            Why::Refused(Refusal::Disabled) => Self::Disabled,
            Why::Refused(Refusal::Denied(_)) => Self::Refused,
            Why::Refused(Refusal::Expired) => Self::Expired,
            Why::Refused(Refusal::NotYet) => Self::NotYet,
            Why::Failed(Failure::Firewall) => Self::Firewall,
            Why::Failed(Failure::NoIdentity) => Self::NoIdentity,
            Why::Failed(Failure::NoToken) => Self::NoToken,
            Why::Failed(Failure::Unauthorized) => Self::Unauthorized,
            Why::Failed(Failure::Throttled) => Self::Throttled,
            Why::Failed(Failure::Unreachable) => Self::Unreachable,
            Why::Failed(Failure::Nonsense) => Self::Nonsense,
            Why::Failed(Failure::NoRoom) => Self::NoRoom,
        }
    }
}

impl From<status::State> for State {
    fn from(state: status::State) -> Self {
        match state {
            status::State::Fresh => Self::Fresh,
            status::State::Late => Self::Late,
            status::State::Idle => Self::Idle,
            status::State::Asked => Self::Asked,
            status::State::No(why) => Self::No(why.into()),
        }
    }
}

impl From<status::List> for Listing {
    fn from(list: status::List) -> Self {
        match list {
            status::List::Allowed => Self::Allowed,
            status::List::Refused => Self::Refused,
            status::List::Unknown => Self::Unknown,
        }
    }
}

impl Seen {
    /// What came of a refresh.
    #[must_use]
    pub fn by(name: String, outcome: Outcome) -> Self {
        let (found, version) = match outcome {
            Outcome::New(id) => (Found::New, Some(id)),
            Outcome::Same(id) => (Found::Unchanged, Some(id)),
            Outcome::Listed => (Found::Listed, None),
            Outcome::Unasked => (Found::NotAsked, None),
            Outcome::No(why) => (Found::No(why.into()), None),
        };
        Self { name, found, version }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_words() {
        let name = SecretName::parse("db").unwrap();
        let asked = serde_json::to_string(&Request::Refresh { secrets: vec![name] }).unwrap();
        assert_eq!(asked, r#"{"ask":"refresh","secrets":["db"]}"#);
        let line = Line::Secret(Seen::by("db".to_owned(), Outcome::No(Refusal::Missing.into())));
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(text, r#"{"secret":{"name":"db","found":"missing","version":null}}"#);
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
        let state = serde_json::to_string(&[State::Fresh, State::No(No::NoRoom)]).unwrap();
        assert_eq!(state, r#"["fresh","no-room"]"#);
        assert_eq!(serde_json::to_string(&Line::Done).unwrap(), r#""done""#);
        assert!(serde_json::from_str::<Request>(r#"{"ask":"value"}"#).is_err());
    }
}
