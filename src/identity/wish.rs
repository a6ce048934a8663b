//! Who to be, as a person typed it: one of the machine's identities, or somebody else altogether.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

use crate::identity::choice::Choice;
use crate::identity::choice::ChoiceError;
use crate::model::name::SecretName;

/// What `identity=` says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Wish {
    /// Whoever is configured, in the order of looking.
    Auto,
    /// A managed identity of whatever this runs on.
    Managed(Choice),
    /// The workload identity of a pod.
    Workload,
    /// The service principal in the environment.
    ServicePrincipal,
    /// Whoever logged in with `az`.
    AzureCli,
    /// The service principal whose credentials are in a vault.
    From(Place),
}

/// Where in the machine's own cloud a service principal's credentials are.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Place {
    /// The vault's name, as typed.
    pub vault: String,
    /// The secret.
    pub secret: SecretName,
}

impl Wish {
    /// Takes what stands after `identity=`.
    pub fn parse(text: &str) -> Result<Self, ChoiceError> {
        match text {
            "auto" => Ok(Self::Auto),
            "workload" => Ok(Self::Workload),
            "service-principal" => Ok(Self::ServicePrincipal),
            "azure-cli" => Ok(Self::AzureCli),
            _ => match text.strip_prefix("from:") {
                Some(place) => Place::parse(place).map(Self::From).ok_or_else(|| {
                    let why = "this is not a vault's name, a slash and a secret's name";
                    ChoiceError::new(&format!("identity={text}"), why, Some(PLACE))
                }),
                None => Choice::parse(text).map(Self::Managed),
            },
        }
    }
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let (vault, secret) = text.split_once('/')?;
        // Whether it can be a vault's name is for whoever completes it to say; here it must be
        // nothing that could lead out of the cloud.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let is_name = (1..=24).contains(&vault.len()) && vault.bytes().all(plain);
        let secret = SecretName::parse(secret)?;
        is_name.then(|| Self { vault: vault.to_owned(), secret })
    }
}

const PLACE: &str = "identity=from:VAULT/SECRET holds two names, and neither dots nor a URL";

impl fmt::Display for Wish {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => out.write_str("auto"),
            Self::Managed(choice) => write!(out, "{choice}"),
            Self::Workload => out.write_str("workload"),
            Self::ServicePrincipal => out.write_str("service-principal"),
            Self::AzureCli => out.write_str("azure-cli"),
            Self::From(place) => write!(out, "from:{place}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.vault, self.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wish_is_written_as_it_is_read() {
        for text in [
            "auto",
            "system",
            "client-id:0f0e0d0c-1111-2222-3333-444455556666",
            "workload",
            "service-principal",
            "azure-cli",
            "from:my-vault/backup-sp",
        ] {
            assert_eq!(Wish::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_place_is_two_names_and_leads_nowhere_else() {
        for bad in [
            "",
            "my-vault",
            "my-vault/",
            "/sp",
            "my-vault/sp/0123456789abcdef0123456789abcdef",
            "my-vault.vault.azure.net/sp",
            "https://my-vault/sp",
            "https://my-vault.vault.azure.net/secrets/sp",
            "my-vault:443/sp",
            "me@my-vault/sp",
            "my-vault?/sp",
            "my-vault#/sp",
            "../sp",
            "my-vault/../sp",
            "my-vault/s_p",
            "my vault/sp",
            "my-vault/sp\n",
            "tag:vault/sp",
            "a-name-of-twenty-five-char/sp",
        ] {
            let error = Wish::parse(&format!("from:{bad}")).expect_err(bad);
            assert!(error.hint().unwrap().contains("from:VAULT/SECRET"), "{error}");
        }
    }
}
