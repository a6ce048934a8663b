//! A mount that ends with the test, whatever becomes of the test.

use std::io;
use std::path::Path;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::mount::unmount;

use crate::child::Ran;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::try_until;

/// A mount in a world. Dropping it unmounts it; what served it must then be gone, and have left
/// nothing in /run.
#[derive(Debug)]
pub(crate) struct Mounted<'a> {
    world: &'a World,
    directory: PathBuf,
    /// What was in /run before.
    run: Vec<PathBuf>,
}

impl World {
    /// Mounts `my-vault` on a fresh directory with these options: it must work, and in silence.
    #[track_caller]
    pub(crate) fn mount(&self, options: &[&str]) -> Mounted<'_> {
        let mounted = self.mounted_at(self.directory());
        let options = options.join(",");
        let mut arguments = vec!["mount", "my-vault", mounted.directory().to_str().unwrap()];
        if !options.is_empty() {
            arguments.extend(["-o", &options]);
        }
        assert_eq!(self.akvfs(&arguments).ok(), "");
        mounted
    }

    /// Mounts `my-vault` on a fresh directory with these options: it must work, but not in silence.
    /// Gives its complaints as well.
    #[track_caller]
    pub(crate) fn mount_with_complaints(&self, options: &str) -> (Mounted<'_>, Ran) {
        let mounted = self.mounted_at(self.directory());
        let path = mounted.directory().to_str().unwrap();
        let ran = self.akvfs(&["mount", "my-vault", path, "-o", options]);
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        (mounted, ran)
    }

    /// Takes charge of a mount, made or to be made.
    pub(crate) fn mounted_at(&self, directory: PathBuf) -> Mounted<'_> {
        Mounted { world: self, directory, run: self.run_files() }
    }
}

impl<'a> Mounted<'a> {
    pub(crate) fn world(&self) -> &'a World {
        self.world
    }
}

impl Mounted<'_> {
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a secret is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Lets cat(1) print a secret.
    pub(crate) fn cat(&self, name: &str) -> Ran {
        self.world.cat(self.path(name))
    }

    /// Reads a secret in this process. For what cannot hang; what can is for [`Self::cat`].
    pub(crate) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.world.read(self.path(name))
    }

    /// Whether it is in the table of mounts.
    pub(crate) fn is_mounted(&self) -> bool {
        self.world.table().iter().any(|line| line.directory == self.directory)
    }

    fn end(&self) -> io::Result<()> {
        // A test may have ended it itself.
        if !self.is_mounted() {
            return Ok(());
        }
        let mut ended = Ok(());
        try_until(LIMIT, || {
            ended = self.world.inside(|| unmount(&self.directory, UnmountFlags::NOFOLLOW));
            // Between fork and exec the children of other tests have our descriptors.
            !matches!(ended, Err(Errno::BUSY))
        });
        Ok(ended?)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let ended = self.end();
        if std::thread::panicking() {
            return;
        }
        ended
            .unwrap_or_else(|error| panic!("cannot unmount {}: {error}", self.directory.display()));
        if self.world.mounts().is_empty() {
            let gone = try_until(LIMIT, || self.world.akvfs_processes().is_empty());
            assert!(gone, "left behind: {:#?}", self.world.akvfs_processes());
            let mut left = self.world.run_files();
            left.retain(|path| !self.run.contains(path));
            assert_eq!(left, Vec::<PathBuf>::new());
        }
    }
}
