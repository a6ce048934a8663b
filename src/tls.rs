//! Whom TLS trusts, and whose certificate it was that it did not trust.
//!
//! Verification is rustls's own, on the platform's roots or on those of one file; or a server is
//! known by the thumbprint of its certificate alone. Nothing is added to it but a name: the issuer of a certificate that was refused, because behind most such
//! failures stands a proxy that signs for everybody, and its name says which.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
use aws_lc_rs::digest::digest;
use rustls::CertificateError;
use rustls::ClientConfig;
use rustls::DigitallySignedStruct;
use rustls::OtherError;
use rustls::RootCertStore;
use rustls::SignatureScheme;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::crypto::verify_tls12_signature;
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde::Serialize;

use crate::der::Reader;

/// Why TLS failed, and who had issued the certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BadCertificate {
    /// What is wrong.
    pub flaw: Flaw,
    /// The issuer's name as the certificate gives it, if there was one to read.
    pub issuer: Option<String>,
}

/// What is wrong with a server's proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flaw {
    /// Nobody who is trusted issued the certificate.
    Issuer,
    /// The certificate's time is over.
    Expired,
    /// The certificate's time has not come.
    Early,
    /// The certificate is for another name.
    Name,
    /// The certificate is another than the one expected.
    Thumbprint,
    /// Anything else about the certificate.
    Certificate,
    /// Both sides could not agree.
    Handshake,
}

/// The SHA-1 of a certificate: all that some clusters say of theirs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Thumbprint([u8; 20]);

/// Why there are no roots to trust.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadRoots(&'static str);

/// The client side of TLS 1.2 and 1.3.
pub(crate) fn config(ca_pem: Option<&[u8]>) -> Result<ClientConfig, BadRoots> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let inner = match ca_pem {
        Some(pem) => only(pem, &provider)?,
        None => platform(&provider)?,
    };
    client(provider, Arc::new(Witness(inner)))
}

/// The client side of TLS with whoever shows the certificate with this thumbprint, and proves that
/// it is his. Neither name nor time nor issuer matters.
pub(crate) fn pinned(thumbprint: Thumbprint) -> Result<ClientConfig, BadRoots> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Pinned { thumbprint, algorithms: provider.signature_verification_algorithms };
    client(provider, Arc::new(Witness(Arc::new(verifier))))
}

fn client(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, BadRoots> {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| BadRoots("TLS could not be set up"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn only(
    pem: &[u8],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, BadRoots> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| BadRoots("it is not PEM"))?;
        let added = roots.add(certificate);
        added.map_err(|_| BadRoots("a certificate in it cannot be read"))?;
    }
    let built =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    match built {
        Ok(verifier) => Ok(verifier),
        Err(_) => Err(BadRoots("it holds no certificate")),
    }
}

fn platform(provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, BadRoots> {
    match rustls_platform_verifier::Verifier::new(provider.clone()) {
        Ok(verifier) => Ok(Arc::new(verifier)),
        Err(_) => Err(BadRoots(NO_ROOTS)),
    }
}

/// Accepts one certificate.
#[derive(Debug)]
struct Pinned {
    thumbprint: Thumbprint,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if Thumbprint::of(end_entity) == self.thumbprint {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl Thumbprint {
    /// Takes 40 hexadecimal digits, in pairs that colons or blanks may part.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut digits = text.bytes().filter(|byte| !b": ".contains(byte));
        let mut print = [0; 20];
        for byte in &mut print {
            let mut digit = || char::from(digits.next()?).to_digit(16);
            *byte = u8::try_from(digit()? << 4 | digit()?).ok()?;
        }
        digits.next().is_none().then_some(Self(print))
    }

    /// The thumbprint of a certificate.
    pub(crate) fn of(certificate: &[u8]) -> Self {
        let mut print = [0; 20];
        let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate);
        for (byte, of) in print.iter_mut().zip(digest.as_ref()) {
            *byte = *of;
        }
        Self(print)
    }
}

/// Lets another verifier decide, and notes whose certificate it refused.
#[derive(Debug)]
struct Witness(Arc<dyn ServerCertVerifier>);

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.0
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| {
                let found = BadCertificate { flaw: flaw(&error), issuer: issuer(end_entity) };
                rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(
                    found,
                ))))
            })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn flaw(error: &rustls::Error) -> Flaw {
    use CertificateError as Bad;
    let rustls::Error::InvalidCertificate(bad) = error else {
        return Flaw::Handshake;
    };
    if matches!(bad, Bad::UnknownIssuer) {
        Flaw::Issuer
    } else if matches!(bad, Bad::Expired | Bad::ExpiredContext { .. }) {
        Flaw::Expired
    } else if matches!(bad, Bad::NotValidYet | Bad::NotValidYetContext { .. }) {
        Flaw::Early
    } else if matches!(bad, Bad::ApplicationVerificationFailure) {
        Flaw::Thumbprint
    } else if matches!(bad, Bad::NotValidForName | Bad::NotValidForNameContext { .. }) {
        Flaw::Name
    } else {
        Flaw::Certificate
    }
}

