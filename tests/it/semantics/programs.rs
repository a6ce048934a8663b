//! What programs do with files beside reading them from the beginning to the end.

use std::fs::File;
use std::io::IsTerminal;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::poll;
use rustix::fs::AtFlags;
use rustix::fs::FlockOperation;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::StatxFlags;
use rustix::pipe::SpliceFlags;

use crate::mounted::Mounted;
use crate::world::World;
use crate::world::until;

/// Longer than a page, and no multiple of one.
fn value() -> String {
    (0..2000).map(|number| format!("{number:04} ")).collect()
}

fn furnished(world: &World) -> Mounted<'_> {
    world.vault().put("ftpadmin", &value());
    world.vault().put("empty", "");
    world.vault().put("short", "s3cret\n");
    world.mount(&[])
}

#[test]
fn a_file_can_be_read_from_anywhere() {
    let Some(world) = World::new() else { return };
    let mounted = furnished(&world);
    let (value, mut file) = (value(), mounted.open("ftpadmin").unwrap());
    let size = value.len();
    for (offset, length) in
        [(0, 1), (1, 4096), (4095, 2), (4096, 4096), (size - 1, 10), (size, 10), (size + 5000, 1)]
    {
        let mut bytes = vec![0; length];
        let read = file.read_at(&mut bytes, offset as u64).unwrap();
        let end = size.min(offset + length);
        assert_eq!(&bytes[..read], value.as_bytes().get(offset..end).unwrap_or(&[]), "{offset}");
    }
    assert_eq!(file.seek(SeekFrom::End(-5)).unwrap(), size as u64 - 5);
    let mut end = String::new();
    file.read_to_string(&mut end).unwrap();
    assert_eq!(end, value[size - 5..]);
}

#[test]
fn holes_are_looked_for_in_vain() {
    let Some(world) = World::new() else { return };
    let mounted = furnished(&world);
    let file = mounted.open("ftpadmin").unwrap();
    let size = file.metadata().unwrap().len();
    for offset in [0, 100, size - 1] {
        let data = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(offset)).unwrap();
        let hole = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(offset)).unwrap();
        assert_eq!((data, hole), (offset, size));
    }
    let past = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(size));
    assert_eq!(past, Err(rustix::io::Errno::NXIO));
    assert_eq!(file.metadata().unwrap().blocks(), size.div_ceil(512));
}

#[test]
fn bytes_go_from_the_file_into_a_pipe_and_a_socket_without_a_copy() {
    let Some(world) = World::new() else { return };
    let mounted = furnished(&world);
    let file = mounted.open("ftpadmin").unwrap();
    let (from, into) = rustix::pipe::pipe().unwrap();
    let (mut from, wanted) = (File::from(from), value());
    let mut bytes = vec![0; 5000];
    let flags = SpliceFlags::empty();
    assert_eq!(rustix::pipe::splice(&file, Some(&mut 0), &into, None, 5000, flags), Ok(5000));
    from.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, &wanted.as_bytes()[..5000]);
    assert_eq!(rustix::fs::sendfile(&into, &file, Some(&mut 100), 5000), Ok(5000));
    from.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, &wanted.as_bytes()[100..5100]);
}

#[test]
fn a_file_can_be_read_around_the_page_cache() {
    let Some(world) = World::new() else { return };
    let mounted = furnished(&world);
    let read = mounted.inside(|directory| {
        let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
        let file = rustix::fs::open(directory.join("ftpadmin"), flags, Mode::empty()).unwrap();
        let mut text = String::new();
        File::from(file).read_to_string(&mut text).unwrap();
        text
    });
    assert_eq!(read, value());
}

