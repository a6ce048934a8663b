//! Reads a service principal's credentials where `identity=from:VAULT/SECRET` says, with the
//! managed identity of whatever this runs on.
//!
//! The vault is completed in the machine's own cloud, which the metadata service is asked about once.
//! What runs elsewhere, and has another token service, is taken to be in the cloud of the vault that
//! is asked for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock;
use crate::http::Client;
use crate::http::Proxy;
use crate::identity::choice::Guid;
use crate::identity::from_vault::Reader;
use crate::identity::from_vault::Reading;
use crate::identity::machine::Machine;
use crate::identity::no_token::NoProof;
use crate::identity::source::Source;
use crate::identity::source::Terms;
use crate::identity::taken::Origin;
use crate::identity::taken::Taken;
use crate::identity::tokens::Tokens;
use crate::identity::wish::Place;
use crate::model::failure::Failure;
use crate::model::failure::Why;
use crate::model::secret::SecretBytes;
use crate::tls::BadRoots;
use crate::vault::address::VaultAddress;
use crate::vault::client::Vault;
use crate::vault::cloud::Cloud;
use crate::vault::problem::Problem;

/// Who reads what where.
pub struct InVault {
    place: Place,
    /// The managed identity that reads.
    reads: Taken,
    machine: Option<Machine>,
    /// The cloud, where the machine cannot be asked.
    fallback: Option<&'static Cloud>,
    ca_pem: Option<String>,
    proxy: Option<Proxy>,
    kept: Option<Guid>,
    vault: Mutex<Option<(Vault, Tokens)>>,
}

impl fmt::Debug for InVault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "InVault({})", self.place)
    }
}

impl InVault {
    /// The means to read, for a mount of `vault`. `kept` is whom `auto` took in an earlier life.
    pub fn new(
        taken: &Taken,
        vault: &VaultAddress,
        ca_pem: Option<&str>,
        proxy: Option<&Proxy>,
        kept: Option<Guid>,
    ) -> Result<Option<Arc<Self>>, BadRoots> {
        let Origin::From(place, origin) = &taken.origin else {
            return Ok(None);
        };
        let machine = if let Origin::Imds(endpoint) = &**origin {
            Some(Machine::new(endpoint, ca_pem.map(str::as_bytes))?)
        } else {
            None
        };
        Ok(Some(Arc::new(Self {
            place: place.clone(),
            reads: Taken { origin: (**origin).clone(), ..taken.clone() },
            machine,
            fallback: vault.cloud(),
            ca_pem: ca_pem.map(ToOwned::to_owned),
            proxy: proxy.cloned(),
            kept,
            vault: Mutex::new(None),
        })))
    }

    /// How the identity's room reads the secret.
    #[must_use]
    pub fn reader(self: &Arc<Self>) -> Reader {
        let this = Arc::clone(self);
        let kept = Arc::clone(self);
        let read = move || -> Reading {
            let this = Arc::clone(&this);
            Box::pin(async move { this.read().await })
        };
        Reader::new(read, move || kept.kept())
    }

    /// Whom `auto` took to read.
    fn kept(&self) -> Option<Guid> {
        self.vault.lock().as_ref().and_then(|(_, tokens)| tokens.kept())
    }

    async fn read(&self) -> Result<SecretBytes, NoProof> {
        let vault = self.vault().await?;
        let deadline = clock::now() + PATIENCE;
        let found = vault.find(&self.place.secret, None, deadline).await;
        found.map(|found| found.secret.value).map_err(|problem| self.unread(&problem))
    }

    async fn vault(&self) -> Result<Vault, NoProof> {
        if let Some((vault, _)) = &*self.vault.lock() {
            return Ok(vault.clone());
        }
        let address = VaultAddress::named(&self.place.vault, self.cloud().await?);
        let address = address.map_err(|error| self.no(&error, error.hint(), false))?;
        let connected =
            self.connect(address).map_err(|error| self.no(&error, error.hint(), false))?;
        let vault = connected.0.clone();
        *self.vault.lock() = Some(connected);
        Ok(vault)
    }

    async fn cloud(&self) -> Result<&'static Cloud, NoProof> {
        let Some(machine) = &self.machine else {
            return self.fallback.ok_or_else(|| self.no(&NO_CLOUD, None, false));
        };
        match machine.environment().await {
            Ok(name) => Cloud::of_environment(&name).ok_or_else(|| self.no(&NO_CLOUD, None, false)),
            Err(_) => Err(self.no(
                &"the metadata service does not say in which cloud this is",
                None,
                true,
            )),
        }
    }

    fn connect(&self, address: VaultAddress) -> Result<(Vault, Tokens), BadRoots> {
        let ca_pem = self.ca_pem.as_deref().map(str::as_bytes);
        let terms = Terms {
            resource: address.resource(),
            authority: address.authority(),
            ca_pem,
            proxy: self.proxy.as_ref(),
            reader: None,
        };
        let tokens = Tokens::new(Source::new(&self.reads, &terms)?, self.kept.clone());
        let http = Client::outside(ca_pem, self.proxy.as_ref())?;
        Ok((Vault::new(address, http, tokens.clone()), tokens))
    }

    fn unread(&self, problem: &Problem) -> NoProof {
        let heals = matches!(
            problem.why,
            Why::Failed(Failure::NoToken | Failure::Throttled | Failure::Unreachable)
        );
        self.no(problem, problem.hint().as_deref(), heals)
    }

    fn no(&self, why: &dyn ToString, hint: Option<&str>, heals: bool) -> NoProof {
        NoProof {
            what: format!("identity=from:{}: {}", self.place, why.to_string()),
            hint: hint.map(ToOwned::to_owned),
            heals,
        }
    }
}

const NO_CLOUD: &str = "it is not known in which cloud this is";

/// For how long one try may go on.
const PATIENCE: Duration = Duration::from_secs(10);
