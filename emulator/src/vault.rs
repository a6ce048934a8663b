//! A vault's contents and its policy, and the handle by which a test changes them.
//!
//! Names are kept as first typed and compared without case, as the service does.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::clock;
use crate::replica::Replica;
use crate::state::Shared;
use crate::state::State;

/// A handle to one vault.
#[derive(Clone, Debug)]
pub struct Vault {
    pub(crate) shared: Arc<Shared>,
    pub(crate) host: String,
    pub(crate) identity: Option<String>,
}

/// What can be changed about a secret's newest version without a new one. `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Whether it can be read.
    pub enabled: Option<bool>,
    /// The second before which it says it is not valid.
    pub nbf: Option<u64>,
    /// The second after which it says it is not valid.
    pub exp: Option<u64>,
    /// When it was created, in seconds since 1970.
    pub created: Option<u64>,
    /// When it was last changed; now, if this is `None`.
    pub updated: Option<u64>,
    /// The content type.
    pub content_type: Option<String>,
    /// The tags, all of them.
    pub tags: Option<BTreeMap<String, String>>,
    /// Whether a certificate owns it.
    pub managed: Option<bool>,
}

/// Why a vault says no.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// No access policy.
    #[default]
    Policy,
    /// No access policy, in the words of older versions.
    AccessDenied,
    /// No role.
    Rbac,
    /// The client's address is not on the list.
    Firewall,
    /// Public access is off.
    Connection,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Operation {
    Get,
    List,
}

/// One vault.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) host: String,
    /// By lower-case name, which is the order of the list.
    pub(crate) secrets: BTreeMap<String, Secret>,
    pub(crate) page_sizes: Vec<usize>,
    /// A front end that is behind.
    pub(crate) behind: Option<Replica>,
    /// How long a page is, whatever is asked for.
    pub(crate) full_page: Option<usize>,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
pub(crate) struct Secret {
    pub(crate) name: String,
    pub(crate) deleted: bool,
    /// Oldest first.
    pub(crate) versions: Vec<Version>,
}

#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) id: String,
    /// The value as it stands in the JSON of the reply, quotes included.
    pub(crate) value: String,
    pub(crate) content_type: Option<String>,
    pub(crate) tags: Option<BTreeMap<String, String>>,
    pub(crate) managed: bool,
    pub(crate) enabled: bool,
    pub(crate) nbf: Option<u64>,
    pub(crate) exp: Option<u64>,
    pub(crate) created: u64,
    pub(crate) updated: u64,
}

/// The latest rule that is about a request decides it.
#[derive(Debug)]
struct Rule {
    identity: Option<String>,
    operation: Operation,
    name: Option<String>,
    refusal: Option<Refusal>,
}

impl Vault {
    /// The vault's host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Sets a secret; gives the id of the new version.
    pub fn put(&self, name: &str, value: &str) -> String {
        self.put_raw(name, &Value::from(value).to_string())
    }

    /// Sets a secret whose value stands in the reply's JSON exactly like this: `"\ud800"`, `17`.
    pub fn put_raw(&self, name: &str, json: &str) -> String {
        let now = clock::epoch_seconds();
        self.shared.with(|state| {
            let id = state.hex();
            let version = Version::new(id.clone(), json.to_owned(), now);
            if let Some(store) = state.vault_mut(&self.host) {
                let key = name.to_ascii_lowercase();
                let secret = store.secrets.entry(key).or_insert_with(|| Secret {
                    name: name.to_owned(),
                    deleted: false,
                    versions: Vec::new(),
                });
                secret.deleted = false;
                secret.versions.push(version);
            }
            id
        })
    }

    /// Changes the newest version; whether there is one.
    pub fn change(&self, name: &str, change: Change) -> bool {
        self.with_secret(name, |secret| {
            if let Some(version) = secret.versions.last_mut() {
                version.apply(change);
            }
        })
    }

    /// Makes the newest version unreadable.
    pub fn disable(&self, name: &str) -> bool {
        self.set_enabled(name, false)
    }

    /// Makes the newest version readable.
    pub fn enable(&self, name: &str) -> bool {
        self.set_enabled(name, true)
    }

    /// Deletes a secret softly.
    pub fn delete(&self, name: &str) -> bool {
        self.with_secret(name, |secret| secret.deleted = true)
    }

    /// Brings a deleted secret back.
    pub fn recover(&self, name: &str) -> bool {
        self.with_secret(name, |secret| secret.deleted = false)
    }

    /// Removes a secret with all its versions.
    pub fn purge(&self, name: &str) -> bool {
        let key = name.to_ascii_lowercase();
        self.with_store(|store| store.secrets.remove(&key).is_some())
    }

    /// The ids of a secret's versions, oldest first.
    #[must_use]
    pub fn versions(&self, name: &str) -> Vec<String> {
        let key = name.to_ascii_lowercase();
        self.with_store(|store| {
            let versions = store.secrets.get(&key).map(|secret| &secret.versions);
            let ids = versions.into_iter().flatten();
            ids.map(|version| version.id.clone()).collect()
        })
    }

    /// This vault, its rules to be set for the identity with that client id alone.
    #[must_use]
    pub fn for_identity(&self, client_id: &str) -> Self {
        let identity = Some(client_id.to_owned());
        Self { identity, ..self.clone() }
    }

