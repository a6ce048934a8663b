//! lftp and curl, against a real FTP server.

use crate::recipes::kitchen::Kitchen;
use crate::recipes::kitchen::PARTNER;
use crate::recipes::kitchen::Server;

const SETTINGS: &str = "listen=YES
background=NO
anonymous_enable=NO
local_enable=YES
write_enable=YES
pam_service_name=vsftpd
secure_chroot_dir=/srv/empty
xferlog_enable=NO
connect_from_port_20=NO
";

fn server(kitchen: &Kitchen) -> Server<'_> {
    kitchen.write("/etc/pam.d/vsftpd", "auth required pam_unix.so\naccount required pam_unix.so\n");
    kitchen.write("/srv/vsftpd.conf", SETTINGS);
    kitchen.write("/home/partner/report", "the report\n");
    kitchen.world.sh("mkdir -p /srv/empty").ok();
    kitchen.let_in(PARTNER, 0);
    kitchen.start(kitchen.world.command("vsftpd").arg("/srv/vsftpd.conf"), || kitchen.listens(21))
}

#[test]
fn curl_takes_its_password_from_a_netrc() {
    let Some(kitchen) = Kitchen::new("curl: ~/.netrc", &["curl", "vsftpd"]) else { return };
    let _server = server(&kitchen);
    let served = kitchen.serve();
    served.over_rotations_and_deaths(
        |number| kitchen.let_in(PARTNER, number),
        |_| assert_eq!(kitchen.type_all(), ["", "the report\n"]),
    );
}

#[test]
fn lftp_sources_a_script_that_logs_in() {
    let programs = ["lftp", "vsftpd"];
    let Some(kitchen) = Kitchen::new("lftp: a script that logs in", &programs) else { return };
    let _server = server(&kitchen);
    kitchen.write("/srv/outgoing/orders", "the orders\n");
    let served = kitchen.serve();
    served.over_rotations_and_deaths(
        |number| kitchen.let_in(PARTNER, number),
        |_| {
            assert_eq!(kitchen.type_all(), [""]);
            assert_eq!(
                kitchen.world.sh("cat ~partner/orders && rm ~partner/orders").ok(),
                "the orders\n"
            );
        },
    );
}
