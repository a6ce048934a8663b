//! Scripts, and cron that runs them.

use std::time::Duration;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;

use crate::caller::pass;
use crate::recipes::kitchen::Kitchen;
use crate::recipes::kitchen::password;

#[test]
fn a_script_reads_a_password_with_and_without_a_line_feed() {
    let Some(kitchen) = Kitchen::new("Scripts of the shell", &["sh", "bash"]) else { return };
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
}

/// The nightly job runs while the vault is away: its password was not in use for hours, and is
/// held all the same.
#[test]
fn cron_runs_the_nightly_job_in_an_outage_too() {
    let Some(kitchen) = Kitchen::new("cron: the nightly job", &["cron"]) else { return };
    let world = &kitchen.world;
    world.sh("install -d -o nightly /srv/out").ok();
    // Nothing of the machine's own may run here.
    world.sh("mount -t tmpfs tmpfs /var/spool/cron; rm -f /etc/cron.d/.placeholder; mkdir /srv/d; mv /etc/cron.d/report /srv/d; mount --bind /srv/d /etc/cron.d; : > /etc/crontab").ok();
    let served = kitchen.serve();
    let run = || {
        world.sh("rm -f /run/crond.reboot; sed -i 's/^[0-9* ]* nightly/@reboot nightly/' /etc/cron.d/report").ok();
        let there = || world.sh("[ -s /srv/out/log ]").code == Some(0);
        let cron = kitchen.start(world.command("cron").arg("-f"), there);
        let said = world.sh("cat /srv/out/log; rm /srv/out/log").ok();
        drop(cron);
        world.sh("rm -f /run/crond.pid /run/crond.reboot").ok();
        said
    };
    assert_eq!(run(), "6 characters\n");

    world.emulator.reset_requests();
    world.emulator.inject(Fault::always(Scope::Everything, Kind::status(503)));
    pass(TEN_REFRESHES);
    assert_eq!(run(), "6 characters\n");
    drop(served);
}

/// A little more than ten of those that the kitchen sets.
const TEN_REFRESHES: Duration = Duration::from_millis(3500);
