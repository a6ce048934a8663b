//! Why there is no value: what the vault refused, and what kept us from hearing it.
//!
//! The two are different values from the first line on: a refusal is the vault's word and ends
//! what is served; a failure is no word at all and ends nothing before `stale` does.

use serde::Deserialize;
use serde::Serialize;

/// The vault's no. It outlives any outage.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Refusal {
    /// 404: not there, or deleted.
    Missing,
    /// 403 `SecretDisabled`.
    Disabled,
    /// 403 for any other reason.
    Denied(Denial),
    /// Its `exp` is past, and dates are enforced.
    Expired,
    /// Its `nbf` is to come, and dates are enforced.
    NotYet,
}

/// Whose no a 403 is. They are one errno; the hints differ.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Denial {
    /// The vault's access policy, or a code that is not known here.
    Policy,
    /// No role assignment (`ForbiddenByRbac`).
    Role,
    /// The vault's firewall (`ForbiddenByFirewall`).
    Firewall,
    /// Public access is off, and this was no private endpoint (`ForbiddenByConnection`).
    Connection,
}

/// Why the vault's word could not be had.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Failure {
    /// No identity that a token could be had for: somebody has to act.
    NoIdentity,
    /// The identity gave no token, for now.
    NoToken,
    /// 401 even with a new token.
    Unauthorized,
    /// 429.
    Throttled,
    /// No route, no name, no TLS, no answer in time, or a 5xx.
    Unreachable,
    /// An answer that is not the documented shape.
    Nonsense,
    /// The vault's firewall, where that is taken for an outage.
    Firewall,
    /// No room for the value, and nothing idle to give up for it.
    NoRoom,
}

impl Failure {
    /// Whether it may pass while a caller waits.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        match self {
            Self::NoToken | Self::Throttled | Self::Unreachable => true,
            Self::NoIdentity
            | Self::Unauthorized
            | Self::Nonsense
            | Self::Firewall
            | Self::NoRoom => false,
        }
    }
}

/// Why there is no value.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Why {
    /// The vault said no.
    Refused(Refusal),
    /// Nobody said anything.
    Failed(Failure),
}

impl From<Refusal> for Why {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Failure> for Why {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
