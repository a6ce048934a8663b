//! Asks one vault, with the token that is for it.
//!
//! A token goes with every request and to this vault alone. A 401 is worth one new token and one
//! more try. Everything else that may heal is the caller's to try again: pace and patience belong
//! to the rules of the cache.

use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use url::Url;

use crate::clock;
use crate::http;
use crate::http::Answer;
use crate::http::Client;
use crate::http::Key;
use crate::http::Request;
use crate::identity::token::Token;
use crate::identity::tokens::Tokens;
use crate::log;
use crate::model::failure::Denial;
use crate::model::failure::Failure;
use crate::model::failure::Refusal;
use crate::model::failure::Why;
use crate::model::moment::Moment;
use crate::model::name::SecretName;
use crate::model::name::VersionId;
use crate::model::secret::Secret;
use crate::vault::address::VaultAddress;
use crate::vault::challenge;
use crate::vault::challenge::Challenge;
use crate::vault::problem::BELIEVED;
use crate::vault::problem::Detail;
use crate::vault::problem::Problem;
use crate::vault::request;
use crate::vault::request::NextLink;
use crate::vault::response;
use crate::vault::response::Found;
use crate::vault::response::Misshapen;
use crate::vault::response::Page;

/// One vault, and the means to ask it.
#[derive(Clone, Debug)]
pub struct Vault {
    address: Arc<VaultAddress>,
    http: Client,
    tokens: Tokens,
}

/// Why an answer was none, before it is known what was asked.
struct Trouble {
    why: Why,
    retry_after: Option<Duration>,
    detail: Detail,
}

impl Vault {
    /// The vault at `address`, asked over `http`, which must be a secure client, with tokens for
    /// the address's resource.
    #[must_use]
    pub fn new(address: VaultAddress, http: Client, tokens: Tokens) -> Self {
        Self { address: Arc::new(address), http, tokens }
    }

    /// Where the vault is.
    #[must_use]
    pub fn address(&self) -> &VaultAddress {
        &self.address
    }

    /// The secret of exactly this name, in its newest version or in the one given. Where the vault
    /// spells the name in another case it is missing.
    pub async fn secret(
        &self,
        name: &SecretName,
        version: Option<VersionId>,
        deadline: Moment,
    ) -> Result<Secret, Problem> {
        let found = self.find(name, version, deadline).await?;
        if found.name == *name {
            return Ok(found.secret);
        }
        let trouble = Trouble {
            why: Refusal::Missing.into(),
            retry_after: None,
            detail: Detail::OtherCase(found.name),
        };
        Err(self.problem(trouble, Some(name)))
    }

    /// The secret of this name in whatever case, as the vault itself compares names.
    pub async fn find(
        &self,
        name: &SecretName,
        version: Option<VersionId>,
        deadline: Moment,
    ) -> Result<Found, Problem> {
        let url = request::secret(&self.address, name, version);
        let asked = async {
            let answer = self.ask(url, response::SECRET_CAP, deadline).await?;
            let body = answer.body.expose();
            let mut found = response::secret(body, &self.address, name, version)?;
            found.secret.date = date(&answer);
            Ok::<_, Trouble>(found)
        };
        asked.await.map_err(|trouble| self.problem(trouble, Some(name)))
    }

    /// The first page of the list of secrets, or the one that another page named as its next.
    pub async fn page(&self, next: Option<&NextLink>, deadline: Moment) -> Result<Page, Problem> {
        let url = match next {
            Some(link) => Some(link.url().clone()),
            None => request::first_page(&self.address),
        };
        let asked = async {
            let answer = self.ask(url, response::PAGE_CAP, deadline).await?;
            let page = response::page(answer.body.expose(), &self.address)?;
            if page.dropped > 0 {
                log::debug(format_args!("{} names on a page can be no secret's", page.dropped));
            }
            Ok::<_, Trouble>(page)
        };
        asked.await.map_err(|mut trouble| {
            // A list is never missing: only a secret is.
            if trouble.why == Refusal::Missing.into() {
                trouble.why = Failure::Nonsense.into();
            }
            self.problem(trouble, None)
        })
    }

