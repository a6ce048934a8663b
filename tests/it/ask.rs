//! `akvfs get` and `akvfs list`: bytes, exit codes and patience, in the world.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::time::Duration;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::identity::Identity;
use akvfs_emulator::record::Request;
use akvfs_emulator::vault::Change;
use akvfs_emulator::vault::Refusal;
use serde_json::Value;
use serde_json::json;

use crate::world::LIMIT;
use crate::world::World;

#[test]
fn get_writes_the_bytes_of_the_value_and_nothing_else() {
    let Some(world) = World::new() else { return };
    let values = [
        "",
        "x",
        "alice",
        " two blanks  ",
        "ends in a line feed\n",
        "\u{feff}DB_USER=app\r\nDB_PASS=s3cret\r\n",
        "nul \0 and \u{1b}[2J",
        "{\"tenant\": \"x\"}",
        "TUlJ\nSi4u\n==",
        &"\u{e9}".repeat(12_800),
    ];
    for value in values {
        world.vault().put("ftpadmin", value);
        let ran = world.akvfs(&["get", "my-vault", "ftpadmin"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        assert_eq!(ran.stdout, value.as_bytes());
        let mut with = value.as_bytes().to_vec();
        if !value.is_empty() && !value.ends_with('\n') {
            with.push(b'\n');
        }
        let ran = world.akvfs(&["get", "--newline", "my-vault", "ftpadmin"]);
        assert_eq!(ran.stdout, with, "{value:?}");
    }
    // A terminal is sent the same.
    world.vault().put("ftpadmin", "alice");
    let terminal = "script -qec 'akvfs get my-vault ftpadmin' /dev/null </dev/null";
    let path = format!("PATH={}:$PATH", folder_of_akvfs());
    assert_eq!(world.sh(&format!("{path} {terminal}")).ok(), "alice");
}

#[test]
fn one_get_is_one_token_at_most_one_challenge_and_one_answer() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    world.akvfs(&["get", "my-vault", "ftpadmin"]).ok();
    let count = |like: fn(&Request) -> bool| world.emulator.count(like);
    assert_eq!(count(Request::is_token), 1);
    assert_eq!(count(|it| it.is_get_of("ftpadmin") && it.was_answered(200)), 1);
    assert!(count(|it| it.was_answered(401)) <= 1);
    assert_eq!(count(Request::is_list), 0);
}

#[test]
fn a_secret_is_found_by_name_in_any_case_by_version_and_by_url() {
    let Some(world) = World::new() else { return };
    let old = world.vault().put("FtpAdmin", "old");
    world.vault().put("FtpAdmin", "new");
    world.vault().put("-dash", "dashed");
    let host = "https://my-vault.vault.azure.net";
    let cases = [
        (vec!["my-vault", "FtpAdmin"], "new"),
        (vec!["my-vault", "ftpadmin"], "new"),
        (vec!["MY-VAULT", "FTPADMIN"], "new"),
        (vec!["my-vault.vault.azure.net", "FtpAdmin"], "new"),
        (vec![host, "FtpAdmin"], "new"),
        (vec!["my-vault", "--", "-dash"], "dashed"),
    ];
    for (arguments, value) in cases {
        let arguments = [vec!["get"], arguments].concat();
        assert_eq!(world.akvfs(&arguments).ok(), value, "{arguments:?}");
    }
    let urls = [
        (format!("{host}/secrets/FtpAdmin"), "new"),
        (format!("{host}/secrets/ftpadmin/"), "new"),
        (format!("{host}/secrets/FtpAdmin/{old}"), "old"),
        ("my-vault.vault.azure.net/secrets/FtpAdmin".to_owned(), "new"),
    ];
    for (url, value) in urls {
        assert_eq!(world.akvfs(&["get", &url]).ok(), value, "{url}");
    }
}

/// Runs `get` with a time-out of a second, which must fail: its message, and its hint.
fn refused(world: &World, code: i32, name: &str) -> (String, String) {
    let ran = world.akvfs(&["get", "--open-timeout=1s", "my-vault", name]);
    assert_eq!(ran.code, Some(code), "{name}: {}", ran.stderr);
    assert!(ran.stdout.is_empty());
    assert!(ran.took < Duration::from_secs(3), "{:?}", ran.took);
    let (message, hint) = ran.stderr.split_once('\n').unwrap();
    assert!(message.starts_with("akvfs: "), "{message}");
    assert!(hint.is_empty() || hint.starts_with("hint: "), "{hint}");
    assert!(!ran.stderr.contains("s3cret"), "{}", ran.stderr);
    (message.to_owned(), hint.to_owned())
}

#[test]
fn each_refusal_has_its_exit_code_and_its_hint() {
    let Some(world) = World::new() else { return };
    let vault = world.vault();
    vault.put("ftpadmin", "s3cret");
    let (message, _) = refused(&world, 3, "nope");
    assert!(message.contains("nope") && message.contains("my-vault"), "{message}");
    vault.disable("ftpadmin");
    let (message, hint) = refused(&world, 4, "ftpadmin");
    assert!(message.contains("disabled") && hint.contains("enable"), "{message} {hint}");
    vault.enable("ftpadmin");
    let words = [
        (Refusal::Rbac, "up to ten minutes"),
        (Refusal::Policy, "access policies"),
        (Refusal::AccessDenied, "access policies"),
        (Refusal::Firewall, "firewall"),
        (Refusal::Connection, "DNS"),
    ];
    for (refusal, word) in words {
        vault.deny_get("ftpadmin", refusal);
        let (_, hint) = refused(&world, 4, "ftpadmin");
        assert!(hint.contains(word), "{refusal:?}: {hint}");
    }
    vault.allow_get("ftpadmin");
    vault.delete("ftpadmin");
    refused(&world, 3, "ftpadmin");
}

#[test]
fn each_identity_that_is_none_is_exit_4_and_says_what_to_do() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    world.emulator.imds().set_system(None);
    let (message, hint) = refused(&world, 4, "ftpadmin");
    assert!(message.contains("no managed identity") && hint.contains("attach"), "{message}");
    let [one, two] = [1, 2].map(Identity::numbered);
    let client_id = one.client_id.clone();
    world.emulator.imds().add_user(one);
    world.emulator.imds().add_user(two);
    let (message, hint) = refused(&world, 4, "ftpadmin");
    assert!(message.contains("several") && hint.contains("client-id:"), "{message} {hint}");
    let choice = format!("--identity=client-id:{client_id}");
    assert_eq!(world.akvfs(&["get", &choice, "my-vault", "ftpadmin"]).ok(), "s3cret");
    let mut command = world.command("akvfs");
    command.env("AZURE_CLIENT_ID", &client_id).args(["get", "my-vault", "ftpadmin"]);
    assert_eq!(world.spawn(&mut command).wait(LIMIT).ok(), "s3cret");
}

