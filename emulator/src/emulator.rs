//! The emulator as a test holds it: start, fill, break, look, drop.
//!
//! It answers on the listeners that it is given, wherever those were opened; it opens none itself.
//! Its threads are its own. When it is dropped nothing of it is left.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;
use crate::authority::Certificate;
use crate::dialect::Dialect;
use crate::dialect::PutKey;
use crate::entra::Entra;
use crate::fault::Fault;
use crate::fault::FaultId;
use crate::fault::Greeting;
use crate::fault::Injected;
use crate::identity::Imds;
use crate::record::Request;
use crate::record::Service;
use crate::record::Violation;
use crate::server::Door;
use crate::server::Runtime;
use crate::state::Shared;
use crate::vault::Store;
use crate::vault::Vault;
use crate::vault::host_of;

/// A cloud on this machine.
#[derive(Debug)]
pub struct Emulator {
    shared: Arc<Shared>,
    authority: Arc<Authority>,
    tls: Arc<ServerConfig>,
    runtime: Runtime,
}

impl Emulator {
    /// An emulator with no vault and a machine that has a system-assigned identity.
    ///
    /// # Panics
    /// If the system has no threads or no randomness left.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test can do nothing without it")]
    pub fn new() -> Self {
        let authority = Arc::new(Authority::new().expect("an authority can be made"));
        Self {
            shared: Arc::new(Shared::new()),
            tls: Arc::new(authority.tls().expect("the provider has safe defaults")),
            authority,
            runtime: Runtime::start().expect("threads can be started"),
        }
    }

    /// The certificate that clients must trust, as PEM.
    #[must_use]
    pub fn authority_pem(&self) -> String {
        self.authority.pem()
    }

