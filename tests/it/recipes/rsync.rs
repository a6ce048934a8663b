//! rsync, whose two ends both read passwords and both look at modes and owners.

use crate::recipes::kitchen::Kitchen;
use crate::recipes::kitchen::PARTNER;
use crate::recipes::kitchen::Server;
use crate::recipes::kitchen::password;

/// A daemon that offers /srv/reports to `partner`, whose password is in that file.
fn daemon<'a>(kitchen: &'a Kitchen, settings: &str) -> Server<'a> {
    kitchen.write("/srv/reports/monday", "the report\n");
    kitchen.write("/srv/rsyncd.conf", &format!("use chroot = no\nlog file = /srv/log\n{settings}"));
    let mut command = kitchen.world.command("rsync");
    command.args(["--daemon", "--no-detach", "--config=/srv/rsyncd.conf"]);
    kitchen.start(&mut command, || kitchen.listens(873))
}

fn secrets(kitchen: &Kitchen, number: usize) {
    kitchen.write("/srv/secrets", &format!("{PARTNER}:{}\n", password(number)));
    kitchen.world.sh("chmod 0600 /srv/secrets").ok();
}

/// A daemon that takes the first password.
pub(crate) fn usual(kitchen: &Kitchen) -> Server<'_> {
    secrets(kitchen, 0);
    daemon(
        kitchen,
        "[reports]\npath = /srv/reports\nauth users = partner\nsecrets file = /srv/secrets\n",
    )
}

#[test]
fn rsync_takes_its_password_from_a_password_file() {
    let Some(kitchen) = Kitchen::new("rsync: --password-file", &["rsync"]) else { return };
    let _daemon = usual(&kitchen);
    let served = kitchen.serve();
    served.over_rotations_and_deaths(
        |number| secrets(&kitchen, number),
        |_| {
            assert_eq!(kitchen.type_all(), [""]);
            let got = "cat ~nightly/reports/monday && rm -r ~nightly/reports";
            assert_eq!(kitchen.world.sh(got).ok(), "the report\n");
        },
    );
}

#[test]
fn the_rsync_daemon_takes_its_passwords_from_the_mount() {
    let Some(kitchen) = Kitchen::new("rsync: the daemon's secrets file", &["rsync"]) else {
        return;
    };
    let served = kitchen.serve();
    let settings = &kitchen.recipe.files()[0].1;
    let _daemon = daemon(&kitchen, settings);
    served.over_rotations_and_deaths(
        |_| (),
        |number| {
            let got =
                "rsync rsync://partner@backup.example.com/reports/monday /srv/got && cat /srv/got";
            let got = kitchen.world.sh(&format!("RSYNC_PASSWORD={} {got}", password(number)));
            assert_eq!(got.ok(), "the report\n");
        },
    );
}
