//! mount(8), /etc/fstab and the types that people copy from tables, with the program installed.

use std::path::Path;

use crate::mounted::Mounted;
use crate::world::World;
use crate::world::until;

/// A world in which akvfs is installed, with a secret in its vault and a group `ftp`.
fn installed() -> Option<World> {
    let world = World::new()?;
    world.vault().put("ftpadmin", "s3cret");
    world.install();
    let groups = String::from_utf8(world.read("/etc/group").unwrap()).unwrap();
    let others = groups.lines().filter(|line| !line.starts_with("ftp:"));
    let others: Vec<&str> = others.collect();
    world.write("/etc/group", format!("{}\nftp:x:{FTP}:\n", others.join("\n")));
    Some(world)
}

/// Takes charge of the mount there, which must be the only one and look like this.
#[track_caller]
fn only<'a>(world: &'a World, directory: &Path, gid: u32, mode: &str) -> Mounted<'a> {
    let mounted = world.mounted_at(directory.to_owned());
    let mounts = world.mounts();
    assert_eq!(mounts.len(), 1, "{mounts:?}");
    assert_eq!(mounts[0].directory, directory);
    assert_eq!((mounts[0].kind.as_str(), mounts[0].source.as_str()), ("fuse.akvfs", "my-vault"));
    for option in ["ro", "nosuid", "nodev", "noexec", "default_permissions"] {
        assert!(mounts[0].options.iter().any(|has| has == option), "{option}: {mounts:?}");
    }
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
    let file = mounted.path("ftpadmin");
    let seen = world.run("stat", &["-c", "%a %u %g %s", file.to_str().unwrap()]).ok();
    assert_eq!(seen, format!("{mode} 0 {gid} 6\n"));
    mounted
}

#[track_caller]
fn umount(world: &World, directory: &Path) {
    assert_eq!(world.run("umount", &[directory.to_str().unwrap()]).ok(), "");
    nothing_is_mounted(world);
}

#[track_caller]
fn nothing_is_mounted(world: &World) {
    assert!(world.mounts().is_empty(), "{:?}", world.mounts());
    until("no process is left", || world.akvfs_processes().is_empty());
}

#[test]
fn a_line_of_fstab_mounts_and_mount_a_finds_it_mounted() {
    let Some(world) = installed() else { return };
    let directory = world.directory();
    let at = directory.to_str().unwrap();
    let table = directory.with_extension("fstab");
    let table = table.to_str().unwrap();
    let line = format!("my-vault {at} akvfs _netdev,allow_other,gid=ftp,mode=0440 0 0\n");
    world.write(table, &line);
    assert_eq!(world.run("mount", &["-a", "-T", table]).ok(), "");
    let mounted = only(&world, &directory, FTP, "440");
    assert_eq!(world.run("mount", &["-a", "-T", table]).ok(), "");
    drop(mounted);

    world.write("/etc/fstab", &line);
    assert_eq!(world.run("mount", &[at]).ok(), "");
    let _mounted = only(&world, &directory, FTP, "440");
    assert_eq!(world.run("findmnt", &["-no", "SOURCE,FSTYPE", at]).ok(), "my-vault fuse.akvfs\n");
    assert_eq!(world.run("mount", &["-a"]).ok(), "");
    assert_eq!(world.mounts().len(), 1);
    let again = world.run("mount", &[at]).failed(32);
    assert!(again.contains(at), "{again}");
    assert_eq!(world.run("umount", &["-a", "-t", "fuse.akvfs"]).ok(), "");
    nothing_is_mounted(&world);
}

#[test]
fn the_source_is_shown_as_typed_so_that_mount_a_finds_its_line() {
    let Some(world) = installed() else { return };
    let directory = world.directory();
    let at = directory.to_str().unwrap();
    for source in ["MY-VAULT", "my-vault.vault.azure.net", "https://my-vault.vault.azure.net/"] {
        world.write("/etc/fstab", format!("{source} {at} akvfs _netdev 0 0\n"));
        for _ in 0..2 {
            assert_eq!(world.run("mount", &["-a"]).ok(), "");
            let mounts = world.mounts();
            assert_eq!((mounts.len(), mounts[0].source.as_str()), (1, source), "{mounts:?}");
        }
        assert_eq!(world.run("findmnt", &["-n", "-o", "TARGET", source]).ok(), format!("{at}\n"));
        umount(&world, &directory);
    }
}

#[test]
fn what_mount_8_gives_its_helper_is_understood() {
    let Some(world) = installed() else { return };
    let directory = world.directory();
    let at = directory.to_str().unwrap();
    let mount = |flags: &[&str]| {
        let ran = world.run("mount", &[flags, &["-t", "akvfs", "my-vault", at]].concat());
        assert_eq!((ran.code, ran.stdout.as_slice()), (Some(0), &b""[..]), "{ran:?}");
        ran.stderr
    };
    assert_eq!(mount(&["-f"]), "");
    world.run("mount", &["-f", "-t", "akvfs", "tag:vault", at]).ok();
    nothing_is_mounted(&world);
    assert_eq!(world.emulator.requests().len(), 0, "a mount that is only faked asks nobody");
    for flags in [
        &["-n"][..],
        &["-v"],
        &["-s", "-o", "no-such-option,nor-such=5"],
        &["-n", "-v", "-s", "-o", "rw"],
        &["-o", "defaults,_netdev,nofail,user=alice,users,owner,group,noatime,dirsync"],
        &["-o", "x-systemd.automount,x-systemd.requires=network-online.target,comment=x"],
        &["-o", "dev,suid,exec,rw,nodiratime,strictatime,noauto"],
    ] {
        let said = mount(flags);
        if flags.contains(&"-v") {
            assert!(said.starts_with("akvfs: tokens come from "), "{flags:?}: {said}");
        } else {
            assert_eq!(said, "", "{flags:?}");
        }
        drop(only(&world, &directory, 0, "400"));
    }
}

