//! Names that a vault cannot hold, and one vault for many.

use crate::recipes::kitchen::Kitchen;
use crate::recipes::kitchen::password;

#[test]
fn a_link_gives_a_secret_a_name_with_a_dot() {
    let Some(kitchen) = Kitchen::new("Names with a dot", &["sh"]) else { return };
    let served = kitchen.serve();
    served.over_rotations_and_deaths(
        |_| (),
        |number| {
            assert_eq!(kitchen.type_all(), ["", format!("{}\n", password(number)).as_str()]);
        },
    );
    let _ = kitchen
        .world
        .run("stat", &["/mnt/vault/server.key", "/mnt/vault/server-key.ocsp"])
        .failed(1);
    let asked = kitchen.world.emulator.requests();
    let strange = asked.iter().find(|it| it.is_get() && !it.is_get_of("server-key"));
    assert!(strange.is_none(), "{strange:?}");
}

#[test]
fn each_service_has_a_mount_of_its_own() {
    let Some(kitchen) = Kitchen::new("A mount for each service", &["sh"]) else { return };
    let served = kitchen.serve();
    served.over_rotations_and_deaths(
        |_| (),
        |number| {
            let said = kitchen.type_all();
            assert_eq!(
                said,
                [format!("{}\n", password(number)), format!("{}\n", password(number))]
            );
        },
    );
    assert_eq!(
        kitchen.world.sh("ls /mnt/report /mnt/site").ok(),
        "/mnt/report:\nftpadmin\n\n/mnt/site:\nsite-key\nsite-note\n"
    );
    for (who, path) in [("nightly", "/mnt/site/site-key"), ("partner", "/mnt/report/ftpadmin")] {
        let said = kitchen.type_as(who, &format!("cat {path}")).failed(1);
        assert!(said.contains("Permission denied"), "{said}");
    }
    let said = kitchen.world.sh("cat /mnt/report/site-key").failed(1);
    assert!(said.contains("No such file or directory"), "{said}");
}

#[test]
fn one_mount_gives_each_his_own_file() {
    let Some(kitchen) = Kitchen::new("One mount, several owners", &["sh"]) else { return };
    let served = kitchen.serve();
    served.over_rotations_and_deaths(
        |_| (),
        |number| {
            let said = kitchen.type_all();
            assert_eq!(
                said,
                [format!("{}\n", password(number)), format!("{}\n", password(number))]
            );
        },
    );
    for (who, name) in [("nightly", "site-key"), ("partner", "ftpadmin")] {
        let said = kitchen.type_as(who, &format!("cat /mnt/vault/{name}")).failed(1);
        assert!(said.contains("Permission denied"), "{said}");
    }
    let said = kitchen.type_in("nightly", "ls /mnt/vault").failed(2);
    assert!(said.contains("Permission denied"), "{said}");
}
