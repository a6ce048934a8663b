//! The control interface and the program.

use std::io::BufRead;
use std::io::BufReader;
use std::process::Command;
use std::process::Stdio;

use crate::client::Bench;
use crate::client::listener;
use crate::client::read;

#[tokio::test]
async fn a_person_with_curl_can_do_what_a_test_can() {
    let bench = Bench::new();
    let (control, address) = listener();
    bench.emulator.serve_control(control);
    let order = async |path: &str, body: &str| {
        let request = bench.http.post(format!("http://{address}{path}"));
        read(request.body(body.to_owned())).await
    };

    let put = order("/put", r#"{"name":"db","value":"one"}"#).await;
    assert_eq!(put.status, 200);
    assert_eq!(put.json()["version"], bench.vault.versions("db")[0]);
    assert_eq!(bench.ask("/secrets/db").await.json()["value"], "one");

    for (verb, status) in [
        ("/disable", 403),
        ("/enable", 200),
        ("/delete", 404),
        ("/recover", 200),
        ("/deny", 403),
        ("/allow", 200),
        ("/purge", 404),
    ] {
        assert_eq!(order(verb, r#"{"name":"db"}"#).await.status, 200);
        assert_eq!(bench.ask("/secrets/db").await.status, status, "{verb}");
    }

    let hang = r#"{"scope":{"get-of":"db"},"times":1,"kind":{"status":{"code":410}}}"#;
    assert_eq!(order("/fault", hang).await.json()["fault"], 1);
    assert_eq!(bench.ask("/secrets/db").await.status, 410);
    order("/fault", r#"{"scope":"list","kind":{"delay":1}}"#).await;
    order("/fault", r#"{"scope":"everything","kind":"hang"}"#).await;
    assert_eq!(order("/clear", "").await.status, 200);
    assert_eq!(bench.ask("/secrets/db").await.status, 404);

    let requests = read(bench.http.get(format!("http://{address}/requests"))).await.json();
    assert_eq!(requests.as_array().unwrap().len(), bench.emulator.requests().len());
    let violations = read(bench.http.get(format!("http://{address}/violations"))).await;
    assert_eq!(violations.text.trim(), "[]");
}

#[tokio::test]
async fn a_wrong_order_says_what_is_wrong() {
    let bench = Bench::new();
    let (control, address) = listener();
    bench.emulator.serve_control(control);
    for (path, body, status, word) in [
        ("/put", "{", 400, "EOF"),
        ("/put", r#"{"name":"db"}"#, 400, "value"),
        ("/disable", r#"{"name":"db"}"#, 400, "secret"),
        ("/disable", r#"{"name":"db","vault":"none"}"#, 400, "vault"),
        ("/dance", r#"{"name":"db"}"#, 404, "dance"),
        ("/fault", r#"{"scope":"get","kind":"boredom"}"#, 400, "boredom"),
    ] {
        let request = bench.http.post(format!("http://{address}{path}")).body(body);
        let reply = read(request).await;
        assert_eq!(reply.status, status, "{path} {body}");
        assert!(reply.text.contains(word), "{}", reply.text);
    }
}

#[test]
fn the_program_says_where_it_serves_and_what_to_type() {
    let ca_file = std::env::temp_dir().join(format!("emulator-{}.pem", std::process::id()));
    let mut program = Command::new(env!("CARGO_BIN_EXE_akvfs-emulator"))
        .args(["--listen", "127.0.0.1:0", "--imds", "127.0.0.1:0", "--control", "127.0.0.1:0"])
        .args(["--vault", "kv-1", "db=one"])
        .arg("--ca-file")
        .arg(&ca_file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();

    let output = BufReader::new(program.stdout.take().unwrap());
    let lines: Vec<String> = output.lines().take(10).map(Result::unwrap).collect();
    let pem = std::fs::read_to_string(&ca_file).unwrap();
    std::fs::remove_file(&ca_file).unwrap();
    program.kill().unwrap();
    program.wait().unwrap();

    let text = lines.join("\n");
    assert!(text.contains("(kv-1)"), "{text}");
    let export = "export AZURE_POD_IDENTITY_AUTHORITY_HOST=http://127.0.0.1:";
    assert!(text.contains(export), "{text}");
    assert!(text.contains("akvfs get https://localhost:"), "{text}");
    assert!(text.contains(&format!("--ca-file={} --resource=", ca_file.display())), "{text}");
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"));
}
