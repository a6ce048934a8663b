//! The vault, the metadata service or the network is away: what goes on, for how long, and what
//! is said then.

use std::time::Duration;
use std::time::Instant;

use akvfs_emulator::authority::Certificate;
use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use rustix::io::Errno;

use crate::readers::Readers;
use crate::readers::value;
use crate::together::together;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

/// An outage: what is wrong, and the error that a first open ends with.
type Case = (&'static str, fn(&World), Errno);

const STALE: Duration = Duration::from_secs(2);
const OPTIONS: [&str; 3] = ["refresh=200ms", "stale=2s", "open-timeout=500ms"];
/// By so much a kernel that counts in ticks, and a busy machine, may be late.
const LATE: Duration = Duration::from_millis(300);
const EARLY: Duration = Duration::from_millis(20);

const VAULT: [Case; 17] = [
    ("429", |world| vault(world, Kind::status(429)), Errno::TIMEDOUT),
    ("429, later", |world| vault(world, Kind::throttled("1")), Errno::TIMEDOUT),
    ("500", |world| vault(world, Kind::status(500)), Errno::TIMEDOUT),
    ("503", |world| vault(world, Kind::status(503)), Errno::TIMEDOUT),
    ("a gateway's 502", |world| vault(world, Kind::html(502)), Errno::TIMEDOUT),
    ("a proxy's 403", |world| vault(world, Kind::html(403)), Errno::TIMEDOUT),
    ("a proxy's 404", |world| vault(world, Kind::html(404)), Errno::TIMEDOUT),
    ("reset", |world| vault(world, Kind::Reset), Errno::TIMEDOUT),
    ("closed", |world| vault(world, Kind::Close), Errno::TIMEDOUT),
    ("truncated", |world| vault(world, Kind::Truncated), Errno::TIMEDOUT),
    ("hangs", |world| vault(world, Kind::Hang), Errno::TIMEDOUT),
    ("no route", World::cut_network, Errno::TIMEDOUT),
    ("a bad certificate", bad_certificate, Errno::TIMEDOUT),
    ("nonsense", |world| vault(world, Kind::Body("{}".to_owned())), Errno::IO),
    ("a portal", |world| vault(world, Kind::html(200)), Errno::IO),
    ("a redirect", |world| vault(world, elsewhere()), Errno::IO),
    ("401", |world| vault(world, Kind::Challenge(CHALLENGE.to_owned())), Errno::ACCESS),
];

const IMDS: [Case; 8] = [
    ("IMDS 404", |world| imds(world, Kind::status(404)), Errno::NOKEY),
    ("IMDS 410", |world| imds(world, Kind::status(410)), Errno::NOKEY),
    ("IMDS 429", |world| imds(world, Kind::status(429)), Errno::NOKEY),
    ("IMDS 500", |world| imds(world, Kind::status(500)), Errno::NOKEY),
    ("IMDS hangs", |world| imds(world, Kind::Hang), Errno::NOKEY),
    ("IMDS resets", |world| imds(world, Kind::Reset), Errno::NOKEY),
    ("IMDS is a portal", |world| imds(world, Kind::html(200)), Errno::NOKEY),
    ("IMDS redirects", |world| imds(world, elsewhere()), Errno::NOKEY),
];

const CHALLENGE: &str = "Bearer authorization=\"https://login.microsoftonline.com/\
                         7e4a0000-0000-4000-8000-000000000001\", \
                         resource=\"https://vault.azure.net\"";

fn vault(world: &World, kind: Kind) {
    world.emulator.inject(Fault::always(Scope::Vault, kind));
}

fn imds(world: &World, kind: Kind) {
    world.emulator.inject(Fault::always(Scope::Token, kind));
    world.emulator.imds().expire_tokens();
}

fn elsewhere() -> Kind {
    Kind::Redirect { code: 302, location: "http://169.254.169.254/elsewhere".to_owned() }
}

fn bad_certificate(world: &World) {
    world.emulator.show_certificate(Certificate::SelfSigned);
    // Connections that are there were made with the good one.
    world.emulator.inject(Fault::times(8, Scope::Vault, Kind::Reset));
}

fn mend(world: &World) {
    world.emulator.clear_all();
    world.emulator.show_certificate(Certificate::Good);
    if world.sh("ip -o addr show dev lo").ok().matches("169.254").count() == 0 {
        world.mend_network();
    }
}

/// A moment after which the vault has confirmed the secret.
fn confirmed_after(world: &World, name: &str) -> Instant {
    let is_confirmed = |request: &akvfs_emulator::record::Request| {
        request.is_get_of(name) && request.was_answered(200)
    };
    let since = Instant::now();
    // The first of them may have been sent before.
    let two_more = world.emulator.count(is_confirmed) + 2;
    until("it is confirmed", || world.emulator.count(is_confirmed) >= two_more);
    since
}

/// A known value is served until `stale` is over since it was last confirmed, and not longer; then,
/// and at a first open, the error says why; and all is well again by itself.
fn outlives((what, break_it, errno): Case) {
    let Some(world) = World::new() else { return };
    world.vault().put("known", "old");
    world.vault().put("cold", "value");
    let mounted = world.mount(&OPTIONS);
    assert_eq!(mounted.outcome("known"), Ok(b"old".to_vec()));

    let confirmed = confirmed_after(&world, "known");
    break_it(&world);
    let broken = Instant::now();
    let cold = mounted.reader("cold");
    until("it ends", || {
        let asked = Instant::now();
        let outcome = mounted.outcome("known");
        match &outcome {
            Ok(value) => {
                assert_eq!(value, b"old");
                assert!(asked < broken + STALE + LATE, "{what}: for too long");
            }
            Err(error) => {
                assert!(Instant::now() > confirmed + STALE - EARLY, "{what}: {error} too early");
                assert_eq!(*error, errno, "{what}");
            }
        }
        asked > broken + STALE + LATE + LATE
    });
    assert_eq!(cold.result().0, Err(errno), "{what}");
    assert_eq!(mounted.outcome("cold"), Err(errno), "{what}");

    mend(&world);
    world.vault().put("known", "new");
    until(what, || mounted.outcome("known") == Ok(b"new".to_vec()));
    until(what, || mounted.outcome("cold") == Ok(b"value".to_vec()));
}

#[test]
fn a_known_value_outlives_the_vault_until_stale_ends_and_all_heals_by_itself() {
    together(VAULT, outlives);
}

#[test]
fn a_known_value_outlives_the_metadata_service_until_stale_ends_and_all_heals_by_itself() {
    together(IMDS, outlives);
}

/// The service would have to be asked again for half a minute before that heals.
#[test]
fn an_identity_that_was_taken_away_is_an_outage_and_no_refusal() {
    let Some(world) = World::new() else { return };
    world.vault().put("known", "value");
    let mounted = world.mount(&["refresh=200ms", "open-timeout=500ms"]);
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));

    world.emulator.imds().set_system(None);
    world.emulator.imds().expire_tokens();

    assert!(world.emulator.wait_for(LIMIT, 1, |it| it.is_token() && it.was_answered(400)));
    assert_eq!(mounted.outcome("cold"), Err(Errno::NOKEY));
    let since = Instant::now();
    until("the kernel's copy is too old", || {
        assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
        since.elapsed() > Duration::from_millis(1500)
    });
}

