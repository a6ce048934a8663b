//! Keys and certificates: openssl, nginx and HAProxy, and what a vault makes of a certificate.

use std::time::Duration;

use rustix::process::Signal;

use crate::recipes::kitchen::Kitchen;
use crate::recipes::kitchen::ROTATIONS;
use crate::recipes::kitchen::Server;
use crate::recipes::kitchen::password;
use crate::world::LIMIT;
use crate::world::try_until;
use crate::world::until;

/// nginx with that site, and nothing else of the machine's.
fn nginx(kitchen: &Kitchen) -> Server<'_> {
    let main = "daemon off;\nuser www-data;\nworker_processes 2;\npid /srv/nginx.pid;\n\
        error_log /srv/nginx.log warn;\nevents {}\n\
        http {\n access_log off;\n client_body_temp_path /srv/nginx-body;\n\
        proxy_temp_path /srv/nginx-proxy;\n fastcgi_temp_path /srv/nginx-fastcgi;\n\
        uwsgi_temp_path /srv/nginx-uwsgi;\n scgi_temp_path /srv/nginx-scgi;\n\
        include /etc/nginx/conf.d/site.conf;\n}\n";
    kitchen.write("/srv/nginx.conf", main);
    kitchen.write("/srv/www/index.html", "the page\n");
    let mut command = kitchen.world.command("nginx");
    command.args(["-e", "/srv/nginx.log", "-c", "/srv/nginx.conf"]);
    kitchen.start(&mut command, || kitchen.listens(443))
}

/// What nginx complained of.
fn complaints(kitchen: &Kitchen) -> String {
    String::from_utf8(kitchen.world.read("/srv/nginx.log").unwrap()).unwrap()
}

fn page(kitchen: &Kitchen, certificate: &str) {
    kitchen.write("/srv/trusted", certificate);
    let page =
        kitchen.world.run("curl", &["-sS", "--cacert", "/srv/trusted", "https://www.example.com/"]);
    assert_eq!(page.ok(), "the page\n");
}

#[test]
fn nginx_takes_its_key_from_the_mount_and_the_next_when_told() {
    let heading = "nginx: certificate and key";
    let Some(kitchen) = Kitchen::new(heading, &["nginx", "openssl", "curl"]) else { return };
    let pairs = kitchen.certify("www.example.com");
    kitchen.shelve("site-key", pairs.iter().map(|(key, _)| key.clone()));
    kitchen.shelve("site-cert", pairs.iter().map(|(_, certificate)| certificate.clone()));
    let served = kitchen.serve();
    let server = nginx(&kitchen);
    served.over_rotations_and_deaths(
        |number| page(&kitchen, &pairs[number - 1].1),
        |number| {
            reload(&kitchen, &server, "nginx", Signal::HUP);
            until("it shows the new one", || kitchen.certificate_at(443, "") == pairs[number].1);
            page(&kitchen, &pairs[number].1);
        },
    );
    assert_eq!(complaints(&kitchen), "");

    // A key that does not match is complained of, and the old pair goes on.
    kitchen.world.vault().put("site-key", &pairs[0].0);
    until("it is rotated", || served.reads("site-key") == pairs[0].0);
    server.signal(Signal::HUP);
    until("it complains", || complaints(&kitchen).contains("key values mismatch"));
    page(&kitchen, &pairs[ROTATIONS].1);
}

#[test]
fn nginx_follows_a_rotation_untold_if_the_name_of_the_file_is_a_variable() {
    let heading = "nginx: without a reload";
    let Some(kitchen) = Kitchen::new(heading, &["nginx", "openssl", "curl"]) else { return };
    let pairs = kitchen.certify("www.example.com");
    kitchen
        .shelve("site-pem", pairs.iter().map(|(key, certificate)| format!("{key}{certificate}")));
    let served = kitchen.serve();
    let _server = nginx(&kitchen);
    served.over_rotations_and_deaths(|_| (), |number| page(&kitchen, &pairs[number].1));
    assert_eq!(complaints(&kitchen), "");
}

