//! A token goes to one vault, and nobody else is ever called.

use std::io::ErrorKind;
use std::net::TcpListener;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::record::Credential;
use akvfs_emulator::record::Service;
use rustix::io::Errno;

use crate::child::Ran;
use crate::together::together;
use crate::world::World;

const TENANT: &str = "7e4a0000-0000-4000-8000-000000000001";
/// Whatever has to wait for it is not tested here.
const PATIENCE: &str = "--open-timeout=4s";
/// All of them lead to the emulator, which is what notices a call.
const HOSTS: [&str; 5] = [
    "evil.example",
    "other-vault.vault.azure.net",
    "my-vault.vault.azure.net.evil.example",
    "evilvault.azure.net",
    "management.azure.com",
];
/// Ways out of the vault: another place, or the same by another way.
const ELSEWHERE: [&str; 12] = [
    "https://evil.example/secrets/ftpadmin?api-version=7.4",
    "https://other-vault.vault.azure.net/secrets/ftpadmin?api-version=7.4",
    "https://my-vault.vault.azure.net.evil.example/secrets/ftpadmin?api-version=7.4",
    "https://evilvault.azure.net/secrets/ftpadmin?api-version=7.4",
    "https://my-vault.vault.azure.net@evil.example/secrets/ftpadmin?api-version=7.4",
    "https://user:word@my-vault.vault.azure.net/secrets/ftpadmin?api-version=7.4",
    "https://my-vault.vault.azure.net:8443/secrets/ftpadmin?api-version=7.4",
    "http://my-vault.vault.azure.net/secrets/ftpadmin?api-version=7.4",
    "http://my-vault.vault.azure.net:443/secrets/ftpadmin?api-version=7.4",
    "http://169.254.169.254/secrets/ftpadmin?api-version=7.4",
    "https://169.254.169.254/secrets/ftpadmin?api-version=7.4",
    "//evil.example/secrets/ftpadmin?api-version=7.4",
];

/// A world in which every way out ends at somebody who notices.
struct Watched {
    world: World,
    doors: Vec<TcpListener>,
}

impl Watched {
    fn new() -> Option<Self> {
        let world = World::new()?;
        world.vault().put("ftpadmin", "s3cret");
        let _ = world.emulator.vault("other-vault");
        for host in HOSTS {
            world.name_host(host);
        }
        // Proxies, other ports, plain HTTP.
        let doors = ["127.0.0.1:3128", "192.0.2.10:80", "192.0.2.10:8443", "169.254.169.254:443"];
        let doors = world.inside(|| doors.map(|door| TcpListener::bind(door).unwrap()));
        for door in &doors {
            door.set_nonblocking(true).unwrap();
        }
        Some(Self { world, doors: doors.into() })
    }

    fn inject(&self, scope: Scope, kind: Kind) {
        self.world.emulator.inject(Fault::always(scope, kind));
    }

    /// Nobody was called but IMDS without a token, for one, and the vault.
    #[track_caller]
    fn nobody_else_was_called(&self, what: &str) {
        for door in &self.doors {
            let called = door.accept().map_err(|error| error.kind());
            assert_eq!(called.err(), Some(ErrorKind::WouldBlock), "{what}: {door:?}");
        }
        for request in self.world.emulator.requests() {
            let expected = match request.service {
                Service::Vault => request.host == "my-vault.vault.azure.net",
                Service::Metadata => request.is_token() && request.credential == Credential::Absent,
                Service::Entra | Service::Machine(_) | Service::Elsewhere => false,
            };
            assert!(expected, "{what}: {request:#?}");
        }
        assert_eq!(self.world.emulator.violations(), [], "{what}");
    }

    fn get(&self) -> Ran {
        self.world.akvfs(&["get", "my-vault", "ftpadmin", PATIENCE])
    }

    fn list(&self) -> Ran {
        self.world.akvfs(&["list", "my-vault", PATIENCE])
    }
}

#[test]
fn no_redirect_is_followed() {
    together([301, 302, 303, 307, 308], |code| {
        let Some(watched) = Watched::new() else { return };
        let mounted = watched.world.mount(&[]);
        let same = "https://my-vault.vault.azure.net/secrets/other?api-version=7.4";
        for (number, location) in ELSEWHERE.iter().chain([&same, &"other"]).enumerate() {
            let what = format!("{code} {location}");
            let location = (*location).to_owned();
            watched.inject(Scope::Vault, Kind::Redirect { code, location });
            assert!(watched.get().failed(5).contains("makes no sense"), "{what}");
            assert_eq!(mounted.outcome(&format!("name-{number}")), Err(Errno::IO), "{what}");
            watched.world.emulator.clear_all();
            assert_eq!(watched.world.emulator.count(|it| it.is_get_of("other")), 0, "{what}");
        }
        assert_eq!(mounted.outcome("ftpadmin"), Ok(b"s3cret".to_vec()));
        watched.nobody_else_was_called(&code.to_string());
    });
}

#[test]
fn no_redirect_of_the_metadata_service_is_followed() {
    let near = "http://169.254.169.254/metadata/identity/oauth2/other";
    let codes = [301, 302, 303, 307, 308];
    let cases = codes.map(|code| (code, near)).into_iter().chain([
        (302, ELSEWHERE[0]),
        (302, ELSEWHERE[7]),
        (307, ELSEWHERE[0]),
    ]);
    together(cases, |(code, location)| {
        let Some(watched) = Watched::new() else { return };
        watched.inject(Scope::Token, Kind::Redirect { code, location: location.to_owned() });
        assert!(watched.get().failed(5).contains("no token"), "{code} {location}");
        watched.nobody_else_was_called(location);
    });
}

