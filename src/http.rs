//! HTTP as the rest of the house meets it: one request, and one whole answer or one typed reason.
//!
//! The only file that knows reqwest. It follows no redirect, uses no proxy whatever the
//! environment says, decompresses nothing, and reads no more than the caller's cap. What it
//! promises about errors: none of them holds a body, a header or a query. It does not know what
//! a vault or a token is.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::dns::Addrs;
use reqwest::dns::Name;
use reqwest::dns::Resolve;
use reqwest::dns::Resolving;
use reqwest::header::AUTHORIZATION;
use reqwest::header::CONTENT_TYPE;
use reqwest::header::HOST;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderName;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde::Serialize;
use url::Url;
use zeroize::Zeroize;
use zeroize::Zeroizing;

use crate::model::secret::SecretBytes;
use crate::tls::BadCertificate;
use crate::tls::BadRoots;
use crate::tls::Thumbprint;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(3);

/// A connection's buffers hold what they last carried, so idle ones live no longer than a burst.
const IDLE: Duration = Duration::from_secs(5);
const IDLE_CONNECTIONS: usize = 4;

/// No token is longer, not even one with a hundred groups in it.
const LONGEST_KEY: usize = 16 * 1024;

const FORM: &str = "application/x-www-form-urlencoded";

const HEADERS: usize = 64;
const HEADER_BYTES: u32 = 32 * 1024;

/// Asks servers. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client(reqwest::Client);

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where to.
    pub url: &'a Url,
    /// What opens it.
    pub key: Option<Key<'a>>,
    /// What else to say.
    pub headers: &'a [(&'static str, &'static str)],
    /// The fields to post, encoded. Without them it is a GET.
    pub form: Option<&'a SecretBytes>,
    /// How many bytes of an answer are read; a longer one is [`Error::TooLarge`].
    pub cap: usize,
}

/// A proxy, which is told a host and passes on what it cannot read.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Proxy(String);

/// What opens a door, and how it is shown there: visible ASCII, in a header that nothing prints.
#[derive(Clone, Copy, Debug)]
pub enum Key<'a> {
    /// A token.
    Bearer(&'a SecretBytes),
    /// What stands after `Basic`, as it is.
    Basic(&'a SecretBytes),
    /// The value of a header of this name.
    Header(&'static str, &'a SecretBytes),
}

/// A whole answer, whatever its status.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body, whole.
    pub body: SecretBytes,
    /// Who answered.
    pub peer: Option<SocketAddr>,
    headers: HeaderMap,
}

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Error {
    /// The time was up.
    TimedOut,
    /// There is no host of that name.
    NoName,
    /// Nobody could say whether there is a host of that name.
    NoResolver,
    /// No connection came about.
    NoRoute(io::ErrorKind),
    /// The server did not prove who it is.
    Tls(BadCertificate),
    /// The connection broke before the answer was whole.
    Broken,
    /// What came back is not HTTP.
    Garbled,
    /// The answer is larger than its cap.
    TooLarge,
}

impl Client {
    /// A client that speaks TLS 1.2 and up, nothing else. It trusts the platform's roots, or, if
    /// `ca_pem` is given, those in it alone.
    pub fn secure(ca_pem: Option<&[u8]>) -> Result<Self, BadRoots> {
        let tls = crate::tls::config(ca_pem)?;
        build(builder().https_only(true).tls_backend_preconfigured(tls))
    }

    /// The same for servers out there, which may be reached through a proxy alone.
    pub fn outside(ca_pem: Option<&[u8]>, proxy: Option<&Proxy>) -> Result<Self, BadRoots> {
        let tls = crate::tls::config(ca_pem)?;
        let builder = builder().https_only(true).tls_backend_preconfigured(tls);
        let Some(proxy) = proxy else { return build(builder) };
        let proxy = reqwest::Proxy::all(proxy.0.as_str());
        build(builder.proxy(proxy.map_err(|_| BadRoots::new("the proxy has no address"))?))
    }

    /// The same for one server that goes by another name than its host's: whatever name a request
    /// has, it is `host` that is connected to, and asked for.
    pub fn secure_at(
        ca_pem: Option<&[u8]>,
        host: &str,
        port: Option<u16>,
    ) -> Result<Self, BadRoots> {
        let tls = crate::tls::config(ca_pem)?;
        let builder = builder().https_only(true).http1_only().tls_backend_preconfigured(tls);
        let mut headers = HeaderMap::new();
        let bare = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let asked = port.map_or_else(|| bare.clone(), |port| format!("{bare}:{port}"));
        let value =
            HeaderValue::from_str(&asked).map_err(|_| BadRoots::new("no host is so called"));
        headers.insert(HOST, value?);
        build(builder.default_headers(headers).dns_resolver(Arc::new(Instead(host.to_owned()))))
    }

