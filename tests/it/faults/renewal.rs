//! A token that cannot be renewed: nobody notices while the old one lives.

use std::time::Duration;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::identity::Identity;
use rustix::io::Errno;

use crate::faults::table::elsewhere;
use crate::faults::table::field;
use crate::together::together;
use crate::world::World;
use crate::world::until;

/// From the middle of its life on, a token is renewed.
const LIFE: Duration = Duration::from_secs(8);

/// The service is left alone for half a minute after that.
const GONE: &str = "F27 no identity";

#[test]
fn while_the_old_token_lives_nobody_notices_that_there_is_no_new_one() {
    let gone = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
    let gone = Kind::Status { code: 400, body: gone.to_owned(), headers: Vec::new() };
    let kinds = [
        (GONE, gone),
        ("F24 410", Kind::status(410)),
        ("F25 429", Kind::status(429)),
        ("F25 500", Kind::status(500)),
        ("F25 silent", Kind::Hang),
        ("F26 another resource", field("resource", "\"https://graph.microsoft.com\"")),
        ("F26 expired", field("expires_in", "0")),
        ("F26 long expired", field("expires_in", "\"-1\"")),
        ("a redirect", elsewhere()),
    ];
    together(kinds, |(what, kind)| {
        let Some(world) = World::new() else { return };
        for name in ["known", "cold"] {
            world.vault().put(name, "value");
        }
        world.emulator.imds().set_lifetime(LIFE);
        let mounted = world.mount(&["refresh=300ms", "open-timeout=1s"]);
        assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));
        world.emulator.inject(Fault::always(Scope::Token, kind));
        world.emulator.reset_requests();

        // It is renewed when somebody asks the vault, which is done for names in use.
        until(what, || {
            assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()), "{what}");
            world.emulator.count(|it| it.is_token()) > 0
        });
        assert_eq!(mounted.outcome("cold"), Ok(b"value".to_vec()), "{what}");
        assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()), "{what}");
        assert_eq!(world.emulator.count(|it| it.was_answered(401)), 0, "{what}");

        // A name of its own each time: what was said of one is remembered.
        let mut number = 0;
        let mut stranger = || {
            number += 1;
            mounted.outcome(&format!("stranger-{number}"))
        };
        until(what, || stranger() == Err(Errno::NOKEY));
        assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()), "{what}");
        world.emulator.clear_all();
        if what != GONE {
            until(what, || stranger() == Err(Errno::NOENT));
        }
    });
}

/// F28: the first answer chose, and it stays chosen.
#[test]
fn a_second_identity_that_is_attached_later_changes_nothing() {
    let Some(world) = World::new() else { return };
    world.vault().put("known", "value");
    world.vault().put("cold", "value");
    let imds = world.emulator.imds();
    imds.set_system(None);
    imds.add_user(Identity::numbered(1));
    let mounted = world.mount(&["refresh=300ms", "open-timeout=5s"]);
    assert_eq!(mounted.outcome("known"), Ok(b"value".to_vec()));

    imds.add_user(Identity::numbered(2));
    imds.expire_tokens();
    assert_eq!(mounted.outcome("cold"), Ok(b"value".to_vec()));
    let asked = |it: &akvfs_emulator::record::Request| it.is_token() && it.was_answered(200);
    let requests = world.emulator.requests();
    let last = requests.iter().rfind(|it| asked(it)).unwrap();
    let named = format!("client_id={}", Identity::numbered(1).client_id);
    assert!(last.query.contains(&named), "{}", last.query);
}