#[test]
fn what_does_not_answer_or_makes_no_sense_is_exit_5_in_time() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let faults = [
        Fault::always(Scope::Get, Kind::Hang),
        Fault::always(Scope::Get, Kind::Reset),
        Fault::always(Scope::Get, Kind::Close),
        Fault::always(Scope::Get, Kind::Truncated),
        Fault::always(Scope::Get, Kind::status(429)),
        Fault::always(Scope::Get, Kind::status(503)),
        Fault::always(Scope::Get, Kind::throttled("3600")),
        Fault::always(Scope::Get, Kind::html(403)),
        Fault::always(Scope::Get, Kind::Body("{\"value\": 17}".to_owned())),
        Fault::always(Scope::Get, Kind::Body("s3cret".to_owned())),
        Fault::always(Scope::Token, Kind::Hang),
        Fault::always(Scope::Token, Kind::Reset),
        Fault::always(Scope::Token, Kind::status(410)),
        Fault::always(Scope::Token, Kind::status(500)),
        Fault::always(Scope::Token, Kind::Body("{}".to_owned())),
    ];
    for fault in faults {
        let what = format!("{fault:?}");
        let fault = world.emulator.inject(fault);
        let (message, _) = refused(&world, 5, "ftpadmin");
        assert!(message.len() > 30, "{what}: {message}");
        world.emulator.clear(fault);
    }
    world.cut_network();
    refused(&world, 5, "ftpadmin");
    world.mend_network();
    let (message, hint) = {
        let ran = world.akvfs(&["get", "no-such-vault", "ftpadmin"]);
        assert!(ran.took < Duration::from_secs(5), "a name that there is not is not waited for");
        let text = ran.failed(5);
        let (message, hint) = text.split_once('\n').unwrap();
        (message.to_owned(), hint.to_owned())
    };
    assert!(message.contains("no-such-vault"), "{message}");
    assert!(hint.contains("misspelt"), "{hint}");
}