    /// A client for plain HTTP, which only this machine's own services speak.
    pub fn plain() -> Result<Self, BadRoots> {
        build(builder().http1_only().tls_certs_only([]))
    }

    /// A client that speaks TLS with one server: the one whose own certificate has this thumbprint.
    pub fn pinned(thumbprint: Thumbprint) -> Result<Self, BadRoots> {
        let tls = crate::tls::pinned(thumbprint)?;
        build(builder().https_only(true).tls_backend_preconfigured(tls))
    }

    /// Sends one request and reads the whole answer, all within `limit`.
    ///
    /// A connection that breaks is tried once more: an idle one may have been closed by the other
    /// side just as it was taken. So what is posted must be safe to post twice, as a question for
    /// a token is.
    pub async fn send(&self, request: Request<'_>, limit: Duration) -> Result<Answer, Error> {
        let twice = async {
            match self.once(&request).await {
                Err(Error::Broken) => self.once(&request).await,
                other => other,
            }
        };
        tokio::time::timeout(limit, twice).await.unwrap_or(Err(Error::TimedOut))
    }

    async fn once(&self, asked: &Request<'_>) -> Result<Answer, Error> {
        let mut request = match asked.form {
            None => self.0.get(asked.url.clone()),
            Some(form) => {
                self.0.post(asked.url.clone()).header(CONTENT_TYPE, FORM).body(body(form))
            }
        };
        for (name, value) in asked.headers {
            request = request.header(*name, *value);
        }
        if let Some(key) = asked.key {
            let (name, value) = key.header()?;
            request = request.header(name, value);
        }
        let response = request.send().await.map_err(|error| classify(&error))?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let peer = response.remote_addr();
        let body = read(response, asked.cap).await?;
        Ok(Answer { status, body, peer, headers })
    }
}

impl Proxy {
    /// Takes `http://HOST:PORT` or `https://HOST:PORT`; `None` for anything else. Neither a user nor
    /// a password: what is on a command line can be read by everybody.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let bare = url.username().is_empty() && url.password().is_none() && !text.contains('@');
        let only = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let known = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
        (bare && only && known).then(|| Self(url.into()))
    }
}

impl<'a> Request<'a> {
    /// A GET that says nothing but where to.
    #[must_use]
    pub const fn get(url: &'a Url, cap: usize) -> Self {
        Self { url, key: None, headers: &[], form: None, cap }
    }
}

impl Key<'_> {
    /// Whether a header can hold these bytes: visible ASCII, and not without end.
    #[must_use]
    pub fn fits(bytes: &SecretBytes) -> bool {
        let bytes = bytes.expose();
        (1..=LONGEST_KEY).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    }

    /// The header's bytes are wiped when the last of its owners lets go.
    fn header(self) -> Result<(HeaderName, HeaderValue), Error> {
        let (name, scheme, secret) = match self {
            Self::Bearer(token) => (AUTHORIZATION, &b"Bearer "[..], token),
            Self::Basic(word) => (AUTHORIZATION, &b"Basic "[..], word),
            Self::Header(name, value) => (HeaderName::from_static(name), &b""[..], value),
        };
        // Whoever takes such a secret in sees to that, so this does not happen.
        if !Self::fits(secret) {
            return Err(Error::Garbled);
        }
        let mut line = Zeroizing::new(Vec::with_capacity(scheme.len() + secret.expose().len()));
        line.extend_from_slice(scheme);
        line.extend_from_slice(secret.expose());
        let value = HeaderValue::from_maybe_shared(Bytes::from_owner(line));
        let mut value = value.map_err(|_| Error::Garbled)?;
        value.set_sensitive(true);
        Ok((name, value))
    }
}

