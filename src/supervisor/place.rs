//! The real path of a directory, found without entering a mount of akvfs.
//!
//! `std::fs::canonicalize` asks every component of the path; a mount whose processes hang or are
//! gone would not answer. This walks the path by itself, reads links, and takes the table of mounts
//! at its word where one of ours begins.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::io::ErrorKind;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::supervisor::mountinfo::Mount;
use crate::supervisor::mountinfo::Table;

/// How many links are followed, as many as the kernel does.
const LINKS: usize = 40;

enum Step {
    Root,
    Up,
    Into(OsString),
}

/// Where a path leads: absolute, without links, `.`, `..` or a slash at the end. Fails as the kernel
/// would; what lies inside a mount of akvfs is not asked about.
pub fn resolve(path: &Path, table: &Table) -> io::Result<PathBuf> {
    let mut resolved = std::env::current_dir()?;
    let mut ahead = steps(path);
    let mut links = 0;
    while let Some(step) = ahead.pop_front() {
        match step {
            Step::Root => resolved = PathBuf::from("/"),
            Step::Up => drop(resolved.pop()),
            Step::Into(name) => {
                let next = resolved.join(&name);
                if table.at(&next).is_some_and(Mount::is_akvfs) {
                    resolved = next;
                    continue;
                }
                match fs::read_link(&next) {
                    Ok(target) => {
                        links += 1;
                        if links > LINKS {
                            return Err(Errno::LOOP.into());
                        }
                        let mut through = steps(&target);
                        through.append(&mut ahead);
                        ahead = through;
                    }
                    // It is there, and no link.
                    Err(error) if error.kind() == ErrorKind::InvalidInput => resolved = next,
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(resolved)
}

fn steps(path: &Path) -> VecDeque<Step> {
    let step = |component: Component<'_>| match component {
        Component::RootDir => Some(Step::Root),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Into(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(step).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_spelling_leads_to_the_same_place() {
        let root = std::env::temp_dir().join(format!("akvfs-place-{}", std::process::id()));
        fs::create_dir_all(root.join("a dir/sub")).unwrap();
        symlink("a dir", root.join("link")).unwrap();
        symlink(root.join("link/../loop"), root.join("loop")).unwrap();
        let table = Table::read().unwrap();
        let real = root.canonicalize().unwrap().join("a dir");
        for spelling in
            ["a dir", "a dir/", "./a dir/.", "link", "link/", "a dir/sub/..", "link/sub/../../link"]
        {
            assert_eq!(resolve(&root.join(spelling), &table).unwrap(), real, "{spelling}");
        }
        assert_eq!(resolve(&root.join("no"), &table).unwrap_err().kind(), ErrorKind::NotFound);
        let looped = resolve(&root.join("loop"), &table).unwrap_err();
        assert_eq!(Errno::from_io_error(&looped), Some(Errno::LOOP));
        fs::remove_dir_all(root).unwrap();
    }
}
