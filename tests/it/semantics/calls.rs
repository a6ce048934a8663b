//! What else a kernel may be asked about a file than to open and read it: each is answered, or
//! refused clearly.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

use io_uring::IoUring;
use io_uring::opcode;
use io_uring::squeue;
use io_uring::types;
use rustix::fs::Advice;
use rustix::fs::FlockOperation;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::fs::fcntl_lock;
use rustix::fs::openat2;
use rustix::io::Errno;
use rustix::io::ReadWriteFlags;
use rustix::io::preadv2;
use rustix::mount::UnmountFlags;
use rustix::mount::mount_bind;
use rustix::mount::unmount;
use rustix::process::chroot;

use crate::caller::errno;
use crate::mapping::Mapping;
use crate::mounted::Mounted;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

/// Longer than a page, and no multiple of one.
fn value() -> String {
    (0..2000).map(|number| format!("{number:04} ")).collect()
}

fn furnished(world: &World) -> Mounted<'_> {
    for name in ["ftpadmin", "cold", "other"] {
        world.vault().put(name, &value());
    }
    assert!(world.vault().delete("other"));
    world.mount(&["check=off"])
}

fn open(path: &Path, flags: OFlags) -> rustix::io::Result<File> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).map(File::from)
}

#[test]
fn a_lock_to_read_is_granted_to_all_and_one_to_write_needs_what_nobody_can_have() {
    let Some(world) = World::new() else { return };
    let mounted = furnished(&world);
    let file = mounted.open("ftpadmin").unwrap();
    fcntl_lock(&file, FlockOperation::NonBlockingLockShared).unwrap();
    let write = fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive);
    assert_eq!(write, Err(Errno::BADF));
    // By somebody else, too.
    let path = mounted.path("ftpadmin");
    let script = "use Fcntl qw(:DEFAULT :flock);
        open my $f, '<', $ARGV[0] or die $!; flock $f, LOCK_SH | LOCK_NB or die $!;
        my $l = pack 's s x4 q q l x4', F_RDLCK, 0, 0, 0, 0;
        fcntl $f, F_SETLK, $l or die $!; print 'locked'";
    let perl = world.run("perl", &["-e", script, path.to_str().unwrap()]);
    assert_eq!(perl.ok(), "locked");
    fcntl_lock(&file, FlockOperation::Unlock).unwrap();
}

#[test]
fn a_file_can_be_mapped_shared_to_read_and_private_to_change_the_copy() {
    let Some(world) = World::new() else { return };
    let mounted = furnished(&world);
    let file = mounted.open("ftpadmin").unwrap();
    let value = value();
    let shared = Mapping::of(&file, value.len()).unwrap();
    let mut private = Mapping::private(&file, value.len()).unwrap();
    assert_eq!((shared.bytes(), private.bytes()), (value.as_bytes(), value.as_bytes()));

    private.change(4096, b'!');

    assert_eq!(private.bytes()[4096], b'!');
    assert_eq!(shared.bytes(), value.as_bytes());
    assert_eq!(mounted.text("ftpadmin"), value);
    assert_eq!(Mapping::shared_to_write(&file, value.len()).err(), Some(Errno::ACCESS));
}

#[test]
fn bytes_go_into_a_file_and_a_socket_without_a_copy_and_into_no_secret() {
    let Some(world) = World::new() else { return };
    let mounted = furnished(&world);
    let (file, value) = (mounted.open("ftpadmin").unwrap(), value());
    let target = world.directory().join("copy");
    world.inside(|| {
        let mut copy = File::create_new(&target).unwrap();
        assert_eq!(rustix::fs::sendfile(&copy, &file, Some(&mut 0), 20_000), Ok(value.len()));
        assert_eq!(std::fs::read(&target).unwrap(), value.as_bytes());
        copy.set_len(0).unwrap();
        // Between kinds of file systems the kernel may leave it to whoever asks.
        match rustix::fs::copy_file_range(&file, Some(&mut 0), &copy, Some(&mut 0), 20_000) {
            Ok(length) => assert_eq!(length, value.len()),
            Err(error) => assert_eq!(error, Errno::XDEV),
        }
        let back = rustix::fs::copy_file_range(&copy, Some(&mut 0), &file, Some(&mut 0), 5);
        assert_eq!(back, Err(Errno::BADF), "it is not open to write, and cannot be");
        copy.flush().unwrap();
        assert_eq!(std::fs::copy(mounted.path("ftpadmin"), &target).unwrap(), value.len() as u64);
        assert_eq!(std::fs::read(&target).unwrap(), value.as_bytes());
        std::fs::remove_file(&target).unwrap();
    });
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    assert_eq!(rustix::fs::sendfile(&ours, &file, Some(&mut 1), 20_000), Ok(value.len() - 1));
    drop(ours);
    let mut sent = Vec::new();
    theirs.read_to_end(&mut sent).unwrap();
    assert_eq!(sent, &value.as_bytes()[1..]);
}

