//! The vault, and as whom it is asked: what every command that asks a vault has in common.

use std::fs;
use std::io;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

use crate::cli::complaint::Complaint;
use crate::cli::complaint::reason;
use crate::cli::from::InVault;
use crate::cli::option::Key;
use crate::cli::own_cloud;
use crate::cli::runtime;
use crate::cli::settings::Settings;
use crate::cli::values::Wrong;
use crate::http::Client;
use crate::http::Proxy;
use crate::identity::choice::Guid;
use crate::identity::detect::detect;
use crate::identity::endpoint::Endpoint;
use crate::identity::imds;
use crate::identity::source::Source;
use crate::identity::source::Terms;
use crate::identity::surroundings::Surroundings;
use crate::identity::taken::Taken;
use crate::identity::tokens::Tokens;
use crate::identity::wish::Wish;
use crate::tls::BadRoots;
use crate::vault::address::SecretAddress;
use crate::vault::address::VaultAddress;
use crate::vault::client::Vault;
use crate::vault::cloud::PUBLIC;

/// One vault, and as whom it is asked.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Access {
    /// The vault.
    pub vault: VaultAddress,
    /// Where tokens come from.
    pub identity: Taken,
    /// The certificates trusted, if not the system's: the content of the file, not its path.
    pub ca_pem: Option<String>,
    /// The proxy on the way to the vault and to Entra, if there is one.
    pub proxy: Option<Proxy>,
}

impl Access {
    /// Understands a vault that was typed. One that a tag names is looked up.
    pub fn to_vault(
        text: &str,
        settings: &Settings,
        here: &Surroundings,
    ) -> Result<Self, Complaint> {
        let text = text.strip_prefix(MOUNT_FUSE).unwrap_or(text);
        let Some(tag) = text.strip_prefix(TAG) else {
            let (resource, authority) = given(settings);
            let vault = VaultAddress::parse(text, resource, authority);
            let vault = vault.map_err(|error| complain(&error, error.hint()))?;
            return Self::to(vault, settings, here);
        };
        if tag.is_empty() {
            return Err(Complaint::usage(format!("{text}: the tag's name is missing"))
                .hint("tag:NAME stands for the value of this machine's own tag NAME"));
        }
        if let (Some(_), _) | (_, Some(_)) = given(settings) {
            return Err(Complaint::usage(format!(
                "{text}: its cloud decides for whom its tokens are"
            ))
            .hint("leave out resource= and authority="));
        }
        let ca_pem = settings.parsed(Key::CaFile, certificates)?;
        let patience = settings.duration(Key::OpenTimeout)?;
        let vault = own_cloud::tagged(tag, here, ca_pem.as_deref().map(str::as_bytes), patience)?;
        Self::to(vault, settings, here)
    }

    /// Understands a secret's URL that was typed.
    pub fn to_secret(
        url: &str,
        settings: &Settings,
        here: &Surroundings,
    ) -> Result<(Self, SecretAddress), Complaint> {
        let (resource, authority) = given(settings);
        let secret = SecretAddress::parse(url, resource, authority);
        let secret = secret.map_err(|error| complain(&error, error.hint()))?;
        let access = Self::to(secret.vault.clone(), settings, here)?;
        Ok((access, secret))
    }

    /// The means to ask the vault. `kept` is whom `identity=auto` took in an earlier life.
    pub fn connect(&self, kept: Option<Guid>) -> Result<(Vault, Tokens), BadRoots> {
        let ca_pem = self.ca_pem.as_deref();
        let proxy = self.proxy.as_ref();
        let from = InVault::new(&self.identity, &self.vault, ca_pem, proxy, kept.clone())?;
        let reader = from.as_ref().map(InVault::reader);
        let ca_pem = ca_pem.map(str::as_bytes);
        let terms = Terms {
            resource: self.vault.resource(),
            authority: self.vault.authority(),
            ca_pem,
            proxy,
            reader: reader.as_ref(),
        };
        let tokens = Tokens::new(Source::new(&self.identity, &terms)?, kept);
        let http = Client::outside(ca_pem, proxy)?;
        let vault = Vault::new(self.vault.clone(), http, tokens.clone());
        Ok((vault, tokens))
    }

    fn to(
        vault: VaultAddress,
        settings: &Settings,
        here: &Surroundings,
    ) -> Result<Self, Complaint> {
        if let Some(authority) = &here.azure_authority_host {
            vault
                .agrees_with(AUTHORITY_HOST, authority)
                .map_err(|error| complain(&error, error.hint()))?;
        }
        let wish = Wish::parse(settings.text(Key::Identity).unwrap_or_default())
            .map_err(|error| complain(&error, error.hint()))?;
        if let Wish::From(place) = &wish {
            // Whichever the cloud, what is no name is no name.
            VaultAddress::named(&place.vault, &PUBLIC)
                .map_err(|error| complain(&error, error.hint()))?;
        }
        let identity =
            detect(&wish, here, answers).map_err(|error| complain(&error, error.hint()))?;
        let ca_pem = settings.parsed(Key::CaFile, certificates)?;
        Ok(Self { vault, identity, ca_pem, proxy: proxy(settings)? })
    }
}

/// Whether anybody answers where the metadata service would be.
fn answers(endpoint: &Endpoint) -> bool {
    runtime::wait_for(imds::answers(endpoint)).unwrap_or(false)
}

fn given(settings: &Settings) -> (Option<&str>, Option<&str>) {
    (settings.given(Key::Resource), settings.given(Key::Authority))
}

fn proxy(settings: &Settings) -> Result<Option<Proxy>, Complaint> {
    let Some(text) = settings.given(Key::Proxy) else {
        return Ok(None);
    };
    // It is not repeated, for there may be a password in it.
    Proxy::parse(text).map(Some).ok_or_else(|| {
        Complaint::usage("proxy=: this is no proxy")
            .hint("a proxy is http://HOST:PORT or https://HOST:PORT, without a password")
    })
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
    Complaint { hint: hint.map(ToOwned::to_owned), ..Complaint::usage(error.to_string()) }
}

/// What mount.fuse(8) has before the source in the old way of writing it.
const MOUNT_FUSE: &str = "akvfs#";

/// What stands before the name of a tag.
pub const TAG: &str = "tag:";

const AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";

/// Larger than every bundle of certificates there is.
const LARGEST: u64 = 4 << 20;
