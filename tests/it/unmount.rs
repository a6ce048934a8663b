//! Taking a mount away: politely, lazily, forcibly, and who is in the way.

use std::process::Stdio;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::record::Request;

use crate::child::Running;
use crate::mounted::Mounted;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

fn filled() -> Option<World> {
    let world = World::new()?;
    world.vault().put("ftpadmin", "s3cret");
    Some(world)
}

/// Somebody who has the secret open and reads it once he is told to.
fn reader(world: &World, mounted: &Mounted<'_>) -> Running {
    let path = mounted.path("ftpadmin");
    let line = format!("exec 3<{}; echo open; read go; cat <&3", path.display());
    let mut command = world.command("sh");
    let running = world.spawn(command.args(["-c", &line]).stdin(Stdio::piped()));
    let opened = format!("/proc/{}/fd/3", running.pid().as_raw_nonzero());
    until("it is open", || std::fs::read_link(&opened).is_ok_and(|target| target == path));
    running
}

#[track_caller]
fn unmount(world: &World, mounted: &Mounted<'_>, how: &[&str]) -> String {
    let at = mounted.directory().to_str().unwrap();
    world.akvfs(&[&["unmount", at], how].concat()).ok()
}

#[test]
fn who_is_in_the_way_is_named_and_the_mount_stays() {
    let Some(world) = filled() else { return };
    let mounted = world.mount(&[]);
    let at = mounted.directory().to_str().unwrap();
    let reader = reader(&world, &mounted);
    let mut command = world.command("sleep");
    let guest = world.spawn(command.arg("1000").current_dir("/"));
    let line = format!("cd {at} && exec sleep 1000");
    let visitor = world.spawn(world.command("sh").args(["-c", &line]));
    let cwd = format!("/proc/{}/cwd", visitor.pid().as_raw_nonzero());
    until("he is inside", || {
        std::fs::read_link(&cwd).is_ok_and(|it| it == mounted.directory())
            && world.processes().iter().filter(|it| it.arguments[0] == "sleep").count() == 2
    });

    let said = world.akvfs(&["unmount", at]).failed(32);

    let expected = format!("akvfs: cannot unmount {at}: it is in use by ");
    assert!(said.starts_with(&expected), "{said}");
    for (name, running) in [("sh", &reader), ("sleep", &visitor)] {
        let named = format!("{name} (pid {})", running.pid().as_raw_nonzero());
        assert!(said.contains(&named), "{said}");
    }
    assert!(!said.contains(&format!("pid {}", guest.pid().as_raw_nonzero())), "{said}");
    assert!(said.contains("\nhint: --lazy "), "{said}");
    assert_eq!(world.run("umount", &[at]).code, Some(32));
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    drop((reader, visitor));
    until("they are gone", || world.run("umount", &[at]).code == Some(0));
}

#[test]
fn whoever_unmounts_is_not_named_as_in_the_way() {
    let Some(world) = filled() else { return };
    world.install();
    let mounted = world.mount(&[]);
    let said = world.sh(&format!("cd {} && akvfs unmount .", mounted.directory().display()));
    let said = said.failed(32);
    assert!(said.contains("in use by sh (pid ") && !said.contains("akvfs (pid"), "{said}");
}

#[test]
fn lazily_the_path_goes_and_open_files_are_served_to_their_end() {
    let Some(world) = filled() else { return };
    let mounted = world.mount(&[]);
    let mut reader = reader(&world, &mounted);
    assert_eq!(unmount(&world, &mounted, &["--lazy"]), "");
    assert!(!mounted.is_mounted());
    assert_eq!(world.run("ls", &[mounted.directory().to_str().unwrap()]).ok(), "");
    // Another mount can take its place meanwhile.
    let at = mounted.directory().to_str().unwrap();
    assert_eq!(world.akvfs(&["mount", "my-vault", at]).ok(), "");
    let both = world.akvfs_processes().len();
    reader.say("go\n");
    assert_eq!(reader.wait(LIMIT).ok(), "open\ns3cret");
    until("the first mount's processes are gone", || world.akvfs_processes().len() == both / 2);
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
}

#[test]
fn forcibly_whoever_waits_is_freed() {
    let Some(world) = filled() else { return };
    let mounted = world.mount(&["open-timeout=1m"]);
    let mut open = reader(&world, &mounted);
    world.emulator.inject(Fault::always(Scope::Get, Kind::Hang));
    let path = mounted.path("slow");
    let waiting = world.spawn(world.command("cat").arg(&path));
    assert!(world.emulator.wait_for(LIMIT, 1, |request: &Request| request.is_get_of("slow")));
    let at = mounted.directory().to_str().unwrap();
    assert!(world.akvfs(&["unmount", at]).failed(32).contains("in use by "));

    assert_eq!(unmount(&world, &mounted, &["--force"]), "");

    let freed = waiting.wait(LIMIT);
    assert!(freed.failed(1).contains("slow"));
    open.say("go\n");
    let error = open.wait(LIMIT).failed(1);
    assert!(error.contains("not connected"), "{error}");
    assert!(!mounted.is_mounted());
}

/// Seen in the field: one more place where the directory is bound keeps the file system alive.
#[test]
fn a_bind_of_the_directory_outlives_the_mount_and_nobody_waits_for_it() {
    let Some(world) = filled() else { return };
    let mounted = world.mount(&[]);
    let bound = world.directory();
    let [from, to] = [mounted.directory(), &bound].map(|path| path.to_str().unwrap());
    world.run("mount", &["-n", "--bind", from, to]).ok();
    let second = world.mounted_at(bound.clone());
    let ran = world.akvfs(&["unmount", from]);
    assert!(ran.took < std::time::Duration::from_secs(2), "{ran:?}");
    ran.ok();
    assert_eq!(second.cat("ftpadmin").ok(), "s3cret");
    assert_eq!(world.run("umount", &[to]).ok(), "");
    until("its processes are gone", || world.akvfs_processes().is_empty());
}

#[test]
fn umount_8_in_its_ways_leaves_nothing() {
    let Some(world) = filled() else { return };
    world.install();
    for ways in ["umount", "umount -l", "umount -f", "umount -n", "umount -i"] {
        let mounted = world.mount(&[]);
        assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
        let ran = world.sh(&format!("{ways} {}", mounted.directory().display()));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ways}");
        until("nothing is left", || {
            world.mounts().is_empty() && world.akvfs_processes().is_empty()
        });
    }
}
