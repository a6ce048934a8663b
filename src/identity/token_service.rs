//! What the token services have in common: where one is, how long it may take, and what a 200 of
//! its holds.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use crate::clock;
use crate::http::Answer;
use crate::http::Client;
use crate::http::Key;
use crate::http::Request;
use crate::identity::endpoint::Endpoint;
use crate::identity::no_token::Reason;
use crate::identity::token::Token;
use crate::json;
use crate::model::moment::Moment;
use crate::model::secret::SecretBytes;
use crate::tls::BadRoots;

/// A reply is a token of a few KiB and some words.
const CAP: usize = 64 * 1024;

/// How long one try may take. A service that has to fetch the token first takes a second or two.
const TRY: Duration = Duration::from_secs(5);

/// A service that gives tokens for one resource.
#[derive(Clone, Debug)]
pub(crate) struct TokenService {
    http: Client,
    url: Url,
    resource: String,
}

/// An answer, and when it was asked for.
#[derive(Debug)]
pub(crate) struct Heard {
    asked: Moment,
    pub(crate) answer: Answer,
}

impl TokenService {
    /// The service at `endpoint`; over TLS with the roots in `ca_pem`, if given.
    pub(crate) fn new(
        endpoint: &Endpoint,
        ca_pem: Option<&[u8]>,
        resource: &str,
    ) -> Result<Self, BadRoots> {
        let http = if endpoint.is_secure() { Client::secure(ca_pem)? } else { Client::plain()? };
        Ok(Self::over(http, endpoint, resource))
    }

    /// The service at `endpoint`, reached with this client.
    pub(crate) fn over(http: Client, endpoint: &Endpoint, resource: &str) -> Self {
        Self { http, url: endpoint.url().clone(), resource: resource.to_owned() }
    }

    /// The resource that tokens are for.
    pub(crate) fn resource(&self) -> &str {
        &self.resource
    }

    /// Asks with these pairs as the query, with these headers, and with `key` where one is needed.
    pub(crate) async fn get(
        &self,
        query: &[(&str, &str)],
        headers: &[(&'static str, &'static str)],
        key: Option<Key<'_>>,
    ) -> Result<Heard, Reason> {
        let mut url = self.url.clone();
        url.query_pairs_mut().extend_pairs(query);
        self.send(Request { headers, key, ..Request::get(&url, CAP) }).await
    }

    /// Posts these fields, some of which may be secret, with these headers.
    pub(crate) async fn post(
        &self,
        fields: &[(&str, &[u8])],
        headers: &[(&'static str, &'static str)],
    ) -> Result<Heard, Reason> {
        let form = Some(&form(fields));
        self.send(Request { headers, form, ..Request::get(&self.url, CAP) }).await
    }

    async fn send(&self, request: Request<'_>) -> Result<Heard, Reason> {
        let asked = clock::now();
        let answer = self.http.send(request, TRY).await;
        Ok(Heard { asked, answer: answer.map_err(Reason::NoAnswer)? })
    }

    /// The token in a 200.
    pub(crate) fn token(&self, heard: &Heard) -> Result<Token, Reason> {
        let date = heard.answer.header("date").next();
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        Token::read(heard.answer.body.expose(), &self.resource, heard.asked, date)
            .map_err(Reason::Nonsense)
    }
}

/// What a service says instead of a token, where its codes are nested.
#[derive(Deserialize)]
struct Refusal {
    error: Code,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

impl Heard {
    /// The code in an answer whose codes are nested: `{"error":{"code":...}}`.
    pub(crate) fn nested_code(&self) -> Option<String> {
        let refusal: Option<Refusal> = json::object(self.answer.body.expose());
        refusal.map(|refusal| refusal.error.code)
    }
}

/// Fields as a form has them. The buffer is large enough from the start, so that none is left
/// behind unwiped.
fn form(fields: &[(&str, &[u8])]) -> SecretBytes {
    let room = fields.iter().map(|(name, value)| name.len() + 2 + 3 * value.len()).sum();
    let mut form = Vec::with_capacity(room);
    for (name, value) in fields {
        if !form.is_empty() {
            form.push(b'&');
        }
        form.extend_from_slice(name.as_bytes());
        form.push(b'=');
        for &byte in *value {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                form.push(byte);
            } else {
                let digit = |half: u8| if half < 10 { b'0' + half } else { b'A' + half - 10 };
                form.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0xf)]);
            }
        }
    }
    SecretBytes::new(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_back_as_it_was_written() {
        let fields: [(&str, &[u8]); 3] =
            [("resource", b"https://vault.azure.net"), ("x", b"a b&c=d+e%~\n"), ("empty", b"")];
        let form = form(&fields);
        let text = std::str::from_utf8(form.expose()).unwrap();
        assert!(text.starts_with("resource=https%3A%2F%2Fvault.azure.net&x=a%20b%26c%3Dd%2Be%25~"));
        let read: Vec<_> = url::form_urlencoded::parse(form.expose()).collect();
        for ((name, value), (read_name, read_value)) in fields.iter().zip(&read) {
            assert_eq!((*name, *value), (read_name.as_ref(), read_value.as_bytes()));
        }
    }
}
