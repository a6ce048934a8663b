//! A certificate authority that lives as long as the emulator, and the TLS that it vouches for.
//!
//! Every host has its certificate, made when it is first asked for. Bad ones can be had on demand.

use std::collections::HashMap;
use std::sync::Arc;

use ::aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
use ::aws_lc_rs::digest::digest;
use parking_lot::Mutex;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CertifiedIssuer;
use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rcgen::date_time_ymd;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::ClientHello;
use rustls::server::NoServerSessionStorage;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;

/// What the vault shows for a certificate.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Certificate {
    /// The host's own, in force, of the authority.
    #[default]
    Good,
    /// One for another host.
    OtherHost,
    /// One that has expired.
    Expired,
    /// One that no authority vouches for.
    SelfSigned,
}

/// The authority.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    shown: Mutex<Certificate>,
    made: Mutex<HashMap<(String, Certificate), Arc<CertifiedKey>>>,
}

impl Authority {
    pub(crate) fn new() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, NAME);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2049, 1, 1);
        Ok(Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?,
            shown: Mutex::default(),
            made: Mutex::default(),
        })
    }

    /// The authority's own certificate: what a client must trust.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Shows such certificates to every connection from now on.
    pub(crate) fn show(&self, certificate: Certificate) {
        *self.shown.lock() = certificate;
    }

    /// TLS 1.2 and 1.3 with certificates of this authority.
    pub(crate) fn tls(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        // Who resumes a session looks at no certificate, and another one may be shown by now.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// TLS with a certificate that nobody vouches for, and that certificate's SHA-1.
    pub(crate) fn alone() -> Option<(ServerConfig, String)> {
        let key = KeyPair::generate().ok()?;
        let params = CertificateParams::new(vec!["cluster.invalid".to_owned()]).ok()?;
        let certificate = params.self_signed(&key).ok()?.der().clone();
        let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, &certificate);
        let thumbprint = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        let private = PrivateKeyDer::try_from(key.serialize_der()).ok()?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .ok()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], private)
            .ok()?;
        Some((config, thumbprint))
    }

    fn certificate(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        let shown = *self.shown.lock();
        let mut made = self.made.lock();
        let wanted = (host.to_owned(), shown);
        if let Some(known) = made.get(&wanted) {
            return Some(Arc::clone(known));
        }
        let fresh = Arc::new(self.make(host, shown)?);
        made.insert(wanted, Arc::clone(&fresh));
        Some(fresh)
    }

    fn make(&self, host: &str, shown: Certificate) -> Option<CertifiedKey> {
        let names = match (shown, host) {
            (Certificate::OtherHost, _) => vec!["elsewhere.invalid".to_owned()],
            (_, "") => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            (_, host) => vec![host.to_owned()],
        };
        let mut params = CertificateParams::new(names).ok()?;
        params.distinguished_name.push(DnType::CommonName, host);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = match shown {
            Certificate::Expired => date_time_ymd(2020, 12, 31),
            Certificate::Good | Certificate::OtherHost | Certificate::SelfSigned => {
                date_time_ymd(2049, 1, 1)
            }
        };
        let key = KeyPair::generate().ok()?;
        let certificate = match shown {
            Certificate::SelfSigned => params.self_signed(&key).ok()?,
            Certificate::Good | Certificate::OtherHost | Certificate::Expired => {
                params.signed_by(&key, &self.issuer).ok()?
            }
        };
        let private = PrivateKeyDer::try_from(key.serialize_der()).ok()?;
        let key = aws_lc_rs::sign::any_supported_type(&private).ok()?;
        Some(CertifiedKey::new(vec![certificate.der().clone()], key))
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Authority {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certificate(hello.server_name().unwrap_or_default())
    }
}

/// What the issuer of every certificate here is called.
pub const NAME: &str = "akvfs emulator authority";
