//! A pod's workload identity: the token that Kubernetes writes, read at every exchange.

use akvfs_emulator::identity::Identity;
use akvfs_emulator::identity::TENANT;
use akvfs_emulator::record::Request;
use akvfs_emulator::record::Service;
use rustix::io::Errno;

use crate::canary::Canaries;
use crate::canary::token;
use crate::mounted::Mounted;
use crate::principal::SCOPE;
use crate::principal::fields;
use crate::principal::one_exchange;
use crate::world::World;

const FILE: &str = "/etc/pod/token";
const CA: &str = "/etc/pod/ca.pem";
const GET: [&str; 3] = ["get", "my-vault", "ftpadmin"];

/// A pod whose token is this, and no managed identity that could stand in for it.
fn pod(world: &World) -> (Identity, String) {
    world.vault().put("ftpadmin", "s3cret");
    world.emulator.imds().set_system(None);
    let principal = world.emulator.entra().register(1);
    world.inside(|| std::fs::create_dir("/etc/pod").unwrap());
    let assertion = rotate(world, &principal);
    (principal, assertion)
}

/// Kubernetes writes a new token, and Entra takes no other from now on.
fn rotate(world: &World, principal: &Identity) -> String {
    let assertion = token();
    world.emulator.entra().set_assertion(principal, &assertion);
    world.write(FILE, format!("{assertion}\n"));
    assertion
}

fn environment(principal: &Identity) -> [(&str, &str); 3] {
    [
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", &principal.client_id),
        ("AZURE_FEDERATED_TOKEN_FILE", FILE),
    ]
}

fn mount<'a>(world: &'a World, environment: &[(&str, &str)]) -> Mounted<'a> {
    let mounted = world.mounted_at(world.directory());
    let directory = mounted.directory().to_str().unwrap();
    world.akvfs_with(environment, &["mount", "my-vault", directory]).ok();
    mounted
}

#[test]
fn the_token_of_a_pod_is_exchanged_once_with_these_parameters_and_no_others() {
    let Some(world) = World::new() else { return };
    let (principal, _) = pod(&world);
    let authority = [("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/")];
    let environment = [&environment(&principal)[..], &authority].concat();
    assert_eq!(world.akvfs_with(&environment, &GET).ok(), "s3cret");
    let exchange = one_exchange(&world);
    assert_eq!(exchange.path, format!("/{TENANT}/oauth2/v2.0/token"));
    assert_eq!(
        fields(&exchange),
        [
            ("client_id", principal.client_id.as_str()),
            ("scope", SCOPE),
            ("grant_type", "client_credentials"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", ""),
        ]
    );
}

#[test]
fn a_token_that_kubernetes_rotates_is_read_at_every_exchange() {
    let Some(world) = World::new() else { return };
    let (principal, first) = pod(&world);
    let mounted = mount(&world, &environment(&principal));
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"s3cret".to_vec()));
    let second = rotate(&world, &principal);
    world.emulator.imds().expire_tokens();
    world.vault().put("other", "0ther");
    assert_eq!(mounted.outcome("other"), Ok(b"0ther".to_vec()));
    assert_eq!(world.emulator.count(Request::is_exchange), 2);
    let mut canaries = Canaries::default();
    canaries.add(&first);
    canaries.add(&second);
    for process in world.akvfs_processes() {
        for file in ["cmdline", "environ"] {
            let path = format!("/proc/{}/{file}", process.pid.as_raw_nonzero());
            canaries.look_into(&path, std::fs::read(&path).unwrap());
        }
    }
}

