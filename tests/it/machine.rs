//! That the world is what it says it is: what it holds, what it trusts, and that it ends.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::time::Duration;

use akvfs_emulator::authority::Certificate;
use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::record::Service;
use rustix::process::Signal;

use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

const TOKEN: &str = "http://169.254.169.254/metadata/identity/oauth2/token\
                     ?api-version=2018-02-01&resource=https://vault.azure.net";
const SECRET: &str = "https://my-vault.vault.azure.net/secrets/ftpadmin?api-version=7.4";

/// Asks with reqwest on its defaults, which trusts what the platform trusts.
fn ask(world: &World, url: &str) -> Result<u16, String> {
    world.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = reqwest::Client::builder().no_proxy().timeout(LIMIT).build().unwrap();
        let answer = runtime.block_on(async { client.get(url).send().await });
        answer.map(|answer| answer.status().as_u16()).map_err(|error| format!("{error:?}"))
    })
}

/// What a failing test would have said.
fn complaint<T>(fails: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(fails)).err().expect("it does not fail");
    *panic.downcast::<String>().unwrap()
}

#[test]
fn the_metadata_service_and_the_vault_are_where_azure_has_them() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let script = format!(
        r#"token=$(curl -sS -H Metadata:true "{TOKEN}" | sed 's/.*access_token":"\([^"]*\).*/\1/')
           curl -sS -H "Authorization: Bearer $token" "{SECRET}""#
    );

    let bundle = world.sh(&script).ok();

    assert!(bundle.starts_with(r#"{"value":"s3cret","#), "{bundle}");
    assert_eq!(world.emulator.count(|request| request.service == Service::Vault), 1);
}

#[test]
fn the_platform_trusts_the_emulators_authority_and_no_other() {
    let Some(world) = World::new() else { return };
    assert_eq!(ask(&world, SECRET), Ok(401));

    world.emulator.show_certificate(Certificate::SelfSigned);
    let error = ask(&world, SECRET).unwrap_err();
    assert!(error.contains("InvalidCertificate(UnknownIssuer)"), "{error}");

    let bundle = world.read("/etc/ssl/certs/ca-certificates.crt").unwrap();
    assert_eq!(bundle, world.emulator.authority_pem().as_bytes());
    assert_eq!(world.sh("ls /etc/ssl/certs").ok(), "ca-certificates.crt\n");
}

#[test]
fn nothing_but_the_named_hosts_can_be_reached() {
    let Some(world) = World::new() else { return };
    let evil = "https://evil.example/";
    let unknown = ask(&world, evil).unwrap_err();
    assert!(unknown.contains("Name or service not known"), "{unknown}");

    world.lose_resolver();
    let unknown = ask(&world, evil).unwrap_err();
    assert!(unknown.contains("Temporary failure in name resolution"), "{unknown}");

    world.name_host("evil.example");
    assert_eq!(ask(&world, evil), Ok(404));

    world.cut_network();
    let gone = ask(&world, SECRET).unwrap_err();
    assert!(gone.contains("Network is unreachable"), "{gone}");
    world.mend_network();
    assert_eq!(ask(&world, SECRET), Ok(401));
}

#[test]
fn two_worlds_are_two_machines() {
    let (Some(one), Some(other)) = (World::new(), World::new()) else { return };
    one.write("/etc/fstab", "one\n");
    one.write("/run/one", "one\n");

    assert_eq!(ask(&one, SECRET), Ok(401));
    assert_eq!(other.emulator.requests().len(), 0);
    assert_eq!(other.run_files().len(), 0);
    assert_ne!(other.read("/etc/fstab").unwrap_or_default(), b"one\n");
    assert_ne!(std::fs::read("/etc/fstab").unwrap_or_default(), b"one\n");
    assert_eq!(one.run_files().len(), 1);
}

#[test]
fn a_program_starts_with_path_alone_for_an_environment() {
    let Some(world) = World::new() else { return };
    let environment = world.run("env", &[]).ok();
    assert!(environment.starts_with("PATH="), "{environment}");
    assert_eq!(environment.lines().count(), 1, "{environment}");
    let akvfs = world.akvfs(&["--version"]);
    assert!(akvfs.code.is_some() && akvfs.took < LIMIT, "{akvfs:?}");
    assert!(!world.sh("exit 3").failed(3).contains("hang"));
}

#[test]
fn a_child_that_hangs_is_killed_and_named() {
    let Some(world) = World::new() else { return };
    let sleeper = world.spawn(world.command("sleep").arg("1000"));
    let message = complaint(|| sleeper.wait(Duration::from_millis(50)));
    assert!(message.contains("it hangs") && message.contains("sleep"), "{message}");

    let mut forker = world.command("sh");
    forker.args(["-c", "sleep 1000 & exit 0"]);
    let message = complaint(|| world.spawn(&mut forker).wait(LIMIT));
    assert!(message.contains("its pipes outlive it"), "{message}");
    // The sleeper it left behind is in the world, and nowhere else to be found.
    let left = world.processes();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0].arguments[..2], ["sleep", "1000"]);
    left[0].kill();
    until("the sleeper is gone", || world.processes().is_empty());
}

