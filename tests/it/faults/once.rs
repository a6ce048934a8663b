//! One bad answer, or every second one: nobody notices.

use std::time::Duration;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;

use crate::faults::lasting::confirmed_after;
use crate::faults::table::CHALLENGE;
use crate::faults::table::elsewhere;
use crate::readers::Readers;
use crate::readers::value;
use crate::together::together;
use crate::world::World;
use crate::world::until;

/// The vault's own 404.
fn missing() -> Kind {
    let body = r#"{"error":{"code":"SecretNotFound","message":"A secret was not found"}}"#;
    Kind::Status { code: 404, body: body.to_owned(), headers: Vec::new() }
}

#[test]
fn one_bad_answer_is_noticed_by_nobody() {
    let kinds = [
        missing(),
        Kind::Challenge(CHALLENGE.to_owned()),
        Kind::html(403),
        Kind::status(429),
        Kind::status(500),
        Kind::Body("{}".to_owned()),
        Kind::Truncated,
        Kind::Torn,
        Kind::Drip(Duration::from_secs(2)),
        Kind::Endless(Duration::from_millis(1)),
        Kind::throttled("1"),
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

/// F12, and what else comes and goes: whoever knows a value keeps it and sees it change.
#[test]
fn a_vault_that_fails_every_second_time_is_noticed_by_nobody_who_knows_a_value() {
    let unheard = [
        Kind::status(500),
        Kind::html(503),
        Kind::status(429),
        Kind::Reset,
        Kind::Close,
        Kind::Truncated,
    ];
    // A first open may be told so, or not live to see the end of a second silence.
    let heard = [missing(), Kind::html(200), Kind::html(403), Kind::html(404), Kind::Hang];
    let kinds = unheard.map(|kind| (kind, true)).into_iter().chain(heard.map(|it| (it, false)));
    together(kinds, |(kind, passes)| {
        let Some(world) = World::new() else { return };
        world.vault().put("known", &value("known", 1));
        world.vault().put("cold", "value");
        let mounted = world.mount(&["refresh=400ms", "open-timeout=10s"]);
        assert_eq!(mounted.outcome("known"), Ok(value("known", 1).into_bytes()));
        let readers = Readers::start(&mounted, 1, &["known"]);

        let what = format!("{kind:?}");
        world.emulator.inject(Fault::every(2, Scope::Get, kind));
        for version in 2..5 {
            world.vault().put("known", &value("known", version));
            let new = value("known", version).into_bytes();
            until(&what, || mounted.outcome("known") == Ok(new.clone()));
        }
        if passes {
            assert_eq!(mounted.outcome("cold"), Ok(b"value".to_vec()), "{what}");
        }

        let seen = readers.stop();
        assert_eq!(seen.wrong, Vec::<String>::new(), "{what}");
        assert!(seen.rotations >= 2 && seen.opens > 100, "{what}: {seen:?}");
    });
}
