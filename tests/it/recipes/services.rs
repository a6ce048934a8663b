//! Services of systemd, with systemd itself.

use std::time::Duration;

use crate::recipes::boot::Booted;
use crate::recipes::kitchen::Kitchen;
use crate::recipes::kitchen::ROTATIONS;
use crate::recipes::kitchen::password;
use crate::world::try_until;
use crate::world::until;

#[test]
fn systemd_hands_a_secret_to_a_service_that_may_not_read_the_mount() {
    let heading = "systemd: LoadCredential=";
    let Some(kitchen) = Kitchen::new(heading, &["systemctl", "nsenter"]) else { return };
    kitchen.world.sh("install -d -o nightly /srv/out").ok();
    let served = kitchen.serve();
    let Some(booted) = Booted::up_to(&kitchen, "multi-user.target") else { return };
    served.over_rotations_and_deaths(
        |_| (),
        |number| {
            assert_eq!(
                booted.sh("systemctl restart report.service").ok(),
                "",
                "{}",
                booted.console()
            );
            let got = kitchen.world.sh("cat /srv/out/report && rm /srv/out/report").ok();
            assert_eq!(got, format!("{}\n", password(number)));
        },
    );
}

#[test]
fn a_directory_that_systemd_binds_into_a_service_follows_a_rotation() {
    let heading = "systemd: BindReadOnlyPaths=";
    let Some(kitchen) = Kitchen::new(heading, &["systemctl", "nsenter"]) else { return };
    kitchen.world.sh("install -d -o nightly /srv/out").ok();
    let served = kitchen.serve();
    let Some(booted) = Booted::up_to(&kitchen, "multi-user.target") else { return };
    assert_eq!(booted.sh("systemctl start app.service").ok(), "", "{}", booted.console());
    served.over_rotations_and_deaths(
        |_| (),
        |number| {
            let wanted = format!("{}\n", password(number));
            until(&format!("the service has number {number}: {}", booted.console()), || {
                kitchen.world.read("/srv/out/last").is_ok_and(|got| got == wanted.as_bytes())
            });
        },
    );
    assert_eq!(kitchen.world.sh("cat /srv/out/complaints").ok(), "");
    assert_eq!(booted.sh("systemctl is-active app.service").ok(), "active\n");
}

/// Here systemd mounts as well, and a worker that dies is one of its own machine.
#[test]
fn a_service_reloads_another_for_each_rotation() {
    let Some(kitchen) = Kitchen::new("Telling a program", &["systemctl", "nsenter"]) else {
        return;
    };
    kitchen
        .write("/etc/fstab", &kitchen.recipe.fstab().replace("_netdev", "_netdev,refresh=300ms"));
    let reloads = "[Service]\nExecStart=sleep infinity\n\
                   ExecReload=sh -c 'cat /mnt/vault/site-key >> /srv/reloads'\n";
    kitchen.write("/etc/systemd/system/nginx.service", reloads);
    let Some(booted) = Booted::up_to(&kitchen, "multi-user.target") else { return };
    let started = booted.sh("systemctl start nginx && systemctl enable -q --now reload-nginx");
    assert_eq!(started.ok(), "", "{}", booted.console());
    let reloaded = |number| {
        let last = format!("{}\n", password(number));
        kitchen.world.read("/srv/reloads").is_ok_and(|it| it.ends_with(last.as_bytes()))
    };
    // It is told of nothing that was so before it watched.
    until(&format!("it watches: {}", booted.console()), || {
        kitchen.rotate(0);
        try_until(Duration::from_millis(500), || reloaded(0))
    });
    for number in 1..=ROTATIONS {
        booted
            .sh("for it in /proc/[0-9]*; do
            grep -qsza ^worker$ $it/cmdline && kill -9 ${it#/proc/} || true; done")
            .ok();
        kitchen.rotate(number);
        until(&format!("number {number} is told: {}", booted.console()), || reloaded(number));
    }
    let all = kitchen.world.sh("uniq /srv/reloads").ok();
    assert_eq!(all, (0..=ROTATIONS).map(|number| password(number) + "\n").collect::<String>());
    assert_eq!(booted.sh("systemctl is-active reload-nginx").ok(), "active\n");
    let status = booted.sh("akvfs status /mnt/vault --json").ok();
    assert!(status.contains(&format!("\"restarts\": {ROTATIONS},")), "{status}");
}

/// With `nofail` too: the service waits for the mount, not for the target.
#[test]
fn at_boot_systemd_mounts_first_and_starts_the_service_then() {
    let heading = "systemd: LoadCredential=";
    let Some(kitchen) = Kitchen::new(heading, &["systemctl", "nsenter"]) else { return };
    kitchen.write("/etc/fstab", &kitchen.recipe.fstab().replace("_netdev", "_netdev,nofail"));
    let wants = "/etc/systemd/system/multi-user.target.wants";
    let line = format!("mkdir -p {wants} && ln -s ../report.service {wants}/report.service");
    kitchen.world.sh(&line).ok();
    kitchen.world.sh("install -d -o nightly /srv/out").ok();
    let Some(booted) = Booted::up_to(&kitchen, "multi-user.target") else { return };
    let said = booted.sh("systemctl is-active mnt-vault.mount; systemctl is-failed report.service");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "active\ninactive\n", "{}", booted.console());
    assert_eq!(kitchen.world.sh("cat /srv/out/report").ok(), "s3cret\n");
    assert!(kitchen.world.mounts().is_empty(), "it is mounted where systemd is");
    assert_eq!(booted.sh("systemctl stop mnt-vault.mount").ok(), "");
    assert_eq!(booted.sh("! grep fuse.akvfs /proc/self/mounts").ok(), "");
}

/// Seen in the field: a service that starts before the mount finds an empty directory.
#[test]
fn nofail_drops_the_order_and_naming_the_service_keeps_it() {
    let Some(kitchen) = Kitchen::bare(&["systemctl", "nsenter"]) else { return };
    let mounts = [
        ("plain", "_netdev"),
        ("nofail", "_netdev,nofail"),
        ("named", "_netdev,nofail,x-systemd.before=vsftpd.service"),
    ];
    let lines = mounts.map(|(name, options)| format!("my-vault /mnt/{name} akvfs {options} 0 0\n"));
    let table = lines.concat();
    kitchen.write("/etc/fstab", &table);
    kitchen.write("/etc/systemd/system/vsftpd.service", "[Service]\nExecStart=/bin/sleep 1000\n");
    let Some(booted) = Booted::up_to(&kitchen, "basic.target") else { return };
    let before = |unit: &str| {
        let shown = booted.sh(&format!("systemctl show --value -p Before mnt-{unit}.mount")).ok();
        shown.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let orders = |unit, other: &str| before(unit).iter().any(|it| it == other);
    assert!(orders("plain", "remote-fs.target"), "{:?}", before("plain"));
    assert!(!orders("nofail", "remote-fs.target"), "{:?}", before("nofail"));
    assert!(!orders("nofail", "vsftpd.service"), "{:?}", before("nofail"));
    assert!(orders("named", "vsftpd.service"), "{:?}", before("named"));
}
