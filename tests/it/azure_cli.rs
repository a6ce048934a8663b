//! `az` on a laptop: started by its path, as the user who logged in, and left after a while.

use std::os::unix::fs::PermissionsExt;

use akvfs_emulator::record::Request;

use crate::canary::Canaries;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

const FOLDER: &str = "/etc/laptop";
const AZ: &str = "/etc/laptop/az";
/// What `az` was told, and by whom, in its own words.
const HEARD: &str = "/etc/laptop/heard";
const PATH: (&str, &str) = ("PATH", "relative:/no/such:/etc/laptop:/usr/bin:/bin");
const HOME: (&str, &str) = ("HOME", "/etc/laptop/home");
const GET: [&str; 4] = ["get", "--identity=azure-cli", "my-vault", "ftpadmin"];

/// A laptop on which `az` runs that script. Its token is good, and nobody else has one.
fn laptop(world: &World, script: &str) -> String {
    world.vault().put("ftpadmin", "s3cret");
    world.akvfs(&["get", "my-vault", "ftpadmin"]).ok();
    let token = world.emulator.imds().tokens()[0].clone();
    world.emulator.imds().set_system(None);
    world.emulator.reset_requests();
    world.inside(|| std::fs::create_dir_all(FOLDER).unwrap());
    world.write("/etc/laptop/token", &token);
    world.write(HEARD, "");
    world.write(AZ, format!("#!/bin/sh\n{script}"));
    world.inside(|| {
        for (path, mode) in [(AZ, 0o755), (HEARD, 0o666), ("/etc/laptop/token", 0o644)] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    });
    token
}

const GOOD: &str = r#"
{ echo "args $*"; echo "uid $(id -u)"; echo "home $HOME"; env | sed 's/=.*//' | sort; } >>/etc/laptop/heard
echo 'WARNING: a new version is available' >&2
printf '{"accessToken": "%s", "expiresOn": "2026-01-02 15:04:05.999999", "expires_on": %s,
  "subscription": "s", "tenant": "t", "tokenType": "Bearer"}' "$(cat /etc/laptop/token)" $(($(date +%s) + 3600))
"#;

#[test]
fn az_is_run_once_with_these_arguments_and_in_this_environment() {
    let Some(world) = World::new() else { return };
    laptop(&world, GOOD);
    let environment =
        [PATH, HOME, ("AZURE_CONFIG_DIR", "/etc/laptop/azure"), ("AZURE_CLIENT_SECRET", "x")];
    assert_eq!(world.akvfs_with(&environment, &GET).ok(), "s3cret");
    let heard = String::from_utf8(world.read(HEARD).unwrap()).unwrap();
    let mut lines = heard.lines();
    assert_eq!(
        lines.next(),
        Some(
            "args account get-access-token --output json --scope https://vault.azure.net/.default"
        )
    );
    assert_eq!(lines.nth(1), Some("home /etc/laptop/home"));
    let mut names: Vec<&str> = lines.collect();
    // The shell's own.
    names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    assert_eq!(names, ["AZURE_CONFIG_DIR", "HOME", "PATH", "TZ"]);
    assert_eq!(world.emulator.count(|request| request.is_token() || request.is_exchange()), 0);
}

#[test]
fn a_mount_runs_az_as_the_user_who_logged_in_or_not_at_all() {
    let Some(world) = World::new() else { return };
    let token = laptop(&world, GOOD);
    let mounted = world.mounted_at(world.directory());
    let directory = mounted.directory().to_str().unwrap();
    let mount = ["mount", "--identity=azure-cli", "my-vault", directory];
    let said = world.akvfs_with(&[PATH, HOME], &mount).failed(1);
    assert!(said.contains("run-as="), "{said}");
    assert_eq!(world.read(HEARD).unwrap(), b"", "root ran it");
    world.akvfs_with(&[PATH, HOME], &[&mount[..], &["--run-as=nobody"]].concat()).ok();
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"s3cret".to_vec()));
    let heard = String::from_utf8(world.read(HEARD).unwrap()).unwrap();
    assert!(heard.contains("uid 65534\nhome /nonexistent\n"), "{heard}");
    assert_eq!(heard.matches("args ").count(), 1, "{heard}");
    let mut canaries = Canaries::default();
    canaries.add(&token);
    for process in world.akvfs_processes() {
        for file in ["cmdline", "environ"] {
            let path = format!("/proc/{}/{file}", process.pid.as_raw_nonzero());
            canaries.look_into(&path, std::fs::read(&path).unwrap());
        }
    }
}

