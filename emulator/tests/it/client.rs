//! An emulator on loopback and a client that trusts it.

use std::net::SocketAddr;
use std::net::TcpListener;
use std::time::Duration;

use akvfs_emulator::emulator::Emulator;
use akvfs_emulator::vault::Vault;
use reqwest::Certificate;
use reqwest::Client;
use reqwest::RequestBuilder;
use reqwest::redirect::Policy;
use serde_json::Value;

/// The emulator with a vault `my-vault`, and who asks it.
pub(crate) struct Bench {
    pub(crate) emulator: Emulator,
    pub(crate) vault: Vault,
    pub(crate) http: Client,
    pub(crate) vault_address: SocketAddr,
    pub(crate) imds_address: SocketAddr,
}

/// An answer, read.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let emulator = Emulator::new();
        let vault = emulator.vault("my-vault");
        let (vaults, vault_address) = listener();
        let (imds, imds_address) = listener();
        emulator.serve_vault(vaults);
        emulator.serve_imds(imds);
        let (logins, login_address) = listener();
        emulator.serve_entra(logins);
        let authority = Certificate::from_pem(emulator.authority_pem().as_bytes()).unwrap();
        let mut http = Client::builder()
            .tls_certs_only([authority])
            .no_proxy()
            .redirect(Policy::none())
            .timeout(Duration::from_secs(10));
        for host in [
            "my-vault.vault.azure.net",
            "other.vault.azure.net",
            "gov.vault.usgovcloudapi.net",
            "evil.example",
        ] {
            http = http.resolve(host, vault_address);
        }
        for host in ["login.microsoftonline.com", "login.microsoftonline.us", "login.evil.example"]
        {
            http = http.resolve(host, login_address);
        }
        Self { emulator, vault, http: http.build().unwrap(), vault_address, imds_address }
    }

    /// Asks IMDS for a token with this after the resource.
    pub(crate) async fn token_with(&self, resource: &str, more: &str) -> Reply {
        let base = format!("http://{}/metadata/identity/oauth2/token", self.imds_address);
        let url = format!("{base}?api-version=2018-02-01&resource={resource}{more}");
        read(self.http.get(url).header("Metadata", "true")).await
    }

    /// A token for the vaults of the public cloud.
    pub(crate) async fn token(&self) -> String {
        let reply = self.token_with("https://vault.azure.net", "").await;
        reply.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// Asks `my-vault` with a good token, version 7.4.
    pub(crate) async fn ask(&self, path: &str) -> Reply {
        let join = if path.contains('?') { '&' } else { '?' };
        let token = self.token().await;
        let url = format!("https://my-vault.vault.azure.net{path}{join}api-version=7.4");
        read(self.http.get(url).bearer_auth(token)).await
    }

    /// What requests to `my-vault` have been answered, in order.
    pub(crate) fn statuses(&self) -> Vec<Option<u16>> {
        let requests = self.emulator.requests();
        let vault = requests.iter().filter(|request| !request.is_token());
        vault.map(|request| request.status).collect()
    }
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// `code/inner` of an error.
    pub(crate) fn code(&self) -> String {
        let error = &self.json()["error"];
        let inner = &error["innererror"]["code"];
        format!(
            "{}/{}",
            error["code"].as_str().unwrap_or_default(),
            inner.as_str().unwrap_or_default()
        )
    }
}

pub(crate) async fn read(request: RequestBuilder) -> Reply {
    let reply = request.send().await.expect("an answer");
    Reply {
        status: reply.status().as_u16(),
        headers: reply.headers().clone(),
        text: reply.text().await.unwrap(),
    }
}

pub(crate) fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}
