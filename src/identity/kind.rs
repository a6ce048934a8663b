//! The kinds of sources that tokens come from, and what people call them.

use serde::Deserialize;
use serde::Serialize;

/// A kind of source.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// App Service, Functions, Container Apps, Automation.
    AppService,
    /// A Service Fabric cluster.
    ServiceFabric,
    /// Azure ML; App Service spoke like this before 2019.
    AzureMl,
    /// Cloud Shell.
    CloudShell,
    /// A machine elsewhere with the agent of Azure Arc.
    Arc,
    /// The metadata service of an Azure machine.
    Imds,
    /// A service principal in the environment.
    ServicePrincipal,
    /// The workload identity of a pod.
    Workload,
    /// Whoever logged in with `az`.
    AzureCli,
    /// A service principal in a vault.
    From,
}

impl Kind {
    /// The name that status and options have for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AppService => "app-service",
            Self::ServiceFabric => "service-fabric",
            Self::AzureMl => "azure-ml",
            Self::CloudShell => "cloud-shell",
            Self::Arc => "arc",
            Self::Imds => "imds",
            Self::ServicePrincipal => "service-principal",
            Self::Workload => "workload",
            Self::AzureCli => "azure-cli",
            Self::From => "from",
        }
    }

    /// Who it is, within a sentence.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::AppService => "App Service",
            Self::ServiceFabric => "Service Fabric",
            Self::AzureMl => "Azure ML",
            Self::CloudShell => "Cloud Shell",
            Self::Arc => "the Azure Arc agent",
            Self::Imds => "the metadata service",
            Self::ServicePrincipal | Self::Workload | Self::From => "Entra",
            Self::AzureCli => "az",
        }
    }

    /// Whose identities it speaks for.
    #[must_use]
    pub const fn holder(self) -> &'static str {
        match self {
            Self::AppService => "this app",
            Self::ServiceFabric => "this application",
            Self::AzureMl => "this compute",
            Self::CloudShell => "this shell",
            Self::Arc | Self::Imds => "this machine",
            Self::ServicePrincipal | Self::From => "this application",
            Self::Workload => "this pod",
            Self::AzureCli => "this person",
        }
    }

    /// What gives it an identity, where there is but one way.
    #[must_use]
    pub const fn remedy(self) -> Option<&'static str> {
        match self {
            Self::ServiceFabric => Some("give the application an identity where it is deployed"),
            Self::CloudShell => Some("sign in anew: close the shell and open another"),
            Self::Arc => Some("connect the machine to Azure: azcmagent connect"),
            Self::AppService
            | Self::AzureMl
            | Self::Imds
            | Self::ServicePrincipal
            | Self::Workload
            | Self::AzureCli
            | Self::From => None,
        }
    }

    /// What to look at where it does not answer.
    #[must_use]
    pub const fn silence(self) -> &'static str {
        match self {
            Self::AppService | Self::ServiceFabric => {
                "IDENTITY_ENDPOINT says where it is, and is read while mounting: has it changed?"
            }
            Self::AzureMl | Self::CloudShell => {
                "MSI_ENDPOINT says where it is, and is read while mounting: has it changed?"
            }
            Self::ServicePrincipal | Self::Workload | Self::From => {
                "is there a way to the authority of the vault's cloud, port 443, past firewalls \
                 and routes?"
            }
            Self::AzureCli => "try it: az account get-access-token",
            Self::Arc => "does it run? azcmagent show tells, and systemctl status himdsd",
            Self::Imds => {
                "only machines in Azure have it; there, see whether a firewall keeps the user \
                 that this runs as from 169.254.169.254"
            }
        }
    }
}
