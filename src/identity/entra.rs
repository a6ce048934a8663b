//! Entra's token endpoint: a proof of who somebody is, exchanged for a token.
//!
//! The proof goes in the body of one request to the authority of the vault's cloud. What Entra says
//! instead of a token is told by its numbers alone: its prose names applications and tenants.

use std::fmt;
use std::time::Duration;
use std::time::SystemTime;

use serde::Deserialize;
use url::Url;

use crate::http::Answer;
use crate::http::Client;
use crate::identity::choice::Guid;
use crate::identity::endpoint::Endpoint;
use crate::identity::kind::Kind;
use crate::identity::no_token::Reason;
use crate::identity::tenant::Tenant;
use crate::identity::token::Token;
use crate::identity::token_service::TokenService;
use crate::json;
use crate::model::secret::SecretBytes;

/// One tenant's token endpoint, asked by one principal for tokens for one resource.
#[derive(Clone, Debug)]
pub(crate) struct Entra {
    service: TokenService,
    address: String,
    client_id: Guid,
}

/// What proves who somebody is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Proof<'a> {
    /// A password.
    Secret(&'a SecretBytes),
    /// A signed statement.
    Assertion(&'a SecretBytes),
}

/// Entra's no.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct No {
    status: u16,
    code: Option<String>,
    number: Option<u32>,
    trace: Option<Guid>,
    /// What its clock said.
    pub(crate) time: Option<SystemTime>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_codes: Vec<u32>,
    trace_id: Option<String>,
}

impl Entra {
    /// The endpoint of `tenant` at an authority, `https://HOST`, reached with this client. `None` if
    /// that makes no address.
    pub(crate) fn new(
        http: Client,
        authority: &str,
        tenant: &Tenant,
        client_id: &Guid,
        resource: &str,
    ) -> Option<Self> {
        let base = Url::parse(authority).ok().filter(|url| url.scheme() == "https")?;
        let path = format!("{}/{}{PATH}", base.path().trim_end_matches('/'), tenant.as_str());
        let mut url = base;
        url.set_path(&path);
        let endpoint = Endpoint::parse(url.as_str()).ok()?;
        Some(Self {
            address: endpoint.url().to_string(),
            service: TokenService::over(http, &endpoint, resource),
            client_id: client_id.clone(),
        })
    }

    /// Where it is: for whom an assertion must be.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Whom it is asked for.
    pub(crate) const fn client_id(&self) -> &Guid {
        &self.client_id
    }

    /// Exchanges a proof. `claims` is what a vault wants to see in the token, in its own words.
    pub(crate) async fn exchange(
        &self,
        proof: Proof<'_>,
        claims: Option<&str>,
    ) -> Result<Token, Reason> {
        let scope = format!("{}/.default", self.service.resource());
        let mut fields: Vec<(&str, &[u8])> = vec![
            ("client_id", self.client_id.as_str().as_bytes()),
            ("scope", scope.as_bytes()),
            ("grant_type", b"client_credentials"),
        ];
        match proof {
            Proof::Secret(secret) => fields.push(("client_secret", secret.expose())),
            Proof::Assertion(assertion) => {
                fields.push(("client_assertion_type", JWT_BEARER));
                fields.push(("client_assertion", assertion.expose()));
            }
        }
        if let Some(claims) = claims {
            fields.push(("claims", claims.as_bytes()));
        }
        let heard = self.service.post(&fields, &[]).await?;
        match heard.answer.status {
            200 => self.service.token(&heard),
            _ => Err(refused(&heard.answer)),
        }
    }
}

const PATH: &str = "/oauth2/v2.0/token";
const JWT_BEARER: &[u8] = b"urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a status other than 200 means.
fn refused(answer: &Answer) -> Reason {
    let status = answer.status;
    let refusal: Option<Refusal> = json::object(answer.body.expose());
    let transient = matches!(status, 408 | 429 | 500..)
        || refusal.as_ref().is_some_and(|refusal| TRANSIENT.contains(&refusal.error.as_str()));
    if transient {
        let wait = answer.retry_after().filter(|wait| *wait <= BELIEVED);
        return Reason::Later { status, wait };
    }
    let Some(refusal) = refusal else {
        return Reason::of(status, None);
    };
    let reason = Reason::of(status, Some(refusal.error));
    let Reason::Refused { status, code } = reason else {
        return reason;
    };
    Reason::Entra(No {
        status,
        code,
        number: refusal.error_codes.first().copied(),
        trace: refusal.trace_id.and_then(|trace| Guid::parse(&trace)),
        time: answer.header("date").next().and_then(|at| httpdate::parse_http_date(at).ok()),
    })
}

