//! The vault's side.

use std::collections::BTreeMap;
use std::time::Duration;

use akvfs_emulator::identity::Identity;
use akvfs_emulator::record::Credential;
use akvfs_emulator::record::Service;
use akvfs_emulator::vault::Change;
use akvfs_emulator::vault::Refusal;

use crate::client::Bench;
use crate::client::read;

const GET: &str = "https://my-vault.vault.azure.net/secrets/db?api-version=7.4";

#[tokio::test]
async fn a_secret_is_given_with_its_id_and_attributes() {
    let bench = Bench::new();
    let version = bench.vault.put("Db-Password", "s3cret");
    bench.vault.change(
        "db-password",
        Change {
            created: Some(1_700_000_000),
            updated: Some(1_700_000_001),
            nbf: Some(1),
            exp: Some(2),
            content_type: Some("text/plain".to_owned()),
            tags: Some(BTreeMap::from([("a".to_owned(), "b".to_owned())])),
            ..Change::default()
        },
    );

    let reply = bench.ask("/secrets/db-password").await;

    assert_eq!(reply.status, 200);
    let expected = format!(
        r#"{{"value":"s3cret","contentType":"text/plain","id":"https://my-vault.vault.azure.net/secrets/Db-Password/{version}","attributes":{{"enabled":true,"nbf":1,"exp":2,"created":1700000000,"updated":1700000001,"recoveryLevel":"Recoverable+Purgeable","recoverableDays":90}},"tags":{{"a":"b"}}}}"#
    );
    assert_eq!(reply.text, expected);
    assert_eq!(version.len(), 32);
    assert_eq!(reply.header("content-type"), "application/json; charset=utf-8");
    assert_eq!(reply.header("cache-control"), "no-cache");
    assert_eq!(reply.header("etag"), "");
}

#[tokio::test]
async fn the_newest_version_is_the_one_given_and_older_ones_can_be_named() {
    let bench = Bench::new();
    let first = bench.vault.put("db", "one");
    let second = bench.vault.put("DB", "two");

    assert_eq!(bench.ask("/secrets/db/").await.json()["value"], "two");
    let old = bench.ask(&format!("/secrets/db/{first}")).await.json();
    assert_eq!(old["value"], "one");
    assert!(old["id"].as_str().unwrap().ends_with(&first));
    assert_eq!(bench.vault.versions("db"), [first.clone(), second]);
    let listed = bench.ask("/secrets/db/versions").await.json();
    assert_eq!(listed["value"].as_array().unwrap().len(), 2);
    let missing = bench.ask("/secrets/db/00000000000000000000000000000000").await;
    assert_eq!((missing.status, missing.code().as_str()), (404, "SecretNotFound/"));
}

