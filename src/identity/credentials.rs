//! The credentials that an environment holds: a service principal's, and those of a pod's workload
//! identity.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::identity::certificate::Certificate;
use crate::identity::choice::Guid;
use crate::identity::detect::Look;
use crate::identity::detect::Undecided;
use crate::identity::endpoint::Endpoint;
use crate::identity::service_principal::Means;
use crate::identity::service_principal::Principal;
use crate::identity::surroundings::Surroundings;
use crate::identity::taken::Origin;
use crate::identity::tenant::Tenant;
use crate::identity::workload::Federation;
use crate::identity::workload::ProxyRoots;
use crate::identity::workload::TokenProxy;
use crate::model::secret::SecretBytes;

/// A service principal, if there is one: a secret goes before a certificate.
pub(crate) fn service_principal(here: &Surroundings) -> Result<Look, Undecided> {
    if let Some(secret) = &here.azure_client_secret {
        let (tenant, client_id) = who(here, SECRET)?;
        let plain = |byte: &u8| *byte >= b' ' && *byte != 0x7f;
        if secret.expose().len() > LONGEST_SECRET || !secret.expose().iter().all(plain) {
            return Err(Undecided::of(
                SECRET,
                "this is no secret: it is too long, or several lines",
            ));
        }
        let principal = Principal { tenant, client_id, means: Means::Secret };
        return Ok(Look::Found(Origin::ServicePrincipal(principal), Some(Arc::clone(secret))));
    }
    let Some(path) = &here.azure_client_certificate_path else {
        return Ok(Look::Absent(
            "AZURE_CLIENT_SECRET and AZURE_CLIENT_CERTIFICATE_PATH are not set",
        ));
    };
    let (tenant, client_id) = who(here, CERTIFICATE)?;
    let certificate = certificate(Path::new(path), here)?;
    let is_sent = here
        .azure_client_send_certificate_chain
        .as_deref()
        .is_some_and(|text| text == "1" || text.eq_ignore_ascii_case("true"));
    let means = Means::Key { chain: certificate.chain().to_vec(), is_sent };
    let key = SecretBytes::new(certificate.key().expose().to_vec());
    let origin = Origin::ServicePrincipal(Principal { tenant, client_id, means });
    Ok(Look::Found(origin, Some(Arc::new(key))))
}

/// A pod's workload identity, if there is one.
pub(crate) fn workload(here: &Surroundings) -> Result<Look, Undecided> {
    let Some(file) = &here.azure_federated_token_file else {
        return Ok(Look::Absent("AZURE_FEDERATED_TOKEN_FILE is not set"));
    };
    let (tenant, client_id) = who(here, TOKEN_FILE)?;
    let file = whole(TOKEN_FILE, file)?;
    let proxy = token_proxy(here)?;
    Ok(Look::Found(Origin::Workload(Federation { tenant, client_id, file, proxy }), None))
}

/// Which application of which tenant; both must be there where `variable` is.
fn who(here: &Surroundings, variable: &str) -> Result<(Tenant, Guid), Undecided> {
    let missing = |other| Undecided::without(variable, other);
    let tenant = here.azure_tenant_id.as_deref().ok_or_else(|| missing(TENANT))?;
    let tenant = Tenant::parse(tenant).ok_or_else(|| {
        Undecided::of(TENANT, format_args!("{tenant:?} is no tenant's GUID or domain"))
    })?;
    let client_id = here.azure_client_id.as_deref().ok_or_else(|| missing(CLIENT_ID))?;
    let client_id = Guid::parse(client_id)
        .ok_or_else(|| Undecided::of(CLIENT_ID, format_args!("{client_id:?} is no GUID")))?;
    Ok((tenant, client_id))
}

fn certificate(path: &Path, here: &Surroundings) -> Result<Certificate, Undecided> {
    let wrong = |why: &dyn std::fmt::Display| {
        Undecided::of(CERTIFICATE, format_args!("{}: {why}", path.display()))
    };
    let text = contents(path).map_err(|error| wrong(&error.kind()))?;
    let password = here.azure_client_certificate_password.as_deref();
    let none = SecretBytes::new(Vec::new());
    Certificate::read(text.expose(), password.unwrap_or(&none))
        .map_err(|error| wrong(&error).hinting(error.hint()))
}

fn contents(path: &Path) -> std::io::Result<SecretBytes> {
    // A FIFO would be waited for.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let mut text = Vec::with_capacity(LARGEST);
    let read = File::open(path)?.take(LARGEST as u64).read_to_end(&mut text);
    let text = SecretBytes::new(text);
    read.map(|_| text)
}

/// AKS's token proxy, if the exchange is to be made there.
fn token_proxy(here: &Surroundings) -> Result<Option<Box<TokenProxy>>, Undecided> {
    let (file, pem) = (&here.azure_kubernetes_ca_file, &here.azure_kubernetes_ca_data);
    let name = &here.azure_kubernetes_sni_name;
    let Some(address) = &here.azure_kubernetes_token_proxy else {
        let alone = [(SNI, name), (CA_FILE, file), (CA_DATA, pem)];
        return match alone.iter().find(|(_, value)| value.is_some()) {
            Some((variable, _)) => Err(Undecided::without(variable, PROXY)),
            None => Ok(None),
        };
    };
    let address = Endpoint::parse(address).map_err(|error| Undecided::of(PROXY, error))?;
    if !address.is_secure() {
        return Err(Undecided::of(PROXY, "a token is exchanged over https only"));
    }
    let is_name = |name: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        name.len() <= 253 && name.bytes().all(plain) && name.contains(|c: char| c.is_alphabetic())
    };
    if name.as_deref().is_some_and(|name| !is_name(name)) {
        return Err(Undecided::of(SNI, "this is no host's name"));
    }
    let roots = match (file, pem) {
        (Some(_), Some(_)) => {
            return Err(Undecided::of(CA_DATA, "AZURE_KUBERNETES_CA_FILE is set as well"));
        }
        (Some(file), None) => Some(ProxyRoots::File(whole(CA_FILE, file)?)),
        (None, Some(pem)) => Some(ProxyRoots::Pem(pem.clone())),
        (None, None) => None,
    };
    Ok(Some(Box::new(TokenProxy { address, name: name.clone(), roots })))
}

/// The path from the root, for whoever reads it stands elsewhere.
fn whole(variable: &str, path: &str) -> Result<PathBuf, Undecided> {
    std::path::absolute(path).map_err(|error| Undecided::of(variable, error.kind()))
}

const TENANT: &str = "AZURE_TENANT_ID";
const CLIENT_ID: &str = "AZURE_CLIENT_ID";
const SECRET: &str = "AZURE_CLIENT_SECRET";
const CERTIFICATE: &str = "AZURE_CLIENT_CERTIFICATE_PATH";
const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const PROXY: &str = "AZURE_KUBERNETES_TOKEN_PROXY";
const SNI: &str = "AZURE_KUBERNETES_SNI_NAME";
const CA_FILE: &str = "AZURE_KUBERNETES_CA_FILE";
const CA_DATA: &str = "AZURE_KUBERNETES_CA_DATA";

/// Entra's own secrets have forty letters.
const LONGEST_SECRET: usize = 4096;
const LARGEST: usize = 256 * 1024;
