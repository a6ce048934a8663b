//! What can go wrong between the mount and a value, fault by fault, and what a first open is told.
//!
//! The numbers are those by which the faults are known in the plan of tests.

use std::time::Duration;

use akvfs_emulator::authority::Certificate;
use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Greeting;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::record::Service;
use rustix::io::Errno;

use crate::world::World;

/// A fault that lasts until [`mend`].
#[derive(Clone, Copy)]
pub(crate) struct Lasting {
    pub(crate) what: &'static str,
    pub(crate) begins: fn(&World),
    /// What a first open ends with, and any once `stale` is over.
    pub(crate) errno: Errno,
    /// How long after its end the vault is asked again, at the latest: the longest pause of whoever
    /// does not wait in vain.
    pub(crate) step: Duration,
}

/// The network and the vault: no word comes, or none that is one.
pub(crate) const VAULT: [Lasting; 35] = [
    silent("F01 no such name", World::lose_name),
    Lasting { step: RESOLVER, ..silent("F02 names are swallowed", World::swallow_names) },
    silent("F02 no resolver", no_resolver),
    silent("F03 packets are swallowed", World::swallow_vaults),
    silent("F03 no route", World::cut_network),
    silent("F04 nobody listens", World::name_nobody),
    silent("F04 reset on connect", |world| greet(world, Greeting::Reset)),
    silent("F05 silent on connect", |world| greet(world, Greeting::Silence)),
    silent("F05 silent on request", |world| vault(world, Kind::Hang)),
    silent("F06 reset", |world| vault(world, Kind::Reset)),
    silent("F06 reset amid the body", |world| vault(world, Kind::Torn)),
    silent("F06 closed", |world| vault(world, Kind::Close)),
    silent("F07 a byte in two seconds", |world| vault(world, Kind::Drip(Duration::from_secs(2)))),
    silent("F08 truncated", |world| vault(world, Kind::Truncated)),
    nonsense("F09 without end", |world| vault(world, Kind::Endless(Duration::ZERO))),
    silent("F09 slow, without end", |it| vault(it, Kind::Endless(Duration::from_millis(300)))),
    silent("F10 429, in a second", |world| vault(world, Kind::throttled("1"))),
    silent("F10 429, garbage", |world| vault(world, Kind::throttled("soon"))),
    silent("F10 429, long ago", |world| vault(world, Kind::throttled("-5"))),
    silent("F11 429", |world| vault(world, Kind::status(429))),
    silent("F12 408", |world| vault(world, Kind::status(408))),
    silent("F12 500", |world| vault(world, Kind::status(500))),
    silent("F12 502 of a gateway", |world| vault(world, Kind::html(502))),
    silent("F12 503", |world| vault(world, Kind::status(503))),
    silent("F12 504 of a gateway", |world| vault(world, Kind::html(504))),
    Lasting { what: "F14 401", begins: challenge, errno: Errno::ACCESS, step: REMEMBERED },
    silent("F15 403 of a proxy", |world| vault(world, Kind::html(403))),
    silent("F19 404 of a proxy", |world| vault(world, Kind::html(404))),
    silent("F21 expired", |world| certificate(world, Certificate::Expired)),
    silent("F21 another host's", |world| certificate(world, Certificate::OtherHost)),
    silent("F21 nobody's", |world| certificate(world, Certificate::SelfSigned)),
    nonsense("an empty object", |world| vault(world, Kind::Body("{}".to_owned()))),
    nonsense("no body", |world| vault(world, Kind::Body(String::new()))),
    nonsense("a portal", |world| vault(world, Kind::html(200))),
    nonsense("a redirect", |world| vault(world, elsewhere())),
];

