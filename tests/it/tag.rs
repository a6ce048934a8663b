//! `tag:NAME` and `identity=from:VAULT/SECRET`: what a machine's tag or another secret may choose, and
//! what not.

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::identity::Identity;
use akvfs_emulator::identity::TENANT;
use akvfs_emulator::record::Request;
use akvfs_emulator::record::Service;
use akvfs_emulator::vault::Refusal;
use rustix::io::Errno;
use serde_json::json;

use crate::canary::Canaries;
use crate::canary::password;
use crate::host::Host;
use crate::world::World;
use crate::world::until;

/// Texts that are no vault's name.
const NO_NAMES: [&str; 14] = [
    "",
    "my-vault.vault.azure.net",
    "https://my-vault.vault.azure.net",
    "https://evil.example",
    "evil.example",
    "evil.example/my-vault",
    "my-vault/secrets/ftpadmin",
    "my-vault:443",
    "user@my-vault",
    "my-vault?x=1",
    "my-vault#x",
    "../my-vault",
    "my vault",
    "tag:other",
];

fn metadata(request: &Request) -> String {
    match request.query.as_str() {
        "" => request.path.clone(),
        query => format!("{}?{query}", request.path),
    }
}

#[test]
fn the_vault_is_the_one_that_the_machines_own_tag_names() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    world.emulator.imds().set_tag("other", "another-vault");
    world.emulator.imds().set_tag("Vault", "My-Vault");
    assert_eq!(world.akvfs(&["get", "tag:vault", "ftpadmin"]).ok(), "s3cret");
    let asked = world.emulator.requests();
    let asked: Vec<String> = asked
        .iter()
        .filter(|request| request.service == Service::Metadata && !request.is_token())
        .map(metadata)
        .collect();
    assert_eq!(
        asked,
        [
            "/metadata/instance/compute/tagsList?api-version=2021-02-01",
            "/metadata/instance/compute/azEnvironment?api-version=2021-02-01&format=text",
        ]
    );
    assert_eq!(world.emulator.count(Request::is_token), 1);
    let mounted = world.mounted_at(world.directory());
    world.akvfs(&["mount", "tag:vault", mounted.directory().to_str().unwrap()]).ok();
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"s3cret".to_vec()));
    assert_eq!(world.mounts()[0].source, "tag:vault");
    // It was settled when it was mounted: who writes the tag later moves nobody.
    world.emulator.imds().set_tag("Vault", "evil-vault");
    world.replace("worker");
    world.vault().put("other", "0ther");
    assert_eq!(mounted.outcome("other"), Ok(b"0ther".to_vec()));
}

#[test]
fn a_tag_that_is_no_vaults_name_is_refused_and_nobody_is_asked() {
    let Some(world) = World::new() else { return };
    world.name_host("evil.example");
    for value in NO_NAMES {
        world.emulator.imds().set_tag("vault", value);
        let said = world.akvfs(&["get", "tag:vault", "ftpadmin"]).failed(5);
        assert!(said.contains("tag:vault") && said.contains("hint: "), "{value:?}: {said}");
        let mounted = world.mounted_at(world.directory());
        world.akvfs(&["mount", "tag:vault", mounted.directory().to_str().unwrap()]).failed(32);
        let mut requests = world.emulator.requests().into_iter();
        assert!(requests.all(|it| it.service == Service::Metadata && !it.is_token()), "{value:?}");
        world.emulator.reset_requests();
    }
}

#[test]
fn a_tag_that_is_not_there_or_a_service_that_is_not_is_said() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let said = world.akvfs(&["get", "tag:vault", "ftpadmin"]).failed(3);
    assert!(said.contains("no such tag"), "{said}");
    world.emulator.imds().set_tag("vault", "my-vault");
    world.emulator.inject(Fault::times(2, Scope::Metadata, Kind::status(410)));
    assert_eq!(world.akvfs(&["get", "tag:vault", "ftpadmin"]).ok(), "s3cret");
    let always = world.emulator.inject(Fault::always(Scope::Metadata, Kind::status(500)));
    let get = ["get", "tag:vault", "ftpadmin", "--open-timeout=1s"];
    let said = world.akvfs(&get).failed(5);
    assert!(said.contains("the metadata service") && said.contains("500"), "{said}");
    world.emulator.clear(always);
    world.emulator.imds().set_environment("AzureMoonCloud");
    let said = world.akvfs(&get).failed(5);
    assert!(said.contains("AzureMoonCloud"), "{said}");
    let both = ["get", "tag:vault", "ftpadmin", "--resource=https://vault.azure.net"];
    assert!(world.akvfs(&both).failed(1).contains("resource="));
}

