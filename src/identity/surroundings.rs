//! What a machine and an environment say about who we are: plain facts, gathered once, by whoever
//! mounts. Empty is unset, as everywhere in Azure.

use std::sync::Arc;

use crate::identity::azure_cli::Program;
use crate::model::secret::SecretBytes;

/// The facts, each under the name of its variable. What is secret prints its length alone.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `AZURE_CLIENT_ID`.
    pub azure_client_id: Option<String>,
    /// `AZURE_TENANT_ID`.
    pub azure_tenant_id: Option<String>,
    /// `AZURE_CLIENT_SECRET`.
    pub azure_client_secret: Option<Arc<SecretBytes>>,
    /// `AZURE_CLIENT_CERTIFICATE_PATH`.
    pub azure_client_certificate_path: Option<String>,
    /// `AZURE_CLIENT_CERTIFICATE_PASSWORD`.
    pub azure_client_certificate_password: Option<Arc<SecretBytes>>,
    /// `AZURE_CLIENT_SEND_CERTIFICATE_CHAIN`.
    pub azure_client_send_certificate_chain: Option<String>,
    /// `AZURE_FEDERATED_TOKEN_FILE`.
    pub azure_federated_token_file: Option<String>,
    /// `AZURE_AUTHORITY_HOST`.
    pub azure_authority_host: Option<String>,
    /// `AZURE_KUBERNETES_TOKEN_PROXY`.
    pub azure_kubernetes_token_proxy: Option<String>,
    /// `AZURE_KUBERNETES_SNI_NAME`.
    pub azure_kubernetes_sni_name: Option<String>,
    /// `AZURE_KUBERNETES_CA_FILE`.
    pub azure_kubernetes_ca_file: Option<String>,
    /// `AZURE_KUBERNETES_CA_DATA`.
    pub azure_kubernetes_ca_data: Option<String>,
    /// `DEFAULT_IDENTITY_CLIENT_ID`.
    pub default_identity_client_id: Option<String>,
    /// `IDENTITY_ENDPOINT`.
    pub identity_endpoint: Option<String>,
    /// `IDENTITY_HEADER`.
    pub identity_header: Option<Arc<SecretBytes>>,
    /// `IDENTITY_SERVER_THUMBPRINT`.
    pub identity_server_thumbprint: Option<String>,
    /// `IMDS_ENDPOINT`.
    pub imds_endpoint: Option<String>,
    /// `MSI_ENDPOINT`.
    pub msi_endpoint: Option<String>,
    /// `MSI_SECRET`.
    pub msi_secret: Option<Arc<SecretBytes>>,
    /// `AZURE_POD_IDENTITY_AUTHORITY_HOST`.
    pub azure_pod_identity_authority_host: Option<String>,
    /// `az`, if there is one.
    pub azure_cli: Option<Program>,
    /// Whether the agent of Azure Arc is installed.
    pub has_arc_agent: bool,
    /// Whether the firmware says that this is a machine in Azure.
    pub is_in_azure: bool,
}
