//! The metadata service's side.

use std::time::Duration;

use akvfs_emulator::identity::Identity;

use crate::client::Bench;
use crate::client::Reply;
use crate::client::read;

const VAULTS: &str = "https://vault.azure.net";

fn described(reply: &Reply) -> (u16, String) {
    let json = reply.json();
    let description = json["error_description"].as_str().unwrap_or_default();
    (reply.status, description.to_owned())
}

#[tokio::test]
async fn a_token_is_given_in_strings_only() {
    let bench = Bench::new();
    bench.emulator.imds().set_lifetime(Duration::from_secs(300));

    let reply = bench.token_with(VAULTS, "").await;
    let json = reply.json();

    assert_eq!(reply.status, 200);
    let fields = json.as_object().unwrap();
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    let expected = [
        "access_token",
        "client_id",
        "expires_in",
        "expires_on",
        "ext_expires_in",
        "not_before",
        "resource",
        "token_type",
    ];
    assert_eq!(names, expected);
    assert!(fields.values().all(serde_json::Value::is_string));
    assert_eq!(json["expires_in"], "300");
    assert_eq!(json["resource"], VAULTS);
    assert_eq!(json["client_id"], Identity::numbered(0).client_id);
    assert!(reply.header("server").starts_with("IMDS/"));
    let token = json["access_token"].as_str().unwrap();
    assert_eq!(bench.emulator.imds().tokens(), [token]);
}

#[tokio::test]
async fn an_identity_is_chosen_by_each_of_its_ids() {
    let bench = Bench::new();
    let imds = bench.emulator.imds();
    let user = Identity::numbered(5);
    imds.add_user(user.clone());
    imds.add_user(Identity::numbered(6));

    for more in [
        format!("&client_id={}", user.client_id),
        format!("&object_id={}", user.object_id),
        format!("&msi_res_id={}", user.resource_id),
    ] {
        let reply = bench.token_with(VAULTS, &more).await;
        assert_eq!(reply.json()["client_id"], user.client_id, "{more}");
    }
    let unknown = bench.token_with(VAULTS, "&client_id=nobody").await;
    assert_eq!(described(&unknown), (400, "Identity not found".to_owned()));
    let both = format!("&client_id={}&object_id={}", user.client_id, user.object_id);
    assert_eq!(bench.token_with(VAULTS, &both).await.status, 400);
}

#[tokio::test]
async fn without_a_choice_it_depends_on_what_the_machine_has() {
    let bench = Bench::new();
    let imds = bench.emulator.imds();
    let system = Identity::numbered(0).client_id;
    imds.add_user(Identity::numbered(5));
    assert_eq!(bench.token_with(VAULTS, "").await.json()["client_id"], system);

    imds.set_system(None);
    let only = Identity::numbered(5).client_id;
    assert_eq!(bench.token_with(VAULTS, "").await.json()["client_id"], only);

    imds.add_user(Identity::numbered(6));
    let several = described(&bench.token_with(VAULTS, "").await);
    assert_eq!(several.0, 400);
    assert!(several.1.starts_with("Multiple user assigned identities exist"), "{several:?}");

    imds.remove_user(&Identity::numbered(5).client_id);
    imds.remove_user(&Identity::numbered(6).client_id);
    let none = described(&bench.token_with(VAULTS, "").await);
    assert_eq!(none, (400, "Identity not found".to_owned()));
}

#[tokio::test]
async fn what_the_real_service_refuses_is_refused() {
    let bench = Bench::new();
    let base = format!("http://{}/metadata/identity/oauth2/token", bench.imds_address);
    let good = format!("{base}?api-version=2018-02-01&resource={VAULTS}");
    let http = &bench.http;
    let refused = [
        (http.get(&base), 400),
        (http.get(&good), 400),
        (http.get(&good).header("Metadata", "True"), 400),
        (http.get(&good).header("Metadata", "true").header("X-Forwarded-For", "10.0.0.1"), 400),
        (http.get(format!("{good}&resource={VAULTS}")).header("Metadata", "true"), 400),
        (http.get(format!("{base}?resource={VAULTS}")).header("Metadata", "true"), 400),
        (http.get(format!("{base}?api-version=2018-02-01")).header("Metadata", "true"), 400),
        (http.post(&good).header("Metadata", "true"), 405),
    ];
    for (request, status) in refused {
        let shown = format!("{request:?}");
        assert_eq!(read(request).await.status, status, "{shown}");
    }
    let probe = described(&read(http.get(&base)).await);
    assert_eq!(probe.1, "Required metadata header not specified");
    assert_eq!(bench.emulator.imds().tokens().len(), 0);
}

#[tokio::test]
async fn a_resource_that_is_no_vaults_is_a_violation() {
    let bench = Bench::new();
    assert_eq!(bench.token_with(VAULTS, "").await.status, 200);
    assert_eq!(bench.emulator.violations(), []);

    let slash = bench.token_with("https://vault.azure.net/", "").await;
    assert_eq!(slash.json()["resource"], "https://vault.azure.net/");
    assert_eq!(bench.token_with("https://management.azure.com/", "").await.status, 200);
    assert_eq!(bench.token_with("https://my-vault.vault.azure.net", "").await.status, 400);
    assert_eq!(bench.emulator.violations().len(), 3);
}

#[tokio::test]
async fn the_machine_tells_its_tags() {
    let bench = Bench::new();
    let imds = bench.emulator.imds();
    imds.set_tag("vault", "kv-1");
    imds.set_tag("vault", "kv-2");
    let ask = async |path: &str| {
        let base = format!("http://{}/metadata/instance", bench.imds_address);
        let request = bench.http.get(format!("{base}{path}")).header("Metadata", "true");
        read(request).await
    };

    let tags = ask("/compute/tagsList?api-version=2021-02-01").await;
    assert_eq!(tags.text, r#"[{"name":"vault","value":"kv-2"}]"#);
    let whole = ask("?api-version=2021-02-01").await.json();
    assert_eq!(whole["compute"]["azEnvironment"], "AzurePublicCloud");
    let leaf = ask("/compute/tagsList/0/value?api-version=2021-02-01&format=text").await;
    assert_eq!(
        (leaf.text.as_str(), leaf.header("content-type")),
        ("kv-2", "text/plain; charset=utf-8")
    );
    assert_eq!(ask("/compute/name?api-version=2021-02-01").await.status, 400);
    assert_eq!(ask("/compute/nothing?api-version=2021-02-01").await.status, 404);
    assert_eq!(ask("/compute/tagsList").await.status, 400);
}