/// The metadata service: there is no token.
pub(crate) const IMDS: [Lasting; 21] = [
    no_token("F24 410", |world| imds(world, Kind::status(410))),
    no_token("F25 404", |world| imds(world, Kind::status(404))),
    no_token("F25 429", |world| imds(world, Kind::status(429))),
    no_token("F25 500", |world| imds(world, Kind::status(500))),
    no_token("F25 silent", |world| imds(world, Kind::Hang)),
    no_token("F25 reset", |world| imds(world, Kind::Reset)),
    no_token("F25 packets are swallowed", |world| {
        world.emulator.imds().expire_tokens();
        world.swallow_imds();
    }),
    no_token("F25 a portal", |world| imds(world, Kind::html(200))),
    no_token("F25 a redirect", |world| imds(world, elsewhere())),
    no_token("F25 truncated", |world| imds(world, Kind::Truncated)),
    no_token("F26 another resource", |it| imds(it, field("resource", "\"https://graph\""))),
    no_token("F26 another type", |world| imds(world, field("token_type", "\"MAC\""))),
    no_token("F26 an empty token", |world| imds(world, field("access_token", "\"\""))),
    no_token("F26 a token of two lines", |it| imds(it, field("access_token", "\"a\\nb\""))),
    no_token("F26 expired", |world| imds(world, field("expires_in", "0"))),
    no_token("F26 long expired", |world| imds(world, field("expires_in", "-1"))),
    no_token("F26 a life of thirty years", |it| imds(it, field("expires_in", "1000000000"))),
    no_token("F26 a word for a life", |world| imds(world, field("expires_in", "\"soon\""))),
    no_token("F26 a fraction of a second", |world| imds(world, field("expires_in", "0.5"))),
    no_token("F26 no life", |world| imds(world, field("expires_in", "[]"))),
    no_token("F26 no number at all", |world| imds(world, field("expires_in", "{}"))),
];

/// Ends whatever fault there is.
pub(crate) fn mend(world: &World) {
    world.emulator.clear_all();
    world.emulator.show_certificate(Certificate::Good);
    world.mend_roads();
}

const fn silent(what: &'static str, begins: fn(&World)) -> Lasting {
    Lasting { what, begins, errno: Errno::TIMEDOUT, step: WAITED }
}

const fn nonsense(what: &'static str, begins: fn(&World)) -> Lasting {
    Lasting { what, begins, errno: Errno::IO, step: REMEMBERED }
}

const fn no_token(what: &'static str, begins: fn(&World)) -> Lasting {
    Lasting { what, begins, errno: Errno::NOKEY, step: TOKENS }
}

fn vault(world: &World, kind: Kind) {
    world.emulator.inject(Fault::always(Scope::Vault, kind));
}

/// The tokens that there are end as well.
pub(crate) fn imds(world: &World, kind: Kind) {
    world.emulator.inject(Fault::always(Scope::Token, kind));
    world.emulator.imds().expire_tokens();
}

fn greet(world: &World, greeting: Greeting) {
    world.emulator.greet(Service::Vault, greeting);
    world.emulator.cut_connections();
}

fn certificate(world: &World, certificate: Certificate) {
    world.emulator.show_certificate(certificate);
    world.emulator.cut_connections();
}

fn no_resolver(world: &World) {
    world.lose_resolver();
    world.lose_name();
}

/// The vault never likes a token, although it asks for the right one.
fn challenge(world: &World) {
    vault(world, Kind::Challenge(CHALLENGE.to_owned()));
}

pub(crate) fn field(name: &str, json: &str) -> Kind {
    Kind::Field { name: name.to_owned(), json: Some(json.to_owned()) }
}

pub(crate) fn elsewhere() -> Kind {
    Kind::Redirect { code: 302, location: "http://169.254.169.254/elsewhere".to_owned() }
}

pub(crate) const CHALLENGE: &str = "Bearer \
    authorization=\"https://login.microsoftonline.com/7e4a0000-0000-4000-8000-000000000001\", \
    resource=\"https://vault.azure.net\"";
/// The longest pause where somebody waits.
const WAITED: Duration = Duration::from_secs(2);
/// How long an answer without sense is remembered.
const REMEMBERED: Duration = Duration::from_secs(5);
/// The longest pause between two questions for a token, and how long one may take.
const TOKENS: Duration = Duration::from_secs(15);
/// How long the C library waits for a name server, and asks once more.
const RESOLVER: Duration = Duration::from_secs(10);
