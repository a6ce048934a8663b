//! Ways to be tricked into giving a token, a secret, an assertion or a key to somebody else.
//!
//! Whatever anybody answers, writes or sets, each proof goes to its one rightful receiver. The
//! emulator looks for them in all that arrives anywhere, and everywhere else a stranger listens whose
//! certificate is good: nobody may even call on him.

use std::net::TcpListener;

use akvfs_emulator::authority::Certificate;
use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind as Does;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::identity::Identity;
use akvfs_emulator::identity::TENANT;
use akvfs_emulator::record::Service;
use serde_json::json;

use crate::canary::Canaries;
use crate::canary::password;
use crate::canary::token;
use crate::host::Host;
use crate::host::KEYS;
use crate::host::Kind;
use crate::together::together;
use crate::world::LIMIT;
use crate::world::World;

/// One way.
struct Trick {
    what: String,
    who: Who,
    faults: Vec<(Scope, Does)>,
    environment: Vec<(&'static str, String)>,
    given: fn(&World),
    arguments: Vec<String>,
    ends: Ends,
}

/// Whose proof is to be had.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Who {
    /// A machine's.
    Machine,
    /// A service principal's secret.
    Secret,
    /// A service principal's key.
    Key,
    /// A pod's token.
    Pod,
    /// A principal's, in a vault, and the machine's that reads it.
    From,
}

/// How it must end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ends {
    /// With the value: the trick is not even noticed.
    Well,
    /// With an error, once somebody was asked.
    Badly,
    /// With an error, before anybody is asked.
    Before,
    /// With an error, after the machine was asked what it is, and nothing else.
    AfterMetadata,
}

/// A machine on which every way out ends at the stranger.
struct Stage {
    world: World,
    principal: Identity,
    secret: String,
    assertion: String,
}

const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/plain.pem");
const POD: &str = "/etc/pod-token";
/// Texts that are no vault's name; the machine has a tag for each, by number.
const NO_NAMES: [&str; 14] = [
    "",
    "other-vault.vault.azure.net",
    "https://evil.example",
    "evil.example",
    "evil.example/x",
    "my-vault/../../x",
    "my-vault:8443",
    "my-vault@evil.example",
    "my-vault#",
    "my-vault?",
    "my-vault\u{e9}",
    "..",
    "my_vault",
    "-o",
];
/// The stranger's own address, and those of others at ports where they are not.
const STRANGER: &str = "192.0.2.66";
const DOORS: [(&str, bool); 9] = [
    ("192.0.2.66:443", true),
    ("192.0.2.66:80", false),
    ("192.0.2.66:8443", true),
    ("192.0.2.10:80", false),
    ("192.0.2.10:8443", true),
    ("192.0.2.11:80", false),
    ("192.0.2.11:8443", true),
    ("169.254.169.254:443", true),
    ("127.0.0.1:3128", false),
];
const HIS: [&str; 9] = [
    "evil.example",
    "my-vault.vault.azure.net.evil.example",
    "login.microsoftonline.com.evil.example",
    "evilvault.azure.net",
    "vault.azure.net",
    "other-vault.vault.azure.net",
    "management.azure.com",
    "login.windows.net",
    "my-vault.privatelink.vaultcore.azure.net",
];

impl Stage {
    fn new() -> Option<Self> {
        let world = World::new()?;
        world.vault().put("ftpadmin", "s3cret");
        world.sh(&format!("ip addr add {STRANGER}/32 dev lo")).ok();
        let hosts = String::from_utf8(world.read("/etc/hosts").unwrap()).unwrap();
        let his: String = HIS.map(|host| format!("{STRANGER} {host}\n")).concat();
        world.write("/etc/hosts", hosts + &his + "192.0.2.10 sp-vault.vault.azure.net\n");
        let doors = world.inside(|| DOORS.map(|(door, _)| TcpListener::bind(door).unwrap()));
        for (door, (_, tls)) in doors.into_iter().zip(DOORS) {
            world.emulator.serve_stranger(door, tls);
        }
        for (number, name) in NO_NAMES.into_iter().enumerate() {
            world.emulator.imds().set_tag(&format!("t{number}"), name);
        }
        let entra = world.emulator.entra();
        let stage =
            Self { principal: entra.register(1), secret: password(), assertion: token(), world };
        entra.set_secret(&stage.principal, &stage.secret);
        entra.set_assertion(&stage.principal, &stage.assertion);
        stage.world.write(POD, &stage.assertion);
        let credentials = json!({
            "tenant": TENANT,
            "appId": stage.principal.client_id,
            "password": stage.secret,
        });
        stage.world.emulator.vault("sp-vault").put("sp", &credentials.to_string());
        let certificate = crate::principal::leaf();
        stage.world.emulator.entra().add_certificate(&stage.principal, &certificate, false);
        Some(stage)
    }

