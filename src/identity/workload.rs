//! The workload identity of a pod: the token that Kubernetes gives it, exchanged for one of Entra's.
//!
//! Kubernetes writes a new token long before the old one ends, so the file is read anew for every
//! exchange. Where AKS binds identities, its own proxy in the cluster makes the exchange.

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;
use url::Url;

use crate::http::Client;
use crate::http::Key;
use crate::identity::choice::Guid;
use crate::identity::endpoint::Endpoint;
use crate::identity::entra::Entra;
use crate::identity::entra::Proof;
use crate::identity::no_token::NoProof;
use crate::identity::no_token::Reason;
use crate::identity::tenant::Tenant;
use crate::identity::token::Token;
use crate::model::secret::SecretBytes;
use crate::tls::BadRoots;

/// A pod's identity.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Federation {
    /// The tenant.
    pub tenant: Tenant,
    /// The application or the managed identity.
    pub client_id: Guid,
    /// Where Kubernetes writes its token.
    pub file: PathBuf,
    /// Who makes the exchange, if not Entra itself.
    pub proxy: Option<Box<TokenProxy>>,
}

/// AKS's own endpoint for exchanges.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TokenProxy {
    /// Where it is.
    pub address: Endpoint,
    /// The name that it goes by in TLS, if not its host's.
    pub name: Option<String>,
    /// Who vouches for it, if not the system's authorities.
    pub roots: Option<ProxyRoots>,
}

/// Certificates to trust.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ProxyRoots {
    /// In this file, which is written anew at times.
    File(PathBuf),
    /// These, as PEM.
    Pem(String),
}

/// A pod's identity at its endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    federation: Federation,
    resource: String,
    /// None where a proxy makes the exchange, which is reached anew each time.
    entra: Option<Entra>,
}

impl Workload {
    /// The identity, exchanging at an authority with this client.
    pub(crate) fn new(
        federation: &Federation,
        http: Client,
        authority: &str,
        resource: &str,
    ) -> Option<Self> {
        let Federation { tenant, client_id, proxy, .. } = federation;
        let entra = match proxy {
            None => Some(Entra::new(http, authority, tenant, client_id, resource)?),
            Some(_) => None,
        };
        Some(Self { federation: federation.clone(), resource: resource.to_owned(), entra })
    }

    pub(crate) async fn ask(&self, claims: Option<&str>) -> Result<Token, Reason> {
        let assertion = read(&self.federation.file)?;
        let proof = Proof::Assertion(&assertion);
        match (&self.entra, &self.federation.proxy) {
            (Some(entra), _) => entra.exchange(proof, claims).await,
            (None, Some(proxy)) => self.through(proxy)?.exchange(proof, claims).await,
            (None, None) => Err(Reason::of(0, None)),
        }
    }

    fn through(&self, proxy: &TokenProxy) -> Result<Entra, Reason> {
        let Federation { tenant, client_id, .. } = &self.federation;
        let pem = match &proxy.roots {
            None => None,
            Some(ProxyRoots::Pem(pem)) => Some(pem.clone().into_bytes()),
            Some(ProxyRoots::File(path)) => {
                let pem = contents(path).map_err(|error| no_file(path, CA_FILE, &error))?;
                Some(pem.expose().to_vec())
            }
        };
        let bad = |why: &BadRoots| {
            Reason::NoProof(NoProof {
                what: format!("no TLS with AKS's token proxy: {why}"),
                hint: Some(format!("see {CA_FILE} and AZURE_KUBERNETES_CA_DATA")),
                heals: false,
            })
        };
        let mut address = proxy.address.url().clone();
        let http = match &proxy.name {
            None => Client::secure(pem.as_deref()),
            Some(name) => {
                let host = host_of(&address).unwrap_or_default();
                let port = address.port();
                match address.set_host(Some(name)) {
                    Ok(()) => Client::secure_at(pem.as_deref(), &host, port),
                    Err(_) => Err(BadRoots::new("its name is none")),
                }
            }
        };
        let http = http.map_err(|why| bad(&why))?;
        let entra = Entra::new(http, address.as_str(), tenant, client_id, &self.resource);
        entra.ok_or_else(|| bad(&BadRoots::new("its address makes no URL")))
    }
}

fn host_of(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(host.trim_start_matches('[').trim_end_matches(']').to_owned())
}

/// The token that Kubernetes wrote.
fn read(path: &Path) -> Result<SecretBytes, Reason> {
    let text = contents(path).map_err(|error| no_file(path, TOKEN_FILE, &error))?;
    let token = SecretBytes::new(text.expose().trim_ascii_end().to_vec());
    if Key::fits(&token) {
        return Ok(token);
    }
    Err(Reason::NoProof(NoProof {
        what: format!("{}: this holds no token", path.display()),
        hint: Some(format!("{TOKEN_FILE} names the file that Kubernetes writes")),
        heals: false,
    }))
}

fn contents(path: &Path) -> io::Result<SecretBytes> {
    // Kubernetes puts links there, which are followed; a FIFO would be waited for.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = Vec::with_capacity(LARGEST);
    let read = File::open(path)?.take(LARGEST as u64).read_to_end(&mut text);
    let text = SecretBytes::new(text);
    read.map(|_| text)
}

fn no_file(path: &Path, variable: &str, error: &io::Error) -> Reason {
    let hint = if error.kind() == io::ErrorKind::PermissionDenied {
        "it is read by the user that the worker runs as: name one who may with run-as=".to_owned()
    } else {
        format!("{variable} names the file")
    };
    Reason::NoProof(NoProof {
        what: format!("{}: {}", path.display(), error.kind()),
        hint: Some(hint),
        heals: false,
    })
}

const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const CA_FILE: &str = "AZURE_KUBERNETES_CA_FILE";
const LARGEST: usize = 64 * 1024;
