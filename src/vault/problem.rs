//! Why the vault gave nothing, in words for people.
//!
//! The words are the service's code, never its prose, which names callers and addresses; and never
//! a part of a body or a value.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::http;
use crate::identity::no_token::NoToken;
use crate::model::failure::Denial;
use crate::model::failure::Failure;
use crate::model::failure::Refusal;
use crate::model::failure::Why;
use crate::model::name::SecretName;
use crate::vault::challenge::Challenge;
use crate::vault::response::Code;
use crate::vault::response::Misshapen;

/// Why the vault gave nothing.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What it comes down to.
    pub why: Why,
    /// How long the service asks to be left alone. More than [`BELIEVED`] is not believed.
    pub retry_after: Option<Duration>,
    /// What happened.
    pub detail: Detail,
    /// The vault's host.
    pub host: String,
    /// The secret that was asked for; none if it was the list.
    pub name: Option<SecretName>,
}

/// The longest time that a service is left alone because it says so.
pub const BELIEVED: Duration = Duration::from_secs(60);

/// What happened.
#[derive(Clone, Debug)]
pub enum Detail {
    /// There was no answer.
    NoAnswer(http::Error),
    /// There was no token to ask with.
    NoToken(Arc<NoToken>),
    /// The token was not accepted.
    Unauthorized(Challenge),
    /// Some other status.
    Status {
        /// Which.
        status: u16,
        /// The service's code, if these were its words.
        code: Option<Code>,
        /// By which the service's own people find the request.
        request: Option<String>,
        /// Who answered.
        peer: Option<SocketAddr>,
    },
    /// A 200 of another shape than documented.
    Misshapen(Misshapen),
    /// The vault spells the name like this.
    OtherCase(SecretName),
}

impl Problem {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match &self.detail {
            Detail::NoAnswer(error) => self.hint_no_answer(error),
            Detail::NoToken(no_token) => no_token.hint(),
            Detail::Unauthorized(Challenge::Other { .. } | Challenge::NotAVault) => Some(format!(
                "is {} a vault? its host decides for whom tokens are asked",
                self.host
            )),
            Detail::Unauthorized(Challenge::Ours) => {
                Some("the identity may belong to another tenant than the vault".to_owned())
            }
            Detail::Status { peer, .. } => self.hint_refused(*peer),
            Detail::Misshapen(_) => None,
            Detail::OtherCase(name) => Some(format!("type {name}")),
        }
    }

    fn hint_no_answer(&self, error: &http::Error) -> Option<String> {
        match error {
            http::Error::NoName => Some(
                "is the vault's name misspelt? one with a private endpoint needs its DNS zone \
                 linked to this network"
                    .to_owned(),
            ),
            http::Error::NoResolver => Some("does DNS work on this machine?".to_owned()),
            http::Error::Tls(bad) => bad.flaw.hint().map(ToOwned::to_owned),
            http::Error::NoRoute(_) | http::Error::TimedOut | http::Error::Broken => {
                Some(format!("is there a way to {} port 443 past firewalls and routes?", self.host))
            }
            http::Error::Garbled | http::Error::TooLarge => None,
        }
    }

    fn hint_refused(&self, peer: Option<SocketAddr>) -> Option<String> {
        let Why::Refused(refusal) = self.why else {
            return None;
        };
        match refusal {
            Refusal::Missing | Refusal::Expired | Refusal::NotYet => None,
            Refusal::Disabled => Some("enable its newest version in the vault".to_owned()),
            Refusal::Denied(Denial::Role) => Some(
                "give the identity the role \"Key Vault Secrets User\"; a role granted now takes \
                 up to ten minutes"
                    .to_owned(),
            ),
            Refusal::Denied(Denial::Policy) => Some(
                match self.name {
                    Some(_) => {
                        "give the identity the permission get in the vault's access policies"
                    }
                    None => {
                        "give the identity the permissions get and list in the vault's access \
                         policies; get alone lets secrets be read, but not listed"
                    }
                }
                .to_owned(),
            ),
            Refusal::Denied(Denial::Firewall) => {
                Some("let this machine's network through in the vault's firewall".to_owned())
            }
            Refusal::Denied(Denial::Connection) => {
                let address =
                    peer.map_or_else(|| "some address".to_owned(), |peer| peer.ip().to_string());
                Some(format!(
                    "the vault takes private endpoints only, and DNS led {} to {address}: link \
                     the private endpoint's DNS zone to this network",
                    self.host
                ))
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.why) {
            (Some(name), _) => write!(out, "secret {name} of {}: ", self.host)?,
            (None, Why::Refused(_)) => write!(out, "list of {}: ", self.host)?,
            // Whatever else had been asked for, it would have been the same.
            (None, Why::Failed(_)) => write!(out, "{}: ", self.host)?,
        }
        match &self.detail {
            Detail::NoAnswer(error) => write!(out, "{error}"),
            Detail::NoToken(no_token) => write!(out, "{no_token}"),
            Detail::Unauthorized(challenge) => unauthorized(out, challenge),
            Detail::Status { status, code, request, .. } => {
                out.write_str(meaning(self.why))?;
                write!(out, " ({status}")?;
                if let Some(code) = code {
                    write!(out, " {}", code.code)?;
                    if let Some(inner) = &code.inner {
                        write!(out, ", {inner}")?;
                    }
                }
                if let Some(request) = request {
                    write!(out, ", request {request}")?;
                }
                out.write_str(")")
            }
            Detail::Misshapen(Misshapen(why)) => write!(out, "the answer makes no sense: {why}"),
            Detail::OtherCase(name) => write!(out, "the vault spells it {name}"),
        }
    }
}

fn unauthorized(out: &mut fmt::Formatter<'_>, challenge: &Challenge) -> fmt::Result {
    match challenge {
        Challenge::Ours => out.write_str("a new token was not accepted either (401)"),
        Challenge::Other { resource } => {
            write!(out, "this host asks for a token for {resource:?}, which it does not get (401)")
        }
        Challenge::NotAVault => {
            out.write_str("the token was not accepted, and not as a vault does it (401)")
        }
    }
}

const fn meaning(why: Why) -> &'static str {
    match why {
        Why::Refused(Refusal::Missing) => "there is no such secret",
        Why::Refused(Refusal::Disabled) => "it is disabled",
        Why::Refused(Refusal::Expired) => "its time is over",
        Why::Refused(Refusal::NotYet) => "its time is to come",
        Why::Refused(Refusal::Denied(Denial::Role | Denial::Policy)) => "permission denied",
        Why::Refused(Refusal::Denied(Denial::Firewall)) => "the vault's firewall is closed",
        Why::Refused(Refusal::Denied(Denial::Connection)) => "public access is off",
        Why::Failed(Failure::Throttled) => "too many requests",
        Why::Failed(Failure::Unreachable) => "the service does not work",
        Why::Failed(
            Failure::NoIdentity
            | Failure::NoToken
            | Failure::Unauthorized
            | Failure::Nonsense
            | Failure::Firewall
            | Failure::NoRoom,
        ) => "the answer makes no sense",
    }
}

impl std::error::Error for Problem {}