#[test]
fn a_child_can_be_signalled_and_seen() {
    let Some(world) = World::new() else { return };
    let mut spinner = world.spawn(world.command("sh").args(["-c", "while :; do :; done"]));
    let process = world.processes().into_iter().find(|process| process.pid == spinner.pid());
    let process = process.unwrap();
    until("it uses the CPU", || process.cpu_ticks() > 0);
    assert!(spinner.runs());
    spinner.signal(Signal::TERM);
    assert_eq!(spinner.wait(LIMIT).signal, Some(15));
}

#[test]
fn a_world_that_is_dropped_leaves_nothing_and_complains_of_what_was_left() {
    let Some(world) = World::new() else { return };
    let left = world.spawn(world.command("setsid").args(["sleep", "1000"]));
    until("it runs", || world.processes().iter().any(|process| process.arguments[0] == "sleep"));

    let message = complaint(|| drop(world));
    assert!(message.contains("left behind") && message.contains("sleep"), "{message}");
    assert_eq!(left.wait(LIMIT).signal, Some(9));
}

#[test]
fn a_violation_fails_the_test_that_does_not_expect_it() {
    let Some(world) = World::new() else { return };
    world.emulator.inject(Fault::always(Scope::Token, Kind::status(500)));
    world.sh(&format!("curl -sS -H X-Forwarded-For:10.0.0.1 {SECRET}")).ok();
    let message = complaint(|| drop(world));
    assert!(message.contains("proxy"), "{message}");

    let Some(world) = World::new() else { return };
    world.expect_violations();
    world.sh(&format!("curl -sS -H X-Forwarded-For:10.0.0.1 {SECRET}")).ok();
}

#[test]
fn a_mount_is_gone_when_its_guard_is() {
    let Some(world) = World::new() else { return };
    let directory = world.directory();
    let path = directory.to_str().unwrap();
    world.run("mount", &["-n", "-t", "tmpfs", "nothing", path]).ok();
    let mounted = world.mounted_at(directory.clone());
    assert!(mounted.is_mounted());
    let file = mounted.path("file");
    world.write(file.to_str().unwrap(), "content");
    assert_eq!(mounted.read("file").unwrap(), b"content");
    assert_eq!(mounted.cat("file").ok(), "content");
    assert!(!std::path::Path::new(mounted.directory()).exists(), "it is seen outside");

    drop(mounted);

    assert!(world.table().iter().all(|line| line.directory != directory));
    let line = &world.table()[0];
    assert_eq!((line.directory.to_str(), line.source.is_empty()), (Some("/"), false));
    assert!(line.options.iter().any(|option| option == "rw" || option == "ro"));
}

#[test]
fn the_production_binary_asks_on_its_defaults() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    world.vault().put("web", "other");

    assert_eq!(world.akvfs(&["get", "my-vault", "ftpadmin"]).ok(), "s3cret");
    assert_eq!(world.akvfs(&["list", "my-vault"]).ok(), "ftpadmin\nweb\n");
}

#[test]
fn a_mount_is_served_by_processes_in_the_world() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");

    let mounted = world.mount(&["refresh=5s"]);

    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    for role in ["supervisor", "relay", "worker"] {
        assert!(world.process(role).is_some(), "{role}: {:#?}", world.processes());
    }
    assert_eq!(world.mounts().len(), 1, "{:#?}", world.mounts());
}

/// Seen once: the end of one world cut the connections of mounts that it had only inherited.
#[test]
fn a_world_lets_go_of_others_mounts_and_its_end_is_not_theirs() {
    let Some(other) = World::new() else { return };
    other.vault().put("ftpadmin", "s3cret");
    let mounted = other.mount(&[]);

    let Some(world) = other.inside(World::new) else { return };
    assert_eq!(world.mounts().len(), 0);
    drop(world);

    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
}