#[test]
fn a_file_that_gives_no_token_is_named_and_nobody_is_asked() {
    let Some(world) = World::new() else { return };
    let (principal, _) = pod(&world);
    let secret = "two words that go nowhere";
    for (content, word) in
        [(Some(secret), "holds no token"), (Some(""), "holds no token"), (None, "not found")]
    {
        match content {
            Some(content) => world.write(FILE, content),
            None => world.inside(|| std::fs::remove_file(FILE).unwrap()),
        }
        let said = world.akvfs_with(&environment(&principal), &GET).failed(4);
        assert!(said.contains(word) && said.contains(FILE), "{said}");
        assert!(said.contains("hint: ") && !said.contains(secret), "{said}");
    }
    assert_eq!(world.emulator.count(|_| true), 0);
    // It may come: the mount is there, and heals.
    let mounted = world.mounted_at(world.directory());
    let directory = mounted.directory().to_str().unwrap();
    let ran = world.akvfs_with(&environment(&principal), &["mount", "my-vault", directory]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(mounted.outcome("ftpadmin"), Err(Errno::NOKEY));
    rotate(&world, &principal);
    world.replace("worker");
    crate::world::until("it heals", || mounted.outcome("ftpadmin").is_ok());
}

#[test]
fn a_workload_that_is_not_federated_is_told_what_to_do() {
    let Some(world) = World::new() else { return };
    let (principal, _) = pod(&world);
    world.write(FILE, token());
    let said = world.akvfs_with(&environment(&principal), &GET).failed(4);
    assert!(said.contains("AADSTS70021") && said.contains("federated credential"), "{said}");
}

#[test]
fn the_proxy_of_aks_is_asked_under_its_name_and_nobody_else() {
    let Some(world) = World::new() else { return };
    let (principal, _) = pod(&world);
    // It trusts the file alone, which is written anew between two exchanges.
    for bundle in ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"] {
        let pem = world.read(bundle).unwrap_or_default();
        world.write(CA, pem);
    }
    world.write(CA, world.emulator.authority_pem());
    world.emulator.entra().add_host("192.0.2.11", "https://vault.azure.net");
    world.name_login("aks.proxy.example");
    world.emulator.entra().add_host("aks.proxy.example", "https://vault.azure.net");
    let own = environment(&principal);
    for (proxy, name, host, sni) in [
        ("https://192.0.2.11", Some("a1b2.ests.aks"), "192.0.2.11", "a1b2.ests.aks"),
        ("https://aks.proxy.example", None, "aks.proxy.example", "aks.proxy.example"),
        (
            "https://aks.proxy.example:443/base",
            Some("a1b2.ests.aks"),
            "aks.proxy.example",
            "a1b2.ests.aks",
        ),
    ] {
        let mut environment = own.to_vec();
        environment.push(("AZURE_KUBERNETES_TOKEN_PROXY", proxy));
        environment.push(("AZURE_KUBERNETES_CA_FILE", CA));
        environment.extend(name.map(|name| ("AZURE_KUBERNETES_SNI_NAME", name)));
        let ran = world.akvfs_with(&environment, &GET);
        let exchange = one_exchange(&world);
        assert_eq!(exchange.host, host, "{proxy}");
        assert_eq!(exchange.sni.as_deref(), Some(sni), "{proxy}");
        if proxy.ends_with("/base") {
            assert_eq!(exchange.path, format!("/base/{TENANT}/oauth2/v2.0/token"));
        } else {
            assert_eq!(exchange.path, format!("/{TENANT}/oauth2/v2.0/token"));
            assert_eq!(ran.ok(), "s3cret");
        }
        world.emulator.reset_requests();
    }
}

#[test]
fn a_proxy_whose_certificate_is_not_of_its_roots_hears_nothing() {
    let Some(world) = World::new() else { return };
    let (principal, _) = pod(&world);
    let other = akvfs_emulator::emulator::Emulator::new().authority_pem();
    let mut environment = environment(&principal).to_vec();
    environment.push(("AZURE_KUBERNETES_TOKEN_PROXY", "https://192.0.2.11"));
    environment.push(("AZURE_KUBERNETES_SNI_NAME", "a1b2.ests.aks"));
    environment.push(("AZURE_KUBERNETES_CA_DATA", &other));
    let get = ["get", "my-vault", "ftpadmin", "--open-timeout=2s"];
    let said = world.akvfs_with(&environment, &get).failed(5);
    assert!(said.contains("no TLS"), "{said}");
    assert_eq!(world.emulator.count(|request| request.service != Service::Vault), 0);
}

#[test]
fn a_file_that_the_worker_may_not_read_is_a_warning_that_says_what_to_set() {
    let Some(world) = World::new() else { return };
    let (principal, _) = pod(&world);
    let only_root = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    world.inside(|| std::fs::set_permissions(FILE, only_root).unwrap());
    assert_eq!(world.akvfs_with(&environment(&principal), &GET).ok(), "s3cret");
    let mounted = world.mounted_at(world.directory());
    let directory = mounted.directory().to_str().unwrap();
    let ran = world.akvfs_with(&environment(&principal), &["mount", "my-vault", directory]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for word in [FILE, "permission denied", "run-as="] {
        assert!(ran.stderr.contains(word), "{}", ran.stderr);
    }
    drop(mounted);
    world.inside(|| std::os::unix::fs::chown(FILE, Some(4242), Some(4242)).unwrap());
    let mounted = world.mounted_at(world.directory());
    let directory = mounted.directory().to_str().unwrap();
    let mount = ["mount", "my-vault", directory, "--run-as=4242"];
    world.akvfs_with(&environment(&principal), &mount).ok();
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"s3cret".to_vec()));
}
