//! The environment: the one place that reads it. Empty is unset, as everywhere in Azure.

use std::path::Path;
use std::path::PathBuf;

use crate::cli::complaint::Complaint;
use crate::cli::owner::Account;

/// What the environment says, in its own words.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Environment {
    /// `AZURE_CLIENT_ID`: which user-assigned identity `identity=auto` takes.
    pub azure_client_id: Option<String>,
    /// `AZURE_POD_IDENTITY_AUTHORITY_HOST`: where the metadata service is instead.
    pub imds: Option<String>,
    /// `XDG_RUNTIME_DIR`: where a user's own sockets are.
    pub runtime: Option<String>,
}

impl Environment {
    /// Where the control sockets of our own mounts are. A user who has no directory for such things
    /// has none.
    #[must_use]
    pub fn control(&self) -> Option<PathBuf> {
        let user = Account::own().uid;
        let usual = control_of(user);
        match &self.runtime {
            Some(runtime) if user != 0 => Some(Path::new(runtime).join("akvfs")),
            Some(_) | None => Some(usual).filter(|usual| usual.parent().is_some_and(Path::is_dir)),
        }
    }

    /// Reads the environment of this process.
    pub fn read() -> Result<Self, Complaint> {
        Ok(Self {
            azure_client_id: variable("AZURE_CLIENT_ID")?,
            imds: variable(IMDS)?,
            runtime: variable("XDG_RUNTIME_DIR")?,
        })
    }
}

/// Where the control sockets of a user's mounts are, if that is how it is on this machine.
#[must_use]
pub fn control_of(user: u32) -> PathBuf {
    match user {
        0 => PathBuf::from("/run/akvfs"),
        user => PathBuf::from(format!("/run/user/{user}/akvfs")),
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
