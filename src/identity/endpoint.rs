//! Where a token service is, as a variable of the environment names it.
//!
//! https may go anywhere. Plain http stays on this machine and its own networks, where nobody in
//! between can read what goes there and comes back.

use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use serde::Deserialize;
use serde::Serialize;
use url::Host;
use url::Url;

/// The address of a token service.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint(Url);

/// Why a text is no endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EndpointError {
    text: String,
    why: &'static str,
}

impl Endpoint {
    /// Takes the whole address of a service.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let error = |why| EndpointError { text: text.chars().take(200).collect(), why };
        let url = Url::parse(text).map_err(|_| error("this is no URL"))?;
        let bare = url.username().is_empty() && url.password().is_none();
        if !bare || url.query().is_some() || url.fragment().is_some() {
            return Err(error("this is more than scheme, host, port and path"));
        }
        match url.scheme() {
            "https" => {}
            "http" if url.host().is_some_and(|host| is_near(&host)) => {}
            "http" => return Err(error("plain http goes to local and private addresses only")),
            _ => return Err(error("it is neither http nor https")),
        }
        Ok(Self(url))
    }

    /// Takes scheme, host and port of a service that is always at this path.
    pub fn at(path: &str, text: &str) -> Result<Self, EndpointError> {
        let Self(mut url) = Self::parse(text)?;
        if url.path() != "/" {
            let text = text.chars().take(200).collect();
            return Err(EndpointError { text, why: "this is not scheme, host and port alone" });
        }
        url.set_path(path);
        Ok(Self(url))
    }

    /// The address.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.0
    }

    /// Whether it is asked over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether it is on this very machine.
    #[must_use]
    pub fn is_here(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
            None => false,
        }
    }
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

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.0.into()
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, EndpointError> {
        Self::parse(&text)
    }
}

impl fmt::Display for EndpointError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {}", self.text, self.why)
    }
}

impl std::error::Error for EndpointError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_machine_and_its_networks() {
        for good in [
            "http://127.0.0.1:40342",
            "http://localhost:8080/msi/token",
            "http://169.254.169.254",
            "http://10.1.2.3",
            "http://172.16.7.2:8081/msi/token",
            "http://192.168.1.1",
            "http://[::1]:80",
            "http://[fe80::1]",
            "http://[fd00::1]",
            "http://[::ffff:10.0.0.1]",
            "https://imds.example",
            "https://203.0.113.1:8443/a/b",
        ] {
            let endpoint = Endpoint::parse(good).expect(good);
            let json = serde_json::to_string(&endpoint).unwrap();
            assert_eq!(serde_json::from_str::<Endpoint>(&json).unwrap(), endpoint);
        }
        for bad in [
            "",
            "169.254.169.254",
            "ftp://127.0.0.1",
            "unix:/run/identity",
            "http://imds.example",
            "http://8.8.8.8",
            "http://172.32.0.1",
            "http://[2001:db8::1]",
            "http://[::ffff:8.8.8.8]",
            "http://me@127.0.0.1",
            "http://:word@127.0.0.1",
            "http://127.0.0.1/?x",
            "http://127.0.0.1/#x",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
        ] {
            let error = Endpoint::parse(bad).expect_err(bad);
            assert!(error.to_string().contains(&format!("{bad:?}")));
        }
    }

    #[test]
    fn a_service_with_a_path_of_its_own_is_named_without_one() {
        for good in ["http://127.0.0.1:1", "http://127.0.0.1:1/"] {
            let endpoint = Endpoint::at("/a/b", good).unwrap();
            assert_eq!(endpoint.url().as_str(), "http://127.0.0.1:1/a/b");
        }
        assert!(Endpoint::at("/a/b", "http://127.0.0.1:1/c").is_err());
    }

    #[test]
    fn here_is_this_machine_alone() {
        for (text, is_here) in [
            ("http://localhost:1/a", true),
            ("https://127.0.0.1", true),
            ("http://127.9.9.9", true),
            ("http://[::1]", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("http://10.0.0.1", false),
            ("http://169.254.169.254", false),
            ("https://localhost.example", false),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().is_here(), is_here, "{text}");
        }
    }
}