#[test]
fn mount_8_hands_on_what_is_wrong() {
    let Some(world) = installed() else { return };
    let directory = world.directory();
    let at = directory.to_str().unwrap();
    for kind in ["akvfs", "fuse.akvfs"] {
        let mount =
            |options: &str| world.run("mount", &["-t", kind, "my-vault", at, "-o", options]);
        let said = mount("Mode=0440").failed(1);
        assert!(said.contains("-o Mode") && said.contains("the nearest is mode"), "{said}");
        let said = mount("_netdev,refesh=5s").failed(1);
        assert!(said.contains("-o refesh") && said.contains("the nearest is refresh"), "{said}");
        let said = mount("allow_other,gid=ftp-admins").failed(1);
        assert!(said.contains("gid=ftp-admins: no such group"), "{said}");
        assert!(said.contains("hint: give the number; "), "{said}");
        assert!(said.contains("x-systemd.after=nss-user-lookup.target"), "{said}");
    }
    nothing_is_mounted(&world);
    assert_eq!(world.emulator.requests().len(), 0, "nobody is asked");
}

#[test]
fn a_mount_that_lives_cannot_be_given_other_options() {
    let Some(world) = installed() else { return };
    let mounted = world.mount(&[]);
    let at = mounted.directory().to_str().unwrap();
    for options in ["remount,refresh=5s", "remount,rw", "rw,remount"] {
        let said = world.run("mount", &["-o", options, at]).failed(32);
        assert!(said.starts_with("akvfs: -o remount: "), "{said}");
        assert!(said.contains("hint: akvfs unmount DIR, then mount"), "{said}");
    }
    assert_eq!(world.mounts().len(), 1);
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");
}

#[test]
fn the_types_that_findmnt_and_old_tables_show_work_as_well() {
    let Some(world) = installed() else { return };
    let directory = world.directory();
    let at = directory.to_str().unwrap();
    for (source, kind) in [("my-vault", "fuse.akvfs"), ("akvfs#my-vault", "fuse")] {
        let options = "_netdev,allow_other,gid=ftp,mode=0440,dev,suid";
        world.write("/etc/fstab", format!("{source} {at} {kind} {options} 0 0\n"));
        assert_eq!(world.run("mount", &["-a"]).ok(), "", "{kind}");
        let _mounted = only(&world, &directory, FTP, "440");
    }
    // What mount.fuse(8) makes of such a line.
    let options = "rw,gid=60,mode=0440,dev,suid,allow_other";
    assert_eq!(world.akvfs(&["my-vault", at, "-o", options]).ok(), "");
    let _mounted = only(&world, &directory, 60, "440");
}

#[test]
fn a_line_of_proc_mounts_is_a_line_of_fstab() {
    let Some(world) = installed() else { return };
    let mounted = world.mount(&["allow_other"]);
    let directory = mounted.directory().to_owned();
    let table = world.cat("/proc/mounts").ok();
    let line = table.lines().find(|line| line.contains(" fuse.akvfs ")).unwrap().to_owned();
    assert!(line.contains(" ro,nosuid,nodev,noexec,") && line.contains(",user_id=0,"), "{line}");
    drop(mounted);

    world.write("/etc/fstab", line.clone() + "\n");
    assert_eq!(world.run("mount", &["-a"]).ok(), "");
    let _mounted = only(&world, &directory, 0, "400");
    assert_eq!(world.run("mount", &["-a"]).ok(), "");
    assert_eq!(world.mounts().len(), 1);
    let table = world.cat("/proc/mounts").ok();
    assert!(table.lines().any(|now| now == line), "{table}");
}

/// Seen in the field: a group of the network's that is not there at boot, or a look-up that hangs.
#[test]
fn a_look_up_that_hangs_ends_in_time_and_another_owner_is_never_taken() {
    let Some(world) = installed() else { return };
    let directory = world.directory();
    let at = directory.to_str().unwrap();
    // Whoever reads this waits for a writer for ever.
    world.sh("rm /etc/group && mkfifo /etc/group").ok();
    let ran = world.akvfs(&["mount", "my-vault", at, "-o", "gid=ftp-admins,open-timeout=300ms"]);
    assert!(ran.took < std::time::Duration::from_secs(5), "{ran:?}");
    let said = ran.failed(1);
    assert!(said.starts_with("akvfs: gid=ftp-admins: the look-up takes too long\n"), "{said}");
    assert!(said.contains("hint: give the number; "), "{said}");
    nothing_is_mounted(&world);
    let options = format!("allow_other,mode=0440,gid={FTP}");
    assert_eq!(world.akvfs(&["mount", "my-vault", at, "-o", &options]).ok(), "");
    let _mounted = only(&world, &directory, FTP, "440");
}

const FTP: u32 = 49;
