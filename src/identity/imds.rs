//! The metadata service of an Azure machine (IMDS).
//!
//! It is asked over plain HTTP at a link-local address, never through a proxy. It answers five
//! requests a second to all who ask on the machine together.

use std::time::Duration;

use serde::Deserialize;

use crate::http::Answer;
use crate::http::Client;
use crate::http::Request;
use crate::identity::choice::Choice;
use crate::identity::endpoint::Endpoint;
use crate::identity::endpoint::EndpointError;
use crate::identity::no_token::Reason;
use crate::identity::token::Token;
use crate::identity::token_service::TokenService;
use crate::json;

const ADDRESS: &str = "http://169.254.169.254";
const PATH: &str = "/metadata/identity/oauth2/token";
/// How long is waited for an answer, and how much of it is read.
const PROBE: Duration = Duration::from_secs(1);
const PROBED: usize = 64 * 1024;
const API_VERSION: &str = "2018-02-01";

/// The metadata service, asked for tokens for one resource.
#[derive(Clone, Debug)]
pub(crate) struct Imds(pub(crate) TokenService);

/// Where the service always is, or is said to be by `AZURE_POD_IDENTITY_AUTHORITY_HOST`.
pub(crate) fn endpoint(host: Option<&str>) -> Result<Endpoint, EndpointError> {
    Endpoint::at(PATH, host.unwrap_or(ADDRESS))
}

/// Whether anybody answers there, in a second. He is told nothing, and what he says does not
/// matter: a metadata service refuses a question like that.
pub async fn answers(endpoint: &Endpoint) -> bool {
    let Ok(http) = Client::plain() else {
        return false;
    };
    http.send(Request::get(endpoint.url(), PROBED), PROBE).await.is_ok()
}

impl Imds {
    pub(crate) async fn ask(&self, choice: &Choice) -> Result<Token, Reason> {
        let mut query = vec![("api-version", API_VERSION), ("resource", self.0.resource())];
        match choice {
            // Asked for nobody in particular, the service gives the machine's own identity, or
            // else the only one attached.
            Choice::Auto | Choice::System => {}
            Choice::ClientId(id) => query.push(("client_id", id.as_str())),
            Choice::ObjectId(id) => query.push(("object_id", id.as_str())),
            Choice::ResourceId(id) => query.push(("msi_res_id", id)),
        }
        let heard = self.0.get(&query, &[("metadata", "true")], None).await?;
        match heard.answer.status {
            200 => self.0.token(&heard),
            _ => Err(refused(&heard.answer)),
        }
    }
}

/// What the service and those that speak like it say instead of a token.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

/// What a status other than 200 means. The two refusals that a person can do something about have
/// the same code and differ in their description alone; where it reads otherwise, it is taken for
/// a plain refusal.
pub(crate) fn refused(answer: &Answer) -> Reason {
    let status = answer.status;
    // The service documents 404 and 410 for its own updates; neither says anything of us.
    if matches!(status, 404 | 410) {
        return Reason::Busy { status };
    }
    let refusal: Option<Refusal> = json::object(answer.body.expose());
    let words = refusal.as_ref().and_then(|refusal| refusal.error_description.as_deref());
    let words = words.unwrap_or_default().to_ascii_lowercase();
    if status == 400 && words.contains("identity not found") {
        return Reason::NoIdentity;
    }
    if status == 400 && words.contains("multiple") {
        return Reason::Several;
    }
    Reason::of(status, refusal.map(|refusal| refusal.error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::stand_in::Act;
    use crate::stand_in::Server;
    use crate::stand_in::answer;
    use crate::stand_in::token_reply;

    const RESOURCE: &str = "https://vault.azure.net";
    const ME: &str = "0f0e0d0c-1111-2222-3333-444455556666";

    fn at(server: &Server) -> Imds {
        let host = format!("http://{}", server.address());
        Imds(TokenService::new(&endpoint(Some(&host)).unwrap(), None, RESOURCE).unwrap())
    }

    #[tokio::test]
    async fn each_choice_is_asked_for_by_its_own_parameter_and_no_other() {
        let arm = format!(
            "/subscriptions/{ME}/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/web"
        );
        for (choice, tail) in [
            ("auto".to_owned(), String::new()),
            ("system".to_owned(), String::new()),
            (format!("client-id:{ME}"), format!("&client_id={ME}")),
            (format!("object-id:{ME}"), format!("&object_id={ME}")),
            (format!("resource-id:{arm}"), format!("&msi_res_id={}", arm.replace('/', "%2F"))),
        ] {
            let server = Server::plain(|_, _| Act::Say(token_reply("t", ME, 60, RESOURCE))).await;
            at(&server).ask(&Choice::parse(&choice).unwrap()).await.unwrap();
            let heard = server.heard();
            assert_eq!(heard.len(), 1);
            assert_eq!(
                heard[0].line(),
                format!(
                    "GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net{tail} HTTP/1.1"
                )
            );
            assert_eq!(heard[0].header("metadata"), Some("true"));
            assert_eq!(heard[0].header("authorization"), None);
            assert_eq!(heard[0].header("x-forwarded-for"), None);
        }
    }

    #[test]
    fn the_service_is_where_it_always_is_unless_the_environment_says_otherwise() {
        let always = "http://169.254.169.254/metadata/identity/oauth2/token";
        assert_eq!(endpoint(None).unwrap().url().as_str(), always);
        let elsewhere = endpoint(Some("https://imds.example:8443")).unwrap();
        assert_eq!(
            elsewhere.url().as_str(),
            "https://imds.example:8443/metadata/identity/oauth2/token"
        );
    }

    #[derive(Deserialize)]
    struct Reply {
        asked: String,
        status: u16,
        headers: Vec<String>,
        body: String,
        means: String,
    }

    /// Every file in tests/replies that answers a question about tokens, over the wire.
    #[tokio::test]
    async fn every_reply_on_file_means_what_the_file_says() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/replies");
        let mut count = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let reply: Reply = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            if reply.asked != "token" {
                continue;
            }
            count += 1;
            let means = reply.means.clone();
            let server = Server::plain(move |_, _| {
                let headers: Vec<&str> = reply.headers.iter().map(String::as_str).collect();
                Act::Say(answer(reply.status, &headers, &reply.body))
            })
            .await;
            let asked = clock::now();
            let result = at(&server).ask(&Choice::Auto).await;
            let told = match &result {
                Ok(token) => {
                    let life = token.expires().since(asked);
                    format!("token for {} s", life.as_secs())
                }
                Err(Reason::Nonsense(_)) => "Nonsense".to_owned(),
                Err(reason) => format!("{reason:?}"),
            };
            assert_eq!(told, means, "{}", path.display());
            assert!(!format!("{result:?}").contains("canary"), "{}", path.display());
        }
        assert!(count > 25);
    }
}
