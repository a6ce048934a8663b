//! The environment and the machine, as far as they say who we are: the one place that reads them.
//! Empty is unset, as everywhere in Azure.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cli::complaint::Complaint;
use crate::cli::owner::Account;
use crate::identity::azure_cli::Program;
use crate::identity::surroundings::Surroundings;
use crate::model::secret::SecretBytes;

/// Where the control sockets of our own mounts are. A user who has no directory for such things has
/// none.
pub fn control() -> Result<Option<PathBuf>, Complaint> {
    let user = Account::own().uid;
    let usual = control_of(user);
    Ok(match text("XDG_RUNTIME_DIR")? {
        Some(runtime) if user != 0 => Some(Path::new(&runtime).join("akvfs")),
        Some(_) | None => Some(usual).filter(|usual| usual.parent().is_some_and(Path::is_dir)),
    })
}

/// Where the control sockets of a user's mounts are, if that is how it is on this machine.
#[must_use]
pub fn control_of(user: u32) -> PathBuf {
    match user {
        0 => PathBuf::from("/run/akvfs"),
        user => PathBuf::from(format!("/run/user/{user}/akvfs")),
    }
}

/// Gathers the facts.
pub fn read() -> Result<Surroundings, Complaint> {
    Ok(Surroundings {
        azure_client_id: text("AZURE_CLIENT_ID")?,
        azure_tenant_id: text("AZURE_TENANT_ID")?,
        azure_client_secret: secret("AZURE_CLIENT_SECRET"),
        azure_client_certificate_path: text("AZURE_CLIENT_CERTIFICATE_PATH")?,
        azure_client_certificate_password: secret("AZURE_CLIENT_CERTIFICATE_PASSWORD"),
        azure_client_send_certificate_chain: text("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN")?,
        azure_federated_token_file: text("AZURE_FEDERATED_TOKEN_FILE")?,
        azure_authority_host: text("AZURE_AUTHORITY_HOST")?,
        azure_kubernetes_token_proxy: text("AZURE_KUBERNETES_TOKEN_PROXY")?,
        azure_kubernetes_sni_name: text("AZURE_KUBERNETES_SNI_NAME")?,
        azure_kubernetes_ca_file: text("AZURE_KUBERNETES_CA_FILE")?,
        azure_kubernetes_ca_data: text("AZURE_KUBERNETES_CA_DATA")?,
        default_identity_client_id: text("DEFAULT_IDENTITY_CLIENT_ID")?,
        identity_endpoint: text("IDENTITY_ENDPOINT")?,
        identity_header: secret("IDENTITY_HEADER"),
        identity_server_thumbprint: text("IDENTITY_SERVER_THUMBPRINT")?,
        imds_endpoint: text("IMDS_ENDPOINT")?,
        msi_endpoint: text("MSI_ENDPOINT")?,
        msi_secret: secret("MSI_SECRET"),
        azure_pod_identity_authority_host: text("AZURE_POD_IDENTITY_AUTHORITY_HOST")?,
        azure_cli: azure_cli()?,
        has_arc_agent: Path::new(ARC_AGENT).exists(),
        is_in_azure: fs::read(ASSET_TAG).is_ok_and(|tag| tag.trim_ascii() == AZURE),
    })
}

/// `az`, if it is where this process looks for programs.
fn azure_cli() -> Result<Option<Program>, Complaint> {
    let (Some(search), Some(home)) = (text("PATH")?, text("HOME")?) else {
        return Ok(None);
    };
    let is_program = |path: &PathBuf| {
        let about = fs::metadata(path);
        path.is_absolute() && about.is_ok_and(|it| it.is_file() && it.mode() & 0o111 != 0)
    };
    let found = std::env::split_paths(&search).map(|folder| folder.join("az")).find(is_program);
    let config = text("AZURE_CONFIG_DIR")?;
    Ok(found.map(|path| Program { path, search, home, config }))
}

fn text(name: &str) -> Result<Option<String>, Complaint> {
    let text = variable(name).map(OsString::into_string).transpose();
    text.map_err(|_| Complaint::usage(format!("the environment's {name}: not UTF-8")))
}

fn secret(name: &str) -> Option<Arc<SecretBytes>> {
    variable(name).map(|value| Arc::new(SecretBytes::new(value.into_vec())))
}

#[expect(clippy::disallowed_methods, reason = "this is src/cli/, which may")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Where the agent's token service is installed.
const ARC_AGENT: &str = "/opt/azcmagent/bin/himds";

/// Where the kernel shows what the firmware says of the machine, and what Azure's says.
const ASSET_TAG: &str = "/sys/class/dmi/id/chassis_asset_tag";
const AZURE: &[u8] = b"7783-7084-3265-9085-8269-3286-77";
