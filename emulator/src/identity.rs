//! The machine as Azure sees it: identities, tokens issued, tags.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::clock;
use crate::record::Credential;
use crate::state::Shared;

/// One managed identity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// What `client_id` and `appid` name.
    pub client_id: String,
    /// What `object_id` and `oid` name.
    pub object_id: String,
    /// What `msi_res_id` names.
    pub resource_id: String,
}

/// A handle to the machine's metadata service.
#[derive(Clone, Debug)]
pub struct Imds {
    pub(crate) shared: Arc<Shared>,
}

/// What the metadata service knows of the machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) system: Option<Identity>,
    pub(crate) users: Vec<Identity>,
    pub(crate) lifetime: Duration,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) environment: String,
    /// By how many seconds the clock of the token service is ahead.
    pub(crate) ahead: i64,
    pub(crate) tokens: Vec<Token>,
}

/// A token that was issued.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) identity: Identity,
    pub(crate) resource: String,
    pub(crate) expires: Instant,
}

impl Identity {
    /// An identity whose ids all follow from a number below 65,536.
    #[must_use]
    pub fn numbered(number: u16) -> Self {
        Self {
            client_id: format!("c1000000-0000-4000-8000-00000000{number:04x}"),
            object_id: format!("0b000000-0000-4000-8000-00000000{number:04x}"),
            resource_id: format!(
                "/subscriptions/{SUBSCRIPTION}/resourcegroups/emulated/providers/\
                 Microsoft.ManagedIdentity/userAssignedIdentities/identity-{number}"
            ),
        }
    }
}

impl Imds {
    /// Gives the machine this system-assigned identity, or takes it away.
    pub fn set_system(&self, identity: Option<Identity>) {
        self.shared.with(|state| state.machine.system = identity);
    }

    /// Assigns a user-assigned identity.
    pub fn add_user(&self, identity: Identity) {
        self.shared.with(|state| state.machine.users.push(identity));
    }

    /// Takes the user-assigned identity with that client id away.
    pub fn remove_user(&self, client_id: &str) {
        self.shared.with(|state| {
            let users = &mut state.machine.users;
            users.retain(|user| user.client_id != client_id);
        });
    }

    /// How long the tokens issued from now on live. Whole seconds.
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.shared.with(|state| state.machine.lifetime = lifetime);
    }

    /// How many seconds the clock of the token service is ahead of this machine's.
    pub fn set_ahead(&self, seconds: i64) {
        self.shared.with(|state| state.machine.ahead = seconds);
    }

    /// Ends the life of every token issued so far: vaults answer 401 to them.
    pub fn expire_tokens(&self) {
        let now = clock::now();
        self.shared.with(|state| {
            for token in &mut state.machine.tokens {
                token.expires = now;
            }
        });
    }

    /// The text of every token issued so far, for tests that look for leaks.
    #[must_use]
    pub fn tokens(&self) -> Vec<String> {
        let text = |token: &Token| token.text.clone();
        self.shared.with(|state| state.machine.tokens.iter().map(text).collect())
    }

    /// Gives the machine a tag, or another value to one that it has.
    pub fn set_tag(&self, name: &str, value: &str) {
        self.shared.with(|state| {
            let tags = &mut state.machine.tags;
            tags.retain(|(known, _)| known != name);
            tags.push((name.to_owned(), value.to_owned()));
        });
    }

    /// The cloud that the machine says it is in; `AzurePublicCloud` at first.
    pub fn set_environment(&self, environment: &str) {
        self.shared.with(|state| environment.clone_into(&mut state.machine.environment));
    }
}

impl Machine {
    /// A machine with a system-assigned identity and no tags.
    pub(crate) fn new() -> Self {
        Self {
            system: Some(Identity::numbered(0)),
            users: Vec::new(),
            lifetime: Duration::from_secs(86_399),
            tags: Vec::new(),
            environment: "AzurePublicCloud".to_owned(),
            ahead: 0,
            tokens: Vec::new(),
        }
    }

    /// The identity that this name and value choose.
    pub(crate) fn find(&self, name: &str, value: &str) -> Option<&Identity> {
        let known = |identity: &&Identity| {
            let id = match name {
                "client_id" => &identity.client_id,
                "object_id" => &identity.object_id,
                _ => &identity.resource_id,
            };
            id.eq_ignore_ascii_case(value)
        };
        self.users.iter().chain(&self.system).find(known)
    }

    /// The token in an Authorization header, by number.
    pub(crate) fn credential(&self, authorization: Option<&str>) -> Credential {
        let Some(authorization) = authorization else {
            return Credential::Absent;
        };
        let text = authorization.strip_prefix("Bearer ").unwrap_or_default();
        self.tokens
            .iter()
            .position(|token| token.text == text)
            .and_then(|place| u32::try_from(place + 1).ok())
            .map_or(Credential::Unknown, Credential::Token)
    }

    /// The token of that number.
    pub(crate) fn token(&self, number: u32) -> Option<&Token> {
        self.tokens.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }
}

/// The tenant of every vault and identity here.
pub const TENANT: &str = "7e4a0000-0000-4000-8000-000000000001";

/// The subscription of every resource here.
pub const SUBSCRIPTION: &str = "5b500000-0000-4000-8000-000000000001";
