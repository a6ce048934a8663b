//! What goes wrong on demand.

use std::time::Duration;

use akvfs_emulator::authority::Certificate;
use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Greeting;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::record::Service;

use crate::client::Bench;
use crate::client::read;

const GET: &str = "https://my-vault.vault.azure.net/secrets/db?api-version=7.4";

/// The error of a request that must not be answered.
async fn broken(bench: &Bench, limit: Duration) -> String {
    let token = bench.token().await;
    let request = bench.http.get(GET).bearer_auth(token).timeout(limit);
    let error = match request.send().await {
        Err(error) => error,
        Ok(reply) => reply.text().await.expect_err("half an answer"),
    };
    format!("{error:?}")
}

#[tokio::test]
async fn a_status_lasts_as_often_as_it_was_asked_for() {
    let bench = Bench::new();
    bench.vault.put("db", "one");
    let throttled = Kind::throttled("7");
    bench.emulator.inject(Fault::times(2, Scope::Get, throttled));

    let first = bench.ask("/secrets/db").await;
    assert_eq!((first.status, first.code().as_str()), (429, "Throttled/"));
    assert_eq!(first.header("retry-after"), "7");
    assert_eq!(bench.ask("/secrets").await.status, 200);
    assert_eq!(bench.ask("/secrets/db").await.status, 429);
    assert_eq!(bench.ask("/secrets/db").await.status, 200);
    assert_eq!(bench.statuses(), [429, 200, 429, 200].map(Some));
}

