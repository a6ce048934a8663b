//! The clouds: each vault's host decides for whom tokens are, who issues them, and where; and hosts
//! outside all of them.

use akvfs_emulator::identity::TENANT;
use akvfs_emulator::record::Request;
use akvfs_emulator::record::Service;

use crate::world::World;

const CLOUDS: [(&str, &str, &str); 3] = [
    ("my-vault.vault.azure.net", "https://vault.azure.net", "login.microsoftonline.com"),
    (
        "gov-vault.vault.usgovcloudapi.net",
        "https://vault.usgovcloudapi.net",
        "login.microsoftonline.us",
    ),
    ("cn-vault.vault.azure.cn", "https://vault.azure.cn", "login.chinacloudapi.cn"),
];

#[test]
fn the_host_decides_audience_and_authority() {
    let Some(world) = World::new() else { return };
    let principal = world.emulator.entra().register(1);
    world.emulator.entra().set_secret(&principal, "p4ssword");
    let environment = [
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", principal.client_id.as_str()),
        ("AZURE_CLIENT_SECRET", "p4ssword"),
    ];
    for (host, audience, authority) in CLOUDS {
        world.name_host(host);
        world.emulator.vault(host).put("ftpadmin", host);
        // By the machine's own identity, and by a principal.
        assert_eq!(world.akvfs(&["get", host, "ftpadmin"]).ok(), host);
        assert_eq!(world.akvfs_with(&environment, &["get", host, "ftpadmin"]).ok(), host);
        let requests = world.emulator.requests();
        let asked = requests.iter().find(|request| request.is_token()).unwrap();
        let encoded = audience.replace(':', "%3A").replace('/', "%2F");
        assert_eq!(asked.query, format!("api-version=2018-02-01&resource={encoded}"));
        let exchange = requests.iter().find(|request| request.is_exchange()).unwrap();
        assert_eq!(exchange.host, authority);
        let scope = ("scope".to_owned(), format!("{audience}/.default"));
        assert!(exchange.form.contains(&scope), "{exchange:?}");
        world.emulator.reset_requests();
    }
}

#[test]
fn an_authority_of_another_cloud_is_an_error_that_names_both_and_asks_nobody() {
    let Some(world) = World::new() else { return };
    for (host, ..) in CLOUDS {
        let _ = world.emulator.vault(host);
    }
    let names = ["the public cloud", "the US Government's cloud", "China's cloud"];
    for (place, (host, ..)) in CLOUDS.iter().enumerate() {
        for (other, (.., authority)) in CLOUDS.iter().enumerate() {
            let variable = format!("https://{authority}/");
            let environment = [("AZURE_AUTHORITY_HOST", variable.as_str())];
            let option = format!("--authority=https://{authority}");
            let by_variable = world.akvfs_with(&environment, &["get", host, "ftpadmin"]);
            let by_option = world.akvfs(&["get", &option, host, "ftpadmin"]);
            for ran in [by_variable, by_option] {
                if place == other {
                    assert_ne!(ran.code, Some(1), "{ran:?}");
                    continue;
                }
                let said = ran.failed(1);
                for part in [names[place], names[other], host, authority] {
                    assert!(said.contains(part), "{said}");
                }
            }
            assert!(place == other || world.emulator.count(|_| true) == 0);
            world.emulator.reset_requests();
        }
    }
}

#[test]
fn a_host_outside_the_clouds_is_mounted_with_resource_authority_and_ca_file() {
    let Some(world) = World::new() else { return };
    let host = "kv.vault.stack.example";
    world.name_host(host);
    world.name_login("login.stack.example");
    world.emulator.entra().add_host("login.stack.example", "https://vault.stack.example");
    world.emulator.vault(host).put("ftpadmin", "0wn");
    let principal = world.emulator.entra().register(1);
    world.emulator.entra().set_secret(&principal, "p4ssword");
    world.write("/etc/stack.pem", world.emulator.authority_pem());
    for bundle in ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"] {
        world.write(bundle, "");
    }
    let environment = [
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", principal.client_id.as_str()),
        ("AZURE_CLIENT_SECRET", "p4ssword"),
    ];
    let mounted = world.mounted_at(world.directory());
    let directory = mounted.directory().to_str().unwrap();
    let options = "resource=https://vault.stack.example,authority=https://login.stack.example,\
                   ca-file=/etc/stack.pem";
    world.akvfs_with(&environment, &["mount", host, directory, "-o", options]).ok();
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"0wn".to_vec()));
    assert_eq!(world.emulator.count(Request::is_exchange), 1);
    // Without them nobody is asked.
    world.emulator.reset_requests();
    let said = world.akvfs_with(&environment, &["get", host, "ftpadmin"]).failed(1);
    assert!(said.contains("no known cloud") && said.contains("resource="), "{said}");
    assert_eq!(world.emulator.count(|it| it.service != Service::Vault), 0);
}
