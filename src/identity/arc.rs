//! The agent of Azure Arc: a metadata service for machines elsewhere.
//!
//! Who asks must show that he may read a file that the agent names and only root and its group can
//! read. Whoever listens on the agent's port in its place could so have any file read to him, and
//! so the file must be a key in the agent's own folder.

use crate::http::Answer;
use crate::http::Key;
use crate::identity::arc_key;
use crate::identity::imds::refused;
use crate::identity::no_token::Reason;
use crate::identity::token::NoSense;
use crate::identity::token::Token;
use crate::identity::token_service::Heard;
use crate::identity::token_service::TokenService;

/// Where the agent is unless it says otherwise.
pub(crate) const ADDRESS: &str = "http://127.0.0.1:40342/metadata/identity/oauth2/token";
const API_VERSION: &str = "2020-06-01";

/// The agent, asked for tokens for one resource.
#[derive(Clone, Debug)]
pub(crate) struct AzureArc(pub(crate) TokenService);

impl AzureArc {
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
    let (scheme, named) = challenges.next()?.trim().split_once(' ')?;
    let (what, path) = named.split_once('=')?;
    let is_one = challenges.next().is_none()
        && scheme.eq_ignore_ascii_case("basic")
        && what.trim_start().eq_ignore_ascii_case("realm");
    is_one.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::endpoint::Endpoint;
    use crate::stand_in::Act;
    use crate::stand_in::Server;
    use crate::stand_in::answer;

    const RESOURCE: &str = "https://vault.azure.net";
    async fn asked(server: &Server) -> Result<Token, Reason> {
        let url = format!("http://{}/metadata/identity/oauth2/token", server.address());
        let source = TokenService::new(&Endpoint::parse(&url).unwrap(), None, RESOURCE);
        AzureArc(source.unwrap()).ask().await
    }

    fn challenge(line: &str) -> Act {
        let body = r#"{"error":"unauthorized_client","error_description":"Missing Basic Authorization header"}"#;
        Act::Say(answer(401, &[line], body))
    }

    /// Paths that exist, and that whoever sits on the agent's port would like to have read to him.
    #[tokio::test]
    async fn no_challenge_has_a_file_read_that_is_no_key_of_the_agent() {
        for line in [
            "www-authenticate: Basic realm=/etc/passwd",
            "www-authenticate: Basic realm=/etc/shadow.key",
            "www-authenticate: Basic realm=/var/opt/azcmagent/tokens/../../../../etc/passwd",
            "www-authenticate: Basic realm=\"/var/opt/azcmagent/tokens/a.key\"",
            "www-authenticate: Basic realm=file:///var/opt/azcmagent/tokens/a.key",
            "www-authenticate: Basic realm=",
            "www-authenticate: Basic",
            "www-authenticate: Bearer realm=/var/opt/azcmagent/tokens/a.key",
            "www-authenticate: Basic realm=/var/opt/azcmagent/tokens/a.key\r\nwww-authenticate: Basic realm=/etc/passwd",
            "x-nothing: at all",
        ] {
            let server = Server::plain(move |_, _| challenge(line)).await;
            let reason = asked(&server).await.unwrap_err();
            assert!(matches!(reason, Reason::Nonsense(_)), "{line}: {reason:?}");
            assert_eq!(server.requests(), 1, "{line}");
            assert_eq!(server.heard()[0].header("authorization"), None);
        }
    }

    #[tokio::test]
    async fn its_challenge_is_understood_however_it_is_spelled() {
        for line in [
            "WWW-Authenticate: Basic realm=/var/opt/azcmagent/tokens/none-such.key",
            "WWW-AUTHENTICATE: basic Realm=/var/opt/azcmagent/tokens/none-such.key",
            "www-authenticate:   Basic  realm=/var/opt/azcmagent/tokens/none-such.key ",
        ] {
            let server = Server::plain(move |_, _| challenge(line)).await;
            let reason = asked(&server).await.unwrap_err();
            assert!(matches!(reason, Reason::NoKey(_)), "{line}: {reason:?}");
        }
    }

    #[tokio::test]
    async fn it_is_asked_in_its_own_words() {
        let key = "www-authenticate: Basic realm=/var/opt/azcmagent/tokens/none-such.key";
        let server = Server::plain(move |_, _| challenge(key)).await;
        assert!(matches!(asked(&server).await.unwrap_err(), Reason::NoKey(_)));
        let heard = server.heard();
        assert_eq!(
            heard[0].line(),
            "GET /metadata/identity/oauth2/token?api-version=2020-06-01&resource=https%3A%2F%2Fvault.azure.net HTTP/1.1"
        );
        assert_eq!((heard.len(), heard[0].header("metadata")), (1, Some("true")));
    }

    #[tokio::test]
    async fn a_token_without_a_challenge_is_none_of_the_agents() {
        let reply = crate::stand_in::token_reply("t", "somebody", 60, RESOURCE);
        let server = Server::plain(move |_, _| Act::Say(reply.clone())).await;
        assert!(matches!(asked(&server).await.unwrap_err(), Reason::Nonsense(_)));
    }

    #[tokio::test]
    async fn what_it_says_instead_of_a_challenge_is_understood() {
        let code = Some("invalid_request".to_owned());
        for (status, reason) in [
            (400, Reason::Refused { status: 400, code: code.clone() }),
            (403, Reason::Refused { status: 403, code }),
            (429, Reason::Busy { status: 429 }),
            (500, Reason::Busy { status: 500 }),
        ] {
            let body = r#"{"error":"invalid_request","error_description":"prose"}"#;
            let server = Server::plain(move |_, _| Act::Say(answer(status, &[], body))).await;
            assert_eq!(asked(&server).await.unwrap_err(), reason);
        }
    }
}