#[test]
fn what_passes_is_waited_for() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let kinds = [
        (Scope::Get, Kind::status(429)),
        (Scope::Get, Kind::throttled("1")),
        (Scope::Get, Kind::status(503)),
        (Scope::Get, Kind::Reset),
        (Scope::Token, Kind::status(500)),
        (Scope::Token, Kind::status(429)),
    ];
    for (scope, kind) in kinds {
        let what = format!("{scope:?} {kind:?}");
        world.emulator.inject(Fault::times(1, scope, kind));
        let ran = world.akvfs(&["get", "my-vault", "ftpadmin"]);
        assert_eq!(ran.code, Some(0), "{what}: {}", ran.stderr);
        assert_eq!((ran.stdout.as_slice(), ran.stderr.as_str()), (&b"s3cret"[..], ""), "{what}");
    }
    let hang = world.emulator.inject(Fault::times(1, Scope::Get, Kind::Hang));
    let ran = world.akvfs(&["get", "--open-timeout=4s", "my-vault", "ftpadmin"]);
    assert_eq!(ran.ok(), "s3cret", "one lost answer leaves time for another try");
    world.emulator.clear(hang);
}

#[test]
fn verbose_says_what_is_tried_again_and_no_value() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    world.emulator.inject(Fault::times(1, Scope::Get, Kind::status(503)));
    let ran = world.akvfs(&["get", "-vv", "my-vault", "ftpadmin"]);
    assert_eq!(ran.stdout, b"s3cret");
    assert!(ran.stderr.contains("503") && !ran.stderr.contains("s3cret"), "{}", ran.stderr);
    for token in world.emulator.imds().tokens() {
        assert!(!ran.stderr.contains(&token));
    }
}

#[test]
fn a_value_that_finds_no_room_or_no_reader_is_no_panic() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", &"s3cret".repeat(4000));
    let path = format!("PATH={}:$PATH", folder_of_akvfs());
    let ran = world.sh(&format!("{path} akvfs get my-vault ftpadmin >/dev/full"));
    assert_eq!(ran.failed(2), "akvfs: cannot write the output: No space left on device\n");
    let ran = world.sh(&format!("{{ {path} akvfs get my-vault ftpadmin; echo $? >&2; }} | true"));
    assert_eq!(ran.stderr, "141\n");
}

#[test]
fn list_writes_every_name_once_in_order_whatever_the_pages() {
    let Some(world) = World::new() else { return };
    let vault = world.vault();
    let names: Vec<String> = (0..60).map(|number| format!("secret-{number:02}")).collect();
    for name in names.iter().rev() {
        vault.put(name, "s3cret");
    }
    vault.disable("secret-07");
    for pages in [vec![25], vec![1, 0, 0, 7, 25], vec![0, 25]] {
        vault.page_sizes(pages);
        let listed = world.akvfs(&["list", "my-vault"]).ok();
        assert_eq!(listed.lines().collect::<Vec<_>>(), names);
    }
    assert_eq!(world.emulator.count(Request::is_get), 0);
    let path = format!("PATH={}:$PATH", folder_of_akvfs());
    let terminal = "script -qec 'akvfs list my-vault' /dev/null </dev/null";
    let shown = world.sh(&format!("{path} {terminal}")).ok();
    let marked: Vec<&str> = shown.lines().filter(|line| line.contains("(disabled)")).collect();
    assert_eq!(marked.len(), 1, "{shown}");
    assert!(marked[0].starts_with("secret-07"), "{shown}");
}

