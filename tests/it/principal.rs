//! A service principal: its secret or its certificate's key, and where they go.

use std::fs;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::identity::Identity;
use akvfs_emulator::identity::TENANT;
use akvfs_emulator::record::Request;
use rustix::io::Errno;

use crate::canary::Canaries;
use crate::canary::password;
use crate::world::World;
use crate::world::until;

const CERTIFICATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates");
const GET: [&str; 3] = ["get", "my-vault", "ftpadmin"];
pub(crate) const SCOPE: &str = "https://vault.azure.net/.default";

/// A principal with a secret, and no managed identity that could stand in for it.
fn with_secret(world: &World) -> (Identity, String) {
    world.vault().put("ftpadmin", "s3cret");
    world.emulator.imds().set_system(None);
    let entra = world.emulator.entra();
    let (principal, secret) = (entra.register(1), password());
    entra.set_secret(&principal, &secret);
    (principal, secret)
}

fn environment<'a>(principal: &'a Identity, secret: &'a str) -> [(&'a str, &'a str); 3] {
    [
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", &principal.client_id),
        ("AZURE_CLIENT_SECRET", secret),
    ]
}

/// A principal with the certificate of the test files.
fn with_certificate(world: &World, by_issuer: bool) -> Identity {
    world.vault().put("ftpadmin", "s3cret");
    world.emulator.imds().set_system(None);
    let entra = world.emulator.entra();
    let principal = entra.register(1);
    entra.add_certificate(&principal, &leaf(), by_issuer);
    principal
}

/// The certificate in the test files, as DER.
pub(crate) fn leaf() -> Vec<u8> {
    let pem = fs::read_to_string(format!("{CERTIFICATES}/pkcs1.pem")).unwrap();
    let (_, rest) = pem.split_once("-----BEGIN CERTIFICATE-----").unwrap();
    let (letters, _) = rest.split_once("-----END").unwrap();
    base64(letters)
}

fn base64(letters: &str) -> Vec<u8> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = letters.chars().filter_map(|letter| ALPHABET.find(letter));
    let digits: Vec<usize> = digits.collect();
    let bytes = digits.chunks(4).flat_map(|four| {
        let word = four.iter().fold(0, |word, digit| word << 6 | digit) << (6 * (4 - four.len()));
        let [_, a, b, c] = u32::try_from(word).unwrap().to_be_bytes();
        [a, b, c].into_iter().take(four.len() - 1)
    });
    bytes.collect()
}

/// The one request to Entra, and nobody else was asked for a token.
#[track_caller]
pub(crate) fn one_exchange(world: &World) -> Request {
    assert_eq!(world.emulator.count(Request::is_token), 0);
    let all = world.emulator.requests();
    let exchanges: Vec<&Request> = all.iter().filter(|request| request.is_exchange()).collect();
    assert_eq!(exchanges.len(), 1, "{exchanges:#?}");
    exchanges[0].clone()
}

