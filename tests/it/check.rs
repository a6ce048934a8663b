//! What mounting asks, what it takes for fatal, and what heals by itself.

use std::time::Duration;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::identity::Identity;
use akvfs_emulator::record::Request;
use akvfs_emulator::vault::Refusal;

use crate::mounted::Mounted;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

fn filled() -> Option<World> {
    let world = World::new()?;
    world.vault().put("ftpadmin", "s3cret");
    Some(world)
}

/// Mounts, which must work with one warning, in time.
#[track_caller]
fn warned<'a>(world: &'a World, options: &str) -> (Mounted<'a>, String) {
    let (mounted, ran) = world.mount_with_complaints(options);
    assert!(ran.took < READY, "{ran:?}");
    assert_eq!(ran.stderr.matches("akvfs: warning: ").count(), 1, "{ran:?}");
    assert!(ran.stderr.lines().count() <= 2 && ran.stdout.is_empty(), "{ran:?}");
    (mounted, ran.stderr)
}

#[track_caller]
fn heals(mounted: &Mounted<'_>) {
    until("it heals", || mounted.cat("ftpadmin").stdout == b"s3cret");
    assert_eq!(
        mounted.world().run("ls", &[mounted.directory().to_str().unwrap()]).ok(),
        "ftpadmin\n"
    );
}

#[test]
fn with_everything_away_it_mounts_in_time_with_one_warning_and_heals() {
    let Some(world) = filled() else { return };
    world.cut_network();
    let (mounted, said) = warned(&world, "refresh=500ms,open-timeout=1s");
    assert!(said.contains("no token from the metadata service: no connection: "), "{said}");
    assert_eq!(mounted.cat("ftpadmin").code, Some(1));
    world.mend_network();
    heals(&mounted);
}

#[test]
fn a_vault_that_hangs_holds_nobody_up_and_heals() {
    let Some(world) = filled() else { return };
    let hang = world.emulator.inject(Fault::always(Scope::Everything, Kind::Hang));
    let (mounted, _) = warned(&world, "refresh=500ms,open-timeout=1s");
    assert_eq!(mounted.cat("ftpadmin").code, Some(1));
    world.emulator.clear(hang);
    heals(&mounted);
}

#[test]
fn without_an_identity_it_mounts_and_each_open_says_why() {
    let Some(world) = filled() else { return };
    world.emulator.imds().set_system(None);
    let (mounted, said) = warned(&world, "rw");
    assert!(said.contains("no managed identity"), "{said}");
    let error = mounted.cat("ftpadmin").failed(1);
    assert!(error.contains("Required key not available"), "{error}");
}

/// Seen in the field: a role that was granted a minute ago takes ten minutes to work, and services
/// are restarted in vain meanwhile.
#[test]
fn a_role_that_is_granted_later_needs_no_new_mount_and_no_new_token() {
    let Some(world) = filled() else { return };
    let vault = world.vault();
    vault.deny_get("*", Refusal::Rbac);
    vault.deny_list(Refusal::Rbac);
    let (mounted, said) = warned(&world, "refresh=1s");
    assert!(said.contains("up to ten minutes"), "{said}");
    for _ in 0..100 {
        assert!(mounted.read("ftpadmin").is_err());
    }
    let gets = world.emulator.count(|request| request.is_get_of("ftpadmin"));
    assert!(gets <= 8, "{gets} requests for 100 tries");
    assert!(mounted.cat("ftpadmin").failed(1).contains("Permission denied"));
    let tokens = world.emulator.count(Request::is_token);
    vault.allow_get("*");
    vault.allow_list();
    heals(&mounted);
    assert_eq!(world.emulator.count(Request::is_token), tokens);
}

#[test]
fn without_list_it_mounts_with_a_warning_and_serves() {
    let Some(world) = filled() else { return };
    world.vault().deny_list(Refusal::Policy);
    let (mounted, said) = warned(&world, "rw");
    assert!(said.contains("list of my-vault") && said.contains("get alone"), "{said}");
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
}

#[test]
fn check_off_asks_nobody_and_is_silent() {
    let Some(world) = filled() else { return };
    let mounted = world.mount(&["check=off"]);
    assert_eq!(world.emulator.requests().len(), 0);
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    drop(mounted);
    world.cut_network();
    let mounted = world.mount(&["check=off", "open-timeout=300ms"]);
    assert_eq!(mounted.cat("ftpadmin").code, Some(1));
    world.mend_network();
}

#[test]
fn check_strict_works_only_where_token_and_vault_do() {
    let Some(world) = filled() else { return };
    let mounted = world.mount(&["check=strict"]);
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    drop(mounted);
    let directory = world.directory();
    let at = directory.to_str().unwrap();
    world.emulator.inject(Fault::always(Scope::Vault, Kind::status(503)));
    let ran = world.akvfs(&["mount", "my-vault", at, "--check=strict"]);
    assert!(ran.took < READY, "{ran:?}");
    assert!(ran.failed(32).starts_with("akvfs: my-vault.vault.azure.net: "));
    until("nothing is left", || world.mounts().is_empty() && world.akvfs_processes().is_empty());
    assert_eq!(world.run_files().len(), 0);
    // The same place can be mounted as if nothing had been.
    let mounted = world.mounted_at(directory.clone());
    assert_eq!(world.akvfs(&["mount", "my-vault", at]).code, Some(0));
    assert!(mounted.is_mounted());
}

#[test]
fn a_choice_that_only_a_person_can_make_is_fatal_and_nothing_is_left() {
    let Some(world) = filled() else { return };
    let imds = world.emulator.imds();
    imds.set_system(None);
    imds.add_user(Identity::numbered(1));
    imds.add_user(Identity::numbered(2));
    let directory = world.directory();
    let at = directory.to_str().unwrap();
    let said = world.akvfs(&["mount", "my-vault", at]).failed(32);
    assert!(said.contains("several identities"), "{said}");
    for way in ["identity=client-id:", "identity=object-id:", "identity=resource-id:"] {
        assert!(said.contains(way), "{said}");
    }
    until("nothing is left", || world.mounts().is_empty() && world.akvfs_processes().is_empty());
    let options = format!("identity=client-id:{}", Identity::numbered(2).client_id);
    let mounted = world.mount(&[&options]);
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    drop(mounted);
    // Fatal at the mount, and no longer: an identity more, later, ends nobody's mount.
    imds.remove_user(&Identity::numbered(2).client_id);
    let mounted = world.mount(&["refresh=200ms"]);
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    imds.add_user(Identity::numbered(2));
    imds.expire_tokens();
    world.vault().put("ftpadmin", "another");
    until("it is seen", || mounted.read("ftpadmin").is_ok_and(|value| value == b"another"));
}

#[test]
fn whoever_gives_up_before_it_is_ready_leaves_nothing() {
    let Some(world) = filled() else { return };
    world.emulator.inject(Fault::always(Scope::Token, Kind::Hang));
    let directory = world.directory();
    let mut command = world.command("akvfs");
    command.args(["mount", "my-vault", directory.to_str().unwrap()]);
    let running = world.spawn(&mut command);
    assert!(world.emulator.wait_for(LIMIT, 1, Request::is_token));
    running.signal(rustix::process::Signal::TERM);
    assert_ne!(running.wait(LIMIT).code, Some(0));
    until("nothing is left", || world.mounts().is_empty() && world.akvfs_processes().is_empty());
    assert_eq!(world.run_files().len(), 0);
}

/// Within what a mount is ready, whatever is away.
const READY: Duration = Duration::from_secs(5);
