//! A service principal, which proves itself with a secret or with a certificate's key.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use aws_lc_rs::rand;
use serde::Deserialize;
use serde::Serialize;

use crate::clock;
use crate::identity::assertion::Assertion;
use crate::identity::certificate::Certificate;
use crate::identity::choice::Guid;
use crate::identity::entra::Entra;
use crate::identity::entra::Proof;
use crate::identity::no_token::Reason;
use crate::identity::tenant::Tenant;
use crate::identity::token::NoSense;
use crate::identity::token::Token;
use crate::model::secret::SecretBytes;

/// Who a principal is, and how it proves that.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Principal {
    /// Its tenant.
    pub tenant: Tenant,
    /// Its application.
    pub client_id: Guid,
    /// What the secret is that goes with it.
    pub means: Means,
}

/// What a principal's secret is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Means {
    /// A password.
    Secret,
    /// The key of a certificate.
    Key {
        /// The certificate, and then those that vouch for it.
        chain: Vec<Vec<u8>>,
        /// Whether they are sent along.
        is_sent: bool,
    },
}

/// A principal at its tenant's endpoint.
#[derive(Clone, Debug)]
pub(crate) struct ServicePrincipal {
    entra: Entra,
    holds: Holds,
}

#[derive(Clone, Debug)]
enum Holds {
    Secret(Arc<SecretBytes>),
    Certificate { certificate: Arc<Certificate>, is_sent: bool, ahead: Arc<AtomicI64> },
}

impl ServicePrincipal {
    /// The principal with its secret; `None` if that is no key of the certificate.
    pub(crate) fn new(entra: Entra, means: &Means, secret: Arc<SecretBytes>) -> Option<Self> {
        let holds = match means {
            Means::Secret => Holds::Secret(secret),
            Means::Key { chain, is_sent } => {
                let key = SecretBytes::new(secret.expose().to_vec());
                let certificate = Certificate::of(vec![key], chain.clone()).ok()?;
                Holds::Certificate {
                    certificate: Arc::new(certificate),
                    is_sent: *is_sent,
                    ahead: Arc::default(),
                }
            }
        };
        Some(Self { entra, holds })
    }

    pub(crate) async fn ask(&self, claims: Option<&str>) -> Result<Token, Reason> {
        match &self.holds {
            Holds::Secret(secret) => self.entra.exchange(Proof::Secret(secret), claims).await,
            Holds::Certificate { certificate, is_sent, ahead } => {
                let sign = || self.assertion(certificate, *is_sent, ahead.load(Ordering::Relaxed));
                match self.entra.exchange(Proof::Assertion(&sign()?), claims).await {
                    // This machine's clock is wrong, and the answer says by how much.
                    Err(Reason::Entra(no)) if no.is_out_of_time() && set(ahead, no.time) => {
                        self.entra.exchange(Proof::Assertion(&sign()?), claims).await
                    }
                    answer => answer,
                }
            }
        }
    }

    fn assertion(
        &self,
        certificate: &Certificate,
        sends_chain: bool,
        ahead: i64,
    ) -> Result<SecretBytes, Reason> {
        let assertion = Assertion {
            audience: self.entra.address(),
            client_id: self.entra.client_id().as_str(),
            id: &id().ok_or(Reason::Nonsense(NoSense("this machine has no randomness")))?,
            now: clock::wall() + ahead,
            sends_chain,
        };
        let signed = assertion.sign(certificate);
        signed.map_err(|_| Reason::Nonsense(NoSense("the key signs nothing")))
    }
}

/// Takes the other side's clock for right; whether that changes anything.
fn set(ahead: &AtomicI64, time: Option<SystemTime>) -> bool {
    let seconds = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    let Some(theirs) = seconds.and_then(|seconds| i64::try_from(seconds.as_secs()).ok()) else {
        return false;
    };
    let difference = theirs - clock::wall();
    (ahead.swap(difference, Ordering::Relaxed) - difference).abs() > NEGLIGIBLE
}

/// What no other assertion is called.
fn id() -> Option<String> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).ok()?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from, to| hex.get(from..to);
    let parts = [part(0, 8)?, part(8, 12)?, part(12, 16)?, part(16, 20)?, part(20, 32)?];
    Some(parts.join("-"))
}

/// Seconds by which clocks differ anyway.
const NEGLIGIBLE: i64 = 60;
