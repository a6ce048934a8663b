//! Who may do what: the kernel's answer for many callers, files and options, beside a model of a few
//! lines of what the modes mean. The kernel decides by what it is shown, and by nothing else.

use std::fmt::Write as _;
use std::fs;
use std::fs::File;

use crate::caller::errno;
use crate::mounted::Mounted;
use crate::world::World;

/// Whose something is, and its permission bits.
type Owned = (u32, u32, u32);

/// A table: names, owner, group, mode.
type Table = (&'static str, Option<u32>, Option<u32>, Option<u32>);

/// A mount: whose it is, whether others are let in, the directory, and files by their names.
struct Setup {
    mounter: u32,
    allow_other: bool,
    /// The files' mode is that of those that no table is for; their owner and group are the
    /// directory's.
    directory: Owned,
    mode: u32,
    tables: &'static [Table],
}

/// Somebody: user, group, supplementary groups.
type Caller = (u32, u32, &'static [u32]);

const ALICE: u32 = 4242;
const BOB: u32 = 4243;
const GAMES: u32 = 60;
const WEB: u32 = 33;

const FILES: [&str; 4] = ["plain", "site-a", "site-b", "zone"];

const CALLERS: [Caller; 13] = [
    (0, 0, &[]),
    (0, GAMES, &[]),
    (0, 0, &[WEB]),
    (ALICE, ALICE, &[ALICE]),
    (ALICE, GAMES, &[]),
    (ALICE, ALICE, &[GAMES]),
    (ALICE, ALICE, &[WEB, GAMES]),
    (BOB, BOB, &[]),
    (BOB, GAMES, &[BOB]),
    (BOB, BOB, &[1, 2, 3, WEB]),
    (BOB, BOB, &[WEB, 0]),
    (65534, 65534, &[]),
    (65534, 0, &[]),
];

const SETUPS: [Setup; 14] = [
    // Nobody but whoever mounted.
    setup(0, false, (0, 0, 0o550), 0o400, &[]),
    setup(0, false, (ALICE, GAMES, 0o555), 0o444, &[]),
    setup(ALICE, false, (ALICE, ALICE, 0o550), 0o400, &[]),
    setup(ALICE, false, (ALICE, ALICE, 0o555), 0o444, &[]),
    // Others, as far as the modes go.
    setup(0, true, (0, 0, 0o550), 0o400, &[]),
    setup(0, true, (0, GAMES, 0o550), 0o440, &[]),
    setup(0, true, (ALICE, GAMES, 0o550), 0o440, &[]),
    setup(0, true, (ALICE, GAMES, 0o511), 0o404, &[]),
    setup(0, true, (ALICE, GAMES, 0o055), 0o044, &[]),
    setup(0, true, (0, 0, 0), 0, &[]),
    setup(0, true, (BOB, WEB, 0o551), 0o000, &[("site-*", None, Some(GAMES), Some(0o440))]),
    setup(
        0,
        true,
        (0, GAMES, 0o551),
        0o400,
        &[
            ("site-a", Some(ALICE), None, None),
            ("site-*", None, Some(WEB), Some(0o040)),
            ("z*", None, None, Some(0o444)),
        ],
    ),
    setup(
        0,
        true,
        (0, WEB, 0o555),
        0o440,
        &[("site-b", Some(BOB), Some(GAMES), Some(0o400)), ("[pz]*", Some(ALICE), None, None)],
    ),
    setup(ALICE, true, (ALICE, ALICE, 0o555), 0o440, &[("zone", None, Some(GAMES), Some(0o440))]),
];

const fn setup(
    mounter: u32,
    allow_other: bool,
    directory: Owned,
    mode: u32,
    tables: &'static [Table],
) -> Setup {
    Setup { mounter, allow_other, directory, mode, tables }
}

impl Setup {
    /// The file that says so.
    fn text(&self) -> String {
        let (uid, gid, dir_mode) = self.directory;
        let mut text = format!("check = \"off\"\nallow_other = {}\n", self.allow_other);
        write!(text, "uid = {uid}\ngid = {gid}\ndir-mode = \"{dir_mode:o}\"\n").unwrap();
        writeln!(text, "mode = \"{:o}\"", self.mode).unwrap();
        for (name, uid, gid, mode) in self.tables {
            writeln!(text, "[[file]]\nname = \"{name}\"").unwrap();
            uid.inspect(|uid| writeln!(text, "uid = {uid}").unwrap());
            gid.inspect(|gid| writeln!(text, "gid = {gid}").unwrap());
            mode.inspect(|mode| writeln!(text, "mode = \"{mode:o}\"").unwrap());
        }
        text
    }

    /// Whose a file must be.
    fn file(&self, name: &str) -> Owned {
        let is_for = |glob: &str| match glob.strip_suffix('*') {
            Some("[pz]") => name.starts_with(['p', 'z']),
            Some(start) => name.starts_with(start),
            None => name == glob,
        };
        let (uid, gid, _) = self.directory;
        match self.tables.iter().find(|table| is_for(table.0)) {
            Some((_, owner, group, mode)) => {
                (owner.unwrap_or(uid), group.unwrap_or(gid), mode.unwrap_or(self.mode))
            }
            None => (uid, gid, self.mode),
        }
    }

    /// Whether a caller may come near at all.
    fn admits(&self, (uid, gid, _): Caller) -> bool {
        self.allow_other || (uid, gid) == (self.mounter, self.mounter)
    }

    /// What a caller may do: list the directory, look at a file, read it.
    fn allows(&self, caller: Caller, name: &str) -> [bool; 3] {
        let admitted = self.admits(caller);
        let enters = admitted && grants(self.directory, caller, EXECUTE);
        [
            admitted && grants(self.directory, caller, READ),
            enters,
            enters && grants(self.file(name), caller, READ),
        ]
    }
}

const READ: u32 = 4;
const EXECUTE: u32 = 1;

/// What the permission bits say. Root may read everything; and enter every directory.
fn grants((owner, group, mode): Owned, (uid, gid, groups): Caller, wanted: u32) -> bool {
    let bits = if uid == owner {
        mode >> 6
    } else if gid == group || groups.contains(&group) {
        mode >> 3
    } else {
        mode
    };
    uid == 0 || bits & wanted != 0
}

/// What the kernel says: 0, or why not.
fn said(mounted: &Mounted<'_>, (uid, gid, groups): Caller, name: &str) -> [i32; 3] {
    mounted.acting_in_groups(uid, gid, groups, |directory| {
        let path = directory.join(name);
        let listed = fs::read_dir(directory).and_then(|entries| {
            let mut names = Vec::new();
            for entry in entries {
                names.push(entry?.file_name().into_string().unwrap());
            }
            names.sort();
            assert_eq!(names, FILES);
            Ok(())
        });
        let read = File::open(&path).and_then(|_| fs::read(&path));
        if let Ok(value) = &read {
            assert_eq!(value, name.as_bytes());
        }
        [errno(listed), errno(fs::metadata(&path)), errno(read)]
    })
}

#[test]
fn the_kernel_lets_in_whom_the_modes_let_in_and_nobody_else() {
    let Some(world) = World::new() else { return };
    world.install();
    world.open_fuse_to_all();
    world.write("/etc/fuse.conf", "user_allow_other\n");
    let alice = world.user("alice", ALICE);
    assert_eq!(alice.run("mkdir", &["vault"]).ok(), "");
    for name in FILES {
        world.vault().put(name, name);
    }
    let (mut cases, mut granted, mut wrong) = (0, 0, Vec::new());
    for (number, setup) in SETUPS.iter().enumerate() {
        let file = format!("/etc/{number}.toml");
        world.write(&file, setup.text());
        let option = format!("config={file}");
        let mounted = if setup.mounter == 0 {
            world.mount_with_complaints(&option).0
        } else {
            let mounted = alice.mounted("vault");
            let ran = alice.run("akvfs", &["mount", "my-vault", "vault", "-o", &option]);
            assert_eq!(ran.code, Some(0), "{ran:?}");
            mounted
        };
        world.sh(&format!("chmod 0755 {}", alice.home.display())).ok();
        for (caller, name) in CALLERS.into_iter().flat_map(|it| FILES.map(|name| (it, name))) {
            let expected = setup.allows(caller, name).map(|is| if is { 0 } else { libc::EACCES });
            let said = said(&mounted, caller, name);
            if said != expected {
                wrong.push(format!("{number}: {caller:?} {name}: {said:?}, not {expected:?}"));
            }
            cases += 3;
            granted += expected.iter().filter(|errno| **errno == 0).count();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(cases, SETUPS.len() * CALLERS.len() * FILES.len() * 3);
    assert!(granted > 500 && cases - granted > 500, "{granted} of {cases}");
}
