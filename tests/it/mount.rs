//! What mounting gives: a mount that is ready, what the table of mounts shows of it, and whose its
//! files are.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use akvfs_emulator::record::Request;
use akvfs_emulator::record::Service;
use rustix::process::Gid;
use rustix::process::Uid;
use rustix::thread::set_thread_groups;
use rustix::thread::set_thread_res_gid;
use rustix::thread::set_thread_res_uid;

use crate::caller::errno;
use crate::mounted::Mounted;
use crate::world::World;

impl Mounted<'_> {
    /// Runs something as another user, with the directory.
    fn acting_as<T: Send>(&self, uid: u32, gid: u32, run: impl FnOnce(&Path) -> T + Send) -> T {
        self.acting_in_groups(uid, gid, &[gid], run)
    }

    /// Runs something as another user in these supplementary groups, with the directory.
    pub(crate) fn acting_in_groups<T: Send>(
        &self,
        uid: u32,
        gid: u32,
        groups: &[u32],
        run: impl FnOnce(&Path) -> T + Send,
    ) -> T {
        self.inside(|directory| {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
            set_thread_groups(&groups).unwrap();
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
            run(directory)
        })
    }

    /// The number that says why that user cannot read a secret; 0 if he can.
    fn errno_for(&self, uid: u32, gid: u32, name: &str) -> i32 {
        self.acting_as(uid, gid, |directory| errno(std::fs::read(directory.join(name))))
    }

    /// Owner, group and permission bits of a secret, or of the directory if the name is empty.
    fn owner(&self, name: &str) -> (u32, u32, u32) {
        let seen = self.stat(name).unwrap();
        (seen.uid(), seen.gid(), seen.mode() & 0o7777)
    }
}

#[test]
fn a_mount_is_ready_when_mount_returns_and_costs_no_more_than_it_must() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let directory = world.directory();

    let ran = world.akvfs(&["mount", "my-vault", directory.to_str().unwrap()]);
    let took = ran.took;
    assert_eq!(ran.ok(), "");
    let mounted = world.mounted_at(directory);
    assert_eq!(mounted.cat("ftpadmin").ok(), "s3cret");

    assert!(took < Duration::from_secs(5), "{took:?}");
    let requests = world.emulator.requests();
    let count = |like: &dyn Fn(&Request) -> bool| requests.iter().filter(|it| like(it)).count();
    assert_eq!(count(&Request::is_token), 1);
    assert_eq!(count(&|it| it.is_get() && it.was_answered(200)), 1);
    assert!(count(&|it| it.service == Service::Vault && it.was_answered(401)) <= 1);
    assert!(count(&|it| it.is_list() && it.was_answered(200)) <= 1);
    assert_eq!(count(&|it| !it.is_token() && !it.is_get() && !it.is_list()), 0);
}

#[test]
fn the_table_of_mounts_shows_what_was_typed_and_what_is_forbidden() {
    let Some(world) = World::new() else { return };
    for source in ["my-vault", "my-vault.vault.azure.net", "https://my-vault.vault.azure.net/"] {
        let directory = world.directory();
        let typed = ["mount", source, directory.to_str().unwrap()];
        assert_eq!(world.akvfs(&typed).ok(), "");
        let mounted = world.mounted_at(directory);

        let lines = world.mounts();
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line = &lines[0];
        assert_eq!(line.directory, mounted.directory());
        assert_eq!((line.kind.as_str(), line.source.as_str()), ("fuse.akvfs", source));
        for option in ["ro", "nosuid", "nodev", "noexec", "default_permissions"] {
            assert!(line.options.iter().any(|it| it == option), "{option}: {line:?}");
        }
        assert!(!line.options.iter().any(|it| it == "allow_other" || it == "rw"), "{line:?}");
    }
}

#[test]
fn files_are_0400_and_the_directory_0550_of_whoever_mounted() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let mounted = world.mount(&[]);

    assert_eq!(mounted.owner("ftpadmin"), (0, 0, 0o400));
    assert_eq!(mounted.owner(""), (0, 0, 0o550));
    let seen = mounted.stat("ftpadmin").unwrap();
    assert!(seen.is_file() && mounted.stat("").unwrap().is_dir());
    assert_eq!((seen.nlink(), seen.blocks()), (1, 1));
}

#[test]
fn nobody_else_is_let_in_without_allow_other() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let mounted = world.mount(&["check=off"]);

    assert_eq!(mounted.errno_for(NOBODY, NOGROUP, "ftpadmin"), libc::EACCES);
    assert_eq!(mounted.errno_for(NOBODY, NOGROUP, ""), libc::EACCES);

    assert_eq!(world.asked(), 0);
    assert_eq!(mounted.errno_for(0, 0, "ftpadmin"), 0);
}

#[test]
fn owner_group_and_modes_decide_who_of_the_others_may_read() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let options = ["allow_other", "uid=daemon", "gid=games", "mode=0440", "dir-mode=0550"];
    let mounted = world.mount(&options);

    assert_eq!(mounted.errno_for(NOBODY, NOGROUP, "ftpadmin"), libc::EACCES);
    assert_eq!(world.gets("ftpadmin"), 0, "a caller whom the directory refuses costs a request");
    assert_eq!(mounted.errno_for(NOBODY, GAMES, "ftpadmin"), 0);
    assert_eq!(mounted.errno_for(DAEMON, NOGROUP, "ftpadmin"), 0);
    assert_eq!(mounted.errno_for(0, 0, "ftpadmin"), 0);
    assert_eq!(mounted.owner("ftpadmin"), (DAEMON, GAMES, 0o440));
    assert_eq!(mounted.owner(""), (DAEMON, GAMES, 0o550));
    let line = &world.mounts()[0];
    assert!(line.options.iter().any(|option| option == "allow_other"), "{line:?}");
}

