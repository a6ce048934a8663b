//! A directory of service principals, as a test fills it.

use std::sync::Arc;
use std::time::Duration;

use crate::identity::Identity;
use crate::identity::TENANT;
use crate::state::Shared;

/// A handle to the directory.
#[derive(Clone, Debug)]
pub struct Entra {
    pub(crate) shared: Arc<Shared>,
}

/// What the directory knows.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) principals: Vec<Principal>,
    /// Hosts at which tokens are issued, and the audience of that cloud's vaults.
    pub(crate) hosts: Vec<(String, String)>,
    pub(crate) lifetime: Duration,
    /// By how many seconds its clock is ahead of this machine's.
    pub(crate) ahead: i64,
    /// What assertions were called that have been seen.
    pub(crate) seen: Vec<String>,
}

/// A principal and what proves that somebody is it.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    pub(crate) identity: Identity,
    pub(crate) tenant: String,
    pub(crate) secrets: Vec<String>,
    /// Certificates, as DER, and whether they must be shown with those that vouch for them.
    pub(crate) certificates: Vec<(Vec<u8>, bool)>,
    pub(crate) assertions: Vec<String>,
}

impl Directory {
    pub(crate) fn new() -> Self {
        let host = |host: &str, audience: &str| (host.to_owned(), audience.to_owned());
        Self {
            principals: Vec::new(),
            hosts: vec![
                host("login.microsoftonline.com", "https://vault.azure.net"),
                host("login.microsoftonline.us", "https://vault.usgovcloudapi.net"),
                host("login.chinacloudapi.cn", "https://vault.azure.cn"),
            ],
            lifetime: Duration::from_secs(3599),
            ahead: 0,
            seen: Vec::new(),
        }
    }

    /// Every secret and assertion that proves something.
    pub(crate) fn proofs(&self) -> impl Iterator<Item = &str> {
        self.principals
            .iter()
            .flat_map(|it| it.secrets.iter().chain(&it.assertions))
            .map(String::as_str)
    }
}

impl Entra {
    /// The principal of that number in the tenant [`TENANT`], without a secret at first.
    pub fn register(&self, number: u16) -> Identity {
        let mut identity = Identity::numbered(number);
        identity.client_id.replace_range(0..4, "a990");
        identity.object_id.replace_range(0..4, "a991");
        identity.resource_id.clear();
        let principal = Principal {
            identity: identity.clone(),
            tenant: TENANT.to_owned(),
            secrets: Vec::new(),
            certificates: Vec::new(),
            assertions: Vec::new(),
        };
        self.shared.with(|state| state.directory.principals.push(principal));
        identity
    }

    /// From now on this secret, and no other, is the principal's.
    pub fn set_secret(&self, principal: &Identity, secret: &str) {
        self.change(principal, |it| it.secrets = vec![secret.to_owned()]);
    }

    /// The principal proves itself with this certificate too, as DER. If `by_issuer`, it must be
    /// sent along.
    pub fn add_certificate(&self, principal: &Identity, der: &[u8], by_issuer: bool) {
        self.change(principal, |it| it.certificates.push((der.to_vec(), by_issuer)));
    }

    /// From now on this assertion of somebody else, and no other, is taken for the principal's.
    pub fn set_assertion(&self, principal: &Identity, assertion: &str) {
        self.change(principal, |it| it.assertions = vec![assertion.to_owned()]);
    }

    /// Issues tokens under this host as well, for the vaults of that audience.
    pub fn add_host(&self, host: &str, audience: &str) {
        let host = (host.to_owned(), audience.to_owned());
        self.shared.with(|state| state.directory.hosts.push(host));
    }

    /// How long tokens issued from now on live.
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.shared.with(|state| state.directory.lifetime = lifetime);
    }

    /// Sets its clock ahead of this machine's by so many seconds.
    pub fn set_ahead(&self, seconds: i64) {
        self.shared.with(|state| state.directory.ahead = seconds);
    }

    fn change(&self, principal: &Identity, change: impl FnOnce(&mut Principal)) {
        self.shared.with(|state| {
            let mut all = state.directory.principals.iter_mut();
            if let Some(found) = all.find(|it| it.identity == *principal) {
                change(found);
            }
        });
    }
}