#[test]
fn a_challenge_chooses_nothing() {
    let ours = format!("https://login.microsoftonline.com/{TENANT}");
    let challenge = |authority: &str, resource: &str| {
        format!(r#"Bearer authorization="{authority}", resource="{resource}""#)
    };
    let other_tenant = ours.replace("7e4a", "0000");
    let resources = [
        "https://management.azure.com",
        "https://graph.microsoft.com",
        "https://vault.azure.net.evil.example",
        "https://evilvault.azure.net",
        "https://evil.example",
        "",
    ];
    let mut challenges = resources.map(|resource| challenge(&ours, resource)).to_vec();
    challenges.push(challenge("https://evil.example/tenant", "https://vault.azure.net"));
    challenges.push(challenge(&other_tenant, "https://vault.azure.net"));
    challenges.push(r#"Basic realm="proxy""#.to_owned());
    challenges.push("Bearer".to_owned());
    challenges.push("Negotiate".to_owned());

    together(challenges, |challenge| {
        let Some(watched) = Watched::new() else { return };
        let mounted = watched.world.mount(&[]);
        watched.inject(Scope::Get, Kind::Challenge(challenge.clone()));
        assert!(watched.get().failed(4).contains("401"), "{challenge}");
        assert_eq!(mounted.outcome("ftpadmin"), Err(Errno::ACCESS), "{challenge}");
        let asked = watched.world.emulator.count(|request| request.is_token());
        assert!(asked <= 4, "{challenge}: {asked} tokens");
        watched.nobody_else_was_called(&challenge);
    });
}

#[test]
fn no_link_to_a_next_page_leads_out_of_the_vault() {
    let Some(watched) = Watched::new() else { return };
    let mounted = watched.world.mount(&[]);
    for link in ELSEWHERE {
        let link = link.replace("/secrets/ftpadmin", "/secrets");
        watched.inject(Scope::List, Kind::NextLink(link.clone()));
        assert!(watched.list().failed(5).contains("leads out of the vault"), "{link}");
        let listed = watched.world.run("ls", &[mounted.directory().to_str().unwrap()]);
        assert_ne!(listed.code, Some(0), "{link}: {listed:?}");
        watched.world.emulator.clear_all();
    }
    watched.nobody_else_was_called("nextLink");
}

#[test]
fn a_link_to_itself_does_not_lead_in_circles() {
    let Some(watched) = Watched::new() else { return };
    let link = "https://my-vault.vault.azure.net/secrets?api-version=7.4&$skiptoken=x";
    watched.inject(Scope::List, Kind::Body(format!(r#"{{"value":[],"nextLink":"{link}"}}"#)));
    let ran = watched.list();
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert!(watched.world.emulator.count(|request| request.is_list()) < 10);
    watched.nobody_else_was_called("nextLink");
}

#[test]
fn an_answer_about_another_vault_or_secret_is_no_answer() {
    let Some(watched) = Watched::new() else { return };
    let mounted = watched.world.mount(&[]);
    let version = "{version}";
    let other = format!("https://my-vault.vault.azure.net/secrets/other/{version}");
    let elsewhere = ELSEWHERE.map(|url| url.replace("?api-version=7.4", "/{version}"));
    for (number, id) in elsewhere.iter().chain([&other]).enumerate() {
        // Each name is asked for once, so that none is remembered from the one before.
        let name = format!("name-{number}");
        watched.world.vault().put(&name, "s3cret");
        watched.inject(Scope::Get, Kind::Id(id.replace("/ftpadmin/", &format!("/{name}/"))));
        let ran = watched.world.akvfs(&["get", "my-vault", &name, PATIENCE]);
        assert!(ran.failed(5).contains("makes no sense"), "{id}");
        assert_eq!(mounted.outcome(&name), Err(Errno::IO), "{id}");
        watched.world.emulator.clear_all();
    }
    watched.nobody_else_was_called("id");
}

#[test]
fn no_proxy_is_used_whatever_the_environment_says() {
    let Some(watched) = Watched::new() else { return };
    let world = &watched.world;
    let mounted = world.mounted_at(world.directory());
    let directory = mounted.directory().to_str().unwrap();
    let proxy = "http://127.0.0.1:3128";
    for command in [
        &["get", "my-vault", "ftpadmin"][..],
        &["list", "my-vault"],
        &["mount", "my-vault", directory],
    ] {
        let mut akvfs = world.command("akvfs");
        for name in ["http_proxy", "https_proxy", "all_proxy", "ftp_proxy", "socks_proxy"] {
            akvfs.env(name, proxy).env(name.to_uppercase(), proxy);
        }
        // What else libraries take for a proxy, or let it be chosen by.
        akvfs.env("no_proxy", "").env("NO_PROXY", "").env("REQUEST_METHOD", "");
        world.spawn(akvfs.args(command)).wait(crate::world::LIMIT).ok();
    }
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"s3cret".to_vec()));
    watched.nobody_else_was_called("proxies");
}
