//! Why there is no token, and whether waiting may help.

use std::fmt;
use std::time::Duration;

use crate::http;
use crate::identity::arc_key::NoKey;
use crate::identity::choice::Choice;
use crate::identity::entra::No;
use crate::identity::kind::Kind;
use crate::identity::token::NoSense;

/// Why there is no token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoToken {
    /// What happened.
    pub reason: Reason,
    /// Who was asked for it.
    pub source: Kind,
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
    /// The key that must be shown could not be read.
    NoKey(NoKey),
    /// Entra will not, whoever asks again.
    Entra(No),
    /// The service cannot just now, and may have said when it can.
    Later {
        /// Its status.
        status: u16,
        /// When.
        wait: Option<Duration>,
    },
    /// What would prove who we are could not be had.
    NoProof(NoProof),
}

/// Why there is nothing to prove with, in words for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoProof {
    /// What happened.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether it may be otherwise in a moment.
    pub heals: bool,
}

impl Reason {
    /// What a status other than 200 means where nothing more is known of it. A code that is no
    /// code is not repeated.
    pub(crate) fn of(status: u16, code: Option<String>) -> Self {
        let plain = |code: &String| {
            code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        match status {
            408 | 429 | 500.. => Self::Busy { status },
            400..500 => Self::Refused { status, code: code.filter(plain) },
            _ => Self::Nonsense(NoSense("it answers neither yes nor no")),
        }
    }
}

impl Reason {
    /// For how long the service asks to be left alone.
    pub(crate) fn wait(&self) -> Duration {
        if let Self::Later { wait: Some(wait), .. } = self { *wait } else { Duration::ZERO }
    }
}

impl NoToken {
    /// For a caller whose time was up before anything was heard.
    pub(crate) const fn unheard(source: Kind, choice: Choice) -> Self {
        Self { reason: Reason::NoAnswer(http::Error::TimedOut), source, choice }
    }

    /// Whether the service has said no. Otherwise it was not heard, or has something else to do.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        match self.reason {
            Reason::NoIdentity
            | Reason::Several
            | Reason::Refused { .. }
            | Reason::NoKey(_)
            | Reason::Entra(_)
            | Reason::NoProof(NoProof { heals: false, .. }) => true,
            Reason::Busy { .. }
            | Reason::NoAnswer(_)
            | Reason::Nonsense(_)
            | Reason::Later { .. }
            | Reason::NoProof(NoProof { heals: true, .. }) => false,
        }
    }

    /// Whether nothing but another command line will help. A missing identity can still be
    /// attached to the machine, and a service that lets nobody ask (401, 403) can still be told to;
    /// a choice between several must be made.
    #[must_use]
    pub const fn needs_a_choice(&self) -> bool {
        match &self.reason {
            // What a vault holds may be another secret tomorrow.
            Reason::Entra(no) => no.is_final() && !matches!(self.source, Kind::From),
            Reason::Several | Reason::Refused { status: 400, .. } => true,
            Reason::NoIdentity
            | Reason::Refused { .. }
            | Reason::Busy { .. }
            | Reason::NoAnswer(_)
            | Reason::Nonsense(_)
            | Reason::NoKey(_)
            | Reason::Later { .. }
            | Reason::NoProof(_) => false,
        }
    }

    /// What happened, for somebody who asked for something else than a token.
    #[must_use]
    pub fn no_answer(&self) -> String {
        let words = self.to_string();
        let (_, why) = words.split_once(": ").unwrap_or_default();
        format!("no answer from {}: {why}", self.source.words())
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let holder = self.source.holder();
        let hint = match (&self.reason, &self.choice) {
            (Reason::NoIdentity, _) if self.source.remedy().is_some() => {
                self.source.remedy()?.to_owned()
            }
            (Reason::NoIdentity, Choice::Auto | Choice::System) => format!(
                "switch on {holder}'s system-assigned identity, or attach a user-assigned one; \
                 {NAME_IT}"
            ),
            (Reason::NoIdentity, choice) => {
                format!("attach {choice} to {holder}, or name another: {WAYS}")
            }
            (Reason::Several, _) => format!("name the one that may read the vault: {WAYS}"),
            (Reason::Refused { .. }, _) => {
                format!("may this process ask {}? is resource= right?", self.source.words())
            }
            (Reason::NoAnswer(http::Error::Tls(bad)), _) => {
                return bad.flaw.hint().map(ToOwned::to_owned);
            }
            (Reason::NoAnswer(_), _) => self.source.silence().to_owned(),
            (Reason::NoKey(no_key), _) => return no_key.hint(),
            (Reason::Entra(no), _) => return no.hint(self.source),
            (Reason::NoProof(no_proof), _) => return no_proof.hint.clone(),
            (Reason::Busy { .. } | Reason::Later { .. } | Reason::Nonsense(_), _) => return None,
        };
        Some(hint)
    }
}

const WAYS: &str =
    "identity=client-id:GUID, identity=object-id:GUID, identity=resource-id:ID or AZURE_CLIENT_ID";
const NAME_IT: &str = "where it has several, name one: identity=client-id:GUID";

impl fmt::Display for NoToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holder = self.source.holder();
        write!(out, "no token from {}: ", self.source.words())?;
        match &self.reason {
            Reason::NoIdentity => match &self.choice {
                Choice::Auto => write!(out, "{holder} has no managed identity"),
                Choice::System => write!(out, "{holder} has no system-assigned identity"),
                Choice::ClientId(_) | Choice::ObjectId(_) | Choice::ResourceId(_) => {
                    write!(out, "{holder} has no identity {}", self.choice)
                }
            },
            Reason::Several => {
                write!(out, "{holder} has several identities and none was chosen")
            }
            Reason::Refused { status, code } => {
                write!(out, "it refuses ({status}")?;
                if let Some(code) = code {
                    write!(out, " {code}")?;
                }
                out.write_str(")")
            }
            Reason::Busy { status: 429 } | Reason::Later { status: 429, .. } => {
                out.write_str("too many requests (429)")
            }
            Reason::Busy { status: 404 | 410 } => {
                out.write_str("it is being updated, which takes up to 70 seconds")
            }
            Reason::Busy { status } | Reason::Later { status, .. } => {
                write!(out, "it does not work ({status})")
            }
            Reason::NoAnswer(error) => write!(out, "{error}"),
            Reason::Nonsense(NoSense(why)) => out.write_str(why),
            Reason::NoKey(no_key) => write!(out, "{no_key}"),
            Reason::Entra(no) => write!(out, "{no}"),
            Reason::NoProof(no_proof) => out.write_str(&no_proof.what),
        }
    }
}

impl std::error::Error for NoToken {}
