//! Tokens from the metadata service of an Azure machine (IMDS).
//!
//! It is asked over plain HTTP at a link-local address, never through a proxy, and never more than
//! twice a second. What heals by itself is asked again for as long as an update of the service may
//! take; a refusal ends the asking at once.

use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use url::Host;
use url::Url;

use crate::clock;
use crate::http::Answer;
use crate::http::Client;
use crate::http::Error;
use crate::http::Get;
use crate::identity::choice::Choice;
use crate::identity::choice::Guid;
use crate::identity::no_token::NoToken;
use crate::identity::no_token::Reason;
use crate::identity::token::NoSense;
use crate::identity::token::Token;
use crate::json;
use crate::tls::BadRoots;

const ADDRESS: &str = "http://169.254.169.254";
const PATH: &str = "/metadata/identity/oauth2/token";
const API_VERSION: &str = "2018-02-01";

/// A reply is a token of a few KiB and some words.
const CAP: usize = 64 * 1024;

/// How long one try may take. A service that has to fetch the token first takes a second or two.
const TRY: Duration = Duration::from_secs(5);

/// The service answers 5 requests a second to all who ask on the machine together.
pub(crate) const SHORTEST_GAP: Duration = Duration::from_millis(500);
const LONGEST_GAP: Duration = Duration::from_secs(10);

/// An update of the service takes up to 70 s, in which it answers 410.
const PATIENCE: Duration = Duration::from_secs(75);

/// Where the metadata service is, if not where it always is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Endpoint(String);

/// Why a text is no endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EndpointError {
    text: String,
    why: &'static str,
}

/// The metadata service, asked for one identity's tokens for one resource.
#[derive(Clone, Debug)]
pub struct Imds {
    http: Client,
    url: Url,
    resource: String,
    choice: Choice,
}

