//! A service principal's certificate and its private key, out of a PEM or a PKCS#12 file.
//!
//! Entra takes RSA keys alone. The key is unlocked once, by whoever mounts, and checked against the
//! certificate then: a pair that does not fit would be refused by Entra in words that nobody
//! understands.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::signature::KeyPair;
use aws_lc_rs::signature::RsaKeyPair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::der::Reader;
use crate::identity::pkcs12;
use crate::identity::unlock;
use crate::identity::unlock::Locked;
use crate::model::secret::SecretBytes;

/// A certificate with its key.
pub struct Certificate {
    /// The key, as PKCS#8 or PKCS#1.
    key: SecretBytes,
    /// The certificate, and then those that vouch for it.
    chain: Vec<Vec<u8>>,
}

/// Why a file gives no certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BadCertificateFile {
    /// It is neither PEM nor PKCS#12.
    Neither,
    /// It is locked, and no password opened it.
    Password,
    /// It is locked in a way that is not known here.
    Unknown,
    /// There is no key in it.
    NoKey,
    /// The key is no RSA key.
    NotRsa,
    /// No certificate in it is the key's.
    NoCertificate,
}

impl Certificate {
    /// Reads a file. `password` opens what is locked in it.
    pub fn read(file: &[u8], password: &SecretBytes) -> Result<Self, BadCertificateFile> {
        let content = match pem(file, password)? {
            Some(content) => content,
            None => pkcs12::read(file, password)?,
        };
        Self::of(content.keys, content.certificates)
    }

    /// A key and the certificates that were found beside it.
    pub fn of(keys: Vec<SecretBytes>, mut chain: Vec<Vec<u8>>) -> Result<Self, BadCertificateFile> {
        let key = keys.into_iter().next().ok_or(BadCertificateFile::NoKey)?;
        let public = pair(&key)?.public_key().as_ref().to_vec();
        let own = chain.iter().position(|der| public_key(der) == Some(&public));
        let own = own.ok_or(BadCertificateFile::NoCertificate)?;
        let own = chain.remove(own);
        chain.insert(0, own);
        Ok(Self { key, chain })
    }

    /// The key, to be signed with.
    pub(crate) fn pair(&self) -> Result<RsaKeyPair, BadCertificateFile> {
        pair(&self.key)
    }

    /// The key itself.
    #[must_use]
    pub const fn key(&self) -> &SecretBytes {
        &self.key
    }

    /// The certificate, and then those that vouch for it.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// By which Entra knows the certificate: its SHA-256.
    pub(crate) fn thumbprint(&self) -> impl AsRef<[u8]> + use<> {
        let own = self.chain.first().map(Vec::as_slice);
        digest::digest(&digest::SHA256, own.unwrap_or_default())
    }
}

fn pair(key: &SecretBytes) -> Result<RsaKeyPair, BadCertificateFile> {
    let der = key.expose();
    RsaKeyPair::from_pkcs8(der)
        .or_else(|_| RsaKeyPair::from_der(der))
        .map_err(|_| BadCertificateFile::NotRsa)
}

/// The RSA public key that a certificate is for.
fn public_key(certificate: &[u8]) -> Option<&[u8]> {
    let mut body = Reader::new(certificate).within(Reader::SEQUENCE)?.within(Reader::SEQUENCE)?;
    if body.tag() == Some(Reader::CONTEXT_0) {
        body.any()?;
    }
    // Serial number, algorithm, issuer, validity, subject; then the key.
    for _ in 0..5 {
        body.any()?;
    }
    let mut key = body.within(Reader::SEQUENCE)?;
    key.any()?;
    // A string of bits says first how many of its last byte are none.
    key.take(Reader::BIT_STRING)?.strip_prefix(&[0])
}

/// What a PEM file holds; `None` if it is no PEM file.
fn pem(file: &[u8], password: &SecretBytes) -> Result<Option<pkcs12::Content>, BadCertificateFile> {
    let mut content = pkcs12::Content::default();
    let mut blocks = 0;
    let mut rest = file;
    while let Some((label, body, after)) = block(rest) {
        rest = after;
        blocks += 1;
        let der = || decode(body).ok_or(BadCertificateFile::Neither);
        match label {
            b"CERTIFICATE" => content.certificates.push(der()?.to_vec()),
            b"PRIVATE KEY" | b"RSA PRIVATE KEY" if body.starts_with(b"\nProc-Type:") => {
                return Err(BadCertificateFile::Unknown);
            }
            b"PRIVATE KEY" | b"RSA PRIVATE KEY" => {
                content.keys.push(SecretBytes::new(std::mem::take(&mut *der()?)));
            }
            b"ENCRYPTED PRIVATE KEY" => {
                let plain = password.expose();
                let utf16 = unlock::utf16(plain).ok_or(Locked::Password)?;
                content.keys.push(unlock::private_key(&der()?, plain, &utf16)?);
            }
            b"EC PRIVATE KEY" => return Err(BadCertificateFile::NotRsa),
            _ => {}
        }
    }
    Ok((blocks > 0).then_some(content))
}

/// The next block: its label, what is between its first line and its last, and what follows.
fn block(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (_, rest) = split(text, b"-----BEGIN ")?;
    let (label, rest) = split(rest, b"-----")?;
    let (body, rest) = split(rest, b"-----END ")?;
    Some((label, body, rest))
}

fn split<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(mark.len()).position(|window| window == mark)?;
    Some((text.get(..at)?, text.get(at + mark.len()..)?))
}