impl Answer {
    /// How long the server asks to be left alone. A date is measured against the server's own
    /// clock, or not believed.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.header("retry-after").next()?.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
        }
        let until = httpdate::parse_http_date(text).ok()?;
        let now = httpdate::parse_http_date(self.header("date").next()?).ok()?;
        Some(until.duration_since(now).unwrap_or_default())
    }

    /// The values of a header that can be read as text.
    pub fn header(&self, name: &'static str) -> impl Iterator<Item = &str> {
        let values = self.headers.get_all(name).into_iter();
        values.filter_map(|value| value.to_str().ok())
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} with {:?}", self.status, self.body)
    }
}

/// Looks up one host, whatever name is asked about.
struct Instead(String);

impl Resolve for Instead {
    fn resolve(&self, _name: Name) -> Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            let found: Addrs = Box::new(tokio::net::lookup_host((host, 0)).await?);
            Ok(found)
        })
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("akvfs/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .connect_timeout(CONNECT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .pool_idle_timeout(IDLE)
        .http1_max_headers(HEADERS)
        .http2_max_header_list_size(HEADER_BYTES)
}

fn build(builder: reqwest::ClientBuilder) -> Result<Client, BadRoots> {
    builder.build().map(Client).map_err(|_| BadRoots::new("TLS could not be set up"))
}

/// The body's bytes are wiped when they have been sent.
fn body(form: &SecretBytes) -> reqwest::Body {
    let bytes = Zeroizing::new(form.expose().to_vec());
    reqwest::Body::from(Bytes::from_owner(bytes))
}

/// The buffer has its full size from the start: one that grows leaves its former selves behind.
async fn read(mut response: reqwest::Response, cap: usize) -> Result<SecretBytes, Error> {
    let declared =
        response.content_length().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    if declared.is_some_and(|length| length > cap) {
        return Err(Error::TooLarge);
    }
    let mut body = Zeroizing::new(Vec::with_capacity(declared.unwrap_or(cap)));
    while let Some(chunk) = response.chunk().await.map_err(|error| classify(&error))? {
        if body.len() + chunk.len() > cap {
            return Err(Error::TooLarge);
        }
        body.extend_from_slice(&chunk);
        if let Ok(mut chunk) = chunk.try_into_mut() {
            chunk.as_mut().zeroize();
        }
    }
    Ok(SecretBytes::new(std::mem::take(&mut *body)))
}

fn classify(error: &reqwest::Error) -> Error {
    if error.is_builder() {
        return Error::NoRoute(io::ErrorKind::InvalidInput);
    }
    if let Some(tls) = causes(error).find_map(|cause| cause.downcast_ref()) {
        return Error::Tls(BadCertificate::of(tls));
    }
    if error.is_timeout() {
        return Error::TimedOut;
    }
    if error.is_dns() {
        return unresolved(error);
    }
    if error.is_connect() {
        let innermost = causes(error).filter_map(|cause| cause.downcast_ref()).last();
        return Error::NoRoute(innermost.map_or(io::ErrorKind::NotConnected, io::Error::kind));
    }
    match causes(error).find_map(|cause| cause.downcast_ref::<hyper::Error>()) {
        Some(hyper) if hyper.is_parse() => Error::Garbled,
        _ => Error::Broken,
    }
}

/// getaddrinfo's two answers that matter here differ in their words alone.
fn unresolved(error: &reqwest::Error) -> Error {
    let unknown = |words: String| words.contains("not known") || words.contains("No address");
    if causes(error).any(|cause| unknown(cause.to_string())) {
        Error::NoName
    } else {
        Error::NoResolver
    }
}