    /// Plays a trick, and looks who learnt what.
    fn play(&self, trick: &Trick) {
        let world = &self.world;
        let what = &trick.what;
        (trick.given)(world);
        for (scope, does) in &trick.faults {
            world.emulator.inject(Fault::always(scope.clone(), does.clone()));
        }
        let mut command = world.command("akvfs");
        command.args(&trick.arguments).arg("--open-timeout=700ms");
        command.envs(self.proof(trick.who)).envs(trick.environment.iter().cloned());
        if trick.who == Who::From {
            command.arg("--identity=from:sp-vault/sp");
        }
        let ran = world.spawn(&mut command).wait(LIMIT);
        match trick.ends {
            Ends::Well => assert_eq!((ran.code, ran.stdout.as_slice()), (Some(0), &b"s3cret"[..])),
            Ends::Badly | Ends::Before | Ends::AfterMetadata => {
                assert!(ran.code.is_some_and(|code| (1..=5).contains(&code)), "{what}: {ran:?}");
                assert!(ran.stdout.is_empty(), "{what}: {ran:?}");
            }
        }
        let requests = world.emulator.requests();
        for request in &requests {
            let may = match trick.ends {
                Ends::Before => false,
                Ends::AfterMetadata => request.service == Service::Metadata && !request.is_token(),
                Ends::Well | Ends::Badly => request.service != Service::Elsewhere,
            };
            assert!(may, "{what}: {request:#?}");
        }
        assert_eq!(world.emulator.violations(), [], "{what}");
        let mut canaries = Canaries::default();
        canaries.add(&self.secret);
        canaries.add(&self.assertion);
        canaries.look_into(what, &ran.stderr);
        world.emulator.clear_all();
        world.emulator.reset_requests();
        world.emulator.show_certificate(Certificate::Good);
    }

    fn proof(&self, who: Who) -> Vec<(&'static str, String)> {
        let id = self.principal.client_id.clone();
        let own = match who {
            Who::Machine | Who::From => return Vec::new(),
            Who::Secret => ("AZURE_CLIENT_SECRET", self.secret.clone()),
            Who::Key => ("AZURE_CLIENT_CERTIFICATE_PATH", CERTIFICATE.to_owned()),
            Who::Pod => ("AZURE_FEDERATED_TOKEN_FILE", POD.to_owned()),
        };
        vec![("AZURE_TENANT_ID", TENANT.to_owned()), ("AZURE_CLIENT_ID", id), own]
    }
}

fn trick(who: Who, what: impl Into<String>) -> Trick {
    Trick {
        what: format!("{who:?}: {}", what.into()),
        who,
        faults: Vec::new(),
        environment: Vec::new(),
        given: |_| {},
        arguments: ["get", "my-vault", "ftpadmin"].map(ToOwned::to_owned).to_vec(),
        ends: Ends::Badly,
    }
}

impl Trick {
    fn fault(mut self, scope: Scope, does: Does) -> Self {
        self.faults.push((scope, does));
        self
    }

