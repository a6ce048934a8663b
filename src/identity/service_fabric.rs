//! A Service Fabric cluster, which chooses the identity itself.
//!
//! Its certificate is its own and nobody vouches for it: the one whose thumbprint the environment
//! names is accepted, and no other.

use crate::http::Client;
use crate::http::Key;
use crate::identity::endpoint::Endpoint;
use crate::identity::no_token::Reason;
use crate::identity::token::Token;
use crate::identity::token_service::TokenService;
use crate::model::secret::SecretBytes;
use crate::tls::BadRoots;
use crate::tls::Thumbprint;

const API_VERSION: &str = "2019-07-01-preview";

/// A cluster, asked for tokens for one resource.
#[derive(Clone, Debug)]
pub(crate) struct ServiceFabric(TokenService);

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
        let code = heard.nested_code();
        match (heard.answer.status, code.as_deref()) {
            (404, _) | (_, Some("ManagedIdentityNotFound")) => Err(Reason::NoIdentity),
            (status, _) => Err(Reason::of(status, code)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Error;
    use crate::stand_in::Act;
    use crate::stand_in::Server;
    use crate::stand_in::answer;
    use crate::stand_in::shows;
    use crate::stand_in::unvouched;
    use crate::tls::BadCertificate;
    use crate::tls::Flaw;

    const RESOURCE: &str = "https://vault.azure.net";
    const TOKEN: &str = r#"{"token_type":"Bearer","access_token":"t","expires_on":1605311274,"resource":"https://vault.azure.net"}"#;
    const DATE: &str = "date: Fri, 13 Nov 2020 00:05:49 GMT";

    async fn cluster(status: u16, body: &'static str) -> (Server, Thumbprint) {
        let (certificate, key) = unvouched();
        let script = move |_, _: &_| Act::Say(answer(status, &[DATE], body));
        (Server::tls(shows(&certificate, &key), script).await, Thumbprint::of(&certificate))
    }

    async fn asked(server: &Server, thumbprint: Thumbprint) -> Result<Token, Reason> {
        // An address and not a name: its certificate is for neither.
        let url = format!("https://{}/metadata/identity/oauth2/token", server.address());
        let endpoint = Endpoint::parse(&url).unwrap();
        let source = ServiceFabric::new(&endpoint, thumbprint, RESOURCE).unwrap();
        source.ask(&SecretBytes::new(b"header-1".to_vec())).await
    }

    #[tokio::test]
    async fn it_is_asked_in_its_own_words_where_its_certificate_is_the_one_expected() {
        let (server, thumbprint) = cluster(200, TOKEN).await;
        asked(&server, thumbprint).await.unwrap();
        let heard = server.heard();
        assert_eq!(
            heard[0].line(),
            "GET /metadata/identity/oauth2/token?api-version=2019-07-01-preview&resource=https%3A%2F%2Fvault.azure.net HTTP/1.1"
        );
        assert_eq!((heard.len(), heard[0].header("secret")), (1, Some("header-1")));
        assert_eq!(heard[0].header("x-identity-header"), None);
    }

    #[tokio::test]
    async fn whoever_shows_another_certificate_hears_nothing() {
        let (server, _) = cluster(200, TOKEN).await;
        let (_, other) = cluster(200, TOKEN).await;
        let reason = asked(&server, other).await.unwrap_err();
        let Reason::NoAnswer(Error::Tls(BadCertificate { flaw, .. })) = reason else {
            panic!("{reason:?}");
        };
        assert_eq!((flaw, server.requests()), (Flaw::Thumbprint, 0));
        assert!(flaw.hint().unwrap().contains("IDENTITY_SERVER_THUMBPRINT"));
    }

    /// The certificate is no secret: the cluster shows it to everybody.
    #[tokio::test]
    async fn whoever_shows_the_right_certificate_without_its_key_hears_nothing() {
        let (certificate, _) = unvouched();
        let (_, other_key) = unvouched();
        let acceptor = shows(&certificate, &other_key);
        let server = Server::tls(acceptor, |_, _| Act::Say(answer(200, &[DATE], TOKEN))).await;
        let reason = asked(&server, Thumbprint::of(&certificate)).await.unwrap_err();
        assert!(matches!(reason, Reason::NoAnswer(Error::Tls(_))), "{reason:?}");
        assert_eq!(server.requests(), 0);
    }

    #[tokio::test]
    async fn what_it_says_instead_of_a_token_is_understood() {
        let none = r#"{"error":{"code":"ManagedIdentityNotFound","message":"prose"}}"#;
        let header = r#"{"error":{"code":"SecretHeaderNotFound","message":"prose"}}"#;
        let code = Some("SecretHeaderNotFound".to_owned());
        for (status, body, reason) in [
            (404, none, Reason::NoIdentity),
            (404, "", Reason::NoIdentity),
            (401, header, Reason::Refused { status: 401, code }),
            (429, "", Reason::Busy { status: 429 }),
            (500, header, Reason::Busy { status: 500 }),
        ] {
            let (server, thumbprint) = cluster(status, body).await;
            assert_eq!(asked(&server, thumbprint).await.unwrap_err(), reason, "{status}");
        }
    }
}