#[test]
fn one_bad_answer_is_noticed_by_nobody() {
    let missing = r#"{"error":{"code":"SecretNotFound","message":"A secret was not found"}}"#;
    let missing = Kind::Status { code: 404, body: missing.to_owned(), headers: Vec::new() };
    let kinds = [
        missing,
        Kind::Challenge(CHALLENGE.to_owned()),
        Kind::html(403),
        Kind::status(429),
        Kind::status(500),
        Kind::Body("{}".to_owned()),
        Kind::Truncated,
        Kind::Reset,
        Kind::Close,
        Kind::Hang,
        elsewhere(),
    ];
    together(kinds, |kind| {
        let Some(world) = World::new() else { return };
        world.vault().put("known", &value("known", 1));
        let mounted = world.mount(&["refresh=400ms", "open-timeout=1s"]);
        assert_eq!(mounted.outcome("known"), Ok(value("known", 1).into_bytes()));
        let readers = Readers::start(&mounted, 1, &["known"]);

        let what = format!("{kind:?}");
        world.emulator.inject(Fault::times(1, Scope::Get, kind));
        let _moment = confirmed_after(&world, "known");
        world.vault().put("known", &value("known", 2));
        until(&what, || mounted.outcome("known") == Ok(value("known", 2).into_bytes()));

        let seen = readers.stop();
        assert_eq!(seen.wrong, Vec::<String>::new(), "{what}");
        assert!(seen.opens > 100, "{what}: {seen:?}");
    });
}

/// What is away while somebody mounts.
type Away = (&'static str, fn(&World));

const AWAY: [Away; 8] = [
    ("IMDS hangs", |world| imds(world, Kind::Hang)),
    ("IMDS is updated", |world| imds(world, Kind::status(410))),
    (NO_IDENTITY, |world| world.emulator.imds().set_system(None)),
    ("the vault hangs", |world| vault(world, Kind::Hang)),
    ("the vault resets", |world| vault(world, Kind::Reset)),
    ("no route", World::cut_network),
    ("no such name", |world| world.write("/etc/hosts", "127.0.0.1 localhost\n")),
    ("no resolver", |world| {
        world.write("/etc/hosts", "127.0.0.1 localhost\n");
        world.lose_resolver();
    }),
];

/// It heals as the others do, but the service is asked every half minute only.
const NO_IDENTITY: &str = "no identity yet";

fn mounts_all_the_same((what, break_it): Away) {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "value");
    let hosts = world.read("/etc/hosts").unwrap();
    break_it(&world);

    let (mounted, ran) = world.mount_with_complaints("open-timeout=700ms");

    assert!(ran.took < Duration::from_secs(5), "{what}: {:?}", ran.took);
    let (warnings, hints): (Vec<&str>, Vec<&str>) =
        ran.stderr.lines().partition(|line| line.starts_with("akvfs: warning: "));
    assert_eq!(warnings.len(), 1, "{what}: {}", ran.stderr);
    assert!(hints.iter().all(|line| line.trim_start().starts_with("hint: ")), "{}", ran.stderr);
    let refused = mounted.outcome("ftpadmin");
    assert!(matches!(refused, Err(Errno::TIMEDOUT | Errno::NOKEY)), "{what}: {refused:?}");

    world.write("/etc/hosts", hosts);
    mend(&world);
    if what != NO_IDENTITY {
        until(what, || mounted.outcome("ftpadmin") == Ok(b"value".to_vec()));
    }
}

#[test]
fn a_mount_comes_up_whatever_is_away_with_one_warning_and_heals() {
    together(AWAY, mounts_all_the_same);
}