#[test]
fn a_tag_names_a_vault_in_the_machines_own_cloud() {
    let Some(world) = World::new() else { return };
    let host = "gov-vault.vault.usgovcloudapi.net";
    world.name_host(host);
    world.emulator.vault(host).put("ftpadmin", "g0v");
    world.emulator.imds().set_tag("vault", "gov-vault");
    world.emulator.imds().set_environment("AzureUSGovernmentCloud");
    assert_eq!(world.akvfs(&["get", "tag:vault", "ftpadmin"]).ok(), "g0v");
    assert_eq!(world.emulator.count(|it| it.service == Service::Vault && it.host == host), 1);
}

/// A vault of credentials, whose secret `backup-sp` holds a principal's.
fn with_principal(world: &World) -> (Identity, String) {
    world.vault().put("ftpadmin", "s3cret");
    world.name_host("sp-vault.vault.azure.net");
    let principal = world.emulator.entra().register(1);
    let secret = rotate(world, &principal);
    // Who reads the credentials may not read the values.
    let reader = Identity::numbered(0);
    world.vault().for_identity(&reader.client_id).deny_get("*", Refusal::Rbac);
    (principal, secret)
}

/// Gives the principal another secret, there and in the vault.
fn rotate(world: &World, principal: &Identity) -> String {
    let secret = password();
    world.emulator.entra().set_secret(principal, &secret);
    put(world, principal, &secret);
    secret
}

fn put(world: &World, principal: &Identity, secret: &str) {
    let credentials = json!({
        "appId": principal.client_id,
        "displayName": "backup",
        "password": secret,
        "tenant": TENANT,
    });
    world.emulator.vault("sp-vault").put("backup-sp", &credentials.to_string());
}

const FROM: &str = "--identity=from:sp-vault/backup-sp";

#[test]
fn a_principal_is_read_with_the_managed_identity_and_then_it_asks() {
    let Some(world) = World::new() else { return };
    with_principal(&world);
    assert_eq!(world.akvfs(&["get", FROM, "my-vault", "ftpadmin"]).ok(), "s3cret");
    let asked = world.emulator.requests();
    let asked: Vec<String> = asked.iter().map(|it| format!("{}{}", it.host, it.path)).collect();
    assert_eq!(
        asked,
        [
            "169.254.169.254/metadata/instance/compute/azEnvironment",
            "169.254.169.254/metadata/identity/oauth2/token",
            "sp-vault.vault.azure.net/secrets/backup-sp",
            &format!("login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"),
            "my-vault.vault.azure.net/secrets/ftpadmin",
        ]
    );
}

#[test]
fn a_principal_whose_secret_was_rotated_is_read_anew() {
    let Some(world) = World::new() else { return };
    let (principal, first) = with_principal(&world);
    let log = world.directory().join("log");
    let mounted = world.mounted_at(world.directory());
    let directory = mounted.directory().to_str().unwrap().to_owned();
    let log_to = format!("--log={}", log.display());
    world.akvfs(&["mount", FROM, "-vv", &log_to, "my-vault", &directory]).ok();
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"s3cret".to_vec()));
    let second = rotate(&world, &principal);
    world.emulator.imds().expire_tokens();
    world.vault().put("other", "0ther");
    assert_eq!(mounted.outcome("other"), Ok(b"0ther".to_vec()));
    assert_eq!(world.emulator.count(|it| it.is_get_of("backup-sp") && it.was_answered(200)), 2);
    // Rotated where it counts, but not yet in the vault.
    world.emulator.entra().set_secret(&principal, "another");
    world.emulator.imds().expire_tokens();
    world.vault().put("third", "th1rd");
    assert_eq!(mounted.outcome("third"), Err(Errno::NOKEY));
    put(&world, &principal, "another");
    world.replace("worker");
    until("it heals", || mounted.outcome("third").is_ok());
    let mut canaries = Canaries::default();
    canaries.add(&first);
    canaries.add(&second);
    canaries.look_into("log", world.read(&log).unwrap());
    for process in world.akvfs_processes() {
        for file in ["cmdline", "environ"] {
            let path = format!("/proc/{}/{file}", process.pid.as_raw_nonzero());
            canaries.look_into(&path, std::fs::read(&path).unwrap());
        }
    }
}

