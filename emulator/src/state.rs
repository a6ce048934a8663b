//! What the emulator knows, behind one lock, and who waits for it to change.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Condvar;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::asked::Asked;
use crate::clock;
use crate::dialect::Dialect;
use crate::dialect::Doors;
use crate::entra::Directory;
use crate::fault::FaultId;
use crate::fault::Greeting;
use crate::fault::Injected;
use crate::fault::Plan;
use crate::identity::Machine;
use crate::record::Credential;
use crate::record::Request;
use crate::record::Service;
use crate::record::Violation;
use crate::vault::Store;

/// What changes when connections are cut, since it was asked for.
pub(crate) type Cuts = watch::Receiver<u64>;

/// Everything that the services, the handles and the control interface share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Counts the faults cleared, for the requests that are held.
    cleared: watch::Sender<u64>,
    /// Counts how often connections were cut.
    cut: watch::Sender<u64>,
}

/// What is behind the lock.
#[derive(Debug)]
pub(crate) struct State {
    /// The first is the one that localhost stands for.
    pub(crate) vaults: Vec<Store>,
    pub(crate) machine: Machine,
    pub(crate) directory: Directory,
    pub(crate) doors: Doors,
    pub(crate) faults: Vec<Injected>,
    pub(crate) greetings: BTreeMap<Service, Greeting>,
    pub(crate) requests: Vec<Request>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) max_in_flight: usize,
    in_flight: usize,
    arrivals: u64,
    fault_ids: u64,
    start: Instant,
    random: RandomState,
    drawn: u64,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State::new()),
            changed: Condvar::new(),
            cleared: watch::Sender::new(0),
            cut: watch::Sender::new(0),
        }
    }

    /// Looks at the state, or changes it.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let result = look(&mut self.state.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `holds`, at most for `limit`; whether it did.
    pub(crate) fn wait(&self, limit: Duration, mut holds: impl FnMut(&State) -> bool) -> bool {
        let mut state = self.state.lock();
        !self.changed.wait_while_for(&mut state, |state| !holds(state), limit).timed_out()
    }

    pub(crate) fn clear(&self, gone: impl Fn(FaultId) -> bool) {
        self.with(|state| state.faults.retain(|injected| !gone(injected.id)));
        self.cleared.send_modify(|count| *count += 1);
    }

    /// Ends the connections that there are.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|count| *count += 1);
    }

    /// What changes when connections are cut from now on.
    pub(crate) fn cuts(&self) -> Cuts {
        self.cut.subscribe()
    }

    /// Waits until these faults are cleared.
    pub(crate) async fn held(&self, holds: &[FaultId]) {
        let mut cleared = self.cleared.subscribe();
        let in_force = |id: &FaultId| {
            self.with(|state| state.faults.iter().any(|injected| injected.id == *id))
        };
        while holds.iter().any(in_force) {
            if cleared.changed().await.is_err() {
                return;
            }
        }
    }
}

impl State {
    fn new() -> Self {
        Self {
            vaults: Vec::new(),
            machine: Machine::new(),
            directory: Directory::new(),
            doors: Doors::default(),
            faults: Vec::new(),
            greetings: BTreeMap::new(),
            requests: Vec::new(),
            violations: Vec::new(),
            max_in_flight: 0,
            in_flight: 0,
            arrivals: 0,
            fault_ids: 0,
            start: clock::now(),
            random: RandomState::new(),
            drawn: 0,
        }
    }

    /// Notes an arrival; gives its number and what the faults make of it.
    pub(crate) fn arrive(&mut self, asked: &mut Asked) -> (u64, Plan) {
        if asked.service == Service::Vault && self.vault_of(asked).is_none() {
            asked.service = Service::Elsewhere;
        }
        if asked.service == Service::Entra && self.audience_at(asked).is_empty() {
            asked.service = Service::Elsewhere;
        }
        if asked.service == Service::Vault {
            self.in_flight += 1;
            self.max_in_flight = self.max_in_flight.max(self.in_flight);
        }
        self.arrivals += 1;
        let number = self.arrivals;
        let credential = self.machine.credential(asked.authorization.as_deref());
        self.note_strays(number, asked, credential);
        self.requests.push(Request {
            number,
            at: self.elapsed(),
            service: asked.service,
            method: asked.method.clone(),
            host: asked.host.clone(),
            path: asked.path.clone(),
            query: asked.query.clone(),
            secret: asked.secret().map(ToOwned::to_owned),
            credential,
            headers: asked.headers.iter().cloned().collect(),
            form: asked.fields().into_iter().map(without_proof).collect(),
            sni: asked.sni.clone(),
            in_flight: self.in_flight,
            status: None,
        });
        let plan = Plan::draw(&mut self.faults, |scope| asked.meets(scope));
        (number, plan)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        clock::now().duration_since(self.start)
    }

