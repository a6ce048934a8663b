//! ssh and sshd, which look at the owner and the mode of their keys.

use rustix::process::Signal;

use crate::recipes::kitchen::Kitchen;
use crate::recipes::kitchen::ROTATIONS;
use crate::recipes::kitchen::Server;
use crate::world::until;

const SETTINGS: &str = "Port 22
ListenAddress 0.0.0.0
PidFile none
UsePAM no
PasswordAuthentication no
AuthorizedKeysFile /srv/sshd/authorized
StrictModes no
";

/// A server with that host key, who lets `partner` in with the key that is authorized.
fn server<'a>(kitchen: &'a Kitchen, host_key: &str) -> Server<'a> {
    kitchen.write("/srv/sshd/config", &format!("{host_key}{SETTINGS}"));
    let mut command = kitchen.world.command("/usr/sbin/sshd");
    command.args(["-D", "-f", "/srv/sshd/config", "-E", "/srv/sshd/log"]);
    kitchen.start(&mut command, || kitchen.listens(22))
}

/// Makes the private part of a secret, as the portal has it: the last line feed is lost. Gives the
/// public parts, for each rotation.
fn make_keys(kitchen: &Kitchen, name: &str) -> Vec<String> {
    let make = |_| {
        let line = "cd /srv; rm -f key; ssh-keygen -q -t ed25519 -N '' -f key && cat key.pub key";
        let both = kitchen.world.sh(line).ok();
        let (public, private) = both.split_once('\n').unwrap();
        (public.to_owned(), private.trim_end().to_owned())
    };
    let (public, private): (Vec<_>, Vec<_>) = (0..=ROTATIONS).map(make).unzip();
    kitchen.shelve(name, private);
    public
}

#[test]
fn ssh_takes_its_key_from_the_mount() {
    let heading = "ssh: a private key";
    let Some(kitchen) = Kitchen::new(heading, &["ssh", "sshd", "ssh-keygen"]) else { return };
    let public = make_keys(&kitchen, "deploy-key");
    kitchen.write("/home/partner/report", "the report\n");
    kitchen.write("/srv/sshd/authorized", &public[0]);
    let known = "{ printf 'git.example.com '; cat /srv/sshd/host.pub; } > /etc/ssh/ssh_known_hosts";
    let made = "mkdir -p /run/sshd /etc/ssh; ssh-keygen -q -t ed25519 -N '' -f /srv/sshd/host";
    kitchen.world.sh(&format!("{made}; {known}")).ok();
    let _server = server(&kitchen, "HostKey /srv/sshd/host\n");
    let served = kitchen.serve();
    served.over_rotations_and_deaths(
        |number| kitchen.write("/srv/sshd/authorized", &public[number]),
        |_| assert_eq!(kitchen.type_all(), ["the report\n"]),
    );
}

#[test]
fn sshd_takes_its_host_key_from_the_mount_and_the_next_when_told() {
    let heading = "sshd: the host key";
    let Some(kitchen) = Kitchen::new(heading, &["sshd", "ssh-keygen", "ssh-keyscan"]) else {
        return;
    };
    let public = make_keys(&kitchen, "ssh-host-key");
    kitchen.world.sh("mkdir -p /run/sshd").ok();
    let served = kitchen.serve();
    let server = server(&kitchen, &kitchen.recipe.files()[0].1);
    let shown = || kitchen.world.sh("ssh-keyscan -t ed25519 git.example.com 2> /dev/null").stdout;
    // The public part has a comment behind it.
    let shows = |number: usize| {
        let shown = String::from_utf8(shown()).unwrap();
        shown.split(' ').nth(2).is_some_and(|key| public[number].contains(key.trim_end()))
    };
    let starts = || {
        let log = kitchen.world.read("/srv/sshd/log").unwrap();
        String::from_utf8(log).unwrap().matches("Server listening on 0.0.0.0").count()
    };
    served.over_rotations_and_deaths(
        |number| assert!(shows(number - 1)),
        |number| {
            // It dies of a signal that comes before it listens again.
            let before = starts();
            server.signal(Signal::HUP);
            until("it has started again", || starts() > before);
            until("it shows the new one", || shows(number));
        },
    );
}