#[test]
fn what_az_complains_of_is_not_repeated() {
    let Some(world) = World::new() else { return };
    for (script, words) in [
        ("echo 'ERROR: alice@contoso.com: Please run az login' >&2; exit 1", "nobody is logged in"),
        ("echo 'ERROR: alice@contoso.com AADSTS50076' >&2; exit 1", "it fails"),
        ("echo 'alice@contoso.com'", "no token"),
        ("kill -9 $$", "it fails"),
    ] {
        laptop(&world, script);
        world.emulator.imds().set_system(Some(akvfs_emulator::identity::Identity::numbered(0)));
        let get = ["get", "-vv", "--open-timeout=2s", "--identity=azure-cli", "my-vault", "x"];
        let ran = world.akvfs_with(&[PATH, HOME], &get);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
        assert!(!ran.stderr.contains("alice"), "{}", ran.stderr);
        assert!(ran.code == Some(4) || ran.code == Some(5), "{ran:?}");
    }
    assert_eq!(world.emulator.count(Request::is_exchange), 0);
}

#[test]
fn an_az_that_says_nothing_is_left_and_leaves_nothing() {
    let Some(world) = World::new() else { return };
    laptop(&world, "sleep 1000 & sleep 1000");
    let get = ["get", "--open-timeout=1s", "--identity=azure-cli", "my-vault", "ftpadmin"];
    let mut command = world.command("akvfs");
    command.args(get).envs([PATH, HOME]);
    let ran = world.spawn(&mut command).wait(LIMIT);
    assert_eq!(ran.code, Some(5), "{ran:?}");
    until("it is gone", || world.processes().is_empty());
}

#[test]
fn without_a_choice_az_is_taken_where_there_is_no_metadata_service_and_never_later() {
    let Some(world) = World::new() else { return };
    laptop(&world, GOOD);
    let get = ["get", "my-vault", "ftpadmin", "-v"];
    // Somebody answers, so this is a machine in Azure, if one without an identity.
    let said = world.akvfs_with(&[PATH, HOME], &get).failed(4);
    assert!(said.contains("tokens come from the metadata service"), "{said}");
    assert_eq!(world.read(HEARD).unwrap(), b"");
    let metadata = "169.254.169.254/32";
    world.run("ip", &["addr", "del", metadata, "dev", "lo"]).ok();
    let ran = world.akvfs_with(&[PATH, HOME], &get);
    assert_eq!((ran.code, ran.stdout.as_slice()), (Some(0), &b"s3cret"[..]), "{ran:?}");
    assert!(ran.stderr.contains("tokens come from az (azure-cli)"), "{}", ran.stderr);
    assert!(ran.stderr.contains("nobody answers"), "{}", ran.stderr);
    // Root's worker is nobody who could have logged in.
    let without = world.mounted_at(world.directory());
    let directory = without.directory().to_str().unwrap();
    let ran = world.akvfs_with(&[PATH, HOME], &["mount", "my-vault", directory]);
    assert!(ran.code == Some(0) && ran.stderr.contains("the metadata service"), "{ran:?}");
    drop(without);
    // What a mount took it keeps, whoever answers now.
    let mounted = world.mounted_at(world.directory());
    let directory = mounted.directory().to_str().unwrap();
    let mount = ["mount", "my-vault", directory, "--run-as=nobody"];
    world.akvfs_with(&[PATH, HOME], &mount).ok();
    world.run("ip", &["addr", "add", metadata, "dev", "lo"]).ok();
    world.emulator.reset_requests();
    world.process("worker").unwrap().kill();
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"s3cret".to_vec()));
    assert_eq!(world.emulator.count(Request::is_token), 0);
}