#[test]
fn what_will_be_read_can_be_announced_and_what_is_there_be_read_without_waiting() {
    let Some(world) = World::new() else { return };
    let mounted = furnished(&world);
    let (file, value) = (mounted.open("ftpadmin").unwrap(), value());
    for advice in [
        Advice::Sequential,
        Advice::Random,
        Advice::NoReuse,
        Advice::Normal,
        Advice::DontNeed,
        Advice::WillNeed,
    ] {
        assert_eq!(rustix::fs::fadvise(&file, 0, None, advice), Ok(()), "{advice:?}");
    }
    #[expect(unsafe_code, reason = "there is no safe way to call readahead(2)")]
    // SAFETY: it reads into no memory of ours.
    let ahead = unsafe { libc::readahead(file.as_raw_fd(), 0, value.len()) };
    assert_eq!(ahead, 0);
    assert_eq!(mounted.text("ftpadmin"), value);
    let mut bytes = vec![0; value.len()];
    let into = &mut [std::io::IoSliceMut::new(&mut bytes)];
    let read = preadv2(&file, into, 0, ReadWriteFlags::NOWAIT);
    match read {
        Ok(length) => assert_eq!(&bytes[..length], &value.as_bytes()[..length]),
        Err(error) => assert!([Errno::OPNOTSUPP, Errno::AGAIN].contains(&error), "{error}"),
    }
}

#[test]
fn a_secret_is_no_link_and_no_directory_and_can_be_held_to_its_place() {
    let Some(world) = World::new() else { return };
    let mounted = furnished(&world);
    let link = world.directory().join("link");
    mounted.inside(|directory| {
        let path = directory.join("ftpadmin");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let text = |file: rustix::io::Result<File>| std::io::read_to_string(file.unwrap()).unwrap();
        assert_eq!(text(open(&path, OFlags::NOFOLLOW)), value());
        assert_eq!(text(open(&path, OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::SYNC)), value());
        assert_eq!(text(open(&path, OFlags::NOATIME)), value());
        assert_eq!(errno(open(&link, OFlags::NOFOLLOW)), libc::ELOOP);
        assert_eq!(errno(open(&path, OFlags::DIRECTORY)), libc::ENOTDIR);
        assert_eq!(errno(open(&directory.join("ftpadmin/more"), OFlags::RDONLY)), libc::ENOTDIR);
        assert_eq!(errno(std::fs::read_link(&path)), libc::EINVAL);
        let held = open(directory, OFlags::PATH | OFlags::DIRECTORY).unwrap();
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat2(&held, "ftpadmin", flags, Mode::empty(), within);
        assert_eq!(text(file.map(File::from)), value());
        let out = openat2(&held, "../x", flags, Mode::empty(), within);
        assert_eq!(errno(out), libc::EXDEV);
    });
}

/// What name_to_handle_at(2) takes and gives.
#[repr(C)]
struct Handle {
    length: u32,
    kind: i32,
    bytes: [u8; 128],
}

/// A server of files across the network would hold handles for longer than numbers mean anything.
#[test]
fn there_are_no_handles_that_outlive_a_mount() {
    let Some(world) = World::new() else { return };
    if !can_refuse_handles() {
        World::skip("this kernel gives handles of whatever is mounted");
        return;
    }
    let mounted = furnished(&world);
    mounted.inside(|directory| {
        let path = CString::new(directory.join("ftpadmin").to_str().unwrap()).unwrap();
        let (mut handle, mut mount) = (Handle { length: 128, kind: 0, bytes: [0; 128] }, 0);
        #[expect(unsafe_code, reason = "there is no safe way to call name_to_handle_at(2)")]
        // SAFETY: the path ends in NUL, and the handle is as long as it says; both outlive the call.
        let given = unsafe {
            libc::syscall(
                libc::SYS_name_to_handle_at,
                libc::AT_FDCWD,
                path.as_ptr(),
                &raw mut handle,
                &raw mut mount,
                0,
            )
        };
        let why = std::io::Error::last_os_error().raw_os_error();
        assert_eq!((given, why), (-1, Some(libc::EOPNOTSUPP)));
    });
}

