//! App Service as it has spoken since 2019: Functions, Container Apps and Automation too.

use crate::http::Key;
use crate::identity::choice::Choice;
use crate::identity::endpoint::Endpoint;
use crate::identity::no_token::Reason;
use crate::identity::token::Token;
use crate::identity::token_service::TokenService;
use crate::model::secret::SecretBytes;
use crate::tls::BadRoots;

const API_VERSION: &str = "2019-08-01";

/// App Service, asked for tokens for one resource.
#[derive(Clone, Debug)]
pub(crate) struct AppService(TokenService);

impl AppService {
    /// The service at `endpoint`; over TLS with the roots in `ca_pem`, if given.
    pub(crate) fn new(
        endpoint: &Endpoint,
        ca_pem: Option<&[u8]>,
        resource: &str,
    ) -> Result<Self, BadRoots> {
        TokenService::new(endpoint, ca_pem, resource).map(Self)
    }

    pub(crate) async fn ask(&self, choice: &Choice, header: &SecretBytes) -> Result<Token, Reason> {
        let mut query = vec![("api-version", API_VERSION), ("resource", self.0.resource())];
        match choice {
            Choice::Auto | Choice::System => {}
            Choice::ClientId(id) => query.push(("client_id", id.as_str())),
            Choice::ObjectId(id) => query.push(("object_id", id.as_str())),
            Choice::ResourceId(id) => query.push(("mi_res_id", id)),
        }
        let key = Key::Header("x-identity-header", header);
        // Automation wants to be told what IMDS is told; the others do not mind.
        let heard = self.0.get(&query, &[("metadata", "true")], Some(key)).await?;
        match heard.answer.status {
            200 => self.0.token(&heard),
            // All that is known of its 400s is prose, and all of it is about the identity.
            400 => Err(Reason::NoIdentity),
            status => Err(Reason::of(status, None)),
        }
    }
}
