//! A request, taken apart: what the answers need of it.

use hyper::Request;
use hyper::header::AUTHORIZATION;
use hyper::header::HOST;
use hyper::header::HeaderValue;

use crate::fault::Scope;
use crate::record::Service;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) service: Service,
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Vec<u8>,
    /// The name in the TLS greeting.
    pub(crate) sni: Option<String>,
}

impl Asked {
    /// Takes a request apart. `service` is who listens there.
    pub(crate) fn new<B>(service: Service, request: &Request<B>, body: Vec<u8>) -> Self {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Self {
            service,
            method: request.method().to_string(),
            host: request.headers().get(HOST).map(text).unwrap_or_default(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            headers: request
                .headers()
                .iter()
                .filter(|(name, _)| **name != AUTHORIZATION)
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect(),
            authorization: request.headers().get(AUTHORIZATION).map(text),
            body,
            sni: None,
        }
    }

    /// The host without its port, in lower case.
    pub(crate) fn bare_host(&self) -> String {
        let host = match self.host.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            Some(_) | None => &self.host,
        };
        host.to_ascii_lowercase()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The query's pairs, decoded.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        form_urlencoded::parse(self.query.as_bytes()).into_owned().collect()
    }

    /// The value of a name in the query, if it is there exactly once.
    pub(crate) fn one(&self, name: &str) -> Option<String> {
        let mut values = self.pairs().into_iter().filter(|(known, _)| known == name);
        let (_, first) = values.next()?;
        values.next().is_none().then_some(first)
    }

    /// The fields of the form that was posted, decoded.
    pub(crate) fn fields(&self) -> Vec<(String, String)> {
        form_urlencoded::parse(&self.body).into_owned().collect()
    }

    /// The value of a field, if it is there exactly once.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let mut values = self.fields().into_iter().filter(|(known, _)| known == name);
        let (_, first) = values.next()?;
        values.next().is_none().then_some(first)
    }

    /// Whether a text is anywhere in the request, as it is or as a form or a query spells it.
    pub(crate) fn holds(&self, text: &str) -> bool {
        let spelled: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let within = |place: &str| place.contains(text) || place.contains(&spelled);
        let headers = self.headers.iter().map(|(_, value)| value.as_str());
        let all = headers.chain([self.host.as_str(), &self.path, &self.query]);
        all.chain(self.authorization.as_deref()).any(within)
            || within(&String::from_utf8_lossy(&self.body))
    }

    /// Whether a name occurs twice in the query.
    pub(crate) fn has_duplicates(&self) -> bool {
        let mut names: Vec<String> =
            self.pairs().into_iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair.first() == pair.last())
    }

    /// The parts of the path, as typed; one slash at the end changes nothing.
    pub(crate) fn segments(&self) -> Vec<&str> {
        let path = self.path.strip_prefix('/').unwrap_or(&self.path);
        path.strip_suffix('/').unwrap_or(path).split('/').collect()
    }

    /// The secret whose value is asked for, if that is what is asked.
    pub(crate) fn secret(&self) -> Option<&str> {
        match self.segments().as_slice() {
            ["secrets", _, "versions"] => None,
            ["secrets", name] | ["secrets", name, _] => Some(name),
            _ => None,
        }
    }

    pub(crate) fn is_list(&self) -> bool {
        self.segments().as_slice() == ["secrets"]
    }

    pub(crate) fn is_token(&self) -> bool {
        self.path == TOKEN_PATH
    }

    /// Whether a fault of that scope is meant for this request.
    pub(crate) fn meets(&self, scope: &Scope) -> bool {
        let vault = self.service == Service::Vault;
        let metadata = self.service == Service::Metadata;
        match scope {
            Scope::Entra => self.service == Service::Entra,
            Scope::Token => {
                metadata && self.is_token() || matches!(self.service, Service::Machine(_))
            }
            Scope::Get => vault && self.secret().is_some(),
            Scope::GetOf(name) => {
                vault && self.secret().is_some_and(|secret| secret.eq_ignore_ascii_case(name))
            }
            Scope::List => vault && self.is_list(),
            Scope::Metadata => metadata && !self.is_token(),
            Scope::Vault => vault,
            Scope::Everything => true,
        }
    }
}

/// Where tokens are asked for.
pub(crate) const TOKEN_PATH: &str = "/metadata/identity/oauth2/token";