#[test]
fn a_place_that_is_more_than_two_names_is_refused_and_nobody_is_asked() {
    let Some(world) = World::new() else { return };
    world.name_host("evil.example");
    for vault in NO_NAMES {
        let identity = format!("--identity=from:{vault}/backup-sp");
        let said = world.akvfs(&["get", &identity, "my-vault", "ftpadmin"]).failed(1);
        assert!(said.contains("from:VAULT/SECRET"), "{vault:?}: {said}");
    }
    assert_eq!(world.emulator.count(|_| true), 0);
}

#[test]
fn a_secret_that_is_no_principal_is_said_and_not_repeated() {
    let Some(world) = World::new() else { return };
    with_principal(&world);
    let canary = password();
    let mut canaries = Canaries::default();
    canaries.add(&canary);
    for value in [
        canary.clone(),
        json!({ "password": canary }).to_string(),
        json!({ "tenant": canary, "appId": canary, "password": canary }).to_string(),
        json!([canary]).to_string(),
    ] {
        world.emulator.vault("sp-vault").put("backup-sp", &value);
        let ran = world.akvfs(&["get", "-vv", FROM, "my-vault", "ftpadmin"]);
        canaries.look_into("stderr", &ran.stderr);
        assert!(ran.failed(4).contains("no service principal"));
    }
    world.emulator.vault("sp-vault").delete("backup-sp");
    let said = world.akvfs(&["get", FROM, "my-vault", "ftpadmin"]).failed(4);
    assert!(said.contains("from:sp-vault/backup-sp") && said.contains("no such secret"), "{said}");
    assert_eq!(world.emulator.count(Request::is_exchange), 0);
}

#[test]
fn whoever_reads_a_principal_stays_when_others_come() {
    let Some(world) = World::new() else { return };
    let (principal, _) = with_principal(&world);
    let imds = world.emulator.imds();
    imds.set_system(None);
    let reader = Identity::numbered(1);
    imds.add_user(reader.clone());
    let mounted = world.mount(&[&FROM[2..]]);
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"s3cret".to_vec()));
    imds.add_user(Identity::numbered(2));
    rotate(&world, &principal);
    world.emulator.imds().expire_tokens();
    world.replace("worker");
    world.emulator.reset_requests();
    world.vault().put("other", "0ther");
    assert_eq!(mounted.outcome("other"), Ok(b"0ther".to_vec()));
    let asked = world.emulator.requests();
    let last = asked.iter().rfind(|request| request.is_token()).unwrap();
    assert!(last.query.ends_with(&format!("client_id={}", reader.client_id)), "{last:?}");
}

#[test]
fn a_principal_is_read_on_a_machine_that_is_no_vm_as_well() {
    let Some(mut host) = Host::new(crate::host::Kind::AppService) else { return };
    let (_, secret) = with_principal(&host.world);
    assert_eq!(host.get(&[FROM]).ok(), "s3cret");
    let asked = host.world.emulator.requests();
    let asked: Vec<String> = asked.iter().map(|it| it.path.clone()).collect();
    let exchange = format!("/{TENANT}/oauth2/v2.0/token");
    let values = ["/secrets/backup-sp", exchange.as_str(), "/secrets/ftpadmin"];
    assert_eq!(asked, [&["/msi/token"], &values[..]].concat());
    host.set("IDENTITY_HEADER", "another-word");
    let ran = host.get(&[FROM, "--open-timeout=1s"]);
    host.world.expect_violations();
    assert!(!ran.stderr.contains(&secret));
    ran.failed(4);
}
