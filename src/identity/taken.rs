//! Where a mount's tokens come from, as it was decided once: what travels to each worker.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::identity::arc_key;
use crate::identity::azure_cli::Program;
use crate::identity::choice::Choice;
use crate::identity::endpoint::Endpoint;
use crate::identity::kind::Kind;
use crate::identity::service_principal::Principal;
use crate::identity::wish::Place;
use crate::identity::workload::Federation;
use crate::model::secret::SecretBytes;
use crate::tls::Thumbprint;

/// The source that was taken.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Taken {
    /// Which one, and where it is.
    pub origin: Origin,
    /// Which of its identities.
    pub choice: Choice,
    /// What its door wants to be shown. It is never part of a text: it travels by itself.
    #[serde(skip)]
    pub secret: Option<Arc<SecretBytes>>,
    /// The sources that come before it, and why it is none of them.
    pub passed_over: Vec<PassedOver>,
}

/// A source, where it is, and what is needed to ask it beside a secret.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Origin {
    /// App Service.
    AppService(Endpoint),
    /// A Service Fabric cluster, and the certificate that it shows.
    ServiceFabric(Endpoint, Thumbprint),
    /// Azure ML.
    AzureMl(Endpoint),
    /// Cloud Shell.
    CloudShell(Endpoint),
    /// The agent of Azure Arc.
    Arc(Endpoint),
    /// The metadata service.
    Imds(Endpoint),
    /// A service principal.
    ServicePrincipal(Principal),
    /// A pod's identity.
    Workload(Federation),
    /// `az`.
    AzureCli(Program),
    /// A service principal in a vault, and who reads it there.
    From(Place, Box<Self>),
}

/// A source that was not taken.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PassedOver {
    /// Which one.
    pub source: Kind,
    /// Why.
    pub why: String,
}

impl Origin {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::AppService(_) => Kind::AppService,
            Self::ServiceFabric(..) => Kind::ServiceFabric,
            Self::AzureMl(_) => Kind::AzureMl,
            Self::CloudShell(_) => Kind::CloudShell,
            Self::Arc(_) => Kind::Arc,
            Self::Imds(_) => Kind::Imds,
            Self::ServicePrincipal(_) => Kind::ServicePrincipal,
            Self::Workload(_) => Kind::Workload,
            Self::AzureCli(_) => Kind::AzureCli,
            Self::From(..) => Kind::From,
        }
    }

    /// The group that whoever asks must be in, if there is one.
    #[must_use]
    pub const fn group(&self) -> Option<&'static str> {
        match self {
            Self::Arc(_) => Some(arc_key::GROUP),
            Self::From(_, reads) => reads.group(),
            Self::AppService(_)
            | Self::ServiceFabric(..)
            | Self::AzureMl(_)
            | Self::CloudShell(_)
            | Self::Imds(_)
            | Self::ServicePrincipal(_)
            | Self::Workload(_)
            | Self::AzureCli(_) => None,
        }
    }

    /// Whether such a choice can be told to it. What it would ignore cannot: Service Fabric, Cloud
    /// Shell and Arc have one identity and take no parameter for another.
    #[must_use]
    pub const fn can_be(&self, choice: &Choice) -> bool {
        match choice {
            Choice::Auto | Choice::System => true,
            Choice::ClientId(_) => {
                matches!(self, Self::AppService(_) | Self::AzureMl(_) | Self::Imds(_))
            }
            Choice::ObjectId(_) | Choice::ResourceId(_) => {
                matches!(self, Self::AppService(_) | Self::Imds(_))
            }
        }
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.origin.kind();
        write!(out, "tokens come from {} ", kind.words())?;
        match &self.origin {
            Origin::ServicePrincipal(_) | Origin::Workload(_) | Origin::AzureCli(_) => {
                write!(out, "({})", kind.name())?;
            }
            Origin::From(place, reads) => {
                write!(out, "(from:{place}, read by {} of {})", self.choice, reads.kind().words())?;
            }
            Origin::AppService(_)
            | Origin::ServiceFabric(..)
            | Origin::AzureMl(_)
            | Origin::CloudShell(_)
            | Origin::Arc(_)
            | Origin::Imds(_) => write!(out, "({})", self.choice)?,
        }
        for (number, PassedOver { source, why }) in self.passed_over.iter().enumerate() {
            let between = if number == 0 { "; not from " } else { ", " };
            write!(out, "{between}{} ({why})", source.name())?;
        }
        Ok(())
    }
}
