//! One bad answer: nobody notices.

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