#[test]
fn numbers_do_for_names_and_a_file_may_be_closed_in_an_open_directory() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let mounted =
        world.mount(&["allow_other", "uid=65534", "gid=60", "mode=0400", "dir-mode=0555"]);

    assert_eq!(mounted.owner("ftpadmin"), (NOBODY, GAMES, 0o400));
    assert_eq!(mounted.owner(""), (NOBODY, GAMES, 0o555));
    assert_eq!(mounted.errno_for(NOBODY, NOGROUP, "ftpadmin"), 0);
    assert_eq!(mounted.errno_for(DAEMON, GAMES, "ftpadmin"), libc::EACCES);
    let names = mounted.acting_as(DAEMON, GAMES, |directory| {
        let listed = std::fs::read_dir(directory)?;
        listed.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()
    });
    assert_eq!(names.unwrap(), ["ftpadmin"]);
}

#[test]
fn a_mode_that_lets_nobody_read_lets_root_read() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let mounted = world.mount(&["mode=0", "dir-mode=0"]);
    assert_eq!(mounted.owner("ftpadmin"), (0, 0, 0));
    assert_eq!(mounted.text("ftpadmin"), "s3cret");
}

#[test]
fn two_mounts_of_one_vault_are_two_views_of_it() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    world.vault().put("site-a", "a");
    let plain = world.mount(&[]);
    let ended = world.mount(&["newline", "secrets=ftp*"]);

    assert_eq!(
        (plain.text("ftpadmin"), ended.text("ftpadmin")),
        ("s3cret".into(), "s3cret\n".into())
    );
    assert_eq!(plain.stat("ftpadmin").unwrap().size(), 6);
    assert_eq!(ended.stat("ftpadmin").unwrap().size(), 7);
    assert_eq!((plain.errno("site-a"), ended.errno("site-a")), (0, libc::ENOENT));
    drop(plain);
    assert_eq!(ended.text("ftpadmin"), "s3cret\n");
}

#[test]
fn mounts_of_one_vault_and_of_many_live_side_by_side() {
    let Some(world) = World::new() else { return };
    let names = ["my-vault", "vault-two", "vault-three"];
    for name in names {
        world.name_host(&format!("{name}.vault.azure.net"));
        for secret in ["ftpadmin", "site-a", "site-b"] {
            world.emulator.vault(name).put(secret, &format!("{secret} of {name}"));
        }
    }
    let views =
        [("secrets=ftp*,newline", "ftpadmin"), ("secrets=site-a:site-b,dir-mode=0500", "site-a")];
    let all =
        names.into_iter().flat_map(|name| views.map(|(options, secret)| (name, options, secret)));
    let mut mounts = Vec::new();
    for (vault, options, secret) in all {
        let mounted = world.mounted_at(world.directory());
        let at = mounted.directory().to_str().unwrap();
        assert_eq!(
            world.akvfs(&["mount", vault, at, "-o", options, "--refresh=500ms"]).ok(),
            "",
            "{vault}"
        );
        mounts.push((mounted, vault, secret));
    }
    for (mounted, vault, secret) in &mounts {
        assert_eq!(mounted.text(secret).trim_end(), format!("{secret} of {vault}"));
        let others = if *secret == "ftpadmin" { "site-a" } else { "ftpadmin" };
        assert_eq!(mounted.errno(others), libc::ENOENT);
        assert!(mounted.names().contains(*secret) && !mounted.names().contains(others));
    }
    // What becomes of one is no other's business.
    world.emulator.vault("vault-two").put("ftpadmin", "rotated");
    assert!(world.emulator.vault("vault-three").disable("site-a"));
    drop(mounts.remove(0));
    mounts[1].0.until_shows("ftpadmin", "rotated\n");
    mounts[4].0.until_fails("site-a", libc::EKEYREVOKED);
    let three = mounts.swap_remove(3).0;
    assert_eq!(three.text("ftpadmin"), "ftpadmin of vault-three\n");
    assert_eq!(mounts[0].0.text("site-a"), "site-a of my-vault");
    assert_eq!(mounts[2].0.text("site-a"), "site-a of vault-two");
}

const NOBODY: u32 = 65534;
const NOGROUP: u32 = 65534;
const DAEMON: u32 = 1;
const GAMES: u32 = 60;

/// Seen: SIGXFSZ ended it without a word.
#[test]
fn where_files_may_not_grow_it_is_said_and_nothing_is_mounted() {
    let Some(world) = World::new() else { return };
    let directory = world.directory();
    let program = env!("CARGO_BIN_EXE_akvfs");
    let mount = format!("ulimit -f 2; exec {program} mount my-vault {}", directory.display());
    let ran = world.sh(&mount);
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    let stderr = ran.stderr.to_lowercase();
    assert!(stderr.contains("cannot start: file too large"), "{stderr}");
    assert!(world.mounts().iter().all(|line| line.directory != directory));
}