#[track_caller]
pub(crate) fn fields(request: &Request) -> Vec<(&str, &str)> {
    request.form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// The names of what a request says of itself.
fn headers(request: &Request) -> Vec<&str> {
    request.headers.keys().map(String::as_str).collect()
}

#[test]
fn a_secret_is_exchanged_once_with_these_parameters_and_no_others() {
    let Some(world) = World::new() else { return };
    let (principal, secret) = with_secret(&world);
    assert_eq!(world.akvfs_with(&environment(&principal, &secret), &GET).ok(), "s3cret");
    let exchange = one_exchange(&world);
    assert_eq!(exchange.method, "POST");
    assert_eq!(exchange.host, "login.microsoftonline.com");
    assert_eq!(exchange.path, format!("/{TENANT}/oauth2/v2.0/token"));
    assert_eq!(exchange.query, "");
    assert_eq!(
        fields(&exchange),
        [
            ("client_id", principal.client_id.as_str()),
            ("scope", SCOPE),
            ("grant_type", "client_credentials"),
            ("client_secret", ""),
        ]
    );
    assert_eq!(
        headers(&exchange),
        ["accept", "content-length", "content-type", "host", "user-agent"]
    );
}

#[test]
fn a_certificate_is_taken_from_every_kind_of_file() {
    for (file, password) in [
        ("plain.pem", None),
        ("locked.pem", Some("pa55word")),
        ("aes.pfx", Some("pa55word")),
        ("rc2.pfx", Some("pa55word")),
        ("des-no-password.pfx", None),
    ] {
        let Some(world) = World::new() else { return };
        let principal = with_certificate(&world, false);
        let path = format!("{CERTIFICATES}/{file}");
        let mut environment = vec![
            ("AZURE_TENANT_ID", TENANT),
            ("AZURE_CLIENT_ID", &principal.client_id),
            ("AZURE_CLIENT_CERTIFICATE_PATH", &path),
        ];
        environment.extend(password.map(|it| ("AZURE_CLIENT_CERTIFICATE_PASSWORD", it)));
        assert_eq!(world.akvfs_with(&environment, &GET).ok(), "s3cret", "{file}");
        assert_eq!(
            fields(&one_exchange(&world)),
            [
                ("client_id", principal.client_id.as_str()),
                ("scope", SCOPE),
                ("grant_type", "client_credentials"),
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("client_assertion", ""),
            ]
        );
    }
}

#[test]
fn a_certificate_that_is_trusted_by_its_issuer_goes_along_if_so_told() {
    let Some(world) = World::new() else { return };
    let principal = with_certificate(&world, true);
    let path = format!("{CERTIFICATES}/plain.pem");
    let environment = [
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", principal.client_id.as_str()),
        ("AZURE_CLIENT_CERTIFICATE_PATH", &path),
    ];
    let said = world.akvfs_with(&environment, &GET).failed(4);
    assert!(said.contains("AADSTS700027") && said.contains("SEND_CERTIFICATE_CHAIN"), "{said}");
    let sent = [environment.to_vec(), vec![("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", "true")]];
    assert_eq!(world.akvfs_with(&sent.concat(), &GET).ok(), "s3cret");
}

#[test]
fn a_clock_that_is_hours_wrong_costs_a_certificate_one_request_more() {
    for hours in [-10, 10] {
        let Some(world) = World::new() else { return };
        let principal = with_certificate(&world, false);
        world.emulator.entra().set_ahead(hours * 3_600);
        let path = format!("{CERTIFICATES}/plain.pem");
        let environment = [
            ("AZURE_TENANT_ID", TENANT),
            ("AZURE_CLIENT_ID", principal.client_id.as_str()),
            ("AZURE_CLIENT_CERTIFICATE_PATH", &path),
        ];
        assert_eq!(world.akvfs_with(&environment, &GET).ok(), "s3cret");
        assert_eq!(world.emulator.count(Request::is_exchange), 2);
    }
}

#[test]
fn a_mount_by_a_principal_renews_and_survives_its_worker() {
    let Some(world) = World::new() else { return };
    let (principal, secret) = with_secret(&world);
    let mounted = world.mounted_at(world.directory());
    let mut command = world.command("akvfs");
    command.args(["mount", "my-vault"]).arg(mounted.directory());
    command.envs(environment(&principal, &secret));
    world.spawn(&mut command).wait(crate::world::LIMIT).ok();
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"s3cret".to_vec()));
    one_exchange(&world);

    world.replace("worker");
    world.vault().put("other", "0ther");
    assert_eq!(mounted.outcome("other"), Ok(b"0ther".to_vec()));
    assert_eq!(world.emulator.count(Request::is_exchange), 2);
    assert_eq!(world.emulator.count(Request::is_token), 0);
}

#[test]
fn a_secret_and_a_key_are_in_no_process_log_or_error() {
    let Some(world) = World::new() else { return };
    let (principal, secret) = with_secret(&world);
    let wrong = password();
    let mut canaries = Canaries::default();
    canaries.add(&secret);
    canaries.add(&wrong);
    let pem = fs::read_to_string(format!("{CERTIFICATES}/plain.pem")).unwrap();
    let (key, _) = pem.split_once("-----END PRIVATE").unwrap();
    canaries.add(&key.replace('\n', "")[200..]);

    let refused =
        world.akvfs_with(&environment(&principal, &wrong), &["get", "-vv", "my-vault", "ftpadmin"]);
    canaries.look_into("stderr", &refused.stderr);
    let log = world.directory().join("log");
    let mounted = world.mounted_at(world.directory());
    let mut command = world.command("akvfs");
    command.args(["mount", "-vv", "my-vault"]).arg(mounted.directory());
    command.arg(format!("--log={}", log.display())).envs(environment(&principal, &secret));
    let ran = world.spawn(&mut command).wait(crate::world::LIMIT);
    canaries.look_into("stderr", &ran.stderr);
    assert!(mounted.outcome("ftpadmin").is_ok());
    for process in world.akvfs_processes() {
        for file in ["cmdline", "environ"] {
            let path = format!("/proc/{}/{file}", process.pid.as_raw_nonzero());
            let text = fs::read(&path).unwrap();
            assert!(!String::from_utf8_lossy(&text).contains("AZURE_"), "{path}");
            canaries.look_into(&path, text);
        }
    }
    world.emulator.entra().set_secret(&principal, "another");
    world.emulator.imds().expire_tokens();
    world.vault().put("other", "0ther");
    assert_eq!(mounted.outcome("other"), Err(Errno::NOKEY));
    canaries.look_into("log", world.read(&log).unwrap());
}