const TRANSIENT: [&str; 2] = ["temporarily_unavailable", "server_error"];

/// The longest time that Entra is left alone because it says so.
const BELIEVED: Duration = Duration::from_secs(60);

impl No {
    /// Whether the proof was made at a time that is another by Entra's clock.
    pub(crate) fn is_out_of_time(&self) -> bool {
        self.number == Some(OUT_OF_TIME)
    }

    /// Whether only what was given while mounting can be wrong: a secret that is none, a tenant that
    /// there is not. An application, a certificate, a federation can still be registered.
    pub(crate) const fn is_final(&self) -> bool {
        matches!(self.number, Some(BAD_SECRET | OLD_SECRET | NO_TENANT | BAD_TENANT | ODD_TENANT))
    }

    /// What to do about it, where the proof came from such a source.
    pub(crate) fn hint(&self, source: Kind) -> Option<String> {
        let [secret, client_id, tenant] = if source == Kind::From {
            ["the password in the vault", "the appId in the vault", "the tenant in the vault"]
        } else {
            ["AZURE_CLIENT_SECRET", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"]
        };
        let hint = match self.number? {
            BAD_SECRET => format!("{secret} is to hold the secret's value, not its id"),
            OLD_SECRET => format!("the secret has expired: make a new one for {secret}"),
            NO_TENANT | BAD_TENANT | ODD_TENANT => {
                format!("is {tenant} right, and of the vault's cloud?")
            }
            NO_APPLICATION => format!("is {client_id} an application of the tenant in {tenant}?"),
            BAD_KEY => "register the certificate with the application; where its issuer is \
                        trusted instead, set AZURE_CLIENT_SEND_CERTIFICATE_CHAIN=true"
                .to_owned(),
            OUT_OF_TIME => "is this machine's clock right? is the token in \
                            AZURE_FEDERATED_TOKEN_FILE a fresh one?"
                .to_owned(),
            NO_FEDERATION | NO_ISSUER | NO_AUDIENCE | NO_SUBJECT => {
                "give the application a federated credential with the issuer, the subject and the \
                 audience of the token in AZURE_FEDERATED_TOKEN_FILE"
                    .to_owned()
            }
            _ => return None,
        };
        Some(hint)
    }
}

const BAD_SECRET: u32 = 7_000_215;
const OLD_SECRET: u32 = 7_000_222;
const NO_TENANT: u32 = 90_002;
const BAD_TENANT: u32 = 900_021;
const ODD_TENANT: u32 = 900_023;
const NO_APPLICATION: u32 = 700_016;
const BAD_KEY: u32 = 700_027;
const OUT_OF_TIME: u32 = 700_024;
const NO_FEDERATION: u32 = 70_021;
const NO_ISSUER: u32 = 700_211;
const NO_AUDIENCE: u32 = 700_212;
const NO_SUBJECT: u32 = 700_213;

impl fmt::Display for No {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.number {
            Some(BAD_SECRET) => "the client secret is wrong",
            Some(OLD_SECRET) => "the client secret has expired",
            Some(NO_TENANT | BAD_TENANT | ODD_TENANT) => "there is no such tenant",
            Some(NO_APPLICATION) => "the tenant has no such application",
            Some(BAD_KEY) => "the certificate is not the application's",
            Some(OUT_OF_TIME) => "the assertion is out of time",
            Some(NO_FEDERATION | NO_ISSUER | NO_AUDIENCE | NO_SUBJECT) => {
                "no federated credential matches"
            }
            _ => "it refuses",
        })?;
        write!(out, " ({}", self.status)?;
        if let Some(code) = &self.code {
            write!(out, " {code}")?;
        }
        if let Some(number) = self.number {
            write!(out, ", AADSTS{number}")?;
        }
        if let Some(trace) = &self.trace {
            write!(out, ", trace {}", trace.as_str())?;
        }
        out.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::no_token::NoToken;
    use crate::stand_in::Act;
    use crate::stand_in::Authority;
    use crate::stand_in::Server;
    use crate::stand_in::answer;

    const ME: &str = "0f0e0d0c-1111-2222-3333-444455556666";