fn decode(body: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut letters = Zeroizing::new(Vec::with_capacity(body.len()));
    letters.extend(body.iter().filter(|byte| !byte.is_ascii_whitespace()));
    // Decoding into a buffer that would grow would leave its former selves behind.
    let mut der = Zeroizing::new(vec![0; letters.len()]);
    let length = STANDARD.decode_slice(&*letters, &mut der).ok()?;
    der.truncate(length);
    Some(der)
}

impl BadCertificateFile {
    /// What to do about it.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Neither => {
                "it is a PEM file with certificate and key, or a PKCS#12 file (.pfx, .p12) in DER"
            }
            Self::Password => "AZURE_CLIENT_CERTIFICATE_PASSWORD is to hold its password",
            Self::Unknown => {
                "write it anew: openssl pkcs12 -in FILE -nodes -out cert.pem, or openssl pkcs8 \
                 -topk8 for a key"
            }
            Self::NoKey | Self::NoCertificate => {
                "one file is to hold both the certificate and its private key"
            }
            Self::NotRsa => "Entra takes RSA keys alone",
        }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} certificates and a key of {:?}", self.chain.len(), self.key)
    }
}

impl From<Locked> for BadCertificateFile {
    fn from(locked: Locked) -> Self {
        match locked {
            Locked::Misshapen => Self::Neither,
            Locked::Unknown => Self::Unknown,
            Locked::Password => Self::Password,
        }
    }
}

impl fmt::Display for BadCertificateFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Neither => "this is no certificate file",
            Self::Password => "its password is missing or wrong",
            Self::Unknown => "it is locked in a way that is not known here",
            Self::NoKey => "there is no private key in it",
            Self::NotRsa => "its private key is no RSA key",
            Self::NoCertificate => "no certificate in it belongs to its key",
        })
    }
}

impl std::error::Error for BadCertificateFile {}

#[cfg(test)]
impl Certificate {
    /// What a file of the tests gives.
    pub(crate) fn of_test(name: &str, password: &str) -> Result<Self, BadCertificateFile> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates");
        let file = std::fs::read(format!("{folder}/{name}")).unwrap();
        Self::read(&file, &SecretBytes::new(password.as_bytes().to_vec()))
    }

    /// A service principal's, with the authority that issued it.
    pub(crate) fn example() -> Self {
        Self::of_test("plain.pem", "").unwrap()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::ProptestConfig;
    use proptest::prelude::any;
    use proptest::proptest;

    use super::*;

    fn file(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates");
        std::fs::read(format!("{folder}/{name}")).unwrap()
    }

    #[test]
    fn the_same_pair_is_found_in_every_kind_of_file() {
        let wanted = Certificate::example();
        let public = wanted.pair().unwrap().public_key().as_ref().to_vec();
        assert_eq!(wanted.chain().len(), 2);
        for (name, password, chain) in [
            ("plain.pem", "not needed", 2),
            ("pkcs1.pem", "", 1),
            ("locked.pem", "pa55word", 1),
            ("open.pfx", "", 2),
            ("aes.pfx", "pa55word", 2),
            ("rc2.pfx", "pa55word", 2),
            ("des-no-password.pfx", "", 2),
            ("mixed.pfx", "p\u{e4}ssw\u{f6}rd", 2),
            ("old-mixed.pfx", "p\u{e4}ssw\u{f6}rd", 2),
        ] {
            let found = Certificate::of_test(name, password).expect(name);
            assert_eq!(found.pair().unwrap().public_key().as_ref(), public, "{name}");
            assert_eq!(found.chain().first(), wanted.chain().first(), "{name}");
            assert_eq!(found.chain().len(), chain, "{name}");
        }
    }

    #[test]
    fn what_gives_no_pair_says_why() {
        use BadCertificateFile as Bad;
        for (name, password, why) in [
            ("aes.pfx", "", Bad::Password),
            ("aes.pfx", "password", Bad::Password),
            ("rc2.pfx", "pa55word ", Bad::Password),
            ("locked.pem", "", Bad::Password),
            ("locked-old.pem", "pa55word", Bad::Unknown),
            ("ec.pem", "", Bad::NotRsa),
            ("other.pem", "", Bad::NoCertificate),
        ] {
            assert_eq!(Certificate::of_test(name, password).unwrap_err(), why, "{name}");
            assert!(!why.hint().is_empty());
        }
        let none = SecretBytes::new(Vec::new());
        let pem = file("plain.pem");
        let key = pem.len() / 2;
        for (bytes, why) in [
            (&b""[..], Bad::Neither),
            (b"hello", Bad::Neither),
            (b"\x30\x80\x02\x01\x03", Bad::Neither),
            (&pem[key..], Bad::NoKey),
            (b"-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----", Bad::Neither),
            (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", Bad::NotRsa),
        ] {
            assert_eq!(Certificate::read(bytes, &none).unwrap_err(), why, "{bytes:?}");
        }
    }

    #[test]
    fn no_key_is_printed() {
        let principal = Certificate::example();
        let shown = format!("{principal:?}");
        // The end, for the first half of it is the public key.
        let key = principal.key().expose();
        let numbers = format!("{:?}", &key[key.len() - 20..]);
        assert!(!shown.contains(numbers.trim_matches(['[', ']'])), "{shown}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_damaged_file_is_refused_or_read_and_never_panics(
            at in any::<proptest::sample::Index>(),
            junk in any::<u8>(),
            cut in any::<bool>(),
        ) {
            for name in ["des-no-password.pfx", "open.pfx"] {
                let mut bytes = file(name);
                let at = at.index(bytes.len());
                bytes[at] = junk;
                if cut {
                    bytes.truncate(at);
                }
                let _ = Certificate::read(&bytes, &SecretBytes::new(Vec::new()));
            }
        }
    }
}
