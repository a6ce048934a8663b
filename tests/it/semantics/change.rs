//! Nothing can be changed: every kind of change is EROFS, also where root has remounted the
//! directory read-write, and afterwards everything is as it was.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::FallocateFlags;
use rustix::fs::FileType;
use rustix::fs::Gid;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::RenameFlags;
use rustix::fs::Timestamps;
use rustix::fs::Uid;
use rustix::fs::XattrFlags;

use crate::caller::errno;
use crate::mounted::Mounted;
use crate::world::World;

/// A change, given the directory.
type Change = (&'static str, fn(&Path) -> io::Result<()>);

const CHANGES: [Change; 34] = [
    ("open to write", |d| open(d, OpenOptions::new().write(true))),
    ("open to read and write", |d| open(d, OpenOptions::new().read(true).write(true))),
    ("open to append", |d| open(d, OpenOptions::new().append(true))),
    ("open and truncate", |d| open(d, OpenOptions::new().write(true).truncate(true))),
    ("open to read, and truncate", |d| open_raw(&d.join(SECRET), OFlags::RDONLY | OFlags::TRUNC)),
    ("create", |d| open_raw(&d.join(NEW), OFlags::WRONLY | OFlags::CREATE)),
    ("create anew", |d| open_raw(&d.join(NEW), OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)),
    ("create, to read", |d| open_raw(&d.join(NEW), OFlags::RDONLY | OFlags::CREATE)),
    ("create without a name", |d| open_raw(d, OFlags::WRONLY | OFlags::TMPFILE)),
    ("truncate", |d| truncate(d, 0)),
    ("lengthen", |d| truncate(d, 1000)),
    ("chmod", |d| Ok(rustix::fs::chmod(d.join(SECRET), Mode::from_raw_mode(0o600))?)),
    ("chmod to what it is", |d| Ok(rustix::fs::chmod(d.join(SECRET), Mode::RUSR)?)),
    ("chmod the directory", |d| Ok(rustix::fs::chmod(d, Mode::RWXU)?)),
    ("chown", |d| chown(&d.join(SECRET), 1)),
    ("chown to who it is", |d| chown(&d.join(SECRET), 0)),
    ("chown the directory", |d| chown(d, 1)),
    ("set times", |d| times(&d.join(SECRET))),
    ("set the directory's times", times),
    ("link", |d| link(d, SECRET, NEW)),
    ("symlink", |d| Ok(rustix::fs::symlink("/etc/passwd", d.join(NEW))?)),
    ("unlink", |d| Ok(rustix::fs::unlink(d.join(SECRET))?)),
    ("mkdir", |d| Ok(rustix::fs::mkdir(d.join(NEW), Mode::RWXU)?)),
    ("mknod", |d| node(d, FileType::RegularFile)),
    ("mkfifo", |d| node(d, FileType::Fifo)),
    ("make a socket", |d| node(d, FileType::Socket)),
    ("make a device", |d| node(d, FileType::CharacterDevice)),
    ("rename", |d| rename(d, SECRET, NEW, RenameFlags::empty())),
    ("rename over", |d| rename(d, SECRET, OTHER, RenameFlags::empty())),
    ("rename without replacing", |d| rename(d, SECRET, NEW, RenameFlags::NOREPLACE)),
    ("exchange", |d| rename(d, SECRET, OTHER, RenameFlags::EXCHANGE)),
    ("set an attribute", |d| set_attribute(&d.join(SECRET))),
    ("set the directory's attribute", set_attribute),
    ("remove an attribute", |d| Ok(rustix::fs::removexattr(d.join(SECRET), "user.x")?)),
];

/// A change of a file that is open to write, given the directory.
type Write = (&'static str, fn(&Path, &File) -> io::Result<()>);

/// What only a file that is open to write can be asked for.
const WRITES: [Write; 6] = [
    ("write", |_, file| file.write_at(b"x", 0).map(drop)),
    ("write past the end", |_, file| file.write_at(b"x", 5000).map(drop)),
    ("ftruncate", |_, file| file.set_len(0)),
    ("allocate", |_, file| Ok(rustix::fs::fallocate(file, FallocateFlags::empty(), 0, 10)?)),
    ("punch a hole", |_, file| {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(file, hole, 0, 1)?)
    }),
    ("copy into", |directory, file| {
        let from = File::open(directory.join(OTHER))?;
        rustix::fs::copy_file_range(from, Some(&mut 0), file, Some(&mut 0), 5)?;
        Ok(())
    }),
];

/// A mount, and what must still be so after all that was tried.
fn furnished(world: &World) -> Mounted<'_> {
    world.vault().put(SECRET, VALUE);
    world.vault().put(OTHER, VALUE);
    let mounted = world.mount(&[]);
    assert_eq!(mounted.text(SECRET), VALUE);
    mounted
}

#[track_caller]
fn unchanged(mounted: &Mounted<'_>) {
    assert_eq!(mounted.names(), [SECRET.to_owned(), OTHER.to_owned()].into());
    assert_eq!(mounted.text(SECRET), VALUE);
    assert_eq!(mounted.stat(SECRET).unwrap().len(), VALUE.len() as u64);
    assert_eq!(mounted.cat(OTHER).ok(), VALUE);
}

#[test]
fn every_kind_of_change_is_erofs() {
    let Some(world) = World::new() else { return };
    let mounted = furnished(&world);
    for (what, change) in CHANGES {
        assert_eq!(mounted.inside(|directory| errno(change(directory))), libc::EROFS, "{what}");
    }
    unchanged(&mounted);
}

