//! The dialect of 2017, which Azure ML speaks. App Service did before 2019, and where it still does
//! the two cannot be told apart, nor need they be.

use crate::http::Key;
use crate::identity::choice::Choice;
use crate::identity::endpoint::Endpoint;
use crate::identity::no_token::Reason;
use crate::identity::token::Token;
use crate::identity::token_service::TokenService;
use crate::model::secret::SecretBytes;
use crate::tls::BadRoots;

const API_VERSION: &str = "2017-09-01";

/// Azure ML, asked for tokens for one resource.
#[derive(Clone, Debug)]
pub(crate) struct AzureMl(TokenService);

impl AzureMl {
    /// The service at `endpoint`; over TLS with the roots in `ca_pem`, if given.
    pub(crate) fn new(
        endpoint: &Endpoint,
        ca_pem: Option<&[u8]>,
        resource: &str,
    ) -> Result<Self, BadRoots> {
        TokenService::new(endpoint, ca_pem, resource).map(Self)
    }

    pub(crate) async fn ask(&self, choice: &Choice, secret: &SecretBytes) -> Result<Token, Reason> {
        let mut query = vec![("api-version", API_VERSION), ("resource", self.0.resource())];
        if let Choice::ClientId(id) = choice {
            // No underscore, unlike everywhere else.
            query.push(("clientid", id.as_str()));
        }
        let heard = self.0.get(&query, &[], Some(Key::Header("secret", secret))).await?;
        match heard.answer.status {
            200 => self.0.token(&heard),
            400 => Err(Reason::NoIdentity),
            status => Err(Reason::of(status, None)),
        }
    }
}
