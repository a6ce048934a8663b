//! A Service Fabric cluster, which chooses the identity itself.
//!
//! Its certificate is its own and nobody vouches for it: the one whose thumbprint the environment
//! names is accepted, and no other.

use serde::Deserialize;

use crate::http::Client;
use crate::http::Key;
use crate::identity::endpoint::Endpoint;
use crate::identity::no_token::Reason;
use crate::identity::token::Token;
use crate::identity::token_service::TokenService;
use crate::json;
use crate::model::secret::SecretBytes;
use crate::tls::BadRoots;
use crate::tls::Thumbprint;

const API_VERSION: &str = "2019-07-01-preview";

/// A cluster, asked for tokens for one resource.
#[derive(Clone, Debug)]
pub(crate) struct ServiceFabric(TokenService);

#[derive(Deserialize)]
struct Refusal {
    error: Code,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

impl ServiceFabric {
    /// The cluster at `endpoint`, if it shows the certificate with that thumbprint.
    pub(crate) fn new(
        endpoint: &Endpoint,
        thumbprint: Thumbprint,
        resource: &str,
    ) -> Result<Self, BadRoots> {
        let http = Client::pinned(thumbprint)?;
        Ok(Self(TokenService::over(http, endpoint, resource)))
    }

    pub(crate) async fn ask(&self, header: &SecretBytes) -> Result<Token, Reason> {
        let query = [("api-version", API_VERSION), ("resource", self.0.resource())];
        let heard = self.0.get(&query, &[], Some(Key::Header("secret", header))).await?;
        if heard.answer.status == 200 {
            return self.0.token(&heard);
        }
        let refusal: Option<Refusal> = json::object(heard.answer.body.expose());
        let code = refusal.map(|refusal| refusal.error.code);
        match (heard.answer.status, code.as_deref()) {
            (404, _) | (_, Some("ManagedIdentityNotFound")) => Err(Reason::NoIdentity),
            (status, _) => Err(Reason::of(status, code)),
        }
    }
}
