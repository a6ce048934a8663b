//! The dialect of 2017, which Azure ML speaks. App Service did before 2019, and where it still does
//! the two cannot be told apart, nor need they be.

use crate::http::Key;
use crate::identity::choice::Choice;
use crate::identity::no_token::Reason;
use crate::identity::token::Token;
use crate::identity::token_service::TokenService;
use crate::model::secret::SecretBytes;

const API_VERSION: &str = "2017-09-01";

/// Azure ML, asked for tokens for one resource.
#[derive(Clone, Debug)]
pub(crate) struct AzureMl(pub(crate) TokenService);

impl AzureMl {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::identity::endpoint::Endpoint;
    use crate::stand_in::Act;
    use crate::stand_in::Server;
    use crate::stand_in::answer;

    const RESOURCE: &str = "https://vault.azure.net";
    const ME: &str = "0f0e0d0c-1111-2222-3333-444455556666";
    async fn asked(server: &Server, choice: &Choice) -> Result<Token, Reason> {
        let url = format!("http://{}/", server.address());
        let source =
            AzureMl(TokenService::new(&Endpoint::parse(&url).unwrap(), None, RESOURCE).unwrap());
        source.ask(choice, &SecretBytes::new(b"secret-1".to_vec())).await
    }

    #[tokio::test]
    async fn it_is_asked_in_its_own_words_and_its_numbers_and_dates_are_read() {
        let numbers = r#"{"access_token":"t","expires_in":85702,"expires_on":1697818980,"resource":"https://vault.azure.net","token_type":"Bearer"}"#;
        let date = r#"{"access_token":"t","expires_on":"05/22/2021 17:14:33 +00:00","resource":"https://vault.azure.net","token_type":"Bearer"}"#;
        let me = Choice::parse(&format!("client-id:{ME}")).unwrap();
        for (choice, tail, body, life) in [
            (Choice::Auto, String::new(), numbers, 85_702),
            (Choice::System, String::new(), date, 86_400),
            (me, format!("&clientid={ME}"), numbers, 85_702),
        ] {
            let clock = ["date: Fri, 21 May 2021 17:14:33 GMT"];
            let server = Server::plain(move |_, _| Act::Say(answer(200, &clock, body))).await;
            let before = clock::now();
            let token = asked(&server, &choice).await.unwrap();
            assert_eq!(token.expires().since(before).as_secs(), life);
            let heard = server.heard();
            assert_eq!(
                heard[0].line(),
                format!(
                    "GET /?api-version=2017-09-01&resource=https%3A%2F%2Fvault.azure.net{tail} HTTP/1.1"
                )
            );
            assert_eq!((heard.len(), heard[0].header("secret")), (1, Some("secret-1")));
            assert_eq!(heard[0].header("metadata"), None);
            assert_eq!(heard[0].header("x-identity-header"), None);
        }
    }

    #[tokio::test]
    async fn what_it_says_instead_of_a_token_is_understood() {
        for (status, reason) in [
            (400, Reason::NoIdentity),
            (401, Reason::Refused { status: 401, code: None }),
            (429, Reason::Busy { status: 429 }),
            (500, Reason::Busy { status: 500 }),
        ] {
            let server = Server::plain(move |_, _| Act::Say(answer(status, &[], "no"))).await;
            assert_eq!(asked(&server, &Choice::Auto).await.unwrap_err(), reason, "{status}");
        }
    }
}
