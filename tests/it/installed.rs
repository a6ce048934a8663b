//! akvfs as `make install` leaves it, and users other than root: what a world lacks at first.

use std::ffi::OsStr;
use std::fs;
use std::fs::File;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::chown;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use rustix::fs::CWD;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::makedev;
use rustix::fs::mknodat;
use rustix::mount::MountFlags;
use rustix::mount::mount;
use rustix::mount::mount_bind;
use rustix::mount::mount_move;

use crate::child::Ran;
use crate::mounted::Mounted;
use crate::world::AKVFS;
use crate::world::LIMIT;
use crate::world::World;

impl World {
    /// Puts the program where mount(8) and mount.fuse(8) look for it: a /sbin of this machine's
    /// own, in which all that was there is there as well.
    pub(crate) fn install(&self) {
        let room = self.directory();
        self.inside(|| {
            let sbin = fs::canonicalize("/sbin").unwrap();
            mount("tmpfs", &room, "tmpfs", MountFlags::empty(), c"mode=0755").unwrap();
            let before = room.join(BEFORE);
            fs::create_dir(&before).unwrap();
            for entry in fs::read_dir(&sbin).unwrap().flatten() {
                let link = Path::new(BEFORE).join(entry.file_name());
                symlink(link, room.join(entry.file_name())).unwrap();
            }
            mount_bind(&sbin, &before).unwrap();
            // Bound, for others than root may not get to where it was built.
            File::create(room.join("akvfs")).unwrap();
            mount_bind(AKVFS, room.join("akvfs")).unwrap();
            symlink("akvfs", room.join("mount.akvfs")).unwrap();
            mount_move(&room, &sbin).unwrap();
        });
    }

    /// A user who may mount: /dev/fuse is there for everybody, and akvfs is installed.
    pub(crate) fn user(&self, name: &'static str, uid: u32) -> User<'_> {
        let passwd = String::from_utf8(self.read("/etc/passwd").unwrap()).unwrap();
        let group = String::from_utf8(self.read("/etc/group").unwrap()).unwrap();
        let home = self.directory();
        let line = format!("{name}:x:{uid}:{uid}::{}:/bin/sh\n", home.display());
        self.write("/etc/passwd", passwd + &line);
        self.write("/etc/group", group + &format!("{name}:x:{uid}:\n"));
        self.inside(|| chown(&home, Some(uid), Some(uid)).unwrap());
        User { world: self, uid, home }
    }

    /// Lets everybody mount by way of fusermount3: a /dev/fuse of this machine's own.
    pub(crate) fn open_fuse_to_all(&self) {
        let room = self.directory();
        self.inside(|| {
            let device = room.join("fuse");
            mount("tmpfs", &room, "tmpfs", MountFlags::NOSUID, c"mode=0755").unwrap();
            let number = makedev(10, 229);
            mknodat(CWD, &device, FileType::CharacterDevice, Mode::empty(), number).unwrap();
            fs::set_permissions(&device, Permissions::from_mode(0o666)).unwrap();
            mount_bind(&device, "/dev/fuse").unwrap();
        });
    }
}

/// Somebody on the machine who is not root.
#[derive(Debug)]
pub(crate) struct User<'a> {
    world: &'a World,
    uid: u32,
    pub(crate) home: PathBuf,
}

impl<'a> User<'a> {
    /// A program that this user starts at home.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = self.world.command(program);
        if program == "akvfs" {
            command = self.world.command(&format!("/sbin/{program}"));
            command.arg0(program);
        }
        command.uid(self.uid).gid(self.uid).current_dir(&self.home);
        command
    }

    /// Takes charge of the mount on that directory at home.
    pub(crate) fn mounted(&self, directory: &str) -> Mounted<'a> {
        self.world.mounted_at(self.home.join(directory))
    }

    /// Runs a program to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, program: &str, arguments: &[S]) -> Ran {
        self.world.spawn(self.command(program).args(arguments)).wait(LIMIT)
    }
}

/// Where in the new /sbin the old one is.
const BEFORE: &str = ".before";