#[test]
fn each_refusal_of_entra_names_what_to_set_and_its_number_alone() {
    let Some(world) = World::new() else { return };
    let (principal, secret) = with_secret(&world);
    let stranger = Identity::numbered(9);
    let wrong = "it-is-not-this-one";
    for (environment, code, mount, words) in [
        (environment(&principal, wrong), 4, 32, ["AADSTS7000215", "AZURE_CLIENT_SECRET"]),
        (environment(&stranger, &secret), 4, 0, ["AADSTS700016", "AZURE_CLIENT_ID"]),
        (
            [
                ("AZURE_TENANT_ID", "contoso.example"),
                environment(&principal, &secret)[1],
                environment(&principal, &secret)[2],
            ],
            4,
            32,
            ["AADSTS90002", "AZURE_TENANT_ID"],
        ),
    ] {
        let said = world.akvfs_with(&environment, &GET).failed(code);
        for word in words.into_iter().chain(["trace ", "hint: "]) {
            assert!(said.contains(word), "{said}");
        }
        assert!(!said.contains("Timestamp") && !said.contains("Correlation"), "{said}");
        let mounted = world.mounted_at(world.directory());
        let directory = mounted.directory().to_str().unwrap();
        let ran = world.akvfs_with(&environment, &["mount", "my-vault", directory]);
        assert_eq!(ran.code, Some(mount), "{}", ran.stderr);
        assert_eq!(mounted.is_mounted(), mount == 0);
    }
}

#[test]
fn an_entra_that_is_busy_is_asked_again_when_it_says() {
    let Some(world) = World::new() else { return };
    let (principal, secret) = with_secret(&world);
    for kind in [Kind::throttled("1"), Kind::status(503), Kind::status(429)] {
        world.emulator.inject(Fault::times(1, Scope::Entra, kind.clone()));
        let ran = world.akvfs_with(&environment(&principal, &secret), &GET);
        assert_eq!(ran.ok(), "s3cret", "{kind:?}");
    }
    world.emulator.inject(Fault::always(Scope::Entra, Kind::status(503)));
    let get = ["get", "my-vault", "ftpadmin", "--open-timeout=1s"];
    world.akvfs_with(&environment(&principal, &secret), &get).failed(5);
}

#[test]
fn a_principal_that_is_registered_later_heals_the_mount() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let entra = world.emulator.entra();
    let principal = entra.register(1);
    entra.add_certificate(&principal, b"another", false);
    let path = format!("{CERTIFICATES}/plain.pem");
    let environment = [
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", principal.client_id.as_str()),
        ("AZURE_CLIENT_CERTIFICATE_PATH", &path),
    ];
    let mounted = world.mounted_at(world.directory());
    let directory = mounted.directory().to_str().unwrap();
    let ran = world.akvfs_with(&environment, &["mount", "my-vault", directory]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("AADSTS700027"), "{}", ran.stderr);
    assert_eq!(mounted.outcome("ftpadmin"), Err(Errno::NOKEY));
    entra.add_certificate(&principal, &leaf(), false);
    // A refusal stands for half a minute, or until the next worker.
    world.replace("worker");
    until("it heals", || mounted.outcome("ftpadmin") == Ok(b"s3cret".to_vec()));
}

#[test]
fn forty_cold_readers_are_worth_one_exchange() {
    let Some(world) = World::new() else { return };
    let principal = with_certificate(&world, false);
    for number in 0..40 {
        world.vault().put(&format!("cold-{number}"), "s3cret");
    }
    let path = format!("{CERTIFICATES}/plain.pem");
    let environment = [
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", principal.client_id.as_str()),
        ("AZURE_CLIENT_CERTIFICATE_PATH", &path),
    ];
    let mounted = world.mounted_at(world.directory());
    let directory = mounted.directory().to_str().unwrap();
    world.akvfs_with(&environment, &["mount", "my-vault", directory, "-o", "check=off"]).ok();
    let readers: Vec<_> = (0..40).map(|it| mounted.reader(&format!("cold-{it}"))).collect();
    for reader in readers {
        assert_eq!(reader.result().0, Ok(b"s3cret".to_vec()));
    }
    one_exchange(&world);
}
