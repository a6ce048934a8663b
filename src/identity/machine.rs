//! What the metadata service says of the machine itself: its cloud and its tags.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use crate::http::Client;
use crate::http::Request;
use crate::identity::endpoint::Endpoint;
use crate::identity::no_token::Reason;
use crate::identity::token::NoSense;
use crate::json;
use crate::model::secret::SecretBytes;
use crate::tls::BadRoots;

/// The metadata service, asked about the machine.
#[derive(Clone, Debug)]
pub struct Machine {
    http: Client,
    url: Url,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    value: String,
}

impl Machine {
    /// The service whose tokens are at `endpoint`; over TLS with the roots in `ca_pem`, if given.
    pub fn new(endpoint: &Endpoint, ca_pem: Option<&[u8]>) -> Result<Self, BadRoots> {
        let http = if endpoint.is_secure() { Client::secure(ca_pem)? } else { Client::plain()? };
        Ok(Self { http, url: endpoint.url().clone() })
    }

    /// The cloud that the machine is in, as the service spells it.
    pub async fn environment(&self) -> Result<String, Reason> {
        let text = self.ask("azEnvironment", Some("text")).await?;
        let text = String::from_utf8_lossy(text.expose());
        Ok(text.chars().filter(char::is_ascii_graphic).take(LONGEST).collect())
    }

    /// The value of a tag, if the machine has one of that name. Azure's tags differ in more than
    /// case, so case makes no difference.
    pub async fn tag(&self, name: &str) -> Result<Option<String>, Reason> {
        let list = self.ask("tagsList", None).await?;
        let tags: Option<Vec<Tag>> = json::array(list.expose());
        let tags = tags.ok_or(Reason::Nonsense(NoSense("what it says is no list of tags")))?;
        let found = tags.into_iter().find(|tag| tag.name.eq_ignore_ascii_case(name));
        Ok(found.map(|tag| tag.value))
    }

    async fn ask(&self, leaf: &str, format: Option<&str>) -> Result<SecretBytes, Reason> {
        let mut url = self.url.clone();
        url.set_path(&format!("/metadata/instance/compute/{leaf}"));
        url.query_pairs_mut()
            .append_pair("api-version", API_VERSION)
            .extend_pairs(format.map(|format| ("format", format)));
        let request = Request { headers: &[("metadata", "true")], ..Request::get(&url, CAP) };
        let answer = self.http.send(request, TRY).await.map_err(Reason::NoAnswer)?;
        match answer.status {
            200 => Ok(answer.body),
            // As with tokens, these are said while the service is updated.
            status @ (404 | 410) => Err(Reason::Busy { status }),
            status => Err(Reason::of(status, None)),
        }
    }
}

const API_VERSION: &str = "2021-02-01";
const TRY: Duration = Duration::from_secs(5);
const CAP: usize = 64 * 1024;
const LONGEST: usize = 64;
