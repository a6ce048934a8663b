//! What a caller gets where nobody can say: an outage is not a missing file.
//!
//! Each row is an outage of its own. Whatever it is, a first open says what is wrong, a value that
//! is known goes on until `stale` is over, then it fails in the same way, and comes back.

use std::time::Duration;
use std::time::Instant;

use akvfs_emulator::authority::Certificate;
use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;

use crate::caller::together;
use crate::world::World;

/// What is wrong, what mends it, and the number of a first open.
struct Outage {
    what: &'static str,
    begins: fn(&World),
    ends: Option<fn(&World)>,
    number: i32,
}

#[test]
fn while_the_vault_answers_with_trouble_the_last_good_value_is_served_until_stale_is_over() {
    together(
        &[
            outage("429", |world| vault(world, Kind::status(429)), libc::ETIMEDOUT),
            outage("500", |world| vault(world, Kind::status(500)), libc::ETIMEDOUT),
            outage("503 in HTML", |world| vault(world, Kind::html(503)), libc::ETIMEDOUT),
            outage("nonsense", |world| vault(world, Kind::Body("{}".into())), libc::EIO),
            outage("HTML", |world| vault(world, Kind::html(200)), libc::EIO),
            outage("a challenge", challenge, libc::EACCES),
        ],
        runs,
    );
}

#[test]
fn while_the_vault_cannot_be_heard_the_last_good_value_is_served_until_stale_is_over() {
    together(
        &[
            outage("silence", |world| vault(world, Kind::Hang), libc::ETIMEDOUT),
            outage("resets", |world| vault(world, Kind::Reset), libc::ETIMEDOUT),
            outage("closed connections", |world| vault(world, Kind::Close), libc::ETIMEDOUT),
            outage("half answers", |world| vault(world, Kind::Truncated), libc::ETIMEDOUT),
            Outage {
                what: "no route",
                begins: World::cut_network,
                ends: Some(World::mend_network),
                number: libc::ETIMEDOUT,
            },
            Outage {
                what: "a certificate of nobody's",
                begins: |world| {
                    world.emulator.show_certificate(Certificate::SelfSigned);
                    world.emulator.cut_connections();
                },
                ends: Some(|world| world.emulator.show_certificate(Certificate::Good)),
                number: libc::ETIMEDOUT,
            },
        ],
        runs,
    );
}

#[test]
fn while_no_token_is_to_be_had_the_last_good_value_is_served_until_stale_is_over() {
    together(
        &[
            outage("IMDS fails", |world| token(world, Kind::status(500)), libc::ENOKEY),
            outage("IMDS is silent", |world| token(world, Kind::Hang), libc::ENOKEY),
            Outage {
                what: "the identity was taken away",
                begins: |world| {
                    world.emulator.imds().set_system(None);
                    world.emulator.imds().expire_tokens();
                },
                // The metadata service is left alone for 30 s after such an answer.
                ends: None,
                number: libc::ENOKEY,
            },
        ],
        runs,
    );
}

fn outage(what: &'static str, begins: fn(&World), number: i32) -> Outage {
    Outage { what, begins, ends: Some(|world| world.emulator.clear_all()), number }
}

fn runs(outage: &Outage) {
    let Some(world) = World::new() else { return };
    world.vault().put("known", "v");
    world.vault().put("cold", "c");
    let mounted = world.mount(&["refresh=400ms", "stale=4s", "open-timeout=1s"]);
    assert_eq!(mounted.text("known"), "v", "{}", outage.what);

    let began = Instant::now();
    (outage.begins)(&world);
    assert_eq!(mounted.errno("cold"), outage.number, "{}", outage.what);
    assert_eq!(mounted.text("known"), "v", "{}", outage.what);
    assert_eq!(mounted.errno("never-there"), outage.number, "{}", outage.what);

    mounted.until_fails("known", outage.number);
    let lasted = began.elapsed();
    // It was verified in the refresh before.
    assert!(lasted >= STALE - REFRESH - SLACK, "{}: {lasted:?}", outage.what);
    assert!(lasted <= STALE + OPEN_TIMEOUT + LATE, "{}: {lasted:?}", outage.what);

    let Some(ends) = outage.ends else { return };
    ends(&world);
    mounted.until_shows("known", "v");
    mounted.until_shows("cold", "c");
    assert_eq!(mounted.errno("never-there"), libc::ENOENT, "{}", outage.what);
}

fn vault(world: &World, kind: Kind) {
    world.emulator.inject(Fault::always(Scope::Vault, kind));
}

/// Tokens end, and no other is given.
fn token(world: &World, kind: Kind) {
    world.emulator.inject(Fault::always(Scope::Token, kind));
    world.emulator.imds().expire_tokens();
}

/// The vault never likes a token, although it asks for the right one.
fn challenge(world: &World) {
    let asks = "Bearer authorization=\"https://login.microsoftonline.com/\
                7e4a0000-0000-4000-8000-000000000001\", resource=\"https://vault.azure.net\"";
    vault(world, Kind::Challenge(asks.to_owned()));
}

const STALE: Duration = Duration::from_secs(4);
const REFRESH: Duration = Duration::from_millis(400);
const SLACK: Duration = Duration::from_millis(100);
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(1);