    /// Notes that a request is over: answered, or given up.
    pub(crate) fn leave(&mut self, asked: &Asked) {
        if asked.service == Service::Vault {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
    }

    pub(crate) fn answered(&mut self, number: u64, status: u16) {
        let mut latest = self.requests.iter_mut().rev();
        if let Some(request) = latest.find(|request| request.number == number) {
            request.status = Some(status);
        }
    }

    /// The vault that the Host header names; localhost is the first one.
    pub(crate) fn vault_of(&self, asked: &Asked) -> Option<&Store> {
        let host = asked.bare_host();
        if LOCAL.contains(&host.as_str()) {
            return self.vaults.first();
        }
        self.vaults.iter().find(|vault| vault.host == host)
    }

    /// The audience of the tokens that the host named by the Host header issues, or nothing.
    pub(crate) fn audience_at(&self, asked: &Asked) -> String {
        let host = asked.bare_host();
        let mut hosts = self.directory.hosts.iter();
        let known = hosts.find(|(known, _)| *known == host);
        known.map(|(_, audience)| audience.clone()).unwrap_or_default()
    }

    /// The time by the directory's clock, in seconds since 1970.
    pub(crate) fn entra_time(&self) -> i64 {
        clock::epoch_seconds().cast_signed() + self.directory.ahead
    }

    pub(crate) fn vault_mut(&mut self, host: &str) -> Option<&mut Store> {
        self.vaults.iter_mut().find(|vault| vault.host == host)
    }

    pub(crate) fn violate(&mut self, request: u64, what: impl Into<String>) {
        self.violations.push(Violation { request, what: what.into() });
    }

    pub(crate) fn next_fault(&mut self) -> FaultId {
        self.fault_ids += 1;
        FaultId(self.fault_ids)
    }

    /// 32 hexadecimal digits that nobody guesses.
    pub(crate) fn hex(&mut self) -> String {
        let mut word = || {
            self.drawn += 1;
            self.random.hash_one(self.drawn)
        };
        format!("{:016x}{:016x}", word(), word())
    }

    /// Notes headers that must not come here, wherever they lead.
    fn note_strays(&mut self, number: u64, asked: &Asked, credential: Credential) {
        let Asked { host, path, .. } = asked;
        let elsewhere = asked.service != Service::Vault;
        let machine = matches!(asked.service, Service::Machine(_));
        let is_key = asked.service == Service::Machine(Dialect::Arc)
            && asked.authorization.as_deref().is_some_and(|shown| shown.starts_with("Basic "));
        if elsewhere && credential != Credential::Absent && !is_key {
            self.violate(number, format!("an Authorization header reached {host}{path}"));
        }
        if asked.service != Service::Metadata && !machine && asked.header("metadata").is_some() {
            self.violate(number, format!("a Metadata header reached {host}{path}"));
        }
        if asked.header("x-forwarded-for").is_some() {
            self.violate(number, format!("{host}{path} was asked through a proxy"));
        }
        if asked.method != "GET" && asked.service != Service::Entra && !machine {
            self.violate(number, format!("{} {host}{path} is no reading", asked.method));
        }
        if asked.service != Service::Entra && self.holds_a_proof(asked) {
            self.violate(number, format!("a secret or an assertion reached {host}{path}"));
        }
        if self.holds_anothers_secret(asked) {
            self.violate(number, format!("the secret of another door reached {host}{path}"));
        }
        let hidden = elsewhere && credential == Credential::Absent;
        if hidden && self.holds_a_token(asked) {
            self.violate(number, format!("a token reached {host}{path}"));
        }
    }

    /// Whether something that proves a principal is anywhere in the request.
    fn holds_a_proof(&self, asked: &Asked) -> bool {
        asked.holds("client_assertion=") || self.directory.proofs().any(|it| asked.holds(it))
    }

    /// Whether something that opens one door is anywhere in a request to another.
    fn holds_anothers_secret(&self, asked: &Asked) -> bool {
        let keys = self.doors.all_keys.iter().map(|key| (Dialect::Arc, key));
        let secrets = self.doors.secrets.iter().map(|(dialect, secret)| (*dialect, secret));
        let mut all = keys.chain(secrets);
        all.any(|(dialect, secret)| {
            asked.service != Service::Machine(dialect) && asked.holds(secret)
        })
    }

    fn holds_a_token(&self, asked: &Asked) -> bool {
        self.machine.tokens.iter().any(|token| asked.holds(&token.text))
    }
}

/// A field of a form, its value left out if it proves something.
fn without_proof((name, value): (String, String)) -> (String, String) {
    let proves = ["client_secret", "client_assertion"].contains(&name.as_str());
    (name, if proves { String::new() } else { value })
}

const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