#[test]
fn haproxy_takes_its_key_from_the_mount_and_probes_at_no_cost() {
    let Some(kitchen) = Kitchen::new("HAProxy", &["haproxy", "openssl"]) else { return };
    let pairs = kitchen.certify("www.example.com");
    for name in ["site-pem", "other-pem"] {
        kitchen.shelve(name, pairs.iter().map(|(key, certificate)| format!("{key}{certificate}")));
    }
    let served = kitchen.serve();
    let main = "global\n nbthread 1\n log stdout format raw daemon notice\ndefaults\n mode http\n\
        timeout connect 5s\n timeout client 5s\n timeout server 5s\n";
    kitchen.write("/srv/main.cfg", main);
    let files = ["-f", "/srv/main.cfg", "-f", "/etc/haproxy/conf.d/site.cfg"];
    let checked =
        kitchen.world.spawn(kitchen.world.command("haproxy").args(["-c", "-q"]).args(files));
    assert_eq!(checked.wait(LIMIT).ok(), "");
    let mut command = kitchen.world.command("haproxy");
    command.args(["-W", "-q"]).args(files);
    let server = kitchen.start(&mut command, || kitchen.listens(443));
    served.over_rotations_and_deaths(
        |number| assert_eq!(kitchen.certificate_at(443, ""), pairs[number - 1].1),
        |number| {
            reload(&kitchen, &server, "haproxy", Signal::USR2);
            until("it shows the new one", || kitchen.certificate_at(443, "") == pairs[number].1);
        },
    );
    let asked = kitchen.world.emulator.requests();
    let strange = asked.iter().find(|it| it.is_get() && !it.is_get_of("site-pem"));
    assert!(strange.is_none(), "{strange:?}");
}

/// Has a server reload, and waits until all its workers are new ones: the old ones show what they
/// have. A signal that comes while it reloads may be lost.
fn reload(kitchen: &Kitchen, server: &Server<'_>, program: &str, signal: Signal) {
    let workers = || {
        let all = kitchen.world.processes().into_iter();
        let all = all.filter(|it| it.program.ends_with(program) && it.pid != server.pid());
        all.map(|it| it.pid).collect::<Vec<_>>()
    };
    let old = workers();
    let reloaded = try_until(LIMIT, || {
        server.signal(signal);
        try_until(Duration::from_secs(1), || workers().iter().any(|pid| !old.contains(pid)))
    });
    assert!(reloaded, "it does not reload");
    until("the old ones are gone", || workers().iter().all(|pid| !old.contains(pid)));
}

#[test]
fn openssl_signs_with_a_key_and_opens_one_with_a_pass_phrase() {
    let Some(kitchen) = Kitchen::new("openssl: keys and pass phrases", &["openssl"]) else {
        return;
    };
    let keys = kitchen.certify("www.example.com");
    kitchen.shelve("signing-key", keys.iter().map(|(key, _)| key.clone()));
    let served = kitchen.serve();
    let lock = |number: usize| {
        kitchen.write("/srv/open.key", &keys[number].0);
        let out = "openssl pkey -in /srv/open.key -aes256 -out /srv/locked.key";
        kitchen.world.sh(&format!("{out} -passout pass:{}", password(number))).ok();
        kitchen.write("/srv/report", "the report\n");
        kitchen.world.sh("chmod 0644 /srv/locked.key; install -d -o nightly /srv/out").ok();
    };
    lock(0);
    served.over_rotations_and_deaths(lock, |number| {
        let said = kitchen.type_all();
        assert_eq!(said[0], "");
        kitchen.write("/srv/certificate", &keys[number].1);
        let verify = "openssl x509 -in /srv/certificate -noout -pubkey > /srv/public
            openssl dgst -sha256 -verify /srv/public -signature /srv/out/report.sig /srv/report";
        assert_eq!(kitchen.world.sh(verify).ok(), "Verified OK\n");
        assert_eq!(said[1], kitchen.world.sh("cat /srv/open.key").ok());
    });
}

#[test]
fn a_certificate_of_a_vault_is_pem_or_a_pfx_that_is_taken_apart() {
    let heading = "Certificates that Key Vault made";
    let Some(kitchen) = Kitchen::new(heading, &["openssl", "base64"]) else { return };
    let pairs = kitchen.certify("www.example.com");
    let pfx = (0..=ROTATIONS).map(|number| {
        kitchen.write("/srv/both", &format!("{}{}", pairs[number].0, pairs[number].1));
        let pack = "openssl pkcs12 -export -in /srv/both -passout pass: | base64 -w0";
        kitchen.world.sh(pack).ok()
    });
    kitchen.shelve("site", pfx);
    let served = kitchen.serve();
    served.over_rotations_and_deaths(
        |_| (),
        |number| {
            assert_eq!(kitchen.type_all(), [""]);
            let made = kitchen
                .world
                .sh("cat /run/site/site.pem && stat -c %a /run/site/site.pem && rm -r /run/site")
                .ok();
            assert!(made.contains(&pairs[number].0) && made.contains(&pairs[number].1), "{made}");
            assert!(made.ends_with("\n600\n"), "{made}");
        },
    );
}