#[test]
fn a_place_can_be_held_without_opening_it_and_costs_no_request_until_it_is() {
    let Some(world) = World::new() else { return };
    world.vault().put("short", "s3cret\n");
    let mounted = world.mount(&["check=off"]);
    mounted.inside(|directory| {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let place = rustix::fs::open(directory.join("short"), flags, Mode::empty()).unwrap();
        assert_eq!(world.emulator.requests().len(), 0);
        let again = format!("/proc/thread-self/fd/{}", place.as_fd().as_raw_fd());
        assert_eq!(std::fs::read(again).unwrap(), b"s3cret\n");
    });
}

#[test]
fn statx_and_fstatat_say_what_stat_says() {
    let Some(world) = World::new() else { return };
    let mounted = furnished(&world);
    let seen = mounted.stat("ftpadmin").unwrap();
    mounted.inside(|directory| {
        let directory = File::open(directory).unwrap();
        let none = AtFlags::empty();
        let other = rustix::fs::statx(&directory, "ftpadmin", none, StatxFlags::ALL).unwrap();
        assert_eq!((other.stx_ino, other.stx_size), (seen.ino(), seen.size()));
        assert_eq!((other.stx_mtime.tv_sec, other.stx_nlink), (seen.mtime(), 1));
        let other = rustix::fs::statat(&directory, "ftpadmin", none).unwrap();
        assert_eq!((other.st_ino, other.st_mtime), (seen.ino(), seen.mtime()));
        // Asked not to bother the server, and asked to bother it.
        for flags in [AtFlags::STATX_DONT_SYNC, AtFlags::STATX_FORCE_SYNC] {
            let other = rustix::fs::statx(&directory, "ftpadmin", flags, StatxFlags::ALL).unwrap();
            assert_eq!(other.stx_size, seen.size());
        }
    });
}

#[test]
fn a_file_is_always_ready_and_is_no_terminal() {
    let Some(world) = World::new() else { return };
    let mounted = furnished(&world);
    let file = mounted.open("short").unwrap();
    let mut polled = [PollFd::new(&file, PollFlags::IN)];
    assert_eq!(poll(&mut polled, None), Ok(1));
    assert_eq!(polled[0].revents(), PollFlags::IN);
    assert!(!file.is_terminal());
    let flags = rustix::fs::ioctl_getflags(&file);
    assert_eq!(flags.err(), Some(rustix::io::Errno::NOTTY));
    let sum = "import sys; sys.stdout.write(open(sys.argv[1], newline='').read())";
    let python = ["-c", sum, mounted.path("short").to_str().unwrap()].map(str::to_owned);
    if world.sh("command -v python3").code == Some(0) {
        let python: Vec<&str> = python.iter().map(String::as_str).collect();
        assert_eq!(world.run("python3", &python).ok(), "s3cret\n");
    }
}

#[test]
fn files_can_be_locked() {
    let Some(world) = World::new() else { return };
    let mounted = furnished(&world);
    let (one, other) = (mounted.open("short").unwrap(), mounted.open("short").unwrap());
    rustix::fs::flock(&one, FlockOperation::NonBlockingLockExclusive).unwrap();
    let refused = rustix::fs::flock(&other, FlockOperation::NonBlockingLockShared);
    assert_eq!(refused, Err(rustix::io::Errno::WOULDBLOCK));
    rustix::fs::flock(&one, FlockOperation::Unlock).unwrap();
    rustix::fs::flock(&other, FlockOperation::NonBlockingLockShared).unwrap();
    let directory = mounted.directory().display();
    world.sh(&format!("flock -n {directory} true")).ok();
}

#[test]
fn a_shell_s_tests_are_true_at_once_for_a_secret_never_fetched_and_false_for_one_that_is_missing() {
    let Some(world) = World::new() else { return };
    for name in ["e", "s", "f", "r"] {
        world.vault().put(name, "v");
    }
    world.vault().put("empty", "");
    let mounted = world.mount(&[]);
    let directory = mounted.directory().display();
    for name in ["e", "s", "f", "r"] {
        world.sh(&format!("[ -{name} {directory}/{name} ]")).ok();
    }
    for false_of in ["-s empty", "-e missing", "-f missing", "-d empty", "-x e", "-L e", "-w e"] {
        let (test, name) = false_of.split_once(' ').unwrap();
        let tested = world.sh(&format!("[ {test} {directory}/{name} ]"));
        assert_eq!((tested.code, tested.stderr.as_str()), (Some(1), ""), "{false_of}");
    }
}

