//! The environment: the one place that reads it. Empty is unset, as everywhere in Azure.

use crate::cli::complaint::Complaint;

/// What the environment says, in its own words.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Environment {
    /// `AZURE_CLIENT_ID`: which user-assigned identity `identity=auto` takes.
    pub azure_client_id: Option<String>,
    /// `AZURE_POD_IDENTITY_AUTHORITY_HOST`: where the metadata service is instead.
    pub imds: Option<String>,
}

impl Environment {
    /// Reads the environment of this process.
    pub fn read() -> Result<Self, Complaint> {
        Ok(Self { azure_client_id: variable("AZURE_CLIENT_ID")?, imds: variable(IMDS)? })
    }
}

/// The variable that says where the metadata service is.
pub const IMDS: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";

#[expect(clippy::disallowed_methods, reason = "this is src/cli/, which may")]
fn variable(name: &str) -> Result<Option<String>, Complaint> {
    let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let text = value.into_string();
    text.map(Some).map_err(|_| Complaint::usage(format!("the environment's {name} is not UTF-8")))
}