    /// The answer to a request, if its status is 200.
    async fn ask(&self, url: Option<Url>, cap: usize, deadline: Moment) -> Result<Answer, Trouble> {
        let url = url.ok_or(Misshapen("the address makes no URL"))?;
        let mut token = self.token(deadline).await?;
        let mut answer = self.send(&url, &token, cap, deadline).await?;
        if answer.status == 401 {
            // Compared before anything else is done: a host that wants another token gets none.
            let challenge = self.challenge(&answer);
            let foreign = matches!(challenge, Challenge::Other { .. });
            let lacked = challenge::claims(answer.header("www-authenticate"));
            if foreign || !self.tokens.invalidate(&token, lacked) {
                return Err(unauthorized(challenge));
            }
            // Several callers may have been refused the same token: they share the next one.
            token = self.token(deadline).await?;
            answer = self.send(&url, &token, cap, deadline).await?;
        }
        if matches!(answer.status, 200 | 403 | 404) {
            self.tokens.accepted(&token);
        }
        match answer.status {
            200 => Ok(answer),
            401 => Err(unauthorized(self.challenge(&answer))),
            _ => Err(refused(&answer)),
        }
    }

    async fn token(&self, deadline: Moment) -> Result<Arc<Token>, Trouble> {
        let token = self.tokens.token(deadline).await;
        token.map_err(|no_token| Trouble {
            why: if no_token.is_refusal() { Failure::NoIdentity } else { Failure::NoToken }.into(),
            retry_after: None,
            detail: Detail::NoToken(no_token),
        })
    }

    async fn send(
        &self,
        url: &Url,
        token: &Token,
        cap: usize,
        deadline: Moment,
    ) -> Result<Answer, Trouble> {
        let request = Request {
            key: Some(Key::Bearer(token.secret())),
            headers: &[("accept", "application/json")],
            ..Request::get(url, cap)
        };
        let left = deadline.since(clock::now());
        self.http.send(request, left).await.map_err(Trouble::from)
    }

    fn challenge(&self, answer: &Answer) -> Challenge {
        Challenge::read(answer.header("www-authenticate"), &self.address)
    }

    fn problem(&self, trouble: Trouble, name: Option<&SecretName>) -> Problem {
        Problem {
            why: trouble.why,
            retry_after: trouble.retry_after,
            detail: trouble.detail,
            host: self.address.host().to_owned(),
            name: name.cloned(),
        }
    }
}

impl From<Misshapen> for Trouble {
    fn from(why: Misshapen) -> Self {
        Self { why: Failure::Nonsense.into(), retry_after: None, detail: Detail::Misshapen(why) }
    }
}

impl From<http::Error> for Trouble {
    fn from(error: http::Error) -> Self {
        let failure = match error {
            http::Error::Garbled | http::Error::TooLarge => Failure::Nonsense,
            http::Error::TimedOut
            | http::Error::NoName
            | http::Error::NoResolver
            | http::Error::NoRoute(_)
            | http::Error::Tls(_)
            | http::Error::Broken => Failure::Unreachable,
        };
        Self { why: failure.into(), retry_after: None, detail: Detail::NoAnswer(error) }
    }
}

fn unauthorized(challenge: Challenge) -> Trouble {
    Trouble {
        why: Failure::Unauthorized.into(),
        retry_after: None,
        detail: Detail::Unauthorized(challenge),
    }
}

/// What an answer means that is neither 200 nor 401.
fn refused(answer: &Answer) -> Trouble {
    let code = response::code(answer.body.expose());
    let inner = code.as_ref().and_then(|code| code.inner.as_deref());
    let outer = code.as_ref().map(|code| code.code.as_str());
    let why: Why = match (answer.status, outer) {
        (403, Some(_)) => denied(inner).into(),
        (404, Some("SecretNotFound")) => Refusal::Missing.into(),
        // Nobody but the vault speaks over its certificate, and no gateway refuses without a page.
        (403, None) if answer.body.expose().is_empty() => denied(None).into(),
        // A page of some proxy or gateway on the way, and not the vault's word: no refusal.
        (403 | 404, None) => Failure::Unreachable.into(),
        (429, _) => Failure::Throttled.into(),
        (408 | 500.., _) => Failure::Unreachable.into(),
        _ => Failure::Nonsense.into(),
    };
    let request = answer.header("x-ms-request-id").next();
    Trouble {
        why,
        retry_after: answer.retry_after().map(|wait| wait.min(BELIEVED)),
        detail: Detail::Status {
            status: answer.status,
            request: request.map(ToOwned::to_owned).and_then(response::word),
            peer: answer.peer,
            code,
        },
    }
}

