//! No is no: a refused secret is refused by whatever path it is reached, root included.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use akvfs_emulator::vault::Refusal;
use akvfs_emulator::vault::Vault;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::openat;
use rustix::mount::UnmountFlags;
use rustix::mount::mount_bind;
use rustix::mount::unmount;
use rustix::thread::UnshareFlags;

use crate::caller::errno;
use crate::caller::within;
use crate::mounted::Mounted;
use crate::namespace::unshare;
use crate::world::LIMIT;
use crate::world::World;

/// A no: whose, what says it, what takes it back, and its number.
type No = (&'static str, fn(&Vault, &str), fn(&Vault, &str), i32);

/// The paths to one secret: by name, through a bind mount of the file, through one of the
/// directory, through an open directory.
struct Paths<'a> {
    mounted: &'a Mounted<'a>,
    name: &'static str,
    bound: PathBuf,
    bound_directory: PathBuf,
    directory: File,
}

impl<'a> Paths<'a> {
    fn to(mounted: &'a Mounted<'a>, name: &'static str) -> Self {
        let bound = mounted.world().directory().join("bound");
        let bound_directory = mounted.world().directory();
        let directory = mounted.inside(|directory| {
            File::create(&bound).unwrap();
            mount_bind(directory.join(name), &bound).unwrap();
            mount_bind(directory, &bound_directory).unwrap();
            File::open(directory).unwrap()
        });
        Self { mounted, name, bound, bound_directory, directory }
    }

    /// What an open says, on each path; 0 if it succeeds.
    fn errnos(&self) -> [i32; 4] {
        self.mounted.inside(|directory| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            [
                errno(File::open(directory.join(self.name))),
                errno(File::open(&self.bound)),
                errno(File::open(self.bound_directory.join(self.name))),
                errno(openat(&self.directory, self.name, flags, Mode::empty())),
            ]
        })
    }

    fn stat_of_bound(&self) -> i32 {
        self.mounted.inside(|_| errno(std::fs::metadata(&self.bound)))
    }

    /// Waits until the name says so; the other paths must then say so at once, and not only when
    /// the kernel's time of five refreshes is over.
    #[track_caller]
    fn until(&self, number: i32) {
        within(LIMIT, || self.errnos()[0] == number);
        let all = within(AT_ONCE, || self.errnos() == [number; 4]);
        assert!(all, "{}: not {number} on each path: {:?}", self.name, self.errnos());
    }
}

impl Drop for Paths<'_> {
    fn drop(&mut self) {
        self.mounted.inside(|_| {
            for bound in [&self.bound, &self.bound_directory] {
                let _ = unmount(bound, UnmountFlags::DETACH);
            }
        });
    }
}

#[test]
fn a_refused_secret_is_refused_on_every_path_and_answers_again_when_it_is_allowed() {
    let Some(world) = World::new() else { return };
    let rows: [No; 3] = [
        ("disabled", |v, n| _ = v.disable(n), |v, n| _ = v.enable(n), libc::EKEYREVOKED),
        ("denied", |v, n| v.deny_get(n, Refusal::Policy), Vault::allow_get, libc::EACCES),
        ("deleted", |v, n| _ = v.delete(n), |v, n| _ = v.recover(n), libc::ENOENT),
    ];
    for (name, ..) in &rows {
        world.vault().put(name, "v");
    }
    let mounted = world.mount(&["refresh=2s"]);
    let paths: Vec<Paths<'_>> = rows.iter().map(|row| Paths::to(&mounted, row.0)).collect();
    let bound: Vec<u64> = paths.iter().map(|paths| inode(&mounted, &paths.bound)).collect();

    for (paths, (name, says, _, number)) in paths.iter().zip(&rows) {
        assert_eq!(paths.errnos(), [0; 4]);
        says(&world.vault(), name);
        paths.until(*number);
        assert_eq!(paths.stat_of_bound(), *number, "{name}");
        assert_eq!(errno(mounted.stat(name)), *number, "{name}");
    }
    for ((paths, bound), (name, _, takes_back, _)) in paths.iter().zip(&bound).zip(&rows) {
        takes_back(&world.vault(), name);
        paths.until(0);
        assert_eq!(inode(&mounted, &paths.bound), *bound, "{name}");
        let value = mounted.inside(|_| std::fs::read(&paths.bound).unwrap());
        assert_eq!(value, b"v");
    }
}

#[test]
fn an_old_version_that_is_bound_by_itself_is_refused_as_well() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "old");
    let mounted = world.mount(&["refresh=2s"]);
    assert_eq!(mounted.text("ftpadmin"), "old");
    let paths = Paths::to(&mounted, "ftpadmin");

    world.vault().put("ftpadmin", "new");
    mounted.until_shows("ftpadmin", "new");
    let bound = || mounted.inside(|_| std::fs::read(&paths.bound));
    assert_eq!(bound().unwrap(), b"old", "a file bound by itself keeps its version");

    assert!(world.vault().disable("ftpadmin"));
    paths.until(libc::EKEYREVOKED);
    assert!(world.vault().enable("ftpadmin"));
    paths.until(0);
    assert_eq!(bound().unwrap(), b"old");
    assert_eq!(mounted.text("ftpadmin"), "new");
}

#[test]
fn a_second_namespace_is_no_way_around_a_refusal() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "v");
    let mounted = world.mount(&["refresh=500ms"]);
    mounted.inside(|directory| {
        let path = directory.join("ftpadmin");
        unshare(UnshareFlags::NEWNS).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"v");
        assert!(world.vault().disable("ftpadmin"));
        let refused = within(LIMIT, || errno(File::open(&path)) == libc::EKEYREVOKED);
        assert!(refused, "{:?}", File::open(&path));
    });
}

#[test]
fn an_open_file_of_a_refused_secret_may_fail_and_never_lies() {
    let Some(world) = World::new() else { return };
    let value = "v".repeat(10_000);
    world.vault().put("ftpadmin", &value);
    let mounted = world.mount(&["refresh=300ms"]);
    let (read, unread) = (mounted.open("ftpadmin").unwrap(), mounted.open("ftpadmin").unwrap());
    let mut bytes = vec![0; value.len()];
    read.read_exact_at(&mut bytes, 0).unwrap();

    assert!(world.vault().disable("ftpadmin"));
    mounted.until_fails("ftpadmin", libc::EKEYREVOKED);

    for file in [read, unread] {
        match file.read_at(&mut bytes, 5000) {
            Ok(length) => assert_eq!(&bytes[..length], &value.as_bytes()[5000..]),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EKEYREVOKED)),
        }
    }
}

#[test]
fn an_outage_does_not_bring_back_what_was_refused() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "v");
    let mounted = world.mount(&["refresh=300ms", "open-timeout=1s"]);
    assert_eq!(mounted.text("ftpadmin"), "v");
    assert!(world.vault().disable("ftpadmin"));
    mounted.until_fails("ftpadmin", libc::EKEYREVOKED);

    world.cut_network();
    mounted.until_fails("ftpadmin", libc::ETIMEDOUT);
    world.mend_network();
    mounted.until_fails("ftpadmin", libc::EKEYREVOKED);
}

fn inode(mounted: &Mounted<'_>, path: &PathBuf) -> u64 {
    mounted.inside(|_| std::fs::metadata(path).unwrap().ino())
}

const AT_ONCE: Duration = Duration::from_secs(2);