#[tokio::test]
async fn a_scope_is_one_secret_the_list_tokens_metadata_or_all() {
    let bench = Bench::new();
    bench.vault.put("db", "one");
    bench.vault.put("web", "one");
    let token = bench.token().await;
    let statuses = async || {
        let vault = "https://my-vault.vault.azure.net/secrets";
        let imds = format!("http://{}/metadata", bench.imds_address);
        let mut seen = Vec::new();
        for url in [
            format!("{vault}/db?api-version=7.4"),
            format!("{vault}/web?api-version=7.4"),
            format!("{vault}?api-version=7.4"),
        ] {
            seen.push(read(bench.http.get(url).bearer_auth(&token)).await.status);
        }
        let metadata = format!("{imds}/versions");
        seen.push(read(bench.http.get(metadata).header("Metadata", "true")).await.status);
        seen.push(bench.token_with("https://vault.azure.net", "").await.status);
        seen
    };
    for (scope, expected) in [
        (Scope::get_of("DB"), [503, 200, 200, 200, 200]),
        (Scope::Get, [503, 503, 200, 200, 200]),
        (Scope::List, [200, 200, 503, 200, 200]),
        (Scope::Vault, [503, 503, 503, 200, 200]),
        (Scope::Metadata, [200, 200, 200, 503, 200]),
        (Scope::Token, [200, 200, 200, 200, 503]),
        (Scope::Everything, [503, 503, 503, 503, 503]),
    ] {
        let fault = bench.emulator.inject(Fault::always(scope.clone(), Kind::status(503)));
        assert_eq!(statuses().await, expected, "{scope:?}");
        bench.emulator.clear(fault);
    }
    assert_eq!(statuses().await, [200; 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_request_is_answered_once_the_fault_is_cleared() {
    let bench = Bench::new();
    bench.vault.put("db", "one");
    let hold = bench.emulator.inject(Fault::times(1, Scope::Get, Kind::Hold));
    let token = bench.token().await;
    let held = tokio::spawn(read(bench.http.get(GET).bearer_auth(token)));

    let arrived = |request: &akvfs_emulator::record::Request| request.is_get();
    assert!(bench.emulator.wait_for(Duration::from_secs(10), 1, arrived));
    assert_eq!(bench.ask("/secrets/db").await.status, 200);
    assert_eq!(bench.statuses(), [None, Some(200)]);
    bench.vault.put("db", "two");
    bench.emulator.clear(hold);

    assert_eq!(held.await.unwrap().json()["value"], "two");
    assert_eq!(bench.emulator.max_in_flight(), 2);
}

#[tokio::test]
async fn a_delay_changes_nothing_but_the_time() {
    let bench = Bench::new();
    bench.vault.put("db", "one");
    let delay = Kind::Delay(Duration::from_millis(200));
    bench.emulator.inject(Fault::always(Scope::Get, delay));

    let short = broken(&bench, Duration::from_millis(50)).await;
    assert!(short.contains("TimedOut"), "{short}");
    assert_eq!(bench.ask("/secrets/db").await.json()["value"], "one");
}

#[tokio::test]
async fn a_hang_never_answers_and_ends_with_the_caller() {
    let bench = Bench::new();
    bench.emulator.inject(Fault::times(1, Scope::Get, Kind::Hang));

    let error = broken(&bench, Duration::from_millis(200)).await;
    assert!(error.contains("TimedOut"), "{error}");
    assert_eq!(bench.ask("/secrets/db").await.status, 404);
    assert_eq!(bench.statuses(), [None, Some(404)]);
}

#[tokio::test]
async fn a_connection_can_be_reset_closed_and_cut_in_the_middle() {
    let bench = Bench::new();
    bench.vault.put("db", "one");
    let limit = Duration::from_secs(10);
    for (kind, word) in [
        (Kind::Reset, "ConnectionReset"),
        (Kind::Close, "IncompleteMessage"),
        (Kind::Truncated, "UnexpectedEof"),
        (Kind::Torn, "ConnectionReset"),
    ] {
        bench.emulator.inject(Fault::times(1, Scope::Get, kind));
        let error = broken(&bench, limit).await;
        assert!(error.contains(word) || word == "IncompleteMessage", "{word}: {error}");
        assert_eq!(bench.ask("/secrets/db").await.status, 200, "{word}");
    }
    let ok = Some(200);
    assert_eq!(bench.statuses(), [None, ok, None, ok, ok, ok, ok, ok]);
}

#[tokio::test]
async fn a_body_can_come_in_drops_and_without_end() {
    let bench = Bench::new();
    bench.vault.put("db", "one");
    let once = |kind| bench.emulator.inject(Fault::times(1, Scope::Get, kind));

    once(Kind::Drip(Duration::from_millis(1)));
    assert_eq!(bench.ask("/secrets/db").await.json()["value"], "one");
    once(Kind::Drip(Duration::from_secs(2)));
    assert!(broken(&bench, Duration::from_millis(500)).await.contains("TimedOut"));

    once(Kind::Endless(Duration::from_millis(1)));
    let token = bench.token().await;
    let mut reply = bench.http.get(GET).bearer_auth(token).send().await.unwrap();
    assert_eq!(reply.content_length(), None);
    let mut length = 0;
    while length < 100_000 {
        length += reply.chunk().await.unwrap().unwrap().len();
    }
}

#[tokio::test]
async fn a_field_of_an_answer_can_be_another_or_none() {
    let bench = Bench::new();
    let field = |name: &str, json: Option<&str>| Kind::Field {
        name: name.to_owned(),
        json: json.map(ToOwned::to_owned),
    };
    let once = |kind| bench.emulator.inject(Fault::times(1, Scope::Token, kind));
    once(field("expires_in", Some("-1.5")));
    let reply = bench.token_with("https://vault.azure.net", "").await.json();
    assert_eq!(reply["expires_in"].as_f64(), Some(-1.5));
    assert_eq!(reply["resource"], "https://vault.azure.net");
    once(field("resource", None));
    let reply = bench.token_with("https://vault.azure.net", "").await.json();
    assert_eq!(reply.get("resource"), None);
    let reply = bench.token_with("https://vault.azure.net", "").await.json();
    assert_eq!(reply["expires_in"], "86399");
}

#[tokio::test]
async fn a_fault_can_be_met_by_every_second_request() {
    let bench = Bench::new();
    bench.vault.put("db", "one");
    bench.emulator.inject(Fault::every(2, Scope::Get, Kind::status(503)));
    for _ in 0..4 {
        bench.ask("/secrets/db").await;
    }
    assert_eq!(bench.statuses(), [200, 503, 200, 503].map(Some));
}

#[tokio::test]
async fn whoever_connects_can_be_reset_or_left_alone() {
    for (greeting, word) in [(Greeting::Reset, "ConnectionReset"), (Greeting::Silence, "TimedOut")]
    {
        let bench = Bench::new();
        bench.vault.put("db", "one");
        bench.emulator.greet(Service::Vault, greeting);
        let error = broken(&bench, Duration::from_secs(1)).await;
        assert!(error.contains(word), "{greeting:?}: {error}");
        bench.emulator.clear_all();
        assert_eq!(bench.ask("/secrets/db").await.status, 200, "{greeting:?}");
    }
}

#[tokio::test]
async fn an_answer_can_lie_in_each_of_its_parts() {
    let bench = Bench::new();
    let version = bench.vault.put("db", "one");
    let once = |scope: Scope, kind: Kind| bench.emulator.inject(Fault::times(1, scope, kind));

    once(Scope::Get, Kind::Body("<html>".to_owned()));
    assert_eq!(bench.ask("/secrets/db").await.text, "<html>");

    once(Scope::Get, Kind::html(500));
    let html = bench.ask("/secrets/db").await;
    assert_eq!((html.status, html.header("content-type")), (500, "text/html; charset=utf-8"));

    let location = "https://evil.example/".to_owned();
    once(Scope::Get, Kind::Redirect { code: 307, location });
    let redirect = bench.ask("/secrets/db").await;
    assert_eq!((redirect.status, redirect.header("location")), (307, "https://evil.example/"));

    let challenge = "Bearer resource=\"https://management.azure.com\"";
    once(Scope::Get, Kind::Challenge(challenge.to_owned()));
    let challenged = bench.ask("/secrets/db").await;
    assert_eq!((challenged.status, challenged.header("www-authenticate")), (401, challenge));

    once(Scope::Get, Kind::Id("https://evil.example/secrets/db/{version}".to_owned()));
    let json = bench.ask("/secrets/db").await.json();
    assert_eq!(json["id"], format!("https://evil.example/secrets/db/{version}"));

    once(Scope::List, Kind::NextLink("https://evil.example/secrets".to_owned()));
    let json = bench.ask("/secrets").await.json();
    assert_eq!(json["nextLink"], "https://evil.example/secrets");
}

#[tokio::test]
async fn a_bad_certificate_is_shown_on_demand() {
    for certificate in [Certificate::Expired, Certificate::OtherHost, Certificate::SelfSigned] {
        let bench = Bench::new();
        bench.emulator.show_certificate(certificate);
        let error = format!("{:?}", bench.http.get(GET).send().await.unwrap_err());
        assert!(error.contains("InvalidCertificate"), "{certificate:?}: {error}");
        bench.emulator.show_certificate(Certificate::Good);
        assert_eq!(read(bench.http.get(GET)).await.status, 401);
        assert_eq!(bench.emulator.requests().len(), 1);
    }
}

#[tokio::test]
async fn nothing_listens_once_the_emulator_is_dropped() {
    let bench = Bench::new();
    assert_eq!(read(bench.http.get(GET)).await.status, 401);
    let (vault, imds) = (bench.vault_address, bench.imds_address);

    drop(bench);

    for address in [vault, imds] {
        std::net::TcpListener::bind(address).expect("the port is free again");
    }
}