    /// Serves all vaults here, over TLS. Hosts that are no vault are answered 404, and noted.
    pub fn serve_vault(&self, listener: TcpListener) {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.tls));
        self.serve(listener, Door::Vault(acceptor));
    }

    /// Issues tokens to principals here, over TLS, under the hosts that the directory knows.
    pub fn serve_entra(&self, listener: TcpListener) {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.tls));
        self.serve(listener, Door::Entra(acceptor));
    }

    /// Answers here as somebody who has no business with anybody: 404, or whatever faults make of
    /// it. Its certificates, if it has any, are of the authority.
    pub fn serve_stranger(&self, listener: TcpListener, tls: bool) {
        let acceptor = tls.then(|| TlsAcceptor::from(Arc::clone(&self.tls)));
        self.serve(listener, Door::Stranger(acceptor));
    }

    /// Serves a token service of a machine that is no plain VM here, over plain HTTP. `secret` is
    /// what it wants to be shown; the agent of Arc and Cloud Shell have none.
    pub fn serve_machine(&self, listener: TcpListener, dialect: Dialect, secret: &str) {
        if !secret.is_empty() {
            let secret = (dialect, secret.to_owned());
            self.shared.with(|state| state.doors.secrets.push(secret));
        }
        self.serve(listener, Door::Machine(dialect, None));
    }

    /// Serves a Service Fabric cluster here, and gives the thumbprint of its certificate.
    ///
    /// # Panics
    /// If the system has no randomness left.
    #[expect(clippy::expect_used, reason = "a test can do nothing without it")]
    pub fn serve_cluster(&self, listener: TcpListener, secret: &str) -> String {
        let (tls, thumbprint) = Authority::alone().expect("a certificate can be made");
        let secret = (Dialect::ServiceFabric, secret.to_owned());
        self.shared.with(|state| state.doors.secrets.push(secret));
        let tls = TlsAcceptor::from(Arc::new(tls));
        self.serve(listener, Door::Machine(Dialect::ServiceFabric, Some(tls)));
        thumbprint
    }

    /// Has the agent of Arc put its keys where they can be read.
    pub fn keep_arc_keys(&self, put: PutKey) {
        self.shared.with(|state| state.doors.put_key = Some(put));
    }

    /// Has the agent of Arc name this instead of the file that it wrote, or the file again.
    pub fn set_arc_realm(&self, realm: Option<&str>) {
        self.shared.with(|state| state.doors.realm = realm.map(ToOwned::to_owned));
    }

    /// All keys that the agent of Arc has written, for tests that look for leaks.
    #[must_use]
    pub fn arc_keys(&self) -> Vec<String> {
        self.shared.with(|state| state.doors.all_keys.clone())
    }

    /// Has the older services write the end of a token as a date, or as a number again.
    pub fn write_dates(&self, writes_dates: bool) {
        self.shared.with(|state| state.doors.writes_dates = writes_dates);
    }

    /// Serves the machine's metadata here, over plain HTTP.
    pub fn serve_imds(&self, listener: TcpListener) {
        self.serve(listener, Door::Metadata);
    }

    /// Serves the control interface here: for people, and to be kept on loopback.
    pub fn serve_control(&self, listener: TcpListener) {
        self.serve(listener, Door::Control);
    }

    /// The vault of that name, or of that host where it is in another cloud. It is made if it is
    /// not there yet; the first one made is the one that `localhost` stands for.
    #[must_use]
    pub fn vault(&self, name_or_host: &str) -> Vault {
        let host = host_of(name_or_host);
        self.shared.with(|state| {
            if state.vault_mut(&host).is_none() {
                state.vaults.push(Store::new(&host));
            }
        });
        Vault { shared: Arc::clone(&self.shared), host, identity: None }
    }

    /// The machine's metadata service.
    #[must_use]
    pub fn imds(&self) -> Imds {
        Imds { shared: Arc::clone(&self.shared) }
    }

    /// The directory of principals.
    #[must_use]
    pub fn entra(&self) -> Entra {
        Entra { shared: Arc::clone(&self.shared) }
    }

    /// Shows such certificates on every connection from now on.
    pub fn show_certificate(&self, certificate: Certificate) {
        self.authority.show(certificate);
    }

    /// Ends every connection that there is, in the middle of whatever goes on. The next one is
    /// another, and sees the certificate of its time.
    pub fn cut_connections(&self) {
        self.shared.cut();
    }

    /// Receives whoever connects to a service like that from now on. Connections that are there
    /// stay; [`cut_connections`](Self::cut_connections) ends them.
    pub fn greet(&self, service: Service, greeting: Greeting) {
        self.shared.with(|state| state.greetings.insert(service, greeting));
    }

    /// How much time has passed since the start: the clock that requests are dated by.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.shared.with(|state| state.elapsed())
    }

    /// Puts a fault in force.
    pub fn inject(&self, fault: Fault) -> FaultId {
        self.shared.with(|state| {
            let id = state.next_fault();
            state.faults.push(Injected::new(id, fault));
            id
        })
    }

    /// Ends a fault. Requests that it held go on.
    pub fn clear(&self, fault: FaultId) {
        self.shared.clear(|id| id == fault);
    }

    /// Ends all faults, and serves all who connect.
    pub fn clear_all(&self) {
        self.shared.with(|state| state.greetings.clear());
        self.shared.clear(|_| true);
    }

    /// Every request since the start or the last reset, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.with(|state| state.requests.clone())
    }

    /// How many requests are like that.
    pub fn count(&self, like: impl Fn(&Request) -> bool) -> usize {
        self.shared.with(|state| state.requests.iter().filter(|request| like(request)).count())
    }

    /// Waits until `number` requests are like that, at most for `limit`; whether there are.
    pub fn wait_for(
        &self,
        limit: Duration,
        number: usize,
        like: impl Fn(&Request) -> bool,
    ) -> bool {
        self.shared.wait(limit, |state| {
            state.requests.iter().filter(|request| like(request)).count() >= number
        })
    }

    /// Forgets the requests so far, and the most in flight. Violations stay.
    pub fn reset_requests(&self) {
        self.shared.with(|state| {
            state.requests.clear();
            state.max_in_flight = 0;
        });
    }

    /// What a careful client would never have done.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.with(|state| state.violations.clone())
    }

    /// The most requests to vaults that were ever under way at once.
    #[must_use]
    pub fn max_in_flight(&self) -> usize {
        self.shared.with(|state| state.max_in_flight)
    }

    #[expect(clippy::expect_used, reason = "a test can do nothing without it")]
    fn serve(&self, listener: TcpListener, door: Door) {
        let served = self.runtime.serve(listener, door, &self.shared);
        served.expect("a listener can be listened on");
    }
}

impl Default for Emulator {
    fn default() -> Self {
        Self::new()
    }
}
