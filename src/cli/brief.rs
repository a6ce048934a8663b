//! The brief: what a worker is told, as the bytes that lie in a sealed memfd until the mount ends.
//!
//! First the length of the configuration, then the configuration, then the secret that belongs to
//! the identity, if there is one. The secret is no part of the configuration, which is JSON and is
//! copied about while it is read.

use std::fs::File;
use std::io;
use std::io::Read;
use std::sync::Arc;

use crate::cli::config::Config;
use crate::model::secret::SecretBytes;

const LENGTH: usize = size_of::<u64>();

/// Writes a brief.
pub fn write(config: &Config) -> io::Result<SecretBytes> {
    let json = serde_json::to_vec(config)?;
    let secret = config.access.identity.secret.as_ref();
    let secret = secret.map(|secret| secret.expose()).unwrap_or_default();
    // As large as it will be from the start: a buffer that grows leaves its former selves behind.
    let mut brief = Vec::with_capacity(LENGTH + json.len() + secret.len());
    brief.extend_from_slice(&(json.len() as u64).to_le_bytes());
    brief.extend_from_slice(&json);
    brief.extend_from_slice(secret);
    Ok(SecretBytes::new(brief))
}

/// Reads a brief.
pub fn read(mut file: File) -> io::Result<Config> {
    let size = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = vec![0; size];
    let read = file.read_exact(&mut bytes);
    let brief = SecretBytes::new(bytes);
    read?;
    parse(brief.expose()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse(brief: &[u8]) -> Option<Config> {
    let (length, rest) = brief.split_first_chunk::<LENGTH>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (json, secret) = rest.split_at_checked(length)?;
    let mut config: Config = serde_json::from_slice(json).ok()?;
    if !secret.is_empty() {
        config.access.identity.secret = Some(Arc::new(SecretBytes::new(secret.to_vec())));
    }
    Some(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::Mount;
    use crate::cli::config;
    use crate::cli::settings::Settings;
    use crate::identity::surroundings::Surroundings;

    fn config(secret: Option<&[u8]>) -> Config {
        let order = Mount {
            vault: "my-vault".to_owned(),
            directory: "/mnt".into(),
            settings: Settings::default(),
            fake: false,
        };
        let mut config = config::mount(&order, &Surroundings::default()).unwrap().config;
        config.access.identity.secret =
            secret.map(|secret| Arc::new(SecretBytes::new(secret.to_vec())));
        config
    }

    fn secret(config: &Config) -> Option<&[u8]> {
        config.access.identity.secret.as_ref().map(|secret| secret.expose())
    }

    #[test]
    fn a_brief_is_read_as_it_was_written_with_its_secret() {
        for given in [None, Some(&b"canary \0 \xff}"[..])] {
            let brief = write(&config(given)).unwrap();
            assert_eq!(secret(&parse(brief.expose()).unwrap()), given);
        }
    }

    #[test]
    fn the_secret_is_in_no_text() {
        let config = config(Some(b"canary"));
        assert!(!serde_json::to_string(&config).unwrap().contains("canary"));
        assert!(!format!("{config:?}").contains("canary"));
    }

    #[test]
    fn a_brief_that_is_cut_is_none() {
        let brief = write(&config(None)).unwrap();
        for end in 0..brief.expose().len() {
            assert!(parse(&brief.expose()[..end]).is_none(), "{end}");
        }
    }
}
