//! What is known costs nothing: no request to anyone, and no work for relay or worker.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::Access;
use rustix::fs::access;
use rustix::fs::getxattr;
use rustix::fs::listxattr;
use rustix::fs::statvfs;

use crate::caller::errno;
use crate::mounted::Mounted;
use crate::world::World;

/// Does something twice, which may cost what it will, and then again and again, which must not.
/// (A name's first look-up is answered before its value is known, and holds for that one time.)
#[track_caller]
fn costs_nothing_any_more(mounted: &Mounted<'_>, act: impl Fn(&Path) + Sync) {
    let world = mounted.world();
    mounted.inside(|directory| (0..2).for_each(|_| act(directory)));
    let rested = world.work();
    world.emulator.reset_requests();

    mounted.inside(|directory| (0..TIMES).for_each(|_| act(directory)));

    assert_eq!(world.emulator.requests().len(), 0);
    assert_eq!(world.work(), rested, "relay and worker had to work");
}

#[test]
fn warm_opens_reads_and_stats_ask_nobody_anything() {
    let Some(world) = World::new() else { return };
    let value = "v".repeat(10_000);
    world.vault().put("ftpadmin", &value);
    let mounted = world.mount(&[]);
    costs_nothing_any_more(&mounted, |directory| {
        let path = directory.join("ftpadmin");
        let mut file = File::open(&path).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 10_000);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, value.as_bytes());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 10_000);
    });
}

#[test]
fn looking_at_the_directory_and_at_impossible_names_asks_nobody_anything() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "v");
    let mounted = world.mount(&[]);
    costs_nothing_any_more(&mounted, |directory| {
        assert!(std::fs::metadata(directory).unwrap().is_dir());
        for name in [".git", "server.key", "a_b"] {
            assert_eq!(errno(File::open(directory.join(name))), libc::ENOENT);
        }
    });
}

#[test]
fn a_second_ls_asks_nobody_anything() {
    let Some(world) = World::new() else { return };
    for number in 0..100 {
        world.vault().put(&format!("secret-{number}"), "v");
    }
    let mounted = world.mount(&[]);
    costs_nothing_any_more(&mounted, |directory| {
        assert_eq!(std::fs::read_dir(directory).unwrap().count(), 100);
    });
}

#[test]
fn a_third_long_listing_asks_nobody_anything() {
    let Some(world) = World::new() else { return };
    for number in 0..50 {
        world.vault().put(&format!("secret-{number}"), "v");
    }
    let mounted = world.mount(&[]);
    costs_nothing_any_more(&mounted, |directory| {
        for entry in std::fs::read_dir(directory).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().len(), 1);
        }
    });
}

#[test]
fn permissions_and_extended_attributes_are_the_kernels_own_to_answer() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "v");
    let mounted = world.mount(&[]);
    costs_nothing_any_more(&mounted, |directory| {
        let path = directory.join("ftpadmin");
        assert_eq!(access(&path, Access::READ_OK), Ok(()));
        assert_eq!(errno(access(&path, Access::WRITE_OK)), libc::EROFS);
        assert_eq!(errno(access(directory, Access::WRITE_OK)), libc::EROFS);
        assert_eq!(errno(access(&path, Access::EXEC_OK)), libc::EACCES);
        for path in [path.as_path(), directory] {
            for name in ["security.selinux", "user.x", "security.capability"] {
                assert_eq!(errno(getxattr(path, name, &mut [0; 64])), libc::EOPNOTSUPP);
            }
            let listed = errno(listxattr(path, &mut [0; 64]));
            assert!([0, libc::EOPNOTSUPP].contains(&listed), "{listed}");
        }
    });
}

#[test]
fn statfs_has_no_blocks_and_asks_no_vault() {
    let Some(world) = World::new() else { return };
    let mounted = world.mount(&["check=off"]);
    mounted.inside(|directory| {
        let found = statvfs(directory).unwrap();
        assert_eq!((found.f_blocks, found.f_bfree, found.f_files), (0, 0, 0));
        assert_eq!(found.f_namemax, 255);
    });
    assert_eq!(world.emulator.requests().len(), 0);
    let shown = world.run("df", &["-P", mounted.directory().to_str().unwrap()]).ok();
    assert!(shown.contains("my-vault"), "{shown}");
}

#[test]
fn a_thousand_first_callers_cost_one_request() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "v");
    let mounted = world.mount(&[]);
    world.emulator.reset_requests();
    mounted.inside(|directory| {
        let path = directory.join("ftpadmin");
        std::thread::scope(|scope| {
            for _ in 0..200 {
                scope
                    .spawn(|| (0..5).for_each(|_| assert_eq!(std::fs::read(&path).unwrap(), b"v")));
            }
        });
    });
    assert_eq!(world.asked(), 1);
}

const TIMES: usize = 250;