    fn set(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    fn given(self, given: fn(&World)) -> Self {
        Self { given, ..self }
    }

    fn run(self, arguments: &[&str]) -> Self {
        Self { arguments: arguments.iter().map(ToString::to_string).collect(), ..self }
    }

    fn ends(self, ends: Ends) -> Self {
        Self { ends, ..self }
    }
}

/// Plays them all, a few kinds at a time.
fn play(tricks: Vec<Trick>, at_least: usize) {
    assert!(tricks.len() >= at_least, "only {}", tricks.len());
    let count = tricks.len().div_ceil(6);
    let mut shares: Vec<Vec<Trick>> = Vec::new();
    let mut tricks = tricks.into_iter().peekable();
    while tricks.peek().is_some() {
        shares.push(tricks.by_ref().take(count).collect());
    }
    together(shares, |share| {
        let Some(stage) = Stage::new() else { return };
        for trick in share {
            stage.play(&trick);
        }
    });
}

#[test]
fn untricked_everybody_ends_well() {
    let all = [Who::Machine, Who::Secret, Who::Key, Who::Pod, Who::From];
    play(all.map(|who| trick(who, "none").ends(Ends::Well)).into(), 5);
}

#[test]
fn no_challenge_gets_what_it_asks_for() {
    let ours = format!("https://login.microsoftonline.com/{TENANT}");
    let bearer = |authority: &str, resource: &str| {
        format!(r#"Bearer authorization="{authority}", resource="{resource}""#)
    };
    let vaults = "https://vault.azure.net";
    let mut challenges = [
        "https://management.azure.com",
        "https://management.azure.com/",
        "https://graph.microsoft.com",
        "https://vault.azure.net.evil.example",
        "https://evilvault.azure.net",
        "https://evil.example/vault.azure.net",
        "https://evil.example#vault.azure.net",
        "https://evil.example?https://vault.azure.net",
        "https://vault.azure.net@evil.example",
        "https://vault.usgovcloudapi.net",
        "https://my-vault.vault.azure.net",
        "http://vault.azure.net",
        "vault.azure.net",
        "evil.example",
        "",
    ]
    .map(|resource| bearer(&ours, resource))
    .to_vec();
    challenges.extend([
        bearer("https://evil.example/tenant", vaults),
        bearer("http://evil.example/tenant", vaults),
        bearer("https://login.microsoftonline.com.evil.example/tenant", vaults),
        bearer("https://login.windows.net/tenant", vaults),
        bearer(&ours.replace("7e4a", "0000"), vaults),
        bearer(&ours, vaults) + ", " + &bearer("https://evil.example", "https://evil.example"),
        format!("Basic realm=\"evil\", {}", bearer(&ours, "https://evil.example")),
        format!("{}, Basic realm=\"evil\"", bearer("https://evil.example/x", vaults)),
        format!(r#"Bearer authorization="{ours}", scope="https://management.azure.com/.default""#),
        format!(r#"Bearer authorization="{ours}", resource="https://evil.example"#),
        format!(r#"Bearer resource="{vaults}", resource="https://evil.example""#),
        bearer(&ours, &format!("https://evil.example/{}", "x".repeat(6000))),
        "Basic realm=\"evil\"".to_owned(),
        "Negotiate".to_owned(),
        "Bearer".to_owned(),
        "PoP nonce=\"evil\"".to_owned(),
    ]);
    let claims = r#"Bearer realm="", authorization_uri="https://evil.example/common/oauth2/authorize", error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ==""#;
    challenges.push(claims.to_owned());
    let tricks = challenges.iter().flat_map(|challenge| {
        [Who::Machine, Who::Secret].map(|who| {
            let does = Does::Challenge(challenge.clone());
            trick(who, format!("challenge {challenge:.150}")).fault(Scope::Get, does)
        })
    });
    play(tricks.collect(), 60);
}

/// The places to which a redirect could lead.
fn elsewhere(own: &str, path: &str) -> Vec<String> {
    vec![
        format!("https://{own}{path}/other"),
        format!("https://{own}:8443{path}"),
        format!("http://{own}{path}"),
        format!("https://evil.example{path}"),
        format!("http://evil.example{path}"),
        format!("//evil.example{path}"),
        format!("https://{own}@evil.example{path}"),
        format!("http://169.254.169.254{path}"),
        format!("https://169.254.169.254{path}"),
    ]
}

#[test]
fn no_redirect_takes_anything_anywhere() {
    let mut tricks = Vec::new();
    for code in [301, 302, 303, 307, 308] {
        let mut add = |who, scope: Scope, location: &String| {
            let does = Does::Redirect { code, location: location.clone() };
            tricks.push(trick(who, format!("{code} of {scope:?} {location}")).fault(scope, does));
        };
        for location in elsewhere("my-vault.vault.azure.net", "/secrets/ftpadmin") {
            add(Who::Secret, Scope::Get, &location);
        }
        for location in elsewhere("login.microsoftonline.com", "/tenant/oauth2/v2.0/token") {
            add(Who::Secret, Scope::Entra, &location);
            if matches!(code, 307 | 308) {
                add(Who::Key, Scope::Entra, &location);
                add(Who::Pod, Scope::Entra, &location);
                add(Who::From, Scope::Entra, &location);
            }
        }
        for location in elsewhere("169.254.169.254", "/metadata/identity/oauth2/token") {
            add(Who::Machine, Scope::Token, &location);
        }
        for location in elsewhere("sp-vault.vault.azure.net", "/secrets/sp").iter().skip(2).take(2)
        {
            add(Who::From, Scope::get_of("sp"), location);
        }
    }
    play(tricks, 150);
}

#[test]
fn no_header_or_field_of_an_answer_leads_anywhere() {
    let with = |code, name: &str, value: &str, body: &str| Does::Status {
        code,
        body: body.to_owned(),
        headers: vec![(name.to_owned(), value.to_owned())],
    };
    let mut tricks = Vec::new();
    for (name, value) in [
        ("Alt-Svc", "h2=\"evil.example:443\", h3=\":8443\""),
        ("Refresh", "0; url=https://evil.example/"),
        ("Link", "<https://evil.example/>; rel=\"next\""),
        ("Content-Location", "https://evil.example/"),
        ("Proxy-Authenticate", "Basic realm=\"evil\""),
        ("WWW-Authenticate", "Basic realm=\"evil\""),
        ("Set-Cookie", "x=y; Domain=evil.example"),
    ] {
        for code in [401, 407, 503] {
            let does = with(code, name, value, "");
            tricks.push(
                trick(Who::Secret, format!("{code} {name}")).fault(Scope::Entra, does.clone()),
            );
            tricks.push(trick(Who::Secret, format!("vault {code} {name}")).fault(Scope::Get, does));
        }
    }
    for body in [
        r#"{"error":"invalid_client","error_uri":"https://evil.example/"}"#,
        r#"{"token_endpoint":"https://evil.example/token","token_type":"Bearer"}"#,
        r#"{"access_token":"x","expires_in":60,"token_type":"Bearer","resource":"https://evil.example"}"#,
        r#"{"access_token":"x","expires_in":60,"token_type":"PoP"}"#,
        r#"{"access_token":"x\r\nHost: evil.example","expires_in":60,"token_type":"Bearer"}"#,
    ] {
        let does = Does::Body(body.to_owned());
        tricks.push(trick(Who::Secret, body).fault(Scope::Entra, does));
    }
    for place in elsewhere("my-vault.vault.azure.net", "/secrets").iter().skip(1) {
        let next = format!("{place}?api-version=7.4");
        let listed = trick(Who::Secret, format!("nextLink {next}"));
        let listed = listed.run(&["list", "my-vault"]);
        tricks.push(listed.fault(Scope::List, Does::NextLink(next)));
        let id = format!("{place}/ftpadmin/{{version}}");
        tricks.push(trick(Who::Secret, format!("id {id}")).fault(Scope::Get, Does::Id(id)));
    }
    play(tricks, 60);
}

#[test]
fn nothing_in_the_environment_leads_a_proof_elsewhere() {
    let mut tricks = Vec::new();
    for who in [Who::Machine, Who::Secret, Who::Pod, Who::From] {
        for name in [
            "http_proxy",
            "https_proxy",
            "all_proxy",
            "no_proxy",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "NO_PROXY",
        ] {
            let proxy = trick(who, name).set(name, "http://127.0.0.1:3128");
            tricks.push(proxy.ends(Ends::Well));
        }
    }
    for (name, values) in [
        (
            "AZURE_AUTHORITY_HOST",
            &[
                "https://evil.example",
                "https://login.microsoftonline.com.evil.example/",
                "https://login.microsoftonline.com@evil.example/",
                "http://login.microsoftonline.com/",
                "https://login.microsoftonline.us/",
                "https://login.microsoftonline.com:8443/",
                "https://login.microsoftonline.com/evil",
            ][..],
        ),
        ("AZURE_TENANT_ID", &["../evil", "evil.example/x", "//evil.example", "a?b", "a#b", "a@b"]),
        ("AZURE_CLIENT_ID", &["evil.example", "*"]),
        ("AZURE_KUBERNETES_SNI_NAME", &["evil.example"]),
        ("AZURE_KUBERNETES_CA_FILE", &["/etc/ssl/certs/ca-certificates.crt"]),
        (
            "AZURE_KUBERNETES_TOKEN_PROXY",
            &[
                "http://evil.example",
                "http://127.0.0.1:3128",
                "https://me@evil.example",
                "https://evil.example/?x",
                "https://evil.example/#x",
                "evil.example",
            ],
        ),
    ] {
        for value in values {
            let pod = trick(Who::Pod, format!("{name}={value}")).set(name, value);
            tricks.push(pod.ends(Ends::Before));
        }
    }
    for value in ["http://192.0.2.66/msi/token", "http://evil.example", "ftp://127.0.0.1/"] {
        for (name, other) in [
            ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"),
            ("IDENTITY_ENDPOINT", "IMDS_ENDPOINT"),
            ("MSI_ENDPOINT", "MSI_SECRET"),
            ("MSI_ENDPOINT", "X"),
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "X"),
        ] {
            let machine = trick(Who::Machine, format!("{name}={value} {other}"));
            let machine = machine.set(name, value).set(other, "c4nary-of-a-header");
            tricks.push(machine.ends(Ends::Before));
        }
    }
    play(tricks, 60);
}

#[test]
fn no_vault_that_somebody_else_names_is_believed() {
    let mut tricks = Vec::new();
    for (number, name) in NO_NAMES.into_iter().enumerate() {
        for who in [Who::Machine, Who::Secret] {
            let tag = trick(who, format!("the tag is {name:?}"));
            let tag = tag.run(&["get", &format!("tag:t{number}"), "ftpadmin"]);
            tricks.push(tag.ends(Ends::AfterMetadata));
        }
        let identity = format!("--identity=from:{name}/sp");
        let from = trick(Who::Machine, &identity).ends(Ends::Before);
        tricks.push(from.run(&["get", &identity, "my-vault", "ftpadmin"]));
    }
    for vault in [
        "evil.example",
        "https://evil.example",
        "my-vault.vault.azure.net.evil.example",
        "https://my-vault.vault.azure.net@evil.example",
        "https://my-vault.vault.azure.net\\@evil.example",
        "https://evil.example/my-vault.vault.azure.net",
        "https://evil.example#.vault.azure.net",
        "https://evil.example?.vault.azure.net",
        "evilvault.azure.net",
        "https://vault.azure.net",
        "http://my-vault.vault.azure.net",
        "my-vault.privatelink.vaultcore.azure.net",
        "a.b.vault.azure.net",
        "169.254.169.254",
    ] {
        for who in [Who::Machine, Who::Secret] {
            let typed = trick(who, format!("typed {vault}")).ends(Ends::Before);
            tricks.push(typed.run(&["get", vault, "ftpadmin"]));
        }
    }
    play(tricks, 60);
}

#[test]
fn no_server_with_another_certificate_hears_anything() {
    let mut tricks = Vec::new();
    for who in [Who::Machine, Who::Secret, Who::Key, Who::Pod, Who::From] {
        let shows: [fn(&World); 3] = [
            |world| world.emulator.show_certificate(Certificate::OtherHost),
            |world| world.emulator.show_certificate(Certificate::SelfSigned),
            |world| world.emulator.show_certificate(Certificate::Expired),
        ];
        for (what, given) in ["another host's", "its own", "an old"].into_iter().zip(shows) {
            tricks.push(trick(who, format!("{what} certificate")).given(given));
        }
    }
    play(tricks, 15);
}

#[test]
fn no_credentials_in_a_vault_lead_elsewhere() {
    let Some(stage) = Stage::new() else { return };
    let (id, secret) = (&stage.principal.client_id, &stage.secret);
    for (tenant, client_id) in [
        ("../evil", id.as_str()),
        ("evil.example/x", id),
        ("//evil.example", id),
        ("https://evil.example", id),
        ("evil.example:443", id),
        ("x@evil.example", id),
        ("a?b", id),
        ("a#b", id),
        ("", id),
        (TENANT, "evil.example"),
        (TENANT, "a&client_secret=b"),
    ] {
        let credentials = json!({ "tenant": tenant, "appId": client_id, "password": secret });
        stage.world.emulator.vault("sp-vault").put("sp", &credentials.to_string());
        stage.play(&trick(Who::From, format!("{tenant} {client_id}")));
        assert_eq!(stage.world.emulator.count(|it| it.service == Service::Entra), 0);
    }
}

#[test]
fn no_agent_or_cluster_that_is_another_gets_a_key() {
    let Some(host) = Host::new(Kind::Arc) else { return };
    for realm in ["/etc/shadow", "/etc/pod.key", &format!("{KEYS}/../../x.key"), "evil.example"] {
        host.world.emulator.set_arc_realm(Some(realm));
        host.get(&["--open-timeout=300ms"]).failed(5);
        assert_eq!(host.world.emulator.violations(), [], "{realm}");
    }
    let Some(mut host) = Host::new(Kind::ServiceFabric) else { return };
    for thumbprint in ["00".repeat(20), "ab".repeat(20)] {
        host.set("IDENTITY_SERVER_THUMBPRINT", &thumbprint);
        host.get(&["--open-timeout=300ms"]).failed(5);
        assert_eq!(host.world.emulator.count(|_| true), 0, "{thumbprint}");
    }
}
