//! Cloud Shell, whose only identity is that of the person who opened it.

use crate::identity::no_token::Reason;
use crate::identity::token::Token;
use crate::identity::token_service::TokenService;

/// Cloud Shell, asked for tokens for one resource.
#[derive(Clone, Debug)]
pub(crate) struct CloudShell(pub(crate) TokenService);

impl CloudShell {
    pub(crate) async fn ask(&self) -> Result<Token, Reason> {
        let fields = [("resource", self.0.resource().as_bytes())];
        let heard = self.0.post(&fields, &[("metadata", "true")]).await?;
        if heard.answer.status == 200 {
            return self.0.token(&heard);
        }
        Err(Reason::of(heard.answer.status, heard.nested_code()))
    }
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
        let url = format!("http://{}/oauth2/token", server.address());
        let source = TokenService::new(&Endpoint::parse(&url).unwrap(), None, RESOURCE);
        CloudShell(source.unwrap()).ask().await
    }

    #[tokio::test]
    async fn it_is_posted_one_field() {
        let server = Server::plain(|_, _| {
            Act::Say(crate::stand_in::token_reply("t", "somebody", 60, RESOURCE))
        })
        .await;
        asked(&server).await.unwrap();
        let heard = server.heard();
        assert_eq!((heard.len(), heard[0].line()), (1, "POST /oauth2/token HTTP/1.1"));
        assert_eq!(heard[0].body(), "resource=https%3A%2F%2Fvault.azure.net");
        let form = Some("application/x-www-form-urlencoded");
        assert_eq!(
            (heard[0].header("content-type"), heard[0].header("metadata")),
            (form, Some("true"))
        );
    }

    #[tokio::test]
    async fn its_codes_are_nested_and_its_prose_is_not_repeated() {
        let body = r#"{"error":{"code":"AudienceNotSupported","message":"Audience https://x.example/ is not supported."}}"#;
        let server = Server::plain(move |_, _| Act::Say(answer(400, &[], body))).await;
        let code = Some("AudienceNotSupported".to_owned());
        assert_eq!(asked(&server).await.unwrap_err(), Reason::Refused { status: 400, code });
        let server = Server::plain(move |_, _| Act::Say(answer(503, &[], body))).await;
        assert_eq!(asked(&server).await.unwrap_err(), Reason::Busy { status: 503 });
    }
}