#[test]
fn every_kind_of_change_is_erofs_also_where_root_has_remounted_read_write() {
    let Some(world) = World::new() else { return };
    let mounted = furnished(&world);
    let directory = mounted.directory().to_str().unwrap();
    world.run("mount", &["-n", "-i", "-o", "remount,rw", directory]).ok();
    let options = world.mounts()[0].options.clone();
    assert!(!options.contains(&"ro".to_owned()), "{options:?}");

    for (what, change) in CHANGES {
        let number = mounted.inside(|directory| errno(change(directory)));
        // A file that is open to write has not been written to.
        let opened = what.starts_with("open to ") && !what.ends_with("truncate");
        let expected = if opened { 0 } else { libc::EROFS };
        assert_eq!(number, expected, "{what}");
    }
    mounted.inside(|directory| {
        let file = OpenOptions::new().write(true).open(directory.join(SECRET)).unwrap();
        for (what, write) in WRITES {
            assert_eq!(errno(write(directory, &file)), libc::EROFS, "{what}");
        }
    });
    unchanged(&mounted);
}

#[test]
fn what_start_scripts_try_fails_and_says_read_only() {
    let Some(world) = World::new() else { return };
    let mounted = furnished(&world);
    let directory = mounted.directory().display();
    for line in [
        "chmod 0400 ftpadmin",
        "chmod 0600 ftpadmin",
        "chown 0:0 ftpadmin",
        "touch ftpadmin",
        "touch new",
        "rm -f ftpadmin",
        "rm -rf ./*",
        "mv ftpadmin new",
        "ln ftpadmin new_link",
        "ln -s ftpadmin new_link",
        "cp /etc/hostname new_file",
        "mkdir new_directory",
        "mkfifo new_fifo",
        "truncate -s 0 ftpadmin",
        "echo x > ftpadmin",
        "echo x >> ftpadmin",
        "echo x > new_file",
    ] {
        let tried = world.sh(&format!("cd {directory} && {line}"));
        assert_ne!(tried.code, Some(0), "{line}");
        assert!(tried.stderr.contains("Read-only file system"), "{line}: {}", tried.stderr);
    }
    unchanged(&mounted);
    let writable = world.sh(&format!("[ -w {directory} ] || [ -w {directory}/ftpadmin ]"));
    assert_eq!(writable.code, Some(1));
}

#[test]
fn to_create_a_name_that_is_there_opens_it_and_one_that_may_be_there_exists() {
    let Some(world) = World::new() else { return };
    let mounted = furnished(&world);
    mounted.inside(|directory| {
        assert_eq!(errno(open_raw(&directory.join(SECRET), OFlags::RDONLY | OFlags::CREATE)), 0);
        for name in [SECRET, "may-be-a-secret"] {
            let made = rustix::fs::mkdir(directory.join(name), Mode::RWXU);
            assert_eq!(errno(made), libc::EEXIST, "{name}");
        }
        assert_eq!(errno(rustix::fs::rmdir(directory.join(SECRET))), libc::EROFS);
    });
}

/// Seen: any name that nobody has asked about looks as if it were there, so `sed -i` tried 238,328
/// of them; the worker grew by 200 MB.
#[test]
fn a_program_that_looks_for_a_free_name_gives_up_soon() {
    let Some(world) = World::new() else { return };
    let mounted = furnished(&world);
    let before = world.asked();
    let line = format!("cd {} && sed -i s/v/w/ {SECRET}", mounted.directory().display());

    let tried = world.sh(&line);

    assert_eq!(tried.code, Some(4), "{tried:?}");
    assert!(tried.stderr.contains("couldn't open temporary file"), "{}", tried.stderr);
    assert!(world.asked() - before <= 1, "nobody was asked about any of them");
    unchanged(&mounted);
}

fn open(directory: &Path, how: &OpenOptions) -> io::Result<()> {
    how.open(directory.join(SECRET)).map(drop)
}

fn open_raw(path: &Path, flags: OFlags) -> io::Result<()> {
    Ok(rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::RUSR).map(drop)?)
}

/// truncate(2), which needs no descriptor, is what truncate(1) does not use.
fn truncate(directory: &Path, length: u64) -> io::Result<()> {
    let path = std::ffi::CString::new(directory.join(SECRET).to_str().unwrap()).unwrap();
    #[expect(unsafe_code, reason = "there is no safe way to call truncate(2)")]
    // SAFETY: the path is a string that outlives the call.
    let done = unsafe { libc::truncate(path.as_ptr(), i64::try_from(length).unwrap()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn chown(path: &Path, uid: u32) -> io::Result<()> {
    Ok(rustix::fs::chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))?)
}

fn times(path: &Path) -> io::Result<()> {
    let time = rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::empty())?)
}

fn link(directory: &Path, from: &str, to: &str) -> io::Result<()> {
    Ok(rustix::fs::link(directory.join(from), directory.join(to))?)
}

fn node(directory: &Path, kind: FileType) -> io::Result<()> {
    let device = rustix::fs::makedev(1, 3);
    Ok(rustix::fs::mknodat(CWD, directory.join(NEW), kind, Mode::RUSR, device)?)
}

fn rename(directory: &Path, from: &str, to: &str, flags: RenameFlags) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(CWD, directory.join(from), CWD, directory.join(to), flags)?)
}

fn set_attribute(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::setxattr(path, "user.x", b"x", XattrFlags::empty())?)
}

const SECRET: &str = "ftpadmin";
const OTHER: &str = "other";
/// No secret can be called so, so that the kernel knows at once that it is not there.
const NEW: &str = "new_file";
const VALUE: &str = "v\u{e9}rbatim\n";
