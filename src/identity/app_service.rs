//! App Service as it has spoken since 2019: Functions, Container Apps and Automation too.

use crate::http::Key;
use crate::identity::choice::Choice;
use crate::identity::no_token::Reason;
use crate::identity::token::Token;
use crate::identity::token_service::TokenService;
use crate::model::secret::SecretBytes;

const API_VERSION: &str = "2019-08-01";

/// App Service, asked for tokens for one resource.
#[derive(Clone, Debug)]
pub(crate) struct AppService(pub(crate) TokenService);

impl AppService {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::endpoint::Endpoint;
    use crate::stand_in::Act;
    use crate::stand_in::Server;
    use crate::stand_in::answer;

    const RESOURCE: &str = "https://vault.azure.net";
    const ME: &str = "0f0e0d0c-1111-2222-3333-444455556666";
    const TOKEN: &str = r#"{"access_token":"t","expires_on":"1621703673","resource":"https://vault.azure.net","token_type":"Bearer","client_id":"0f0e0d0c-1111-2222-3333-444455556666"}"#;
    const DATE: &str = "date: Fri, 21 May 2021 17:14:33 GMT";

    async fn asked(server: &Server, choice: &Choice) -> Result<Token, Reason> {
        let url = format!("http://{}/msi/token", server.address());
        let source =
            AppService(TokenService::new(&Endpoint::parse(&url).unwrap(), None, RESOURCE).unwrap());
        source.ask(choice, &SecretBytes::new(b"header-1".to_vec())).await
    }

    #[tokio::test]
    async fn it_is_asked_in_its_own_words_for_each_choice() {
        let arm = format!(
            "/subscriptions/{ME}/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/web"
        );
        for (choice, tail) in [
            ("auto".to_owned(), String::new()),
            ("system".to_owned(), String::new()),
            (format!("client-id:{ME}"), format!("&client_id={ME}")),
            (format!("object-id:{ME}"), format!("&object_id={ME}")),
            (format!("resource-id:{arm}"), format!("&mi_res_id={}", arm.replace('/', "%2F"))),
        ] {
            let server = Server::plain(|_, _| Act::Say(answer(200, &[DATE], TOKEN))).await;
            let token = asked(&server, &Choice::parse(&choice).unwrap()).await.unwrap();
            assert_eq!(token.client_id().unwrap().as_str(), ME);
            let heard = server.heard();
            assert_eq!(heard.len(), 1);
            assert_eq!(
                heard[0].line(),
                format!(
                    "GET /msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fvault.azure.net{tail} HTTP/1.1"
                )
            );
            assert_eq!(heard[0].header("x-identity-header"), Some("header-1"));
            assert_eq!(heard[0].header("authorization"), None);
            assert_eq!(heard[0].header("secret"), None);
        }
    }

    #[tokio::test]
    async fn what_it_says_instead_of_a_token_is_understood() {
        let lower = r#"{"statusCode":400,"message":"Unable to load the proper Managed Identity."}"#;
        let upper = r#"{"StatusCode":400,"Message":"No Managed Identity found for specified ClientId/ResourceId/PrincipalId."}"#;
        let refused = |status| Reason::Refused { status, code: None };
        for (status, body, reason) in [
            (400, lower, Reason::NoIdentity),
            (400, upper, Reason::NoIdentity),
            (401, "", refused(401)),
            (403, "<html>", refused(403)),
            (404, "", refused(404)),
            (429, "", Reason::Busy { status: 429 }),
            (500, "{}", Reason::Busy { status: 500 }),
            (503, "", Reason::Busy { status: 503 }),
        ] {
            let server = Server::plain(move |_, _| Act::Say(answer(status, &[], body))).await;
            assert_eq!(asked(&server, &Choice::Auto).await.unwrap_err(), reason, "{status}");
        }
    }
}