/// Codes that are not known here are taken as the vault's no to this caller.
fn denied(inner: Option<&str>) -> Refusal {
    match inner {
        Some("SecretDisabled") => Refusal::Disabled,
        Some("ForbiddenByRbac") => Refusal::Denied(Denial::Role),
        Some("ForbiddenByFirewall") => Refusal::Denied(Denial::Firewall),
        Some("ForbiddenByConnection") => Refusal::Denied(Denial::Connection),
        _ => Refusal::Denied(Denial::Policy),
    }
}

/// What the vault's clock shows, in seconds since 1970.
fn date(answer: &Answer) -> Option<i64> {
    let date = httpdate::parse_http_date(answer.header("date").next()?).ok()?;
    let since = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;

    use serde::Deserialize;

    use super::*;
    use crate::identity::choice::Choice;
    use crate::identity::source::Source;
    use crate::stand_in::Act;
    use crate::stand_in::Authority;
    use crate::stand_in::Heard;
    use crate::stand_in::Server;
    use crate::stand_in::answer;
    use crate::stand_in::token_reply;

    const RESOURCE: &str = "https://vault.azure.net";
    const ID: &str = "0123456789abcdef0123456789abcdef";
    const APP: &str = "00000000-1111-2222-3333-444444444444";

    struct World {
        server: Server,
        imds: Server,
        vault: Vault,
    }

    impl World {
        async fn with(script: impl Fn(usize, &Heard) -> Act + Send + Sync + 'static) -> Self {
            let authority = Authority::new("Test CA");
            let acceptor = authority.acceptor(&["localhost"], false);
            let server = Server::tls(acceptor, script).await;
            let imds = Server::plain(|number, _| {
                Act::Say(token_reply(&format!("t{number}"), APP, 86_400, RESOURCE))
            })
            .await;
            let source = Source::imds(imds.address(), Choice::Auto);
            let host = format!("localhost:{}", server.port());
            let authority_host = Some("https://login.example");
            let address = VaultAddress::parse(&host, Some(RESOURCE), authority_host).unwrap();
            let http = Client::secure(Some(authority.pem())).unwrap();
            let vault = Vault::new(address, http, Tokens::new(source, None));
            Self { server, imds, vault }
        }

        async fn secret(&self) -> Result<Secret, Problem> {
            let name = SecretName::parse("db-1").unwrap();
            let deadline = clock::now() + Duration::from_secs(10);
            self.vault.secret(&name, None, deadline).await
        }

        async fn page(&self) -> Result<Page, Problem> {
            let deadline = clock::now() + Duration::from_secs(10);
            self.vault.page(None, deadline).await
        }

        fn tokens_seen(&self) -> Vec<String> {
            let heard = self.server.heard();
            let seen = heard.iter().map(|heard| heard.header("authorization"));
            seen.map(|token| token.unwrap_or("none").to_owned()).collect()
        }
    }

    fn bundle(host: &str) -> Vec<u8> {
        let body = format!(
            r#"{{"value":"s3cret","id":"https://{host}/secrets/db-1/{ID}","attributes":{{"created":1}}}}"#
        );
        answer(200, &[], &body)
    }

    fn host(heard: &Heard) -> String {
        heard.header("host").unwrap().to_owned()
    }

    fn challenge(resource: &str) -> Vec<u8> {
        let line = format!(
            "www-authenticate: Bearer authorization=\"https://login.example/1\", resource=\"{resource}\""
        );
        let body = r#"{"error":{"code":"Unauthorized","message":"AKV10000"}}"#;
        answer(401, &[&line], body)
    }

    #[tokio::test]
    async fn a_first_secret_costs_one_token_and_one_request() {
        let world = World::with(|_, heard| Act::Say(bundle(&host(heard)))).await;
        assert_eq!(world.secret().await.unwrap().value.expose(), b"s3cret");
        assert_eq!(world.tokens_seen(), ["Bearer t0"]);
        let heard = world.server.heard();
        assert_eq!(heard[0].line(), "GET /secrets/db-1?api-version=7.4 HTTP/1.1");
        assert_eq!(heard[0].header("accept"), Some("application/json"));
        world.secret().await.unwrap();
        assert_eq!((world.server.requests(), world.imds.requests()), (2, 1));
        assert_eq!(world.server.connections(), 1);
    }

    #[tokio::test]
    async fn a_401_is_worth_one_new_token_and_one_more_try() {
        let world = World::with(|number, heard| match number {
            0 => Act::Say(challenge(RESOURCE)),
            _ => Act::Say(bundle(&host(heard))),
        })
        .await;
        world.secret().await.unwrap();
        assert_eq!(world.tokens_seen(), ["Bearer t0", "Bearer t1"]);
        assert_eq!(world.imds.requests(), 2);
    }

    #[tokio::test]
    async fn a_vault_that_takes_no_token_gets_no_more_than_two() {
        let world = World::with(|_, _| Act::Say(challenge(RESOURCE))).await;
        let problem = world.secret().await.unwrap_err();
        assert_eq!(problem.why, Failure::Unauthorized.into());
        assert_eq!(world.tokens_seen(), ["Bearer t0", "Bearer t1"]);
        for _ in 0..3 {
            let problem = world.secret().await.unwrap_err();
            assert_eq!(problem.why, Failure::Unauthorized.into());
        }
        assert_eq!((world.server.requests(), world.imds.requests()), (5, 2));
    }

    #[tokio::test]
    async fn a_host_that_wants_another_token_gets_none_however_often_it_asks() {
        for resource in ["https://management.azure.com", "https://vault.azure.net.evil.example"] {
            let world = World::with(move |_, _| Act::Say(challenge(resource))).await;
            for _ in 0..3 {
                let problem = world.secret().await.unwrap_err();
                assert_eq!(problem.why, Failure::Unauthorized.into());
                assert!(problem.to_string().contains(resource), "{problem}");
            }
            assert_eq!(world.server.requests(), 3);
            let asked = world.imds.heard();
            assert_eq!(asked.len(), 1);
            assert!(asked[0].line().contains("resource=https%3A%2F%2Fvault.azure.net "));
        }
    }

    #[tokio::test]
    async fn tokens_taken_back_one_after_another_are_each_replaced() {
        let world = World::with(|number, heard| match number {
            0 | 3 | 5 => Act::Say(challenge(RESOURCE)),
            _ => Act::Say(bundle(&host(heard))),
        })
        .await;
        for _ in 0..4 {
            world.secret().await.unwrap();
        }
        assert_eq!((world.server.requests(), world.imds.requests()), (7, 4));
    }

    #[tokio::test]
    async fn a_403_is_the_vaults_no_unless_it_is_some_gateways_page() {
        for (body, why) in [
            ("", Refusal::Denied(Denial::Policy).into()),
            (r#"{"error":{"code":"Forbidden"}}"#, Refusal::Denied(Denial::Policy).into()),
            ("<html>Blocked</html>", Failure::Unreachable.into()),
        ] {
            let world = World::with(move |_, _| Act::Say(answer(403, &[], body))).await;
            assert_eq!(world.secret().await.unwrap_err().why, why, "{body}");
        }
    }

    #[tokio::test]
    async fn a_redirect_takes_no_token_anywhere() {
        let world = World::with(|_, _| {
            Act::Say(answer(307, &["location: https://localhost:1/secrets/db-1"], ""))
        })
        .await;
        let problem = world.secret().await.unwrap_err();
        assert_eq!(problem.why, Failure::Nonsense.into());
        assert_eq!(world.server.requests(), 1);
    }

    #[tokio::test]
    async fn without_a_token_the_vault_is_not_asked() {
        let world = World::with(|_, _| Act::Hang).await;
        let none = Server::plain(|_, _| {
            let body = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
            Act::Say(answer(400, &[], body))
        })
        .await;
        let source = Source::imds(none.address(), Choice::Auto);
        let vault = Vault { tokens: Tokens::new(source, None), ..world.vault.clone() };
        let deadline = clock::now() + Duration::from_secs(10);
        let problem = vault.page(None, deadline).await.unwrap_err();
        assert_eq!(problem.why, Failure::NoIdentity.into());
        assert!(problem.hint().unwrap().contains("identity=client-id:GUID"));
        assert_eq!(world.server.connections(), 0);
    }

    #[tokio::test]
    async fn a_silent_vault_is_left_at_the_deadline() {
        let world = World::with(|_, _| Act::Hang).await;
        let name = SecretName::parse("db-1").unwrap();
        let deadline = clock::now() + Duration::from_millis(500);
        let problem = world.vault.secret(&name, None, deadline).await.unwrap_err();
        assert_eq!(problem.why, Failure::Unreachable.into());
        assert!(matches!(problem.detail, Detail::NoAnswer(http::Error::TimedOut)));
        assert_eq!(world.server.requests(), 1);
    }

    #[tokio::test]
    async fn the_link_to_the_next_page_is_followed_as_it_stands() {
        let world = World::with(|number, heard| {
            let next = format!("https://{}/secrets?api-version=7.4&$skiptoken=eyJ", host(heard));
            let body = match number {
                0 => format!(r#"{{"value":[],"nextLink":"{next}"}}"#),
                _ => r#"{"value":[],"nextLink":null}"#.to_owned(),
            };
            Act::Say(answer(200, &[], &body))
        })
        .await;
        let deadline = clock::now() + Duration::from_secs(10);
        let first = world.page().await.unwrap();
        let last = world.vault.page(first.next.as_ref(), deadline).await.unwrap();
        assert!(last.next.is_none());
        let heard = world.server.heard();
        let lines: Vec<&str> = heard.iter().map(Heard::line).collect();
        assert_eq!(
            lines,
            [
                "GET /secrets?api-version=7.4&maxresults=25 HTTP/1.1",
                "GET /secrets?api-version=7.4&$skiptoken=eyJ HTTP/1.1",
            ]
        );
    }

    #[tokio::test]
    async fn a_body_over_its_cap_is_nonsense() {
        let world =
            World::with(|_, _| Act::Say(answer(200, &[], &" ".repeat(response::SECRET_CAP + 1))))
                .await;
        assert_eq!(world.secret().await.unwrap_err().why, Failure::Nonsense.into());
        let hundred_thousand = r#"{"id":"https://a.example/secrets/a"},"#.repeat(100_000);
        let world = World::with(move |_, _| {
            let body = format!(r#"{{"value":[{hundred_thousand}]}}"#);
            Act::Say(answer(200, &[], &body))
        })
        .await;
        assert_eq!(world.page().await.unwrap_err().why, Failure::Nonsense.into());
    }

    #[tokio::test]
    async fn retry_after_is_believed_up_to_a_minute() {
        let date = "date: Tue, 02 Apr 2024 17:25:00 GMT";
        for (lines, seconds) in [
            (vec!["retry-after: 1"], Some(1)),
            (vec!["retry-after: 30"], Some(30)),
            (vec!["retry-after: 3600"], Some(60)),
            (vec!["retry-after: 99999999999999999999999"], Some(60)),
            (vec!["retry-after: 0"], Some(0)),
            (vec!["retry-after: -1"], None),
            (vec!["retry-after: soon"], None),
            (vec!["retry-after: 1.5"], None),
            (vec!["retry-after: "], None),
            (vec![], None),
            (vec![date, "retry-after: Tue, 02 Apr 2024 17:25:07 GMT"], Some(7)),
            (vec![date, "retry-after: Tue, 02 Apr 2024 17:24:00 GMT"], Some(0)),
            (vec![date, "retry-after: Tue, 02 Apr 2999 17:24:00 GMT"], Some(60)),
            (vec!["retry-after: Tue, 02 Apr 2024 17:25:07 GMT"], None),
        ] {
            let said = lines.clone();
            let world = World::with(move |_, _| Act::Say(answer(429, &said, ""))).await;
            let problem = world.secret().await.unwrap_err();
            assert_eq!(problem.why, Failure::Throttled.into());
            assert_eq!(problem.retry_after.map(|wait| wait.as_secs()), seconds, "{lines:?}");
            assert_eq!(world.server.requests(), 1);
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

    fn told_secret(result: &Result<Secret, Problem>) -> String {
        match result {
            Ok(secret) => {
                let version = &secret.version;
                let value = String::from_utf8_lossy(secret.value.expose());
                format!("{} {} {}: {value}", version.id, version.created, version.updated)
            }
            Err(problem) => format!("{:?}", problem.why),
        }
    }

    fn told_page(result: &Result<Page, Problem>) -> String {
        let page = match result {
            Ok(page) => page,
            Err(problem) => return format!("{:?}", problem.why),
        };
        let names = page.items.iter().map(|item| match (item.enabled, item.managed) {
            (true, false) => item.name.to_string(),
            (false, true) => format!("{}(disabled, managed)", item.name),
            other => format!("{}{other:?}", item.name),
        });
        let names: Vec<String> = names.collect();
        let more = if page.next.is_some() { "; more" } else { "" };
        format!("{}; dropped {}{more}", names.join(" "), page.dropped)
    }

    /// Every file in tests/replies that answers a question about secrets, over the wire.
    #[tokio::test]
    async fn every_reply_on_file_means_what_the_file_says() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/replies");
        let mut replies = Vec::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let reply: Reply = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            if reply.asked != "token" {
                replies.push((path, reply));
            }
        }
        assert!(replies.len() > 40);
        let replies = Arc::new(replies);
        let (script, next) = (Arc::clone(&replies), Arc::new(AtomicUsize::new(0)));
        let at = Arc::clone(&next);
        let world = World::with(move |_, heard| {
            let (_, reply) = &script[at.load(Ordering::SeqCst)];
            let upper = host(heard).to_uppercase();
            let body = reply.body.replace("VAULTUPPER", &upper).replace("VAULT", &host(heard));
            let headers: Vec<&str> = reply.headers.iter().map(String::as_str).collect();
            Act::Say(answer(reply.status, &headers, &body))
        })
        .await;
        for (number, (path, reply)) in replies.iter().enumerate() {
            next.store(number, Ordering::SeqCst);
            let (told, problem) = if reply.asked == "secret" {
                let result = world.secret().await;
                (told_secret(&result), result.err())
            } else {
                let result = world.page().await;
                (told_page(&result), result.err())
            };
            assert_eq!(told, reply.means, "{}", path.display());
            if let Some(problem) = problem {
                let words = format!("{problem} {problem:?} {:?}", problem.hint());
                for prose in ["appid", "192.0.2", "s3cret", "html", "policy. "] {
                    assert!(!words.contains(prose), "{}: {words}", path.display());
                }
            }
        }
        assert_eq!(world.server.requests(), replies.len());
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_what_to_do_about_it() {
        for (inner, words, hint) in [
            (
                "ForbiddenByRbac",
                "permission denied (403 Forbidden, ForbiddenByRbac, request 4-2)",
                "up to ten minutes",
            ),
            ("ForbiddenByPolicy", "permission denied", "access policies"),
            ("ForbiddenByFirewall", "firewall", "firewall"),
            ("ForbiddenByConnection", "public access is off", "DNS led localhost to 127.0.0.1"),
            ("SecretDisabled", "it is disabled", "enable"),
        ] {
            let world = World::with(move |_, _| {
                let body = format!(
                    r#"{{"error":{{"code":"Forbidden","innererror":{{"code":"{inner}"}}}}}}"#
                );
                Act::Say(answer(403, &["x-ms-request-id: 4-2"], &body))
            })
            .await;
            let problem = world.secret().await.unwrap_err();
            let text = problem.to_string();
            assert!(text.starts_with("secret db-1 of localhost: "), "{text}");
            assert!(text.contains(words), "{text}");
            assert!(problem.hint().unwrap().contains(hint), "{:?}", problem.hint());
        }
    }
}