#[test]
fn programs_that_walk_a_tree_end_well() {
    let Some(world) = World::new() else { return };
    // One that is disabled is not there, and one that is disabled later is not there any more.
    for name in ["off", "off-later"] {
        world.vault().put(name, "v");
    }
    assert!(world.vault().disable("off"));
    world.vault().put("ftpadmin", &value());
    world.vault().put("empty", "");
    world.vault().put("short", "s3cret\n");
    let mounted = world.mount(&["refresh=1s"]);
    assert_eq!((mounted.names().len(), mounted.text("off-later")), (4, "v".to_owned()));
    assert!(world.vault().disable("off-later"));
    until("it is listed no more", || mounted.names().len() == 3);
    let (from, to) = (mounted.directory().to_owned(), world.directory());
    let (from, to) = (from.display(), to.display());
    for line in [
        "tar -C FROM -cf TO/plain.tar . && mkdir TO/plain && tar -C TO/plain -xf TO/plain.tar && diff -r FROM TO/plain",
        "tar -C FROM --sparse -cf TO/sparse.tar . && mkdir TO/sparse && tar -C TO/sparse -xf TO/sparse.tar && diff -r FROM TO/sparse",
        "tar -C FROM --xattrs --acls --selinux -cf TO/all.tar . 2> /dev/null || tar -C FROM --xattrs -cf TO/all.tar .",
        "cp -a FROM TO/copy && diff -r FROM TO/copy",
        "cp --preserve=all FROM/short TO/one && cmp FROM/short TO/one",
        "dd if=FROM/ftpadmin of=TO/dd bs=777 2> /dev/null && cmp FROM/ftpadmin TO/dd",
        "grep -r s3cret FROM > TO/found && [ $(wc -l < TO/found) = 1 ]",
        "[ $(find FROM -type f -size +0 | wc -l) = 2 ]",
        "[ $(find FROM -type f -perm 0400 -user root -links 1 | wc -l) = 3 ]",
        "[ $(find FROM -newermt 2020-01-01 -type f | wc -l) = 3 ]",
        "find FROM -ls > TO/find && [ $(wc -l < TO/find) = 4 ]",
        "du -a FROM > TO/du && [ $(wc -l < TO/du) = 4 ]",
        "[ $(du -b --apparent-size FROM/ftpadmin | cut -f1) = 10000 ]",
        "ls -laZ FROM > TO/ls && ls -lR FROM >> TO/ls && ls --color=always -F FROM >> TO/ls",
        "[ \"$(stat -c '%s %a %h %F' FROM/short)\" = '7 400 1 regular file' ]",
        "md5sum FROM/* > TO/sums && md5sum --quiet -c TO/sums",
        "tail -c 5 FROM/ftpadmin > TO/tail && head -c 10 FROM/ftpadmin > TO/head && sort FROM/short > TO/sort",
        "read -r line < FROM/short && [ \"$line\" = s3cret ]",
        "cd FROM && cat short > /dev/null && [ \"$(pwd)\" = FROM ]",
        "ln -s FROM/short TO/link && [ \"$(cat TO/link)\" = s3cret ]",
        "! command -v rsync > /dev/null || { rsync -aX FROM/ TO/rsync && diff -r FROM TO/rsync; }",
        "! command -v cpio > /dev/null || { cd FROM && ls | cpio -o 2> /dev/null > TO/cpio; }",
    ] {
        let line = line.replace("FROM", &from.to_string()).replace("TO", &to.to_string());
        world.sh(&line).ok();
    }
}
