//! Which source a mount takes: the first that is configured, in the order in which Microsoft's own
//! clients look.
//!
//! It is decided from plain facts, once, and asks nobody. A variable that is set but makes no
//! sense, or not without another, is an error that names it: going on to the next source would
//! make us somebody else without a word.

use std::fmt;
use std::sync::Arc;

use crate::http::Key;
use crate::identity::arc;
use crate::identity::choice::Choice;
use crate::identity::choice::ChoiceError;
use crate::identity::endpoint::Endpoint;
use crate::identity::imds;
use crate::identity::kind::Kind;
use crate::identity::surroundings::Surroundings;
use crate::identity::taken::Origin;
use crate::identity::taken::PassedOver;
use crate::identity::taken::Taken;
use crate::model::secret::SecretBytes;
use crate::tls::Thumbprint;

/// Why no source can be taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Undecided {
    why: String,
    hint: Option<String>,
}

/// What a look at the facts found about one source.
enum Look {
    /// It is configured, and wants to be shown this.
    Found(Origin, Option<Arc<SecretBytes>>),
    /// It is not, because of this.
    Absent(&'static str),
}

/// A source in the order of looking.
struct Row {
    kind: Kind,
    look: fn(&Surroundings) -> Result<Look, Undecided>,
}

/// The order of Microsoft's DefaultAzureCredential, and within the managed identities that of MSAL.
const ROWS: [Row; 6] = [
    Row { kind: Kind::AppService, look: app_service },
    Row { kind: Kind::ServiceFabric, look: service_fabric },
    Row { kind: Kind::AzureMl, look: azure_ml },
    Row { kind: Kind::CloudShell, look: cloud_shell },
    Row { kind: Kind::Arc, look: azure_arc },
    Row { kind: Kind::Imds, look: metadata_service },
];

/// Takes a source.
pub fn detect(choice: &Choice, here: &Surroundings) -> Result<Taken, Undecided> {
    let mut passed_over = Vec::new();
    for row in ROWS {
        match (row.look)(here)? {
            Look::Found(origin, secret) => {
                let choice = choice_of(&origin, choice, here)?;
                return Ok(Taken { origin, choice, secret, passed_over });
            }
            Look::Absent(why) => {
                passed_over.push(PassedOver { source: row.kind, why: why.to_owned() });
            }
        }
    }
    Err(Undecided { why: "there is nobody to ask for a token".to_owned(), hint: None })
}

/// Which of the source's identities: the one chosen, else the one that the environment names.
fn choice_of(origin: &Origin, choice: &Choice, here: &Surroundings) -> Result<Choice, Undecided> {
    let default = match origin.kind() {
        Kind::AzureMl => ("DEFAULT_IDENTITY_CLIENT_ID", &here.default_identity_client_id),
        Kind::AppService | Kind::ServiceFabric | Kind::CloudShell | Kind::Arc | Kind::Imds => {
            (CLIENT_ID, &None)
        }
    };
    let named = [(CLIENT_ID, &here.azure_client_id), default];
    let named = named.into_iter().find_map(|(name, value)| Some((name, value.as_deref()?)));
    let (chosen, what) = match (choice, named) {
        (Choice::Auto, Some((name, id))) => {
            (Choice::named_by(name, id)?, format!("the environment's {name}"))
        }
        (choice, _) => (choice.clone(), format!("identity={choice}")),
    };
    if origin.can_be(&chosen) {
        return Ok(chosen);
    }
    let source = origin.kind().words();
    let why = format!("{what}: tokens come from {source}, which lets nobody choose like that");
    let hint = format!("leave it away: unset {CLIENT_ID}, or give identity=system");
    Err(Undecided { why, hint: Some(hint) })
}

fn app_service(here: &Surroundings) -> Result<Look, Undecided> {
    match (&here.identity_endpoint, &here.identity_header, &here.identity_server_thumbprint) {
        (Some(endpoint), Some(header), None) => {
            let endpoint = endpoint_of(ENDPOINT, endpoint)?;
            Ok(Look::Found(Origin::AppService(endpoint), Some(secret_of(HEADER, header)?)))
        }
        (None, Some(_), _) => Err(Undecided::without(HEADER, ENDPOINT)),
        (Some(_), Some(_), Some(_)) => Ok(Look::Absent("IDENTITY_SERVER_THUMBPRINT is set")),
        (Some(_), None, _) => Ok(Look::Absent("IDENTITY_HEADER is not set")),
        (None, None, _) => Ok(Look::Absent("IDENTITY_ENDPOINT is not set")),
    }
}

fn service_fabric(here: &Surroundings) -> Result<Look, Undecided> {
    let Some(print) = &here.identity_server_thumbprint else {
        return Ok(Look::Absent("IDENTITY_SERVER_THUMBPRINT is not set"));
    };
    let endpoint = here.identity_endpoint.as_ref();
    let endpoint = endpoint.ok_or_else(|| Undecided::without(THUMBPRINT, ENDPOINT))?;
    let header = here.identity_header.as_ref();
    let header = header.ok_or_else(|| Undecided::without(THUMBPRINT, HEADER))?;
    let print = Thumbprint::parse(print)
        .ok_or_else(|| Undecided::of(THUMBPRINT, "a SHA-1 is 40 hexadecimal digits"))?;
    let endpoint = endpoint_of(ENDPOINT, endpoint)?;
    if !endpoint.is_secure() {
        return Err(Undecided::of(ENDPOINT, "a cluster shows its certificate over https only"));
    }
    let header = secret_of(HEADER, header)?;
    Ok(Look::Found(Origin::ServiceFabric(endpoint, print), Some(header)))
}

fn azure_ml(here: &Surroundings) -> Result<Look, Undecided> {
    match (&here.msi_endpoint, &here.msi_secret) {
        (Some(endpoint), Some(secret)) => {
            let endpoint = endpoint_of(MSI_ENDPOINT, endpoint)?;
            Ok(Look::Found(Origin::AzureMl(endpoint), Some(secret_of(MSI_SECRET, secret)?)))
        }
        (None, Some(_)) => Err(Undecided::without(MSI_SECRET, MSI_ENDPOINT)),
        (Some(_), None) => Ok(Look::Absent("MSI_SECRET is not set")),
        (None, None) => Ok(Look::Absent("MSI_ENDPOINT is not set")),
    }
}

fn cloud_shell(here: &Surroundings) -> Result<Look, Undecided> {
    let Some(endpoint) = &here.msi_endpoint else {
        return Ok(Look::Absent("MSI_ENDPOINT is not set"));
    };
    let endpoint = endpoint_of(MSI_ENDPOINT, endpoint)?;
    Ok(Look::Found(Origin::CloudShell(endpoint), None))
}

fn azure_arc(here: &Surroundings) -> Result<Look, Undecided> {
    let installed = here.has_arc_agent;
    let endpoint = match (&here.identity_endpoint, &here.imds_endpoint) {
        (Some(endpoint), Some(_)) => endpoint,
        (Some(endpoint), None) if installed => endpoint,
        (None, _) if installed => arc::ADDRESS,
        (Some(_), None) => {
            return Err(Undecided::without(ENDPOINT, "IDENTITY_HEADER or IMDS_ENDPOINT"));
        }
        (None, Some(_)) => return Err(Undecided::without("IMDS_ENDPOINT", ENDPOINT)),
        (None, None) => {
            return Ok(Look::Absent("IDENTITY_ENDPOINT is not set, and no agent is installed"));
        }
    };
    let endpoint = endpoint_of(ENDPOINT, endpoint)?;
    if !endpoint.is_here() {
        let why = "the agent of Azure Arc is on this machine, and its keys go nowhere else";
        return Err(Undecided::of(ENDPOINT, why));
    }
    Ok(Look::Found(Origin::Arc(endpoint), None))
}

fn metadata_service(here: &Surroundings) -> Result<Look, Undecided> {
    let endpoint = imds::endpoint(here.azure_pod_identity_authority_host.as_deref());
    let endpoint = endpoint.map_err(|error| Undecided::of(POD_IDENTITY, error))?;
    Ok(Look::Found(Origin::Imds(endpoint), None))
}

fn endpoint_of(variable: &str, text: &str) -> Result<Endpoint, Undecided> {
    Endpoint::parse(text).map_err(|error| Undecided::of(variable, error))
}

fn secret_of(variable: &str, secret: &Arc<SecretBytes>) -> Result<Arc<SecretBytes>, Undecided> {
    if Key::fits(secret) {
        return Ok(Arc::clone(secret));
    }
    Err(Undecided::of(variable, "this is no plain word, as a header must be"))
}

const CLIENT_ID: &str = "AZURE_CLIENT_ID";
const ENDPOINT: &str = "IDENTITY_ENDPOINT";
const HEADER: &str = "IDENTITY_HEADER";
const THUMBPRINT: &str = "IDENTITY_SERVER_THUMBPRINT";
const MSI_ENDPOINT: &str = "MSI_ENDPOINT";
const MSI_SECRET: &str = "MSI_SECRET";
const POD_IDENTITY: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";

impl Undecided {
    fn of(variable: &str, why: impl fmt::Display) -> Self {
        Self {
            why: format!("the environment's {variable}: {why}"),
            hint: Some(format!("unset {variable} if it is not meant for akvfs, or correct it")),
        }
    }

    fn without(variable: &str, other: &str) -> Self {
        Self::of(variable, format_args!("it means nothing without {other}, which is not set"))
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl From<ChoiceError> for Undecided {
    fn from(error: ChoiceError) -> Self {
        Self { why: error.to_string(), hint: error.hint().map(ToOwned::to_owned) }
    }
}

impl fmt::Display for Undecided {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.why)
    }
}

impl std::error::Error for Undecided {}