#[test]
fn list_json_has_all_that_the_vault_says() {
    let Some(world) = World::new() else { return };
    let vault = world.vault();
    assert_eq!(world.akvfs(&["list", "--json", "my-vault"]).ok(), "[]\n");
    assert_eq!(world.akvfs(&["list", "my-vault"]).ok(), "");
    vault.put("plain", "s3cret");
    vault.put("rich", "s3cret");
    vault.change(
        "rich",
        Change {
            enabled: Some(false),
            nbf: Some(0),
            exp: Some(1_709_164_800),
            created: Some(951_782_400),
            updated: Some(951_782_401),
            content_type: Some("application/x-pkcs12".to_owned()),
            tags: Some(BTreeMap::from([("file-encoding".to_owned(), "base64".to_owned())])),
            managed: Some(true),
        },
    );
    let text = world.akvfs(&["list", "my-vault", "--json"]).ok();
    assert!(!text.contains("s3cret"));
    let listed: Value = serde_json::from_str(&text).unwrap();
    let rich = json!({
        "name": "rich",
        "enabled": false,
        "created": "2000-02-29T00:00:00Z",
        "updated": "2000-02-29T00:00:01Z",
        "expires": "2024-02-29T00:00:00Z",
        "notBefore": "1970-01-01T00:00:00Z",
        "contentType": "application/x-pkcs12",
        "tags": {"file-encoding": "base64"},
        "managed": true,
    });
    assert_eq!(listed[1], rich);
    let members = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&listed[0]), members(&rich), "what is not known is null, and there");
    assert_eq!(listed[0]["expires"], Value::Null);
    assert_eq!(listed.as_array().unwrap().len(), 2);
}

#[test]
fn a_list_that_is_refused_or_never_ends_is_an_error_and_prints_nothing() {
    let Some(world) = World::new() else { return };
    let vault = world.vault();
    for number in 0..30 {
        vault.put(&format!("secret-{number:02}"), "s3cret");
    }
    vault.deny_list(Refusal::Policy);
    let ran = world.akvfs(&["list", "my-vault"]);
    assert!(ran.stdout.is_empty());
    assert!(ran.failed(4).contains("permissions get and list"));
    vault.allow_list();
    let round =
        "https://my-vault.vault.azure.net/secrets?api-version=7.4&$skiptoken=x&maxresults=25";
    let fault = world.emulator.inject(Fault::always(Scope::List, Kind::NextLink(round.to_owned())));
    let ran = world.akvfs(&["list", "my-vault"]);
    assert!(ran.stdout.is_empty());
    assert!(ran.took < Duration::from_secs(5));
    ran.failed(5);
    world.emulator.clear(fault);
    assert_eq!(world.akvfs(&["list", "my-vault"]).ok().lines().count(), 30);
}

#[test]
fn the_roots_of_a_file_are_trusted_instead_of_the_systems() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    world.write("/etc/ca.pem", world.emulator.authority_pem());
    for bundle in ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"] {
        world.write(bundle, "");
    }
    let said = world.akvfs(&["get", "my-vault", "ftpadmin"]).failed(2);
    assert!(said.contains("no CA certificates"), "{said}");
    let ran = world.akvfs(&["get", "--ca-file=/etc/ca.pem", "my-vault", "ftpadmin"]);
    assert_eq!(ran.ok(), "s3cret");
}

#[test]
fn no_proxy_of_the_environment_is_used() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let mut command = world.command("akvfs");
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:1");
    }
    command.arg0("akvfs").args(["get", "my-vault", "ftpadmin"]);
    assert_eq!(world.spawn(&mut command).wait(LIMIT).ok(), "s3cret");
}

#[test]
fn nothing_is_asked_where_the_output_cannot_be_opened() {
    // A shell would not start the program at all; what is given is what is written to.
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let mut command = world.command("akvfs");
    command.args(["get", "my-vault", "ftpadmin"]);
    let read_only = File::open("/dev/null").unwrap();
    let status =
        world.inside(|| command.stdout(read_only).stderr(std::process::Stdio::null()).status());
    assert_eq!(status.unwrap().code(), Some(2));
}

fn folder_of_akvfs() -> &'static str {
    env!("CARGO_BIN_EXE_akvfs").rsplit_once('/').unwrap().0
}
