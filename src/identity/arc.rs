//! The agent of Azure Arc: a metadata service for machines elsewhere.
//!
//! Who asks must show that he may read a file that the agent names and only root and its group can
//! read. Whoever listens on the agent's port in its place could so have any file read to him, and
//! so the file must be a key in the agent's own folder.

use serde::Deserialize;

use crate::http::Answer;
use crate::http::Key;
use crate::identity::arc_key;
use crate::identity::endpoint::Endpoint;
use crate::identity::no_token::Reason;
use crate::identity::token::NoSense;
use crate::identity::token::Token;
use crate::identity::token_service::Heard;
use crate::identity::token_service::TokenService;
use crate::json;
use crate::tls::BadRoots;

/// Where the agent is unless it says otherwise.
pub(crate) const ADDRESS: &str = "http://127.0.0.1:40342/metadata/identity/oauth2/token";
const API_VERSION: &str = "2020-06-01";

/// The agent, asked for tokens for one resource.
#[derive(Clone, Debug)]
pub(crate) struct AzureArc(TokenService);

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl AzureArc {
    /// The agent at `endpoint`; over TLS with the roots in `ca_pem`, if given.
    pub(crate) fn new(
        endpoint: &Endpoint,
        ca_pem: Option<&[u8]>,
        resource: &str,
    ) -> Result<Self, BadRoots> {
        TokenService::new(endpoint, ca_pem, resource).map(Self)
    }

    pub(crate) async fn ask(&self) -> Result<Token, Reason> {
        let first = self.question(None).await?;
        match first.answer.status {
            401 => {}
            // A token for nothing is none of the agent's.
            200 => return Err(Reason::Nonsense(NoSense("it asks for no key"))),
            _ => return Err(refused(&first.answer)),
        }
        let realm = realm(&first.answer).ok_or(Reason::Nonsense(NoSense("it names no key")))?;
        // The key is for this one question, and soon gone.
        let key = arc_key::read(realm)?;
        let second = self.question(Some(Key::Basic(&key))).await?;
        match second.answer.status {
            200 => self.0.token(&second),
            _ => Err(refused(&second.answer)),
        }
    }

    async fn question(&self, key: Option<Key<'_>>) -> Result<Heard, Reason> {
        let query = [("api-version", API_VERSION), ("resource", self.0.resource())];
        self.0.get(&query, &[("metadata", "true")], key).await
    }
}

/// The path that the challenge names, which stands there without quotes.
fn realm(answer: &Answer) -> Option<&str> {
    let mut challenges = answer.header("www-authenticate");
    let challenge = challenges.next()?.trim();
    let scheme = challenge.get(..SCHEME.len())?;
    let is_one = challenges.next().is_none() && scheme.eq_ignore_ascii_case(SCHEME);
    is_one.then(|| challenge.get(SCHEME.len()..)).flatten()
}

const SCHEME: &str = "Basic realm=";

fn refused(answer: &Answer) -> Reason {
    let refusal: Option<Refusal> = json::object(answer.body.expose());
    Reason::of(answer.status, refusal.map(|refusal| refusal.error))
}