    /// Refuses *get* of that secret; of every secret, if the name is `*`.
    pub fn deny_get(&self, name: &str, refusal: Refusal) {
        self.rule(Operation::Get, name, Some(refusal));
    }

    /// Allows *get* of that secret; of every secret, if the name is `*`. It is so at first.
    pub fn allow_get(&self, name: &str) {
        self.rule(Operation::Get, name, None);
    }

    /// Refuses *list*.
    pub fn deny_list(&self, refusal: Refusal) {
        self.rule(Operation::List, ANY, Some(refusal));
    }

    /// Allows *list*. It is so at first.
    pub fn allow_list(&self) {
        self.rule(Operation::List, ANY, None);
    }

    /// How many items the first pages of each walk have; the later ones are as long as asked for.
    /// A walk has at least so many pages, empty ones at the end among them.
    pub fn page_sizes(&self, sizes: Vec<usize>) {
        self.with_store(|store| store.page_sizes = sizes);
    }

    /// How many items a full page has from now on. The service never gives more than 25; this is for
    /// what is about a list that is long, and not about the requests that it takes.
    pub fn full_pages(&self, items: usize) {
        self.with_store(|store| store.full_page = Some(items));
    }

    fn set_enabled(&self, name: &str, enabled: bool) -> bool {
        let change = Change { enabled: Some(enabled), ..Change::default() };
        self.change(name, change)
    }

    /// The latest word on the same thing takes the place of the earlier ones.
    fn rule(&self, operation: Operation, name: &str, refusal: Option<Refusal>) {
        let name = (name != ANY).then(|| name.to_ascii_lowercase());
        let identity = self.identity.clone();
        self.with_store(|store| {
            store.rules.retain(|rule| {
                let same_identity = identity.is_none() || rule.identity == identity;
                let same_name = name.is_none() || rule.name == name;
                !(rule.operation == operation && same_identity && same_name)
            });
            store.rules.push(Rule { identity, operation, name, refusal });
        });
    }

    pub(crate) fn with_secret(&self, name: &str, change: impl FnOnce(&mut Secret)) -> bool {
        let key = name.to_ascii_lowercase();
        self.with_store(|store| store.secrets.get_mut(&key).map(change).is_some())
    }

    pub(crate) fn with_store<T: Default>(&self, look: impl FnOnce(&mut Store) -> T) -> T {
        self.shared
            .with(|state: &mut State| state.vault_mut(&self.host).map(look).unwrap_or_default())
    }
}

impl Store {
    /// An empty vault that allows everything. A bare name is in the public cloud.
    pub(crate) fn new(name_or_host: &str) -> Self {
        Self {
            host: host_of(name_or_host),
            secrets: BTreeMap::new(),
            page_sizes: Vec::new(),
            behind: None,
            full_page: None,
            rules: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.host.split('.').next().unwrap_or_default()
    }

    /// The only audience that a token for this vault may have.
    pub(crate) fn resource(&self) -> String {
        let suffix = self.host.split_once('.').map_or("", |(_, suffix)| suffix);
        format!("https://{suffix}")
    }

    /// Who issues tokens for this vault.
    pub(crate) fn authority(&self) -> &'static str {
        let suffix = self.host.split_once('.').map_or("", |(_, suffix)| suffix);
        match suffix {
            "vault.usgovcloudapi.net" => "https://login.microsoftonline.us",
            "vault.azure.cn" => "https://login.chinacloudapi.cn",
            _ => "https://login.microsoftonline.com",
        }
    }

    /// Why that identity may not do that, if it may not.
    pub(crate) fn refusal(
        &self,
        client_id: &str,
        operation: Operation,
        name: &str,
    ) -> Option<Refusal> {
        let about = |rule: &&Rule| {
            rule.operation == operation
                && rule.identity.as_deref().is_none_or(|id| id == client_id)
                && rule.name.as_deref().is_none_or(|known| known.eq_ignore_ascii_case(name))
        };
        self.rules.iter().rev().find(about)?.refusal
    }

    /// The secret of that name, unless it is deleted.
    pub(crate) fn secret(&self, name: &str) -> Option<&Secret> {
        let key = name.to_ascii_lowercase();
        self.front(&key).get(&key).filter(|secret| !secret.deleted)
    }
}

impl Version {
    fn new(id: String, value: String, now: u64) -> Self {
        Self {
            id,
            value,
            content_type: None,
            tags: None,
            managed: false,
            enabled: true,
            nbf: None,
            exp: None,
            created: now,
            updated: now,
        }
    }

    fn apply(&mut self, change: Change) {
        self.enabled = change.enabled.unwrap_or(self.enabled);
        self.nbf = change.nbf.or(self.nbf);
        self.exp = change.exp.or(self.exp);
        self.created = change.created.unwrap_or(self.created);
        self.updated = change.updated.unwrap_or_else(clock::epoch_seconds);
        self.managed = change.managed.unwrap_or(self.managed);
        self.content_type = change.content_type.or_else(|| self.content_type.take());
        self.tags = change.tags.or_else(|| self.tags.take());
    }
}

/// The host that a name stands for.
pub(crate) fn host_of(name_or_host: &str) -> String {
    let mut host = name_or_host.to_ascii_lowercase();
    if !host.contains('.') {
        host.push_str(".vault.azure.net");
    }
    host
}

/// Every secret.
const ANY: &str = "*";