/// What an error came of, outermost first.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |&cause| {
        // An io::Error that wraps another error names that one's source and not the error itself.
        match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        }
    })
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => out.write_str("no answer in time"),
            Self::NoName => out.write_str("there is no host of that name"),
            Self::NoResolver => out.write_str("the name service does not answer"),
            Self::NoRoute(kind) => write!(out, "no connection: {kind}"),
            Self::Tls(why) => write!(out, "no TLS: {why}"),
            Self::Broken => out.write_str("the connection broke off"),
            Self::Garbled => out.write_str("what came back is not HTTP"),
            Self::TooLarge => out.write_str("the answer is larger than it may be"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;

    use tokio::net::TcpListener;

    use super::*;
    use crate::stand_in::Act;
    use crate::stand_in::Authority;
    use crate::stand_in::Server;
    use crate::stand_in::answer;
    use crate::tls::Flaw;

    const LONG: Duration = Duration::from_secs(20);

    async fn ask(client: &Client, url: &str, cap: usize, limit: Duration) -> Result<Answer, Error> {
        client.send(Request::get(&Url::parse(url).unwrap(), cap), limit).await
    }

    async fn ask_plain(server: &Server, cap: usize, limit: Duration) -> Result<Answer, Error> {
        let client = Client::plain().unwrap();
        ask(&client, &format!("http://{}/x?y=z", server.address()), cap, limit).await
    }

    async fn says(raw: &'static [u8]) -> (Server, Result<Answer, Error>) {
        let server = Server::plain(|_, _| Act::SayAndClose(raw.to_vec())).await;
        let result = ask_plain(&server, 1000, LONG).await;
        (server, result)
    }

    #[tokio::test]
    async fn asks_and_has_the_whole_answer() {
        let server = Server::plain(|_, _| Act::Say(answer(200, &["x-a: 1"], "body"))).await;
        let found = ask_plain(&server, 4, LONG).await.unwrap();
        assert_eq!((found.status, found.body.expose()), (200, &b"body"[..]));
        assert_eq!(found.header("x-a").collect::<Vec<_>>(), ["1"]);
        assert_eq!(found.peer, Some(server.address()));
        let heard = server.heard();
        assert_eq!(heard[0].line(), "GET /x?y=z HTTP/1.1");
        assert_eq!(heard[0].header("accept-encoding"), None);
        assert_eq!(server.requests(), 1);
    }

    #[tokio::test]
    async fn asks_over_tls_with_a_token() {
        let authority = Authority::new("Test CA");
        let acceptor = authority.acceptor(&["localhost"], false);
        let server = Server::tls(acceptor, |_, _| Act::Say(answer(200, &[], "yes"))).await;
        let client = Client::secure(Some(authority.pem())).unwrap();
        let token = SecretBytes::new(b"t0ken".to_vec());
        let url = Url::parse(&format!("https://localhost:{}/", server.port())).unwrap();
        let request = Request {
            key: Some(Key::Bearer(&token)),
            headers: &[("accept", "application/json")],
            ..Request::get(&url, 100)
        };
        assert_eq!(client.send(request, LONG).await.unwrap().body.expose(), b"yes");
        let heard = server.heard();
        assert_eq!(heard[0].header("authorization"), Some("Bearer t0ken"));
        assert_eq!(heard[0].header("accept"), Some("application/json"));
    }

    /// The two tests above, in a process whose environment names a proxy in every spelling.
    #[tokio::test]
    async fn no_proxy_of_the_environment_is_ever_used() {
        let proxy = Server::plain(|_, _| Act::SayAndClose(answer(502, &[], ""))).await;
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["http::tests::asks_", "--test-threads=1"]);
        for name in ["http_proxy", "https_proxy", "all_proxy"] {
            for name in [name.to_owned(), name.to_uppercase()] {
                child.env(name, format!("http://{}", proxy.address()));
            }
        }
        child.env("no_proxy", "").env("NO_PROXY", "");
        let ran = tokio::task::spawn_blocking(move || child.output()).await;
        let output = String::from_utf8(ran.unwrap().unwrap().stdout).unwrap();
        assert!(output.contains("2 passed; 0 failed"), "{output}");
        assert_eq!(proxy.connections(), 0);
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_is_never_followed() {
        let other = Server::plain(|_, _| Act::Say(answer(200, &[], ""))).await;
        let places = [
            format!("location: http://{}/x", other.address()),
            format!("location: https://{}/x", other.address()),
            "location: /y".to_owned(),
            "refresh: 0; url=/y".to_owned(),
        ];
        for status in [300, 301, 302, 303, 307, 308] {
            for place in &places {
                let line = place.clone();
                let script = move |_, _: &_| Act::Say(answer(status, &[&line], ""));
                let server = Server::plain(script).await;
                let found = ask_plain(&server, 10, LONG).await.unwrap();
                assert_eq!((found.status, server.requests()), (status, 1));
            }
        }
        assert_eq!(other.connections(), 0);
    }

    #[tokio::test]
    async fn a_body_over_the_cap_is_refused_whether_it_says_so_or_not() {
        let (_server, said) =
            says(b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\nnever read").await;
        assert_eq!(said.unwrap_err(), Error::TooLarge);
        let mut endless = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..11 {
            endless.extend_from_slice(b"64\r\n");
            endless.extend_from_slice(&[b'x'; 100]);
            endless.extend_from_slice(b"\r\n");
        }
        let server = Server::plain(move |_, _| Act::Say(endless.clone())).await;
        let unsaid = ask_plain(&server, 1000, LONG).await;
        assert_eq!(unsaid.unwrap_err(), Error::TooLarge);
        assert_eq!(server.requests(), 1);
    }

    #[tokio::test]
    async fn nothing_is_decompressed() {
        let zip = "\u{1f}\u{8}not really gzip";
        let script = move |_, _: &_| Act::Say(answer(200, &["content-encoding: gzip"], zip));
        let server = Server::plain(script).await;
        let found = ask_plain(&server, 100, LONG).await.unwrap();
        assert_eq!(found.body.expose(), zip.as_bytes());
    }

    #[tokio::test]
    async fn a_body_that_ends_early_is_broken_and_tried_once_more() {
        for raw in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"[..],
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhalf",
            b"HTTP/1.1 200 OK\r\ncontent-le",
            b"",
        ] {
            let (server, result) = says(raw).await;
            assert_eq!(result.unwrap_err(), Error::Broken);
            assert_eq!(server.requests(), 2);
        }
    }

    #[tokio::test]
    async fn what_is_no_http_is_garbled() {
        for raw in [
            &b"SSH-2.0-OpenSSH_9.9\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
        ] {
            let (server, result) = says(raw).await;
            assert_eq!(result.unwrap_err(), Error::Garbled, "{raw:?}");
            assert_eq!(server.requests(), 1);
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(65));
        let server = Server::plain(move |_, _| Act::Say(many.clone().into_bytes())).await;
        let result = ask_plain(&server, 1000, LONG).await;
        assert_eq!(result.unwrap_err(), Error::Garbled);
    }

    #[tokio::test]
    async fn a_server_that_stops_talking_is_left_at_the_limit() {
        let limit = Duration::from_millis(200);
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal".to_vec();
        let half = Server::plain(move |_, _| Act::Say(head.clone())).await;
        assert_eq!(ask_plain(&half, 9, limit).await.unwrap_err(), Error::TimedOut);
        let silent = Server::plain(|_, _| Act::Hang).await;
        assert_eq!(ask_plain(&silent, 9, limit).await.unwrap_err(), Error::TimedOut);
        assert_eq!((half.requests(), silent.requests()), (1, 1));
    }

    #[tokio::test]
    async fn a_burst_goes_through_one_connection() {
        let server = Server::plain(|_, _| Act::Say(answer(200, &[], "x"))).await;
        let client = Client::plain().unwrap();
        let url = format!("http://{}/", server.address());
        for _ in 0..20 {
            ask(&client, &url, 10, LONG).await.unwrap();
        }
        assert_eq!((server.requests(), server.connections()), (20, 1));
    }

    #[tokio::test]
    async fn an_idle_connection_that_was_closed_is_replaced_without_a_word() {
        let die = Arc::new(AtomicBool::new(false));
        let dies = Arc::clone(&die);
        let server = Server::plain(move |_, _| {
            if dies.swap(false, Ordering::SeqCst) {
                return Act::SayAndClose(Vec::new());
            }
            Act::Say(answer(200, &[], "x"))
        })
        .await;
        let client = Client::plain().unwrap();
        let url = format!("http://{}/", server.address());
        ask(&client, &url, 10, LONG).await.unwrap();
        die.store(true, Ordering::SeqCst);
        ask(&client, &url, 10, LONG).await.unwrap();
        assert_eq!((server.requests(), server.connections()), (3, 2));
    }

    #[tokio::test]
    async fn who_is_not_there_is_not_reached() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", closed.local_addr().unwrap());
        drop(closed);
        let client = Client::plain().unwrap();
        let refused = ask(&client, &url, 10, LONG).await.unwrap_err();
        assert_eq!(refused, Error::NoRoute(io::ErrorKind::ConnectionRefused));
        let nowhere = ask(&client, "http://nobody.invalid/", 10, LONG).await;
        let nowhere = nowhere.unwrap_err();
        assert!(matches!(nowhere, Error::NoName | Error::NoResolver), "{nowhere:?}");
    }

    #[tokio::test]
    async fn a_server_that_cannot_prove_its_name_hears_nothing() {
        let ours = Authority::new("Ours");
        let theirs = Authority::new("Acme Proxy\nCA");
        for (acceptor, flaw, issuer) in [
            (theirs.acceptor(&["localhost"], false), Flaw::Issuer, "Acme ProxyCA"),
            (ours.acceptor(&["other.example"], false), Flaw::Name, "Ours"),
            (ours.acceptor(&["localhost"], true), Flaw::Expired, "Ours"),
        ] {
            let server = Server::tls(acceptor, |_, _| Act::Say(answer(200, &[], ""))).await;
            let client = Client::secure(Some(ours.pem())).unwrap();
            let url = format!("https://localhost:{}/", server.port());
            let issuer = Some(issuer.to_owned());
            let result = ask(&client, &url, 10, LONG).await;
            assert_eq!(result.unwrap_err(), Error::Tls(BadCertificate { flaw, issuer }));
            assert_eq!(server.requests(), 0);
        }
    }

    #[tokio::test]
    async fn a_secure_client_speaks_nothing_but_tls() {
        let server = Server::plain(|_, _| Act::Say(answer(200, &[], ""))).await;
        let client = Client::secure(Some(Authority::new("x").pem())).unwrap();
        let plain = format!("http://{}/", server.address());
        let result = ask(&client, &plain, 10, LONG).await;
        assert_eq!(result.unwrap_err(), Error::NoRoute(io::ErrorKind::InvalidInput));
        assert_eq!(server.connections(), 0);
        let tls = format!("https://{}/", server.address());
        let result = ask(&client, &tls, 10, Duration::from_millis(300)).await;
        assert!(matches!(result.unwrap_err(), Error::Tls(_) | Error::NoRoute(_) | Error::TimedOut));
        assert_eq!(server.requests(), 0);
    }

    /// A server of HTTP/2 that answers in the order given: a status, or a reset for 0, or a reset
    /// that invites to try again for 1.
    async fn speaks_h2(
        authority: &Authority,
        statuses: Vec<u16>,
    ) -> (Url, Arc<AtomicUsize>, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let acceptor = authority.acceptor_h2(&["localhost"]);
        let task = tokio::spawn(async move {
            let mut statuses = statuses.into_iter();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let stream = acceptor.accept(stream).await.unwrap();
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    match statuses.next() {
                        None => return,
                        Some(0) => respond.send_reset(h2::Reason::INTERNAL_ERROR),
                        Some(1) => respond.send_reset(h2::Reason::REFUSED_STREAM),
                        Some(status) => {
                            let head = http::Response::builder().status(status).body(()).unwrap();
                            let mut body = respond.send_response(head, false).unwrap();
                            body.send_data(Bytes::from_static(b"body"), true).unwrap();
                        }
                    }
                }
            }
        });
        let url = Url::parse(&format!("https://localhost:{port}/")).unwrap();
        (url, connections, task)
    }

    #[tokio::test]
    async fn requests_at_once_share_a_connection_where_the_server_can() {
        let authority = Authority::new("Test CA");
        let (url, connections, server) = speaks_h2(&authority, vec![200; 9]).await;
        let client = Client::secure(Some(authority.pem())).unwrap();
        ask(&client, url.as_str(), 4, LONG).await.unwrap();
        let mut burst = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (client, url) = (client.clone(), url.clone());
            burst.spawn(async move { ask(&client, url.as_str(), 4, LONG).await });
        }
        for result in burst.join_all().await {
            assert_eq!(result.unwrap().body.expose(), b"body");
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1);
        server.abort();
    }

    #[tokio::test]
    async fn a_stream_that_is_reset_is_tried_once_more() {
        let authority = Authority::new("Test CA");
        let (url, _, server) = speaks_h2(&authority, vec![0, 200, 0, 0, 1, 1, 200]).await;
        let client = Client::secure(Some(authority.pem())).unwrap();
        assert!(ask(&client, url.as_str(), 4, LONG).await.is_ok());
        for _ in 0..2 {
            let result = ask(&client, url.as_str(), 4, LONG).await;
            assert_eq!(result.unwrap_err(), Error::Broken);
        }
        let small = ask(&client, url.as_str(), 3, LONG).await;
        assert_eq!(small.unwrap_err(), Error::TooLarge);
        server.abort();
    }

    #[test]
    fn roots_that_are_none_are_refused() {
        for pem in
            [&b""[..], b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            assert!(Client::secure(Some(pem)).is_err(), "{pem:?}");
        }
    }

    #[tokio::test]
    async fn a_key_is_shown_as_the_door_wants_it() {
        let server = Server::plain(|_, _| Act::Say(answer(200, &[], ""))).await;
        let url = Url::parse(&format!("http://{}/", server.address())).unwrap();
        let client = Client::plain().unwrap();
        let secret = SecretBytes::new(b"k3y".to_vec());
        for key in [Key::Bearer(&secret), Key::Basic(&secret), Key::Header("x-key", &secret)] {
            let request = Request { key: Some(key), ..Request::get(&url, 1) };
            client.send(request, LONG).await.unwrap();
        }
        let heard = server.heard();
        let shown =
            heard.iter().map(|heard| (heard.header("authorization"), heard.header("x-key")));
        assert_eq!(
            shown.collect::<Vec<_>>(),
            [(Some("Bearer k3y"), None), (Some("Basic k3y"), None), (None, Some("k3y"))]
        );
    }

    #[tokio::test]
    async fn a_form_is_posted_whole_and_once_more_where_the_connection_broke() {
        let server = Server::plain(|number, _| match number {
            0 => Act::SayAndClose(Vec::new()),
            _ => Act::SayAndClose(answer(200, &[], "yes")),
        })
        .await;
        let url = Url::parse(&format!("http://{}/", server.address())).unwrap();
        let form = SecretBytes::new(b"a=b&c=d%20e".to_vec());
        let request = Request { form: Some(&form), ..Request::get(&url, 3) };
        let client = Client::plain().unwrap();
        assert_eq!(client.send(request, LONG).await.unwrap().body.expose(), b"yes");
        let heard = server.heard();
        assert_eq!(heard.len(), 2);
        for heard in heard {
            assert_eq!(heard.line(), "POST / HTTP/1.1");
            assert_eq!(heard.header("content-type"), Some(FORM));
            assert_eq!(heard.body(), "a=b&c=d%20e");
        }
    }

    #[tokio::test]
    async fn what_no_header_can_hold_is_not_sent() {
        let server = Server::plain(|_, _| Act::Say(answer(200, &[], ""))).await;
        let url = Url::parse(&format!("http://{}/", server.address())).unwrap();
        for bad in [&b""[..], b"two words", b"a\r\nb: c", b"\xe9", &[b'x'; LONGEST_KEY + 1]] {
            let secret = SecretBytes::new(bad.to_vec());
            let request = Request { key: Some(Key::Bearer(&secret)), ..Request::get(&url, 1) };
            let sent = Client::plain().unwrap().send(request, LONG).await;
            assert_eq!(sent.unwrap_err(), Error::Garbled);
        }
        assert_eq!(server.requests(), 0);
    }

    #[test]
    fn a_proxy_is_a_host_and_a_port_and_holds_no_password() {
        for good in ["http://proxy.example:3128", "https://proxy.example", "http://[::1]:8080/"] {
            assert!(Proxy::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "proxy.example:3128",
            "socks5://proxy.example",
            "http://me@proxy.example",
            "http://me:word@proxy.example",
            "http://@proxy.example",
            "http://proxy.example/x",
            "http://proxy.example?x",
            "http://proxy.example#x",
        ] {
            assert!(Proxy::parse(bad).is_none(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_server_with_another_name_is_reached_where_it_is_and_proves_that_name() {
        let authority = Authority::new("Test CA");
        let acceptor = authority.acceptor(&["name.of.its.own"], false);
        let server = Server::tls(acceptor, |_, _| Act::Say(answer(200, &[], "yes"))).await;
        let url = format!("https://name.of.its.own:{}/", server.port());
        let client =
            Client::secure_at(Some(authority.pem()), "localhost", Some(server.port())).unwrap();
        assert_eq!(ask(&client, &url, 3, LONG).await.unwrap().body.expose(), b"yes");
        let asked = format!("localhost:{}", server.port());
        assert_eq!(server.heard()[0].header("host"), Some(asked.as_str()));
        let url = format!("https://another.name:{}/", server.port());
        assert!(matches!(ask(&client, &url, 3, LONG).await, Err(Error::Tls(_))));
    }

    #[test]
    fn no_error_shows_a_token() {
        let token = SecretBytes::new(b"canary-in-the-mine".to_vec());
        let header = Key::Bearer(&token).header().unwrap();
        assert!(!format!("{header:?}").contains("canary"));
        let url = Url::parse("https://v.example/").unwrap();
        let key = Some(Key::Header("x-key", &token));
        let request = Request { key, form: Some(&token), ..Request::get(&url, 1) };
        assert!(!format!("{request:?}").contains("canary"));
    }
}