impl Endpoint {
    /// Takes the value of `AZURE_POD_IDENTITY_AUTHORITY_HOST`: https to anywhere, plain http to
    /// this machine and its own networks, where nobody in between can read the token.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let error = |why| EndpointError { text: text.chars().take(200).collect(), why };
        let url = Url::parse(text).map_err(|_| error("this is no URL"))?;
        let bare = url.username().is_empty() && url.password().is_none();
        if !bare || url.query().is_some() || url.fragment().is_some() || url.path() != "/" {
            return Err(error("this is not scheme, host and port alone"));
        }
        match url.scheme() {
            "https" => {}
            "http" if url.host().is_some_and(|host| is_near(&host)) => {}
            "http" => return Err(error("plain http goes to local and private addresses only")),
            _ => return Err(error("it is neither http nor https")),
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl Imds {
    /// The metadata service at its address, or at `endpoint`; there with the roots in `ca_pem`, if
    /// given.
    pub fn new(
        endpoint: Option<&Endpoint>,
        ca_pem: Option<&[u8]>,
        resource: &str,
        choice: Choice,
    ) -> Result<Self, BadRoots> {
        let base = endpoint.map_or(ADDRESS, |endpoint| &endpoint.0);
        let http =
            if base.starts_with("https:") { Client::secure(ca_pem)? } else { Client::plain()? };
        let url = Url::parse(&format!("{base}{PATH}"));
        Ok(Self {
            http,
            url: url.map_err(|_| BadRoots::new("the metadata service has no address"))?,
            resource: resource.to_owned(),
            choice,
        })
    }

    /// The identity that is asked for.
    pub(crate) const fn choice(&self) -> &Choice {
        &self.choice
    }

    /// Asks until there is a token, or a refusal, or no patience left. `kept` is whom `auto` took
    /// before. Each failure that does not end it is told to `note`.
    pub(crate) async fn fetch(
        &self,
        kept: Option<&Guid>,
        note: impl Fn(NoToken),
    ) -> Result<Token, NoToken> {
        let start = clock::now();
        let mut tries = 0;
        loop {
            let reason = match self.ask_as(kept).await {
                Ok(token) => return Ok(token),
                Err(reason) => reason,
            };
            let no_token = NoToken { reason, choice: self.choice.clone() };
            if no_token.is_refusal() || clock::now().since(start) >= PATIENCE {
                return Err(no_token);
            }
            note(no_token);
            tokio::time::sleep(gap(tries)).await;
            tries += 1;
        }
    }

    /// Under `auto`, whoever was taken first stays: where the service would now give somebody else
    /// or wants a choice, that one is named.
    async fn ask_as(&self, kept: Option<&Guid>) -> Result<Token, Reason> {
        let answer = self.ask(&self.choice).await;
        let Some(kept) = kept.filter(|_| self.choice == Choice::Auto) else {
            return answer;
        };
        let other = match &answer {
            Ok(token) => token.client_id().is_some_and(|id| id != kept),
            Err(reason) => *reason == Reason::Several,
        };
        if !other {
            return answer;
        }
        tokio::time::sleep(SHORTEST_GAP).await;
        self.ask(&Choice::ClientId(kept.clone())).await
    }

    async fn ask(&self, choice: &Choice) -> Result<Token, Reason> {
        let asked = clock::now();
        let get = Get {
            url: &self.url_for(choice),
            bearer: None,
            headers: &[("metadata", "true")],
            cap: CAP,
        };
        let answer = self.http.get(get, TRY).await.map_err(Reason::NoAnswer)?;
        if answer.status != 200 {
            return Err(reason(&answer));
        }
        let date = answer.header("date").next();
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        Token::read(answer.body.expose(), &self.resource, asked, date).map_err(Reason::Nonsense)
    }

    fn url_for(&self, choice: &Choice) -> Url {
        let mut url = self.url.clone();
        let mut query = url.query_pairs_mut();
        query.append_pair("api-version", API_VERSION).append_pair("resource", &self.resource);
        match choice {
            // Asked for nobody in particular, the service gives the machine's own identity, or
            // else the only one attached.
            Choice::Auto | Choice::System => {}
            Choice::ClientId(id) => {
                query.append_pair("client_id", id.as_str());
            }
            Choice::ObjectId(id) => {
                query.append_pair("object_id", id.as_str());
            }
            Choice::ResourceId(id) => {
                query.append_pair("msi_res_id", id);
            }
        }
        drop(query);
        url
    }
}

/// How long to wait after the failure of so many tries.
fn gap(tries: u32) -> Duration {
    let doubled = SHORTEST_GAP.checked_mul(1 << tries.min(8));
    doubled.unwrap_or(LONGEST_GAP).min(LONGEST_GAP)
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

/// What a status other than 200 means. The two refusals that a person can do something about have
/// the same code and differ in their description alone; where it reads otherwise, it is taken for
/// a plain refusal.
fn reason(answer: &Answer) -> Reason {
    let status = answer.status;
    match status {
        // The service documents 404 and 410 for its own updates; neither says anything of us.
        404 | 408 | 410 | 429 | 500.. => return Reason::Busy { status },
        400..500 => {}
        _ => return Reason::Nonsense(NoSense("it answers neither yes nor no")),
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
    let code = refusal.map(|refusal| refusal.error);
    let plain = |code: &String| {
        code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    Reason::Refused { status, code: code.filter(plain) }
}

/// Whether an address is this machine's, or of a network that ends before the internet begins.
fn is_near(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => near_v4(*address),
        Host::Ipv6(address) => near_v6(*address),
    }
}

const fn near_v4(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_link_local() || address.is_private()
}

fn near_v6(address: Ipv6Addr) -> bool {
    match IpAddr::V6(address).to_canonical() {
        IpAddr::V4(address) => near_v4(address),
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unicast_link_local() || address.is_unique_local()
        }
    }
}

impl fmt::Display for EndpointError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {}", self.text, self.why)
    }
}

impl std::error::Error for EndpointError {}

/// Without an answer nothing is known but that there was none.
impl NoToken {
    /// For a caller whose time was up before anything was heard.
    pub(crate) const fn unheard(choice: Choice) -> Self {
        Self { reason: Reason::NoAnswer(Error::TimedOut), choice }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::stand_in::Act;
    use crate::stand_in::Server;
    use crate::stand_in::answer;
    use crate::stand_in::token_reply;

    const RESOURCE: &str = "https://vault.azure.net";
    const ME: &str = "0f0e0d0c-1111-2222-3333-444455556666";
    const SHE: &str = "99999999-1111-2222-3333-444455556666";

    fn at(server: &Server, choice: Choice) -> Imds {
        let endpoint = Endpoint::parse(&format!("http://{}", server.address())).unwrap();
        Imds::new(Some(&endpoint), None, RESOURCE, choice).unwrap()
    }

    fn several() -> Act {
        let body = r#"{"error":"invalid_request","error_description":"Multiple user assigned identities exist"}"#;
        Act::Say(answer(400, &[], body))
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
            let source = at(&server, Choice::parse(&choice).unwrap());
            source.fetch(None, |_| ()).await.unwrap();
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

    #[tokio::test]
    async fn what_heals_is_asked_again_and_each_failure_is_told() {
        let server = Server::plain(|number, _| match number {
            0 => Act::Say(answer(429, &[], "")),
            1 => Act::SayAndClose(answer(410, &[], "")),
            _ => Act::Say(token_reply("t", ME, 60, RESOURCE)),
        })
        .await;
        let told = Mutex::new(Vec::new());
        let source = at(&server, Choice::Auto);
        let note = |no_token: NoToken| told.lock().push(no_token.reason);
        source.fetch(None, note).await.unwrap();
        let busy = |status| Reason::Busy { status };
        assert_eq!(*told.lock(), [busy(429), busy(410)]);
        assert_eq!(server.requests(), 3);
    }

    #[tokio::test]
    async fn a_refusal_ends_the_asking_at_once() {
        let server = Server::plain(|_, _| several()).await;
        let no_token = at(&server, Choice::Auto).fetch(None, |_| ()).await;
        let no_token = no_token.unwrap_err();
        assert!(no_token.is_refusal() && no_token.needs_a_choice());
        assert!(no_token.hint().unwrap().contains("identity=client-id:GUID"));
        assert_eq!(server.requests(), 1);
    }

    #[tokio::test]
    async fn only_a_question_that_is_wrong_for_ever_needs_another_command_line() {
        for (status, hopeless) in [(400, true), (401, false), (403, false)] {
            let server = Server::plain(move |_, _| Act::Say(answer(status, &[], "no"))).await;
            let no_token = at(&server, Choice::Auto).fetch(None, |_| ()).await.unwrap_err();
            assert!(no_token.is_refusal());
            assert_eq!(no_token.needs_a_choice(), hopeless, "{status}");
        }
    }

    #[tokio::test]
    async fn a_redirect_takes_the_question_nowhere() {
        let other = Server::plain(|_, _| Act::Say(token_reply("evil", ME, 60, RESOURCE))).await;
        let line = format!("location: http://{}/", other.address());
        let server = Server::plain(move |number, _| match number {
            0 => Act::Say(answer(307, &[&line], "")),
            _ => Act::Say(token_reply("t", ME, 60, RESOURCE)),
        })
        .await;
        let token = at(&server, Choice::Auto).fetch(None, |_| ()).await.unwrap();
        assert_eq!(token.secret().expose(), b"t");
        assert_eq!(other.connections(), 0);
    }

    #[tokio::test]
    async fn whoever_was_taken_first_is_named_once_there_are_others() {
        let me = Guid::parse(ME).unwrap();
        for default_is_she in [true, false] {
            let server = Server::plain(move |_, heard| {
                if heard.line().contains(&format!("client_id={ME} ")) {
                    Act::Say(token_reply("mine", ME, 60, RESOURCE))
                } else if default_is_she {
                    Act::Say(token_reply("hers", SHE, 60, RESOURCE))
                } else {
                    several()
                }
            })
            .await;
            let token = at(&server, Choice::Auto).fetch(Some(&me), |_| ()).await;
            assert_eq!(token.unwrap().secret().expose(), b"mine");
            assert_eq!(server.requests(), 2);
        }
    }

    #[tokio::test]
    async fn whoever_was_taken_first_need_not_be_named_while_alone() {
        let me = Guid::parse(ME).unwrap();
        let server = Server::plain(|_, _| Act::Say(token_reply("mine", ME, 60, RESOURCE))).await;
        let source = at(&server, Choice::Auto);
        source.fetch(Some(&me), |_| ()).await.unwrap();
        assert!(!server.heard()[0].line().contains("client_id"));
        assert_eq!(server.requests(), 1);
    }

    /// The service's limit is 5 a second for all on the machine; its updates take 70 s.
    #[test]
    fn tries_come_at_most_twice_a_second_and_go_on_past_an_update() {
        let mut at = Duration::ZERO;
        let mut tries = 0;
        while at < PATIENCE {
            assert!(gap(tries) >= Duration::from_millis(500));
            assert!(gap(tries) >= gap(tries.saturating_sub(1)));
            at += gap(tries);
            tries += 1;
        }
        assert!(PATIENCE >= Duration::from_secs(70));
        assert!((10..=20).contains(&tries), "{tries}");
        assert_eq!(gap(u32::MAX), LONGEST_GAP);
    }

    #[test]
    fn plain_http_stays_on_this_machine_and_its_networks() {
        for good in [
            "http://127.0.0.1:40342",
            "http://localhost:8080/",
            "http://169.254.169.254",
            "http://10.1.2.3",
            "http://172.16.0.1",
            "http://192.168.1.1",
            "http://[::1]:80",
            "http://[fe80::1]",
            "http://[fd00::1]",
            "http://[::ffff:10.0.0.1]",
            "https://imds.example",
            "https://203.0.113.1:8443",
        ] {
            let endpoint = Endpoint::parse(good).expect(good);
            assert!(Url::parse(&format!("{}{PATH}", endpoint.0)).is_ok(), "{good}");
        }
        for bad in [
            "",
            "169.254.169.254",
            "ftp://127.0.0.1",
            "http://imds.example",
            "http://8.8.8.8",
            "http://172.32.0.1",
            "http://[2001:db8::1]",
            "http://[::ffff:8.8.8.8]",
            "http://me@127.0.0.1",
            "http://127.0.0.1/metadata",
            "http://127.0.0.1/?x",
            "http://127.0.0.1/#x",
            "http://localhost.evil.example",
        ] {
            let error = Endpoint::parse(bad).expect_err(bad);
            assert!(error.to_string().contains(&format!("{bad:?}")));
        }
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
            let result = at(&server, Choice::Auto).ask(&Choice::Auto).await;
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
