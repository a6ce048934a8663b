//! The vault, and as whom it is asked: what every command that asks a vault has in common.

use std::fs;
use std::io;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

use crate::cli::complaint::Complaint;
use crate::cli::complaint::reason;
use crate::cli::options::Key;
use crate::cli::settings::Settings;
use crate::cli::values::Wrong;
use crate::http::Client;
use crate::identity::choice::Choice;
use crate::identity::choice::Guid;
use crate::identity::detect::detect;
use crate::identity::source::Source;
use crate::identity::surroundings::Surroundings;
use crate::identity::taken::Taken;
use crate::identity::tokens::Tokens;
use crate::tls::BadRoots;
use crate::vault::address::SecretAddress;
use crate::vault::address::VaultAddress;
use crate::vault::client::Vault;

/// One vault, and as whom it is asked.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Access {
    /// The vault.
    pub vault: VaultAddress,
    /// Where tokens come from.
    pub identity: Taken,
    /// The certificates trusted, if not the system's: the content of the file, not its path.
    pub ca_pem: Option<String>,
}

impl Access {
    /// Understands a vault that was typed.
    pub fn to_vault(
        text: &str,
        settings: &Settings,
        here: &Surroundings,
    ) -> Result<Self, Complaint> {
        let (resource, authority) = (settings.given(Key::Resource), settings.given(Key::Authority));
        let vault =
            VaultAddress::parse(text.strip_prefix(MOUNT_FUSE).unwrap_or(text), resource, authority);
        let vault = vault.map_err(|error| complain(&error, error.hint()))?;
        Self::to(vault, settings, here)
    }

    /// Understands a secret's URL that was typed.
    pub fn to_secret(
        url: &str,
        settings: &Settings,
        here: &Surroundings,
    ) -> Result<(Self, SecretAddress), Complaint> {
        let (resource, authority) = (settings.given(Key::Resource), settings.given(Key::Authority));
        let secret = SecretAddress::parse(url, resource, authority);
        let secret = secret.map_err(|error| complain(&error, error.hint()))?;
        let access = Self::to(secret.vault.clone(), settings, here)?;
        Ok((access, secret))
    }

    /// The means to ask the vault. `kept` is whom `identity=auto` took in an earlier life.
    pub fn connect(&self, kept: Option<Guid>) -> Result<(Vault, Tokens), BadRoots> {
        let pem = self.ca_pem.as_ref().map(String::as_bytes);
        let resource = self.vault.resource();
        let tokens = Tokens::new(Source::new(&self.identity, resource, pem)?, kept);
        let vault = Vault::new(self.vault.clone(), Client::secure(pem)?, tokens.clone());
        Ok((vault, tokens))
    }

    fn to(
        vault: VaultAddress,
        settings: &Settings,
        here: &Surroundings,
    ) -> Result<Self, Complaint> {
        let choice = Choice::parse(settings.text(Key::Identity).unwrap_or_default())
            .map_err(|error| complain(&error, error.hint()))?;
        let identity = detect(&choice, here).map_err(|error| complain(&error, error.hint()))?;
        Ok(Self { vault, identity, ca_pem: settings.parsed(Key::CaFile, certificates)? })
    }
}

/// The certificates in a file, tried before anybody relies on them.
fn certificates(path: &str) -> Result<String, Wrong> {
    let pem = read(Path::new(path)).map_err(|error| Wrong::new(reason(&error)))?;
    match Client::secure(Some(pem.as_bytes())) {
        Ok(_) => Ok(pem),
        Err(error) => Err(Wrong::new(error.to_string())
            .hint("a file of certificates begins with -----BEGIN CERTIFICATE-----")),
    }
}

fn read(path: &Path) -> io::Result<String> {
    // A FIFO or a terminal would be waited for.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut pem = String::new();
    fs::File::open(path)?.take(LARGEST).read_to_string(&mut pem)?;
    Ok(pem)
}

fn complain(error: &impl ToString, hint: Option<&str>) -> Complaint {
    let complaint = Complaint::usage(error.to_string());
    match hint {
        Some(hint) => complaint.hint(hint),
        None => complaint,
    }
}

/// What mount.fuse(8) has before the source in the old way of writing it.
const MOUNT_FUSE: &str = "akvfs#";

/// Larger than every bundle of certificates there is.
const LARGEST: u64 = 4 << 20;
