//! ssh, which looks at the owner and the mode of its key, against a real server.

use crate::recipes::kitchen::Kitchen;
use crate::recipes::kitchen::ROTATIONS;
use crate::recipes::kitchen::Server;

const SETTINGS: &str = "HostKey /srv/sshd/host
Port 22
PidFile none
UsePAM no
PasswordAuthentication no
AuthorizedKeysFile /srv/sshd/authorized
StrictModes no
Subsystem sftp internal-sftp
";

/// A server that lets `partner` in with the key that is authorized.
fn server(kitchen: &Kitchen) -> Server<'_> {
    kitchen.write("/srv/sshd/config", SETTINGS);
    kitchen.write("/home/partner/report", "the report\n");
    kitchen.world.sh("mkdir -p /run/sshd; ssh-keygen -q -t ed25519 -N '' -f /srv/sshd/host").ok();
    let mut command = kitchen.world.command("/usr/sbin/sshd");
    command.args(["-D", "-f", "/srv/sshd/config", "-E", "/srv/sshd/log"]);
    let server = kitchen.start(&mut command, || kitchen.listens(22));
    let known = "{ printf 'git.example.com '; cat /srv/sshd/host.pub; } > /etc/ssh/ssh_known_hosts";
    kitchen.world.sh(&format!("mkdir -p /etc/ssh; {known}")).ok();
    server
}

#[test]
fn ssh_takes_its_key_from_the_mount() {
    let heading = "ssh: a private key";
    let Some(kitchen) = Kitchen::new(heading, &["ssh", "sshd", "ssh-keygen"]) else { return };
    let make = |_| {
        let line = "cd /srv; rm -f key; ssh-keygen -q -t ed25519 -N '' -f key && cat key.pub key";
        let both = kitchen.world.sh(line).ok();
        let (public, private) = both.split_once('\n').unwrap();
        (public.to_owned(), private.to_owned())
    };
    let keys: Vec<(String, String)> = (0..=ROTATIONS).map(make).collect();
    // As the portal has it: the last line feed is lost.
    let private = |(_, key): &(String, String)| key.trim_end().to_owned();
    kitchen.shelve("deploy-key", keys.iter().map(private));
    let _server = server(&kitchen);
    kitchen.write("/srv/sshd/authorized", &keys[0].0);
    let served = kitchen.serve();
    served.over_rotations_and_deaths(
        |number| kitchen.write("/srv/sshd/authorized", &keys[number].0),
        |_| assert_eq!(kitchen.type_all(), ["the report\n"]),
    );
}
