//! Cloud Shell, whose only identity is that of the person who opened it.

use serde::Deserialize;

use crate::identity::endpoint::Endpoint;
use crate::identity::no_token::Reason;
use crate::identity::token::Token;
use crate::identity::token_service::TokenService;
use crate::json;
use crate::tls::BadRoots;

/// Cloud Shell, asked for tokens for one resource.
#[derive(Clone, Debug)]
pub(crate) struct CloudShell(TokenService);

#[derive(Deserialize)]
struct Refusal {
    error: Code,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

impl CloudShell {
    /// The service at `endpoint`; over TLS with the roots in `ca_pem`, if given.
    pub(crate) fn new(
        endpoint: &Endpoint,
        ca_pem: Option<&[u8]>,
        resource: &str,
    ) -> Result<Self, BadRoots> {
        TokenService::new(endpoint, ca_pem, resource).map(Self)
    }

    pub(crate) async fn ask(&self) -> Result<Token, Reason> {
        let fields = [("resource", self.0.resource().as_bytes())];
        let heard = self.0.post(&fields, &[("metadata", "true")]).await?;
        if heard.answer.status == 200 {
            return self.0.token(&heard);
        }
        let refusal: Option<Refusal> = json::object(heard.answer.body.expose());
        Err(Reason::of(heard.answer.status, refusal.map(|refusal| refusal.error.code)))
    }
}
