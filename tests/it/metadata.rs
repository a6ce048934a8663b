//! A metadata service in trouble: what is wrong with it for a while is nobody's business but ours.

use std::thread;
use std::time::Duration;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::FaultId;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::record::Request;

use crate::together::together;
use crate::world::World;
use crate::world::until;

/// What a service does that will be well again.
fn troubles() -> Vec<Kind> {
    let other = r#"{"access_token":"eyJ","client_id":"c1000000-0000-4000-8000-000000000000","expires_in":"86399","expires_on":"1","ext_expires_in":"86399","not_before":"1","resource":"https://management.azure.com","token_type":"Bearer"}"#;
    let status = |code| Kind::Status { code, body: String::new(), headers: Vec::new() };
    vec![
        status(404),
        status(410),
        Kind::status(429),
        Kind::status(500),
        Kind::Hang,
        Kind::html(200),
        Kind::html(503),
        Kind::Redirect { code: 302, location: "http://192.0.2.10/".to_owned() },
        Kind::Body(other.to_owned()),
        Kind::Truncated,
        Kind::Reset,
        Kind::Close,
    ]
}

fn questions(world: &World) -> Vec<Duration> {
    let asked = world.emulator.requests().into_iter().filter(Request::is_token);
    asked.map(|request| request.at).collect()
}

/// A connection that broke is tried once more at once, which makes two of one question.
#[track_caller]
fn at_most_two_a_second(world: &World, broke: bool, what: &str) {
    let asked = questions(world);
    let size = if broke { 5 } else { 3 };
    for window in asked.windows(size) {
        let span = window[size - 1] - window[0];
        assert!(span > Duration::from_millis(900), "{what}: {asked:?}");
    }
}

#[test]
fn trouble_of_the_metadata_service_is_one_warning_in_time_and_heals() {
    together(troubles(), |kind| {
        let Some(world) = World::new() else { return };
        world.vault().put("ftpadmin", "s3cret");
        let what = format!("{kind:?}");
        let broke = matches!(kind, Kind::Truncated | Kind::Reset | Kind::Close);
        let fault = world.emulator.inject(Fault::always(Scope::Token, kind));
        let (mounted, ran) = world.mount_with_complaints("open-timeout=1s,refresh=500ms");
        assert!(ran.took < Duration::from_secs(5), "{what}: {ran:?}");
        assert_eq!(ran.stderr.matches("akvfs: warning: ").count(), 1, "{what}: {ran:?}");
        assert!(ran.stderr.contains("the metadata service"), "{what}: {ran:?}");
        for _ in 0..10 {
            assert_ne!(mounted.cat("ftpadmin").code, Some(0), "{what}");
        }
        at_most_two_a_second(&world, broke, &what);
        world.emulator.clear(fault);
        until("it heals", || mounted.cat("ftpadmin").stdout == b"s3cret");
        let tokens = world.emulator.imds().tokens().len();
        assert!(tokens == 1 || what == "Truncated", "{what}: {tokens} tokens");
    });
}

#[test]
fn an_update_of_the_service_is_waited_out_behind_its_callers() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    // As many as it says in the 70 s that an update takes.
    let gone = Kind::Status { code: 410, body: String::new(), headers: Vec::new() };
    let gone: FaultId = world.emulator.inject(Fault::times(12, Scope::Token, gone));
    let (mounted, _) = world.mount_with_complaints("open-timeout=500ms");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_ne!(mounted.cat("ftpadmin").code, Some(0)));
        }
    });
    assert!(questions(&world).len() <= 6, "callers make no question more");
    world.emulator.clear(gone);
    until("it heals", || mounted.cat("ftpadmin").stdout == b"s3cret");
}

#[test]
fn nobody_notices_that_the_service_is_away_at_half_life() {
    let Some(world) = World::new() else { return };
    let vault = world.vault();
    vault.put("ftpadmin", "s3cret");
    world.emulator.imds().set_lifetime(Duration::from_secs(20));
    let mounted = world.mount(&["refresh=200ms", "stale=1h"]);
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    let away = world.emulator.inject(Fault::always(Scope::Token, Kind::Hang));
    // The old token is good, and used, while the next one is asked for in vain.
    let renewals = |request: &Request| request.is_token() && !request.was_answered(200);
    until("it is asked anew", || {
        assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
        world.emulator.count(renewals) > 0
    });
    for number in 0..20 {
        let name = format!("new-{number}");
        vault.put(&name, "value");
        assert_eq!(mounted.cat(&name).ok(), "value");
    }
    vault.put("ftpadmin", "another");
    until("a rotation is seen", || mounted.read("ftpadmin").is_ok_and(|value| value == b"another"));
    world.emulator.clear(away);
}

#[test]
fn a_second_identity_changes_nothing_for_a_mount_that_lives() {
    let Some(world) = World::new() else { return };
    let imds = world.emulator.imds();
    let [one, two] = [1, 2].map(akvfs_emulator::identity::Identity::numbered);
    imds.set_system(None);
    imds.add_user(one.clone());
    world.vault().put("ftpadmin", "s3cret");
    let mounted = world.mount(&["refresh=200ms"]);
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    // Others come, one of them the machine's own, and even the worker is another.
    imds.add_user(two);
    imds.set_system(Some(akvfs_emulator::identity::Identity::numbered(9)));
    imds.expire_tokens();
    world.process("worker").unwrap().kill();
    world.vault().put("ftpadmin", "another");
    until("it is seen", || mounted.read("ftpadmin").is_ok_and(|value| value == b"another"));
    let asked = world.emulator.requests();
    let last = asked.iter().rfind(|request| request.is_token()).unwrap();
    assert!(last.query.contains(&format!("client_id={}", one.client_id)), "{}", last.query);
}
