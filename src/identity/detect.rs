//! Which source a mount takes: the first that is configured, in the order in which Microsoft's own
//! clients look.
//!
//! It is decided from plain facts, once, and asks nobody but, on a laptop, whether there is a metadata
//! service after all. A variable that is set but makes no
//! sense, or not without another, is an error that names it: going on to the next source would
//! make us somebody else without a word.

use std::fmt;
use std::sync::Arc;

use crate::http::Key;
use crate::identity::arc;
use crate::identity::choice::Choice;
use crate::identity::choice::ChoiceError;
use crate::identity::credentials;
use crate::identity::endpoint::Endpoint;
use crate::identity::imds;
use crate::identity::kind::Kind;
use crate::identity::surroundings::Surroundings;
use crate::identity::taken::Origin;
use crate::identity::taken::PassedOver;
use crate::identity::taken::Taken;
use crate::identity::wish::Wish;
use crate::model::secret::SecretBytes;
use crate::tls::Thumbprint;

/// Why no source can be taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Undecided {
    why: String,
    hint: Option<String>,
}

/// What a look at the facts found about one source.
pub(crate) enum Look {
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
const ROWS: [Row; 8] = [
    Row { kind: Kind::ServicePrincipal, look: credentials::service_principal },
    Row { kind: Kind::Workload, look: credentials::workload },
    Row { kind: Kind::AppService, look: app_service },
    Row { kind: Kind::ServiceFabric, look: service_fabric },
    Row { kind: Kind::AzureMl, look: azure_ml },
    Row { kind: Kind::CloudShell, look: cloud_shell },
    Row { kind: Kind::Arc, look: azure_arc },
    Row { kind: Kind::Imds, look: metadata_service },
];

/// Takes a source. `answers` tells whether anybody answers where the metadata service would be.
pub fn detect(
    wish: &Wish,
    here: &Surroundings,
    answers: impl FnOnce(&Endpoint) -> bool,
) -> Result<Taken, Undecided> {
    let is_managed = |row: &&Row| !matches!(row.kind, Kind::ServicePrincipal | Kind::Workload);
    let auto = &Choice::Auto;
    match wish {
        Wish::Auto => Ok(or_who_logged_in(first(ROWS.iter(), auto, here)?, here, answers)),
        Wish::Managed(choice) => first(ROWS.iter().filter(is_managed), choice, here),
        Wish::From(place) => {
            let reads = first(ROWS.iter().filter(is_managed), auto, here)?;
            let origin = Origin::From(place.clone(), Box::new(reads.origin));
            Ok(Taken { origin, ..reads })
        }
        Wish::ServicePrincipal => only(wish, credentials::service_principal(here)?),
        Wish::Workload => only(wish, credentials::workload(here)?),
        Wish::AzureCli => {
            let program = here.azure_cli.clone().ok_or_else(|| Undecided {
                why: "identity=azure-cli: there is no az in PATH, or no HOME".to_owned(),
                hint: Some("install the Azure CLI, and run az login".to_owned()),
            })?;
            only(wish, Look::Found(Origin::AzureCli(program), None))
        }
    }
}

/// On a laptop, whoever logged in with `az` there. It is one if nothing says that it is a machine in
/// Azure, and nobody answers where a metadata service would be. An identity that the environment
/// names is not his.
fn or_who_logged_in(
    taken: Taken,
    here: &Surroundings,
    answers: impl FnOnce(&Endpoint) -> bool,
) -> Taken {
    let in_azure = here.is_in_azure || here.azure_pod_identity_authority_host.is_some();
    match (&taken.origin, &here.azure_cli) {
        (Origin::Imds(endpoint), Some(program))
            if !in_azure && taken.choice == Choice::Auto && !answers(endpoint) =>
        {
            let why = "this is no machine in Azure, and nobody answers at its address".to_owned();
            let mut passed_over = taken.passed_over;
            passed_over.push(PassedOver { source: Kind::Imds, why });
            Taken { origin: Origin::AzureCli(program.clone()), passed_over, ..taken }
        }
        _ => taken,
    }
}

/// The first of these that is configured.
fn first<'a>(
    rows: impl Iterator<Item = &'a Row>,
    choice: &Choice,
    here: &Surroundings,
) -> Result<Taken, Undecided> {
    let mut passed_over = Vec::new();
    for row in rows {
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

/// This one, or an error that says what it lacks.
fn only(wish: &Wish, look: Look) -> Result<Taken, Undecided> {
    match look {
        Look::Found(origin, secret) => {
            Ok(Taken { origin, choice: Choice::Auto, secret, passed_over: Vec::new() })
        }
        Look::Absent(why) => Err(Undecided {
            why: format!("identity={wish}: {why}"),
            hint: Some("set it in the environment of whoever mounts".to_owned()),
        }),
    }
}

/// Which of the source's identities: the one chosen, else the one that the environment names.
fn choice_of(origin: &Origin, choice: &Choice, here: &Surroundings) -> Result<Choice, Undecided> {
    let default = match origin.kind() {
        Kind::AzureMl => ("DEFAULT_IDENTITY_CLIENT_ID", &here.default_identity_client_id),
        // There it names the application, which is part of what was found.
        Kind::ServicePrincipal | Kind::Workload => return Ok(choice.clone()),
        Kind::AppService
        | Kind::ServiceFabric
        | Kind::CloudShell
        | Kind::Arc
        | Kind::Imds
        | Kind::AzureCli
        | Kind::From => (CLIENT_ID, &None),
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
    Ok(Look::Found(Origin::Imds(metadata_endpoint(here)?), None))
}

/// Where the metadata service is.
pub fn metadata_endpoint(here: &Surroundings) -> Result<Endpoint, Undecided> {
    let endpoint = imds::endpoint(here.azure_pod_identity_authority_host.as_deref());
    endpoint.map_err(|error| Undecided::of(POD_IDENTITY, error))
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
    pub(crate) fn of(variable: &str, why: impl fmt::Display) -> Self {
        Self {
            why: format!("the environment's {variable}: {why}"),
            hint: Some(format!("unset {variable} if it is not meant for akvfs, or correct it")),
        }
    }

    /// The same, with something better to do about it.
    pub(crate) fn hinting(self, hint: &str) -> Self {
        Self { hint: Some(hint.to_owned()), ..self }
    }

    pub(crate) fn without(variable: &str, other: &str) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::azure_cli::Program;

    const ME: &str = "0f0e0d0c-1111-2222-3333-444455556666";
    const PRINT: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
    const PROXY: &str = "AZURE_KUBERNETES_TOKEN_PROXY";
    const LOCKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/aes.pfx");
    const NEAR: &str = "http://127.0.0.1:42356/msi/token";
    const FAR: &str = "http://203.0.113.9/msi/token";
    const SECURE: &str = "https://10.0.0.4:2377/token";

    /// What an environment with these variables comes to; `agent` stands for the agent of Arc.
    fn here(variables: &[(&str, &str)]) -> Surroundings {
        let mut here = Surroundings::default();
        for (name, value) in variables {
            let text = Some((*value).to_owned());
            let secret = Some(Arc::new(SecretBytes::new(value.as_bytes().to_vec())));
            match *name {
                CLIENT_ID => here.azure_client_id = text,
                "DEFAULT_IDENTITY_CLIENT_ID" => here.default_identity_client_id = text,
                ENDPOINT => here.identity_endpoint = text,
                HEADER => here.identity_header = secret,
                THUMBPRINT => here.identity_server_thumbprint = text,
                "IMDS_ENDPOINT" => here.imds_endpoint = text,
                MSI_ENDPOINT => here.msi_endpoint = text,
                MSI_SECRET => here.msi_secret = secret,
                POD_IDENTITY => here.azure_pod_identity_authority_host = text,
                "agent" => here.has_arc_agent = true,
                "AZURE_TENANT_ID" => here.azure_tenant_id = text,
                "AZURE_CLIENT_SECRET" => here.azure_client_secret = secret,
                "AZURE_CLIENT_CERTIFICATE_PATH" => here.azure_client_certificate_path = text,
                "AZURE_CLIENT_CERTIFICATE_PASSWORD" => {
                    here.azure_client_certificate_password = secret;
                }
                "AZURE_FEDERATED_TOKEN_FILE" => here.azure_federated_token_file = text,
                "AZURE_KUBERNETES_TOKEN_PROXY" => here.azure_kubernetes_token_proxy = text,
                "AZURE_KUBERNETES_SNI_NAME" => here.azure_kubernetes_sni_name = text,
                "AZURE_KUBERNETES_CA_FILE" => here.azure_kubernetes_ca_file = text,
                "AZURE_KUBERNETES_CA_DATA" => here.azure_kubernetes_ca_data = text,
                other => panic!("{other}"),
            }
        }
        here
    }

    fn took(choice: &str, variables: &[(&str, &str)]) -> Result<Taken, Undecided> {
        detect(&Wish::parse(choice).unwrap(), &here(variables), |_| panic!("nobody is asked"))
    }

    /// The whole table: what is set, and which source that is.
    #[test]
    fn the_first_source_that_is_configured_is_taken() {
        let (endpoint, header) = ((ENDPOINT, NEAR), (HEADER, "h"));
        let (msi, secret) = ((MSI_ENDPOINT, NEAR), (MSI_SECRET, "s"));
        let (imds, print) = (("IMDS_ENDPOINT", NEAR), (THUMBPRINT, PRINT));
        let cluster = (ENDPOINT, SECURE);
        let [tenant, me] = [("AZURE_TENANT_ID", "contoso.example"), (CLIENT_ID, ME)];
        let password = ("AZURE_CLIENT_SECRET", "p4ss w\u{f6}rd");
        let certificate = ("AZURE_CLIENT_CERTIFICATE_PATH", LOCKED);
        let opens = ("AZURE_CLIENT_CERTIFICATE_PASSWORD", "pa55word");
        let file = ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/token");
        for (set, kind, is_secret) in [
            (&[][..], Kind::Imds, false),
            (&[tenant], Kind::Imds, false),
            (&[tenant, me, password], Kind::ServicePrincipal, true),
            (&[tenant, me, certificate, opens], Kind::ServicePrincipal, true),
            (
                &[tenant, me, password, ("AZURE_CLIENT_CERTIFICATE_PATH", "/no")],
                Kind::ServicePrincipal,
                true,
            ),
            (&[tenant, me, password, file, endpoint, header], Kind::ServicePrincipal, true),
            (&[tenant, me, file], Kind::Workload, false),
            (&[tenant, me, file, endpoint, header, msi, secret], Kind::Workload, false),
            (&[(POD_IDENTITY, "http://10.0.0.9:2579")], Kind::Imds, false),
            (&[endpoint, header], Kind::AppService, true),
            (&[endpoint, header, imds], Kind::AppService, true),
            (&[endpoint, header, msi, secret], Kind::AppService, true),
            (&[(ENDPOINT, "https://203.0.113.9/x"), header], Kind::AppService, true),
            (&[cluster, header, print], Kind::ServiceFabric, true),
            (&[cluster, header, print, msi, secret, ("agent", "")], Kind::ServiceFabric, true),
            (&[msi, secret], Kind::AzureMl, true),
            (&[msi, secret, endpoint, imds], Kind::AzureMl, true),
            (&[msi], Kind::CloudShell, false),
            (&[msi, ("agent", "")], Kind::CloudShell, false),
            (&[endpoint, imds], Kind::Arc, false),
            (&[("agent", "")], Kind::Arc, false),
            (&[("agent", ""), endpoint], Kind::Arc, false),
            (&[("agent", ""), imds], Kind::Arc, false),
            (&[("agent", ""), (POD_IDENTITY, NEAR)], Kind::Arc, false),
        ] {
            let taken = took("auto", set).unwrap_or_else(|error| panic!("{set:?}: {error}"));
            assert_eq!(taken.origin.kind(), kind, "{set:?}");
            assert_eq!(taken.secret.is_some(), is_secret, "{set:?}");
            assert_eq!(taken.choice, Choice::Auto);
            // It says why it is none of those before it, each once and in their order.
            let order = ROWS.map(|row| row.kind);
            let passed: Vec<Kind> = taken.passed_over.iter().map(|it| it.source).collect();
            let place = order.iter().position(|it| *it == kind).unwrap();
            assert_eq!(passed, order[..place], "{set:?}");
            assert!(taken.passed_over.iter().all(|it| !it.why.is_empty()));
        }
    }

    #[test]
    fn a_set_that_is_not_whole_or_makes_no_sense_is_named() {
        let (endpoint, header) = ((ENDPOINT, NEAR), (HEADER, "h"));
        let cluster = (ENDPOINT, SECURE);
        let [tenant, me] = [("AZURE_TENANT_ID", "contoso.example"), (CLIENT_ID, ME)];
        let password = ("AZURE_CLIENT_SECRET", "p4ss");
        let file = ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/token");
        let proxy = (PROXY, "https://10.0.0.1:443");
        let sni = ("AZURE_KUBERNETES_SNI_NAME", "a.ests.aks");
        let ca = ("AZURE_KUBERNETES_CA_FILE", "/ca.pem");
        for (set, named) in [
            (&[endpoint][..], &[ENDPOINT, HEADER, "IMDS_ENDPOINT"][..]),
            (&[header], &[HEADER, ENDPOINT]),
            (&[(THUMBPRINT, PRINT)], &[THUMBPRINT, ENDPOINT]),
            (&[cluster, (THUMBPRINT, PRINT)], &[THUMBPRINT, HEADER]),
            (&[(HEADER, "h"), (THUMBPRINT, PRINT)], &[HEADER, ENDPOINT]),
            (&[(MSI_SECRET, "s")], &[MSI_SECRET, MSI_ENDPOINT]),
            (&[("IMDS_ENDPOINT", NEAR)], &["IMDS_ENDPOINT", ENDPOINT]),
            (&[cluster, header, (THUMBPRINT, "abc")], &[THUMBPRINT, "40 hex"]),
            (&[endpoint, header, (THUMBPRINT, PRINT)], &[ENDPOINT, "https"]),
            (&[(ENDPOINT, FAR), header], &[ENDPOINT, FAR]),
            (&[(ENDPOINT, "nonsense"), header], &[ENDPOINT, "nonsense"]),
            (&[(MSI_ENDPOINT, FAR), (MSI_SECRET, "s")], &[MSI_ENDPOINT, FAR]),
            (&[(MSI_ENDPOINT, FAR)], &[MSI_ENDPOINT, FAR]),
            (&[(ENDPOINT, FAR), ("IMDS_ENDPOINT", NEAR)], &[ENDPOINT, FAR]),
            (&[(ENDPOINT, SECURE), ("IMDS_ENDPOINT", NEAR)], &[ENDPOINT, "this machine"]),
            (&[(ENDPOINT, SECURE), ("agent", "")], &[ENDPOINT, "this machine"]),
            (&[(POD_IDENTITY, FAR)], &[POD_IDENTITY]),
            (&[(POD_IDENTITY, "http://203.0.113.9")], &[POD_IDENTITY, "203.0.113.9"]),
            (&[endpoint, (HEADER, "two words")], &[HEADER]),
            (&[endpoint, (HEADER, "canary\r\nx: y")], &[HEADER]),
            (&[(MSI_ENDPOINT, NEAR), (MSI_SECRET, "\u{e9}")], &[MSI_SECRET]),
            (&[(CLIENT_ID, "web-1")], &[CLIENT_ID, "web-1", "GUID"]),
            (&[password], &["AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"]),
            (&[password, tenant], &["AZURE_CLIENT_SECRET", CLIENT_ID]),
            (&[password, tenant, (CLIENT_ID, "web-1")], &[CLIENT_ID, "web-1", "GUID"]),
            (&[password, me, ("AZURE_TENANT_ID", "../x")], &["AZURE_TENANT_ID", "../x"]),
            (&[("AZURE_CLIENT_SECRET", "canary\nx"), tenant, me], &["AZURE_CLIENT_SECRET"]),
            (
                &[("AZURE_CLIENT_CERTIFICATE_PATH", LOCKED), tenant],
                &["CERTIFICATE_PATH", CLIENT_ID],
            ),
            (&[("AZURE_CLIENT_CERTIFICATE_PATH", LOCKED), tenant, me], &[LOCKED, "password"]),
            (&[("AZURE_CLIENT_CERTIFICATE_PATH", "/no/such"), tenant, me], &["/no/such"]),
            (&[("AZURE_CLIENT_CERTIFICATE_PATH", "/dev/null"), tenant, me], &["/dev/null"]),
            (&[file, me], &["AZURE_FEDERATED_TOKEN_FILE", "AZURE_TENANT_ID"]),
            (&[file, tenant], &["AZURE_FEDERATED_TOKEN_FILE", CLIENT_ID]),
            (&[file, tenant, me, sni], &["AZURE_KUBERNETES_SNI_NAME", PROXY]),
            (&[file, tenant, me, ca], &["AZURE_KUBERNETES_CA_FILE", PROXY]),
            (&[file, tenant, me, (PROXY, "http://127.0.0.1:1")], &[PROXY, "https"]),
            (&[file, tenant, me, (PROXY, "https://me@10.0.0.1")], &[PROXY]),
            (&[file, tenant, me, (PROXY, "https://10.0.0.1/?a=b")], &[PROXY]),
            (&[file, tenant, me, proxy, ("AZURE_KUBERNETES_SNI_NAME", "a/b")], &["SNI_NAME"]),
            (
                &[file, tenant, me, proxy, ca, ("AZURE_KUBERNETES_CA_DATA", "x")],
                &["AZURE_KUBERNETES_CA_DATA", "AZURE_KUBERNETES_CA_FILE"],
            ),
            (&[endpoint, header, (CLIENT_ID, "web-1")], &[CLIENT_ID, "web-1", "GUID"]),
        ] {
            let error = took("auto", set).expect_err(&format!("{set:?}"));
            let text = error.to_string();
            assert!(named.iter().all(|name| text.contains(name)), "{set:?}: {text}");
            assert!(!text.contains("canary") && error.hint().is_some(), "{set:?}: {text}");
        }
    }

    #[test]
    fn a_choice_goes_to_who_can_be_told_and_is_refused_by_who_would_ignore_it() {
        let arm = format!(
            "resource-id:/subscriptions/{ME}/resourceGroups/g/providers/\
             Microsoft.ManagedIdentity/userAssignedIdentities/web"
        );
        let (client, object) = (format!("client-id:{ME}"), format!("object-id:{ME}"));
        let app = [(ENDPOINT, NEAR), (HEADER, "h")];
        let cluster = [(ENDPOINT, SECURE), (HEADER, "h"), (THUMBPRINT, PRINT)];
        for (set, can) in [
            (&[][..], [true, true, true]),
            (&app, [true, true, true]),
            (&[(MSI_ENDPOINT, NEAR), (MSI_SECRET, "s")], [true, false, false]),
            (&cluster, [false, false, false]),
            (&[(MSI_ENDPOINT, NEAR)], [false, false, false]),
            (&[("agent", "")], [false, false, false]),
        ] {
            assert_eq!(took("system", set).unwrap().choice, Choice::System);
            for (choice, can) in [&client, &object, &arm].into_iter().zip(can) {
                match took(choice, set) {
                    Ok(taken) => assert!(can && taken.choice.to_string() == *choice, "{set:?}"),
                    Err(error) => {
                        let named = error.to_string().contains(&format!("identity={choice}"));
                        assert!(!can && named && error.hint().is_some(), "{set:?}: {error}");
                    }
                }
            }
            // The variable counts as the option would, but only where that chooses nobody.
            let named = [set, &[(CLIENT_ID, ME)]].concat();
            match took("auto", &named) {
                Ok(taken) => assert!(can[0] && taken.choice.to_string() == client),
                Err(error) => assert!(!can[0] && error.to_string().contains(CLIENT_ID), "{error}"),
            }
            assert_eq!(took("system", &named).unwrap().choice, Choice::System);
        }
    }

    #[test]
    fn azure_ml_says_itself_whom_it_would_have_us_be() {
        let default = "99999999-1111-2222-3333-444455556666";
        let ml = [(MSI_ENDPOINT, NEAR), (MSI_SECRET, "s"), ("DEFAULT_IDENTITY_CLIENT_ID", default)];
        let choice = |choice, set: &[(&str, &str)]| took(choice, set).unwrap().choice.to_string();
        assert_eq!(choice("auto", &ml), format!("client-id:{default}"));
        assert_eq!(choice("system", &ml), "system");
        let named = [&ml[..], &[(CLIENT_ID, ME)]].concat();
        assert_eq!(choice("auto", &named), format!("client-id:{ME}"));
        let odd = [ml[0], ml[1], ("DEFAULT_IDENTITY_CLIENT_ID", "x")];
        assert!(took("auto", &odd).unwrap_err().to_string().contains("DEFAULT_IDENTITY_CLIENT_ID"));
        // To everybody else it means nothing.
        assert_eq!(choice("auto", &[ml[2]]), "auto");
    }

    #[test]
    fn who_is_named_is_taken_or_it_is_said_what_is_missing() {
        let tenant = ("AZURE_TENANT_ID", "contoso.example");
        let principal = [tenant, (CLIENT_ID, ME), ("AZURE_CLIENT_SECRET", "p4ss")];
        let pod = [tenant, (CLIENT_ID, ME), ("AZURE_FEDERATED_TOKEN_FILE", "/token")];
        let both = [&principal[..], &pod].concat();
        let kind = |wish, set: &[(&str, &str)]| took(wish, set).map(|it| it.origin.kind());
        assert_eq!(kind("service-principal", &both), Ok(Kind::ServicePrincipal));
        assert_eq!(kind("workload", &both), Ok(Kind::Workload));
        for (wish, named) in [
            ("service-principal", "AZURE_CLIENT_SECRET"),
            ("workload", "AZURE_FEDERATED_TOKEN_FILE"),
            ("azure-cli", "az"),
        ] {
            let error = took(wish, &[]).unwrap_err();
            assert!(error.to_string().contains(named) && error.hint().is_some(), "{error}");
        }
        // Who wants a managed identity gets one, whoever else the environment names.
        for wish in ["system", &format!("client-id:{ME}"), &format!("object-id:{ME}")] {
            assert_eq!(kind(wish, &both), Ok(Kind::Imds), "{wish}");
        }
        let from = took("from:my-vault/sp", &both).unwrap();
        assert_eq!(from.origin.kind(), Kind::From);
        assert_eq!(
            (from.choice.to_string(), from.secret.is_none()),
            (format!("client-id:{ME}"), true)
        );
        let app = took("from:my-vault/sp", &[(ENDPOINT, NEAR), (HEADER, "h")]).unwrap();
        assert!(app.secret.is_some());
    }

    #[test]
    fn on_a_laptop_it_is_who_logged_in_unless_a_metadata_service_answers() {
        let az = Program {
            path: "/usr/bin/az".into(),
            search: "/usr/bin".to_owned(),
            home: "/home/me".to_owned(),
            config: None,
        };
        let laptop = |variables: &[(&str, &str)]| Surroundings {
            azure_cli: Some(az.clone()),
            ..here(variables)
        };
        let took = |wish: &str, here: &Surroundings, answers: Option<bool>| {
            let asked = |_: &Endpoint| answers.expect("nobody is asked");
            detect(&Wish::parse(wish).unwrap(), here, asked).unwrap()
        };
        let taken = took("auto", &laptop(&[]), Some(false));
        assert_eq!(taken.origin.kind(), Kind::AzureCli);
        assert_eq!(taken.passed_over.last().unwrap().source, Kind::Imds);
        assert_eq!(took("auto", &laptop(&[]), Some(true)).origin.kind(), Kind::Imds);
        // What is known need not be asked.
        let in_azure = Surroundings { is_in_azure: true, ..laptop(&[]) };
        assert_eq!(took("auto", &in_azure, None).origin.kind(), Kind::Imds);
        for known in [(CLIENT_ID, ME), (POD_IDENTITY, "http://10.0.0.9")] {
            let known = laptop(&[known]);
            assert_eq!(took("auto", &known, None).origin.kind(), Kind::Imds);
        }
        assert_eq!(took("system", &laptop(&[]), None).origin.kind(), Kind::Imds);
        let app = laptop(&[(ENDPOINT, NEAR), (HEADER, "h")]);
        assert_eq!(took("auto", &app, None).origin.kind(), Kind::AppService);
    }
}