#[tokio::test]
async fn a_value_can_be_anything_that_a_reply_can_hold() {
    let bench = Bench::new();
    bench.vault.put_raw("lone", r#""\ud800""#);
    bench.vault.put_raw("number", "17");
    bench.vault.put("nul", "a\u{0}b");

    assert!(bench.ask("/secrets/lone").await.text.starts_with(r#"{"value":"\ud800","id""#));
    assert_eq!(bench.ask("/secrets/number").await.json()["value"], 17);
    assert!(bench.ask("/secrets/nul").await.text.contains(r"a\u0000b"));
}

#[tokio::test]
async fn each_state_of_a_secret_has_its_answer() {
    let bench = Bench::new();
    bench.vault.put("db", "one");
    let get = async || {
        let reply = bench.ask("/secrets/db").await;
        let code = if reply.status == 200 { String::new() } else { reply.code() };
        (reply.status, code)
    };

    bench.vault.disable("db");
    assert_eq!(get().await, (403, "Forbidden/SecretDisabled".to_owned()));
    bench.vault.enable("db");
    assert_eq!(get().await.0, 200);
    bench.vault.delete("db");
    assert_eq!(get().await, (404, "SecretNotFound/".to_owned()));
    bench.vault.recover("db");
    assert_eq!(get().await.0, 200);
    bench.vault.purge("db");
    assert_eq!(get().await.0, 404);
    assert!(!bench.vault.enable("db"));
}

#[tokio::test]
async fn a_refusal_is_for_one_secret_one_identity_and_one_operation() {
    let bench = Bench::new();
    bench.vault.put("db", "one");
    bench.vault.put("web", "two");
    let kinds = [
        (Refusal::Policy, "Forbidden/ForbiddenByPolicy"),
        (Refusal::AccessDenied, "Forbidden/AccessDenied"),
        (Refusal::Rbac, "Forbidden/ForbiddenByRbac"),
        (Refusal::Firewall, "Forbidden/ForbiddenByFirewall"),
        (Refusal::Connection, "Forbidden/ForbiddenByConnection"),
    ];
    for (refusal, code) in kinds {
        bench.vault.deny_get("DB", refusal);
        bench.vault.deny_list(refusal);
        let reply = bench.ask("/secrets/db").await;
        assert_eq!((reply.status, reply.code().as_str()), (403, code));
        assert_eq!(bench.ask("/secrets").await.code(), code);
        assert_eq!(bench.ask("/secrets/web").await.status, 200);
    }

    bench.vault.allow_get("*");
    bench.vault.allow_list();
    assert_eq!(bench.ask("/secrets/db").await.status, 200);
    assert_eq!(bench.ask("/secrets").await.status, 200);

    let other = Identity::numbered(7).client_id;
    bench.vault.for_identity(&other).deny_get("*", Refusal::Rbac);
    assert_eq!(bench.ask("/secrets/db").await.status, 200);
    let ours = Identity::numbered(0).client_id;
    bench.vault.for_identity(&ours).deny_get("*", Refusal::Rbac);
    assert_eq!(bench.ask("/secrets/db").await.status, 403);
}

#[tokio::test]
async fn a_request_without_a_good_token_is_challenged() {
    let bench = Bench::new();
    bench.vault.put("db", "one");
    let challenge = "Bearer authorization=\"https://login.microsoftonline.com/\
                     7e4a0000-0000-4000-8000-000000000001\", resource=\"https://vault.azure.net\"";
    let expired = bench.token().await;
    bench.emulator.imds().expire_tokens();
    let wrong = bench.token_with("https://management.azure.com/", "").await.json();
    let wrong = wrong["access_token"].as_str().unwrap().to_owned();
    let slash = bench.token_with("https://vault.azure.net/", "").await.json();
    let slash = slash["access_token"].as_str().unwrap().to_owned();
    let cases = [
        (None, "AKV10000: Request is missing"),
        (Some("nonsense"), "Error validating token"),
        (Some(expired.as_str()), "[TokenExpired]"),
        (Some(wrong.as_str()), "AKV10022: Invalid audience. Expected https://vault.azure.net,"),
        (Some(slash.as_str()), "AKV10022: Invalid audience."),
    ];
    for (token, message) in cases {
        let mut request = bench.http.get(GET);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let reply = read(request).await;
        assert_eq!((reply.status, reply.code().as_str()), (401, "Unauthorized/"), "{message}");
        assert_eq!(reply.header("www-authenticate"), challenge, "{message}");
        let said = reply.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(said.starts_with(message), "{said}");
    }
    // The two that were asked for, and the two that arrived.
    assert_eq!(bench.emulator.violations().len(), 4);
}

#[tokio::test]
async fn what_makes_no_sense_is_a_bad_parameter() {
    let bench = Bench::new();
    let token = bench.token().await;
    let host = "https://my-vault.vault.azure.net";
    for (path, status) in [
        ("/secrets/db", 400),
        ("/secrets/db?api-version=1999-01-01", 400),
        ("/secrets/db?api-version=7.4&api-version=7.4", 400),
        ("/secrets/a_b?api-version=7.4", 400),
        ("/secrets/a%25b?api-version=7.4", 400),
        ("/secrets?api-version=7.4&maxresults=0", 400),
        ("/secrets?api-version=7.4&maxresults=26", 400),
        ("/secrets?api-version=7.4&$skiptoken=nonsense", 400),
        ("/keys?api-version=7.4", 403),
        ("/secrets/db?api-version=2016-10-01", 404),
    ] {
        let reply = read(bench.http.get(format!("{host}{path}")).bearer_auth(&token)).await;
        assert_eq!(reply.status, status, "{path}");
    }
    assert_eq!(bench.emulator.violations(), []);
}

#[tokio::test]
async fn a_list_is_in_order_without_case_and_holds_what_is_not_deleted() {
    let bench = Bench::new();
    for name in ["beta", "Alpha", "gamma", "delta"] {
        bench.vault.put(name, "value");
    }
    bench.vault.disable("beta");
    bench.vault.delete("gamma");
    let managed = Change { managed: Some(true), ..Change::default() };
    bench.vault.change("delta", managed);

    let reply = bench.ask("/secrets").await;
    let json = reply.json();

    let items = json["value"].as_array().unwrap();
    let ids: Vec<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
    let base = "https://my-vault.vault.azure.net/secrets/";
    assert_eq!(ids, ["Alpha", "beta", "delta"].map(|name| format!("{base}{name}")));
    assert_eq!(items[1]["attributes"]["enabled"], false);
    assert_eq!(items[2]["managed"], true);
    assert!(items.iter().all(|item| item.get("value").is_none()));
    assert!(reply.text.ends_with(r#""nextLink":null}"#));
}

/// Follows a walk to its end; the names on each page.
async fn walk(bench: &Bench, query: &str) -> Vec<Vec<String>> {
    let token = bench.token().await;
    let mut link = format!("https://my-vault.vault.azure.net/secrets?api-version=7.4{query}");
    let mut pages = Vec::new();
    loop {
        let json = read(bench.http.get(&link).bearer_auth(&token)).await.json();
        let items = json["value"].as_array().unwrap().iter();
        let names = items.map(|item| item["id"].as_str().unwrap().rsplit('/').next().unwrap());
        pages.push(names.map(ToOwned::to_owned).collect());
        let Some(next) = json["nextLink"].as_str() else {
            return pages;
        };
        let start = "https://my-vault.vault.azure.net:443/secrets?api-version=7.4&$skiptoken=";
        assert!(next.starts_with(start), "{next}");
        link = next.replace(":443", "");
    }
}

#[tokio::test]
async fn pages_can_be_full_short_and_empty_and_together_hold_everything_once() {
    let bench = Bench::new();
    let names: Vec<String> = (0..60).map(|number| format!("s{number:02}")).collect();
    for name in &names {
        bench.vault.put(name, "value");
    }
    let lengths = |pages: &[Vec<String>]| pages.iter().map(Vec::len).collect::<Vec<_>>();

    let pages = walk(&bench, "").await;
    assert_eq!(lengths(&pages), [25, 25, 10]);
    assert_eq!(pages.concat(), names);

    let pages = walk(&bench, "&maxresults=20").await;
    assert_eq!(lengths(&pages), [20, 20, 20]);

    bench.vault.page_sizes(vec![0, 3, 0, 30]);
    let pages = walk(&bench, "").await;
    assert_eq!(lengths(&pages), [0, 3, 0, 25, 25, 7]);
    assert_eq!(pages.concat(), names);

    bench.vault.page_sizes(vec![25, 25, 25, 0, 0]);
    assert_eq!(lengths(&walk(&bench, "").await), [25, 25, 10, 0, 0]);
}

#[tokio::test]
async fn several_vaults_share_an_address_and_nothing_else() {
    let bench = Bench::new();
    bench.vault.put("db", "mine");
    bench.emulator.vault("other").put("db", "theirs");
    let gov = bench.emulator.vault("gov.vault.usgovcloudapi.net");
    gov.put("db", "government");
    let token = bench.token().await;

    let other = "https://other.vault.azure.net/secrets/db?api-version=7.4";
    let reply = read(bench.http.get(other).bearer_auth(&token)).await;
    assert_eq!(reply.json()["value"], "theirs");
    let gov = "https://gov.vault.usgovcloudapi.net/secrets/db?api-version=7.4";
    let reply = read(bench.http.get(gov)).await;
    let challenge = reply.header("www-authenticate");
    assert!(challenge.contains("https://login.microsoftonline.us/"), "{challenge}");
    assert!(challenge.ends_with("resource=\"https://vault.usgovcloudapi.net\""), "{challenge}");
}

#[tokio::test]
async fn localhost_stands_for_the_first_vault_and_stays_in_the_ids() {
    let bench = Bench::new();
    let version = bench.vault.put("db", "mine");
    bench.vault.page_sizes(vec![0]);
    let token = bench.token().await;
    let origin = format!("https://localhost:{}", bench.vault_address.port());

    let url = format!("{origin}/secrets/db?api-version=7.4");
    let json = read(bench.http.get(url).bearer_auth(&token)).await.json();
    assert_eq!(json["id"], format!("{origin}/secrets/db/{version}"));
    let url = format!("{origin}/secrets?api-version=7.4");
    let json = read(bench.http.get(url).bearer_auth(&token)).await.json();
    assert!(json["nextLink"].as_str().unwrap().starts_with(&format!("{origin}/secrets?")));
    let url = format!("https://{}/secrets/db?api-version=7.4", bench.vault_address);
    assert_eq!(read(bench.http.get(url).bearer_auth(&token)).await.status, 200);
}

#[tokio::test]
async fn a_token_that_goes_where_it_must_not_is_a_violation() {
    let bench = Bench::new();
    bench.vault.put("db", "mine");
    let token = bench.token().await;
    let secret = format!("http://{}/metadata/versions", bench.imds_address);

    read(bench.http.get("https://evil.example/secrets/db").bearer_auth(&token)).await;
    read(bench.http.get(secret).header("Metadata", "true").bearer_auth(&token)).await;
    read(bench.http.get(GET).header("Metadata", "true")).await;
    read(bench.http.put(GET).bearer_auth(&token)).await;

    let said: Vec<String> = bench.emulator.violations().into_iter().map(|v| v.what).collect();
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(said[0].contains("Authorization header reached evil.example"), "{said:?}");
    assert!(said[1].contains("Authorization header reached 127.0.0.1"), "{said:?}");
    assert!(said[2].contains("Metadata header reached my-vault"), "{said:?}");
    assert!(said[3].contains("PUT"), "{said:?}");
    let requests = bench.emulator.requests();
    assert_eq!(requests[1].service, Service::Elsewhere);
    assert_eq!(requests[1].credential, Credential::Token(1));
    assert!(!format!("{requests:?}").contains(&token));
}

#[tokio::test]
async fn every_request_is_on_record_in_order() {
    let bench = Bench::new();
    bench.vault.put("db", "mine");
    let token = bench.token().await;
    let agent = bench.http.get(GET).header("User-Agent", "me").bearer_auth(&token);
    read(agent.header("x-ms-client-request-id", "17")).await;
    read(bench.http.get("https://my-vault.vault.azure.net/secrets?api-version=7.4")).await;

    let requests = bench.emulator.requests();
    let numbers: Vec<u64> = requests.iter().map(|request| request.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert!(requests[0].is_token() && requests[0].was_answered(200));
    assert!(requests[1].is_get_of("DB") && requests[1].was_answered(200));
    assert!(requests[2].is_list() && requests[2].was_answered(401));
    assert_eq!(requests[1].query, "api-version=7.4");
    assert_eq!(requests[1].headers["user-agent"], "me");
    assert!(!requests[1].headers.contains_key("authorization"));
    assert_eq!(bench.emulator.count(|request| request.is_get()), 1);
    assert!(bench.emulator.wait_for(Duration::ZERO, 1, |request| request.is_list()));
    assert!(!bench.emulator.wait_for(Duration::ZERO, 2, |request| request.is_list()));
    bench.emulator.reset_requests();
    assert_eq!(bench.emulator.requests().len(), 0);
}
