//! A service principal whose credentials are a secret in a vault: they are read there by the managed
//! identity, and from then on it is the principal who asks.
//!
//! What was read is kept until Entra says no to it: then it may have been rotated, and is read anew.
//! Where the vault is and how it is read is not known here.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::http::Client;
use crate::http::Key;
use crate::identity::choice::Guid;
use crate::identity::entra::Entra;
use crate::identity::no_token::NoProof;
use crate::identity::no_token::Reason;
use crate::identity::service_principal::Means;
use crate::identity::service_principal::ServicePrincipal;
use crate::identity::tenant::Tenant;
use crate::identity::token::Token;
use crate::json;
use crate::model::secret::SecretBytes;

/// How the secret is read, and by whom.
#[derive(Clone)]
pub struct Reader {
    read: Arc<dyn Fn() -> Reading + Send + Sync>,
    kept: Arc<dyn Fn() -> Option<Guid> + Send + Sync>,
}

/// The secret's text on its way, or why there is none.
pub type Reading = Pin<Box<dyn Future<Output = Result<SecretBytes, NoProof>> + Send>>;

/// A principal in a vault.
#[derive(Clone, Debug)]
pub(crate) struct FromVault {
    reader: Reader,
    http: Client,
    authority: String,
    resource: String,
    held: Arc<Mutex<Option<ServicePrincipal>>>,
}

/// What `az ad sp create-for-rbac` writes.
#[derive(Deserialize)]
struct Credentials<'a> {
    tenant: String,
    #[serde(rename = "appId")]
    client_id: String,
    #[serde(borrow)]
    password: &'a RawValue,
}

impl Reader {
    /// Reads by running `read`; `kept` tells whom `auto` took to do it, once that is known.
    pub fn new(
        read: impl Fn() -> Reading + Send + Sync + 'static,
        kept: impl Fn() -> Option<Guid> + Send + Sync + 'static,
    ) -> Self {
        Self { read: Arc::new(read), kept: Arc::new(kept) }
    }
}

impl FromVault {
    /// The principal that `reader` reads, at an authority and for a resource.
    pub(crate) fn new(reader: Reader, http: Client, authority: &str, resource: &str) -> Self {
        let (authority, resource) = (authority.to_owned(), resource.to_owned());
        Self { reader, http, authority, resource, held: Arc::default() }
    }

    pub(crate) async fn ask(&self, claims: Option<&str>) -> Result<Token, Reason> {
        let held = self.held.lock().clone();
        if let Some(principal) = held {
            match principal.ask(claims).await {
                Err(Reason::Entra(_)) => {}
                answer => return answer,
            }
        }
        let principal = self.read().await?;
        let answer = principal.ask(claims).await;
        // One that is refused just after it was read is read again before it is tried again.
        let is_good = !matches!(answer, Err(Reason::Entra(_)));
        *self.held.lock() = is_good.then_some(principal);
        answer
    }

    /// Whom `auto` took to read it.
    pub(crate) fn kept(&self) -> Option<Guid> {
        (self.reader.kept)()
    }

    async fn read(&self) -> Result<ServicePrincipal, Reason> {
        let text = (self.reader.read)().await.map_err(Reason::NoProof)?;
        let principal = self.principal(text.expose());
        principal.ok_or_else(|| {
            Reason::NoProof(NoProof {
                what: "the secret that identity=from: names holds no service principal".to_owned(),
                hint: Some(
                    "it is the JSON that az ad sp create-for-rbac writes: tenant, appId, password"
                        .to_owned(),
                ),
                heals: false,
            })
        })
    }

    fn principal(&self, text: &[u8]) -> Option<ServicePrincipal> {
        let credentials: Credentials<'_> = json::object(text)?;
        let tenant = Tenant::parse(&credentials.tenant)?;
        let client_id = Guid::parse(&credentials.client_id)?;
        let password = json::secret(credentials.password).filter(Key::fits)?;
        let entra =
            Entra::new(self.http.clone(), &self.authority, &tenant, &client_id, &self.resource)?;
        ServicePrincipal::new(entra, &Means::Secret, Arc::new(password))
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Reader")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_vault() -> FromVault {
        let read = || -> Reading { Box::pin(async { Ok(SecretBytes::new(Vec::new())) }) };
        let reader = Reader::new(read, || None);
        let http = Client::plain().unwrap();
        FromVault::new(reader, http, "https://login.example", "https://vault.example")
    }

    #[test]
    fn a_principal_is_three_texts_and_whatever_stands_beside_them() {
        let from = from_vault();
        let id = "c1000000-0000-4000-8000-000000000001";
        for (text, is_one) in [
            (format!(r#"{{"tenant":"t.example","appId":"{id}","password":"p~/\u002b"}}"#), true),
            (
                format!(
                    r#"{{"appId":"{id}","displayName":"x","password":"p","tenant":"t.example"}}"#
                ),
                true,
            ),
            (format!(r#"{{"tenant":"../t","appId":"{id}","password":"p"}}"#), false),
            (r#"{"tenant":"t.example","appId":"backup","password":"p"}"#.to_owned(), false),
            (format!(r#"{{"tenant":"t.example","appId":"{id}","password":""}}"#), false),
            (format!(r#"{{"tenant":"t.example","appId":"{id}","password":7}}"#), false),
            (format!(r#"{{"tenant":"t.example","appId":"{id}"}}"#), false),
            (format!(r#"["t.example","{id}","p"]"#), false),
            ("s3cret".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(from.principal(text.as_bytes()).is_some(), is_one, "{text}");
        }
    }
}
