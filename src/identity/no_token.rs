//! Why there is no token, and whether waiting may help.

use std::fmt;

use crate::http;
use crate::identity::choice::Choice;
use crate::identity::token::NoSense;

/// Why there is no token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoToken {
    /// What happened.
    pub reason: Reason,
    /// Whose token it would have been.
    pub choice: Choice,
}

/// What happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    /// The machine has no such identity.
    NoIdentity,
    /// The machine has several identities, and none was chosen.
    Several,
    /// The service will not, whoever asks again.
    Refused {
        /// Its status.
        status: u16,
        /// Its code, if it has one.
        code: Option<String>,
    },
    /// The service cannot just now.
    Busy {
        /// Its status.
        status: u16,
    },
    /// There was no answer.
    NoAnswer(http::Error),
    /// The answer was no token.
    Nonsense(NoSense),
}

impl NoToken {
    /// Whether the service has said no. Otherwise it was not heard, or has something else to do.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        match self.reason {
            Reason::NoIdentity | Reason::Several | Reason::Refused { .. } => true,
            Reason::Busy { .. } | Reason::NoAnswer(_) | Reason::Nonsense(_) => false,
        }
    }

    /// Whether nothing but another command line will help. A missing identity can still be
    /// attached to the machine, and a service that lets nobody ask (401, 403) can still be told to;
    /// a choice between several must be made.
    #[must_use]
    pub const fn needs_a_choice(&self) -> bool {
        match self.reason {
            Reason::Several | Reason::Refused { status: 400, .. } => true,
            Reason::NoIdentity
            | Reason::Refused { .. }
            | Reason::Busy { .. }
            | Reason::NoAnswer(_)
            | Reason::Nonsense(_) => false,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match (&self.reason, &self.choice) {
            (Reason::NoIdentity, Choice::Auto | Choice::System) => format!(
                "switch on this machine's system-assigned identity, or attach a user-assigned \
                 one; {NAME_IT}"
            ),
            (Reason::NoIdentity, choice) => {
                format!("attach {choice} to this machine, or name another: {WAYS}")
            }
            (Reason::Several, _) => format!("name the one that may read the vault: {WAYS}"),
            (Reason::Refused { .. }, _) => {
                "may this process ask the metadata service? is resource= right?".to_owned()
            }
            (Reason::NoAnswer(_), _) => {
                "only machines in Azure have it; there, see whether a firewall keeps the user \
                 that this runs as from 169.254.169.254"
                    .to_owned()
            }
            (Reason::Busy { .. } | Reason::Nonsense(_), _) => return None,
        };
        Some(hint)
    }
}

const WAYS: &str =
    "identity=client-id:GUID, identity=object-id:GUID, identity=resource-id:ID or AZURE_CLIENT_ID";
const NAME_IT: &str = "where it has several, name one: identity=client-id:GUID";

impl fmt::Display for NoToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("no token from the metadata service: ")?;
        match &self.reason {
            Reason::NoIdentity => match &self.choice {
                Choice::Auto => out.write_str("this machine has no managed identity"),
                Choice::System => out.write_str("this machine has no system-assigned identity"),
                Choice::ClientId(_) | Choice::ObjectId(_) | Choice::ResourceId(_) => {
                    write!(out, "this machine has no identity {}", self.choice)
                }
            },
            Reason::Several => {
                out.write_str("this machine has several identities and none was chosen")
            }
            Reason::Refused { status, code } => {
                write!(out, "it refuses ({status}")?;
                if let Some(code) = code {
                    write!(out, " {code}")?;
                }
                out.write_str(")")
            }
            Reason::Busy { status: 429 } => out.write_str("too many requests (429)"),
            Reason::Busy { status: 404 | 410 } => {
                out.write_str("it is being updated, which takes up to 70 seconds")
            }
            Reason::Busy { status } => write!(out, "it does not work ({status})"),
            Reason::NoAnswer(error) => write!(out, "{error}"),
            Reason::Nonsense(NoSense(why)) => out.write_str(why),
        }
    }
}

impl std::error::Error for NoToken {}