    async fn exchange(
        claims: Option<&str>,
        status: u16,
        headers: &'static [&'static str],
        body: String,
    ) -> (Result<Token, Reason>, String) {
        let authority = Authority::new("Test CA");
        let acceptor = authority.acceptor(&["localhost"], false);
        let server =
            Server::tls(acceptor, move |_, _| Act::Say(answer(status, headers, &body))).await;
        let http = Client::secure(Some(authority.pem())).unwrap();
        let origin = format!("https://localhost:{}", server.port());
        let tenant = Tenant::parse("contoso.example").unwrap();
        let client_id = Guid::parse(ME).unwrap();
        let resource = "https://vault.azure.net";
        let entra = Entra::new(http, &origin, &tenant, &client_id, resource).unwrap();
        assert_eq!(entra.address(), format!("{origin}/contoso.example/oauth2/v2.0/token"));
        let secret = SecretBytes::new(b"p4ss/+w\xc3\xb6rd".to_vec());
        let told = entra.exchange(Proof::Secret(&secret), claims).await;
        (told, server.heard()[0].body().to_owned())
    }

    fn refusal(code: &str, number: u32) -> String {
        format!(
            r#"{{"error":"{code}","error_description":"AADSTS{number}: alice\r\nTrace ID: x","error_codes":[{number}],"trace_id":"{ME}","correlation_id":"{ME}"}}"#
        )
    }

    #[tokio::test]
    async fn a_proof_and_what_a_vault_wants_to_see_are_posted_as_a_form() {
        let reply = r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"t0ken"}"#;
        let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1726077595"}}}"#;
        let (told, body) = exchange(Some(claims), 200, &[], reply.to_owned()).await;
        let token = told.unwrap();
        assert_eq!(token.secret().expose(), b"t0ken");
        let fields: Vec<(String, String)> =
            url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            fields,
            [
                ("client_id", ME),
                ("scope", "https://vault.azure.net/.default"),
                ("grant_type", "client_credentials"),
                ("client_secret", "p4ss/+w\u{f6}rd"),
                ("claims", claims),
            ]
        );
    }

    #[tokio::test]
    async fn a_no_is_told_by_its_numbers_and_names_what_to_set() {
        for (code, number, is_final, hint) in [
            ("invalid_client", 7_000_215, true, Some("AZURE_CLIENT_SECRET")),
            ("invalid_client", 7_000_222, true, Some("expired")),
            ("invalid_tenant", 90_002, true, Some("AZURE_TENANT_ID")),
            ("unauthorized_client", 700_016, false, Some("AZURE_CLIENT_ID")),
            ("invalid_client", 700_027, false, Some("SEND_CERTIFICATE_CHAIN")),
            ("invalid_client", 700_024, false, Some("clock")),
            ("invalid_request", 70_021, false, Some("federated credential")),
            ("invalid_client", 700_213, false, Some("federated credential")),
            ("interaction_required", 53_003, false, None),
        ] {
            let (told, _) = exchange(None, 401, &[], refusal(code, number)).await;
            let reason = told.unwrap_err();
            let choice = crate::identity::choice::Choice::Auto;
            let no_token = NoToken { reason, source: Kind::ServicePrincipal, choice };
            assert!(no_token.is_refusal());
            assert_eq!(no_token.needs_a_choice(), is_final, "{number}");
            let said = no_token.to_string();
            assert!(said.contains(&format!("401 {code}, AADSTS{number}, trace {ME}")), "{said}");
            assert!(!said.contains("alice"), "{said}");
            let hinted = no_token.hint();
            assert_eq!(hinted.is_some(), hint.is_some(), "{number}: {hinted:?}");
            assert!(hint.is_none_or(|word| hinted.unwrap().contains(word)), "{number}");
            // What a vault holds may be mended there.
            let elsewhere = NoToken { source: Kind::From, ..no_token };
            assert!(!elsewhere.needs_a_choice());
        }
    }

    #[tokio::test]
    async fn what_passes_is_no_refusal_and_says_when() {
        let second = Duration::from_secs(1);
        for (status, headers, body, wait) in [
            (429, &["retry-after: 1"][..], String::new(), Some(second)),
            (429, &["retry-after: 86400"], String::new(), None),
            (503, &[], refusal("temporarily_unavailable", 90_033), None),
            (400, &["retry-after: 1"], refusal("temporarily_unavailable", 50_196), Some(second)),
            (500, &[], "<html>".to_owned(), None),
        ] {
            let (told, _) = exchange(None, status, headers, body).await;
            assert_eq!(told.unwrap_err(), Reason::Later { status, wait });
        }
        let (told, _) = exchange(None, 400, &[], "<html>".to_owned()).await;
        assert_eq!(told.unwrap_err(), Reason::Refused { status: 400, code: None });
        let (told, _) = exchange(None, 307, &["location: https://localhost/"], String::new()).await;
        assert!(matches!(told.unwrap_err(), Reason::Nonsense(_)));
    }
}