/// The common name of a certificate's issuer, or else its organisation. The certificate is not
/// trusted, so the name is cut and cleaned before anybody prints it.
fn issuer(certificate: &[u8]) -> Option<String> {
    let mut fields = Reader::new(certificate).within(Reader::SEQUENCE)?.within(Reader::SEQUENCE)?;
    // Version (optional), serial number, algorithm; then the issuer.
    if fields.tag() == Some(Reader::CONTEXT_0) {
        fields.any()?;
    }
    fields.any()?;
    fields.any()?;
    let mut names = fields.within(Reader::SEQUENCE)?;
    let mut found = None;
    while let Some((_, set)) = names.any() {
        let mut pair = Reader::new(set).within(Reader::SEQUENCE)?;
        let (_, kind) = pair.any()?;
        let (_, value) = pair.any()?;
        // id-at-commonName and id-at-organizationName of X.520.
        match kind {
            [0x55, 0x04, 0x03] => found = Some(value),
            [0x55, 0x04, 0x0a] => found = found.or(Some(value)),
            _ => {}
        }
    }
    let text = String::from_utf8_lossy(found?);
    let clean = text.chars().filter(|c| !c.is_control());
    Some(clean.take(80).collect())
}

impl Flaw {
    /// What to do about it.
    #[must_use]
    pub const fn hint(self) -> Option<&'static str> {
        match self {
            Self::Issuer => {
                Some("if that is a proxy of yours which opens TLS, give its CA with ca-file=")
            }
            Self::Expired | Self::Early => Some("is this machine's clock right?"),
            Self::Thumbprint => Some("is IDENTITY_SERVER_THUMBPRINT still that of the cluster?"),
            Self::Name => Some("does DNS or a proxy lead there instead of to the vault?"),
            Self::Certificate | Self::Handshake => None,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Issuer => "the server's certificate is of an unknown issuer",
            Self::Expired => "the server's certificate has expired",
            Self::Early => "the server's certificate is not valid yet",
            Self::Name => "the server's certificate is for another name",
            Self::Thumbprint => "the server's certificate is another than the one expected",
            Self::Certificate => "the server's certificate is bad",
            Self::Handshake => "the handshake failed",
        }
    }
}

impl BadCertificate {
    /// What is known of a failure of TLS.
    pub(crate) fn of(error: &rustls::Error) -> Self {
        if let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error
            && let Some(found) = other.0.downcast_ref::<Self>()
        {
            return found.clone();
        }
        Self { flaw: flaw(error), issuer: None }
    }
}

impl fmt::Display for BadCertificate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.flaw.words())?;
        match &self.issuer {
            Some(issuer) => write!(out, " (issued by {issuer:?})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BadCertificate {}

impl BadRoots {
    /// For `why`, in a few words.
    pub(crate) const fn new(why: &'static str) -> Self {
        Self(why)
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        (self.0 == NO_ROOTS)
            .then_some("install the package ca-certificates, or name a file with ca-file=")
    }
}

impl fmt::Display for BadRoots {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

impl std::error::Error for BadRoots {}

const NO_ROOTS: &str = "this machine has no CA certificates";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbprint_is_read_as_people_write_it() {
        let digits = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        let spaced =
            digits.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase());
        let spaced: Vec<String> = spaced.collect();
        for text in [digits, &digits.to_uppercase(), &spaced.join(":"), &spaced.join(" ")] {
            assert_eq!(Thumbprint::parse(text), Some(Thumbprint::of(b"")), "{text}");
        }
        for bad in
            ["", "da39", &digits[1..], &format!("{digits}0"), &digits.replace('d', "g"), "\u{fffd}"]
        {
            assert_eq!(Thumbprint::parse(bad), None, "{bad}");
        }
    }
}
