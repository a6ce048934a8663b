//! The token services of machines that are no VM: a careful client's question, and what a careless
//! one leaves behind.

use std::net::SocketAddr;
use std::sync::Arc;

use akvfs_emulator::dialect::Dialect;
use akvfs_emulator::identity::Identity;
use parking_lot::Mutex;
use reqwest::Client;

use crate::client::Bench;
use crate::client::Reply;
use crate::client::listener;
use crate::client::read;

const VAULT: &str = "resource=https%3A%2F%2Fvault.azure.net";
const SECRET: &str = "0123456789abcdef";

fn serve(bench: &Bench, dialect: Dialect, secret: &str) -> SocketAddr {
    let (listener, address) = listener();
    bench.emulator.serve_machine(listener, dialect, secret);
    address
}

async fn get(bench: &Bench, url: String, headers: &[(&str, &str)]) -> Reply {
    let request = bench.http.get(url);
    read(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

fn violations(bench: &Bench) -> usize {
    bench.emulator.violations().len()
}

#[tokio::test]
async fn app_service_gives_a_token_for_its_header_and_the_end_alone_of_its_life() {
    let bench = Bench::new();
    let address = serve(&bench, Dialect::AppService, SECRET);
    let base = format!("http://{address}/msi/token?api-version=2019-08-01&{VAULT}");
    let header = [("X-IDENTITY-HEADER", SECRET)];
    let reply = get(&bench, base.clone(), &header).await;
    let json = reply.json();
    assert_eq!((reply.status, json.get("expires_in"), violations(&bench)), (200, None, 0));
    assert!(json["expires_on"].is_string() && !reply.header("date").is_empty());

    let user = Identity::numbered(3);
    bench.emulator.imds().add_user(user.clone());
    let chosen = get(&bench, format!("{base}&mi_res_id={}", user.resource_id), &header).await;
    assert_eq!(chosen.json()["client_id"], user.client_id);
    let nobody = get(&bench, format!("{base}&client_id=nobody"), &header).await;
    assert_eq!((nobody.status, nobody.json()["statusCode"].as_u64()), (400, Some(400)));
    assert_eq!(violations(&bench), 0);

    assert_eq!(get(&bench, base.clone(), &[]).await.status, 401);
    assert_eq!(get(&bench, base.clone(), &[("X-IDENTITY-HEADER", "other")]).await.status, 401);
    assert_eq!(get(&bench, format!("{base}&msi_res_id=x"), &header).await.status, 200);
    let strange = [("X-IDENTITY-HEADER", SECRET), ("X-Strange", "1")];
    assert_eq!(get(&bench, base, &strange).await.status, 200);
    assert_eq!(violations(&bench), 4);
}

#[tokio::test]
async fn the_dialect_of_2017_writes_numbers_or_dates() {
    let bench = Bench::new();
    let address = serve(&bench, Dialect::AzureMl, SECRET);
    let url = format!("http://{address}/msi/token?api-version=2017-09-01&{VAULT}");
    let numbers = get(&bench, url.clone(), &[("secret", SECRET)]).await.json();
    assert!(numbers["expires_in"].is_u64() && numbers["expires_on"].is_u64());
    bench.emulator.write_dates(true);
    let date = get(&bench, url.clone(), &[("secret", SECRET)]).await.json();
    let end = date["expires_on"].as_str().unwrap();
    assert!(end.ends_with(" +00:00") && &end[2..3] == "/" && date.get("expires_in").is_none());
    assert_eq!(violations(&bench), 0);
    assert_eq!(get(&bench, format!("{url}&client_id=x"), &[("secret", SECRET)]).await.status, 200);
    assert_eq!(violations(&bench), 1);
}

#[tokio::test]
async fn cloud_shell_takes_one_field() {
    let bench = Bench::new();
    let address = serve(&bench, Dialect::CloudShell, "");
    let url = format!("http://{address}/oauth2/token");
    let post = async |form: &'static str| {
        let request = bench.http.post(&url).header("metadata", "true").body(form);
        read(request.header("content-type", "application/x-www-form-urlencoded")).await
    };
    assert_eq!(post(VAULT).await.json()["token_type"], "Bearer");
    let other = post("resource=https%3A%2F%2Fazconfig.io%2F").await;
    assert_eq!(other.json()["error"]["code"], "AudienceNotSupported");
    assert_eq!(violations(&bench), 0);
    assert_eq!(post("resource=https%3A%2F%2Fvault.azure.net&client_id=x").await.status, 400);
    assert_eq!(violations(&bench), 1);
}

#[tokio::test]
async fn arc_wants_the_last_key_once() {
    let bench = Bench::new();
    let keys = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&keys);
    bench.emulator.keep_arc_keys(Box::new(move |key| {
        kept.lock().push(key.to_owned());
        "/var/opt/azcmagent/tokens/a.key".to_owned()
    }));
    let address = serve(&bench, Dialect::Arc, "");
    let path = "/metadata/identity/oauth2/token?api-version=2020-06-01";
    let url = format!("http://{address}{path}&{VAULT}");
    let asked = get(&bench, url.clone(), &[("metadata", "true")]).await;
    assert_eq!(asked.status, 401);
    let challenge = asked.header("www-authenticate");
    assert_eq!(challenge, "Basic realm=/var/opt/azcmagent/tokens/a.key");
    let shown = format!("Basic {}", keys.lock()[0]);
    let with_key = [("metadata", "true"), ("authorization", shown.as_str())];
    let given = get(&bench, url.clone(), &with_key).await;
    assert_eq!((given.status, given.json()["resource"].as_str()), (200, Some("")));
    assert_eq!(violations(&bench), 0);
    assert_eq!(get(&bench, url, &with_key).await.status, 401);
    assert_eq!(violations(&bench), 1);
    // A key that goes anywhere else is noted, too.
    let elsewhere = format!("http://{}/metadata/versions", bench.imds_address);
    get(&bench, elsewhere, &with_key).await;
    assert!(violations(&bench) > 1);
}

#[tokio::test]
async fn a_cluster_has_a_certificate_that_nobody_vouches_for() {
    let bench = Bench::new();
    let (listener, address) = listener();
    let print = bench.emulator.serve_cluster(listener, SECRET);
    assert_eq!(print.len(), 40);
    let path = "/metadata/identity/oauth2/token?api-version=2019-07-01-preview";
    let url = format!("https://{address}{path}&{VAULT}");
    assert!(bench.http.get(&url).send().await.is_err());
    let anybody = Client::builder().tls_danger_accept_invalid_certs(true).no_proxy();
    let anybody = anybody.build().unwrap();
    let given = read(anybody.get(&url).header("secret", SECRET)).await;
    assert!(given.json()["expires_on"].is_u64());
    assert_eq!(read(anybody.get(&url)).await.json()["error"]["code"], "SecretHeaderNotFound");
    bench.emulator.imds().set_system(None);
    assert_eq!(read(anybody.get(&url).header("secret", SECRET)).await.status, 404);
    assert_eq!(violations(&bench), 1);
}