/// Whether the kernel can be told to give no handles: since 6.9.
fn can_refuse_handles() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 9)
}

#[test]
fn a_ring_opens_looks_at_and_reads_files_known_and_never_fetched() {
    let Some(world) = World::new() else { return };
    let mounted = furnished(&world);
    assert_eq!(mounted.text("ftpadmin"), value());
    mounted.inside(|directory| {
        let mut ring = match IoUring::new(8) {
            Ok(ring) => ring,
            Err(error) => {
                World::skip(&format!("no io_uring: {error}"));
                return;
            }
        };
        for name in ["ftpadmin", "cold", "cold"] {
            let path = CString::new(directory.join(name).to_str().unwrap()).unwrap();
            let cwd = types::Fd(libc::AT_FDCWD);
            let mut seen = Box::new([0_u8; 256]);
            let statx = opcode::Statx::new(cwd, path.as_ptr(), seen.as_mut_ptr().cast());
            assert_eq!(run(&mut ring, &statx.mask(libc::STATX_SIZE).build()), 0, "{name}");
            // struct statx: the size is at 40.
            let size = u64::from_ne_bytes(seen[40..48].try_into().unwrap());
            assert_eq!(size, value().len() as u64);
            let open = opcode::OpenAt::new(cwd, path.as_ptr()).flags(libc::O_CLOEXEC).build();
            let fd = types::Fd(run(&mut ring, &open));
            assert!(fd.0 >= 0, "{name}: {}", fd.0);
            let mut bytes = vec![0; 20_000];
            let read = opcode::Read::new(fd, bytes.as_mut_ptr(), 20_000).build();
            let length = usize::try_from(run(&mut ring, &read)).unwrap();
            assert_eq!(&bytes[..length], value().as_bytes());
            assert_eq!(run(&mut ring, &opcode::Close::new(fd).build()), 0);
        }
        let missing = CString::new(directory.join("other").to_str().unwrap()).unwrap();
        let open = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), missing.as_ptr()).build();
        assert_eq!(run(&mut ring, &open), -libc::ENOENT);
    });
}

/// Has the ring do one thing; what came of it.
fn run(ring: &mut IoUring, entry: &squeue::Entry) -> i32 {
    #[expect(unsafe_code, reason = "the kernel is given addresses")]
    // SAFETY: what they lead to outlives this function, which waits until the kernel is done.
    unsafe { ring.submission().push(entry) }.unwrap();
    ring.submit_and_wait(1).unwrap();
    ring.completion().next().unwrap().result()
}

/// The caller's place in the tree, and the way to it, are his own: another namespace, a bind, a
/// root of his own.
#[test]
fn whoever_sees_the_directory_in_another_place_sees_what_rotates() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "old");
    let mounted = world.mount(&["refresh=300ms"]);
    let [bound, jail] = [world.directory(), world.directory()];
    let first = jail.join("first");
    let at = mounted.directory().display();
    let script = format!(
        "set -e; mount -n --bind {at} {bound}; cat {at}/ftpadmin {bound}/ftpadmin; : > {first}
         read -r _; cat {at}/ftpadmin {bound}/ftpadmin; ls {bound}",
        bound = bound.display(),
        first = first.display(),
    );
    let mut command = world.command("unshare");
    command.args(["--mount", "sh", "-c", &script]).stdin(Stdio::piped());
    let mut other = world.spawn(&mut command);
    until("it has seen the old one", || world.inside(|| first.exists()));
    let vault = jail.join("vault");
    world.inside(|| {
        std::fs::create_dir(&vault).unwrap();
        mount_bind(mounted.directory(), &vault).unwrap();
    });
    let jailed = || {
        world.inside(|| {
            chroot(&jail).unwrap();
            std::fs::read_to_string("/vault/ftpadmin").unwrap()
        })
    };
    assert_eq!(jailed(), "old");

    world.vault().put("ftpadmin", "new");
    mounted.until_shows("ftpadmin", "new");

    other.say("\n");
    assert_eq!(other.wait(LIMIT).ok(), "oldoldnewnewftpadmin\n");
    assert_eq!(jailed(), "new");
    world.inside(|| unmount(&vault, UnmountFlags::empty()).unwrap());
}
