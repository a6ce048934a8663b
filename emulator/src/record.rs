//! What was asked of the emulator, in the order in which it arrived.
//!
//! A token is known by its number, in the order of issue; its text is in no record.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::dialect::Dialect;

/// Which of the emulator's services was asked.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Service {
    /// A vault that exists here.
    Vault,
    /// The instance metadata service.
    Metadata,
    /// A host that issues tokens to principals.
    Entra,
    /// The token service of a machine that is no plain VM.
    Machine(Dialect),
    /// A host that answers on the vault's address and is no vault: nobody has business there.
    Elsewhere,
}

/// Who the request says it comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum Credential {
    /// It has no Authorization header.
    Absent,
    /// The token of that number, counted from 1 in the order of issue.
    Token(u32),
    /// An Authorization header with no token of this emulator in it.
    Unknown,
}

/// One request, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Request {
    /// Its place in the order of arrival, counted from 1.
    pub number: u64,
    /// When it arrived, counted from the emulator's start.
    pub at: Duration,
    /// Which service it reached.
    pub service: Service,
    /// The method.
    pub method: String,
    /// The Host header, as typed.
    pub host: String,
    /// The path, as typed.
    pub path: String,
    /// What follows the question mark, as typed.
    pub query: String,
    /// The secret that the path names, as typed.
    pub secret: Option<String>,
    /// Whose token it carried.
    pub credential: Credential,
    /// The other headers, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The fields of a form that was posted, in order. The values of those that prove something are
    /// not here.
    pub form: Vec<(String, String)>,
    /// The name in the TLS greeting.
    pub sni: Option<String>,
    /// How many requests to vaults were under way when it arrived, itself among them.
    pub in_flight: usize,
    /// The status answered; none while it waits, and none if nobody ever answered.
    pub status: Option<u16>,
}

impl Request {
    /// Whether it asked for one secret's value.
    #[must_use]
    pub fn is_get(&self) -> bool {
        self.service == Service::Vault && self.method == "GET" && self.secret.is_some()
    }

    /// Whether it asked for the value of the secret of that name.
    #[must_use]
    pub fn is_get_of(&self, name: &str) -> bool {
        self.is_get()
            && self.secret.as_deref().is_some_and(|secret| secret.eq_ignore_ascii_case(name))
    }

    /// Whether it asked for a page of the list of secrets.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.service == Service::Vault && self.path.trim_end_matches('/') == "/secrets"
    }

    /// Whether it asked for a token.
    #[must_use]
    pub fn is_token(&self) -> bool {
        if matches!(self.service, Service::Machine(_)) {
            return true;
        }
        self.service == Service::Metadata && self.path == "/metadata/identity/oauth2/token"
    }

    /// Whether it was posted to a host that issues tokens to principals.
    #[must_use]
    pub fn is_exchange(&self) -> bool {
        self.service == Service::Entra
    }

    /// Whether it was answered with that status.
    #[must_use]
    pub fn was_answered(&self, status: u16) -> bool {
        self.status == Some(status)
    }
}

/// Something that a careful client never does.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Violation {
    /// The request that did it.
    pub request: u64,
    /// What it did.
    pub what: String,
}
