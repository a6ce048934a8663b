//! The kernel's table of mounts, as /proc/self/mountinfo shows it.
//!
//! Looking something up here touches no mounted file system, so it does not wait for one that
//! hangs.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::path::PathBuf;

/// The type of our mounts.
pub const FS_TYPE: &str = "fuse.akvfs";

/// One line of the table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mount {
    /// The mount's number.
    pub id: u64,
    /// The number of the mount in which it lies.
    pub parent: u64,
    /// The device's major number: 0 for what has no device.
    pub major: u32,
    /// The device's minor number, which all mounts of one file system share.
    pub minor: u32,
    /// Where it is mounted.
    pub directory: PathBuf,
    /// The type of its file system.
    pub fs_type: String,
    /// What is mounted, as it was typed.
    pub source: String,
    /// Whether nothing can be changed there: neither through this mount nor in the file system.
    pub is_read_only: bool,
    /// The options of its file system.
    pub options: String,
}

impl Mount {
    /// Whether it is one of ours.
    #[must_use]
    pub fn is_akvfs(&self) -> bool {
        self.fs_type == FS_TYPE
    }

    /// The user whose mount it is, as the kernel knows it.
    #[must_use]
    pub fn user(&self) -> Option<u32> {
        let mut options = self.options.split(',');
        options.find_map(|option| option.strip_prefix("user_id=")?.parse().ok())
    }
}

/// The table of mounts of this process's mount namespace.
#[derive(Clone, Debug)]
pub struct Table(Vec<Mount>);

impl Table {
    /// Reads the table.
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&fs::read("/proc/self/mountinfo")?))
    }

    /// What is mounted at a directory, if it is one of ours with that device.
    #[must_use]
    pub fn akvfs_at(&self, directory: &Path, minor: u32) -> Option<Mount> {
        let ours = |mount: &&Mount| mount.is_akvfs() && (mount.major, mount.minor) == (0, minor);
        self.at(directory).filter(ours).cloned()
    }

    /// The mount that a path leads to if something is mounted exactly there: of several, the one on
    /// top.
    #[must_use]
    pub fn at(&self, directory: &Path) -> Option<&Mount> {
        let here = || self.0.iter().filter(|mount| mount.directory == directory);
        let is_covered = |mount: &Mount| here().any(|other| other.parent == mount.id);
        here().rfind(|mount| !is_covered(mount))
    }

    /// All mounts of akvfs.
    pub fn akvfs(&self) -> impl Iterator<Item = &Mount> {
        self.0.iter().filter(|mount| mount.is_akvfs())
    }

    /// All mounts of one file system: a file system that is bound elsewhere as well has several.
    pub fn of_device(&self, major: u32, minor: u32) -> impl Iterator<Item = &Mount> {
        self.0.iter().filter(move |mount| (mount.major, mount.minor) == (major, minor))
    }

    fn parse(text: &[u8]) -> Self {
        Self(text.split(|byte| *byte == b'\n').filter_map(parse_line).collect())
    }
}

/// `36 35 98:0 /root /directory rw,noatime shared:1 - ext3 /dev/root rw`: of what follows the sixth
/// field, there may be any number before the dash.
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let text = |fields: &mut dyn Iterator<Item = &[u8]>| {
        fields.next().map(|field| String::from_utf8_lossy(field).into_owned())
    };
    let id = text(&mut fields)?.parse().ok()?;
    let parent = text(&mut fields)?.parse().ok()?;
    let device = text(&mut fields)?;
    let (major, minor) = device.split_once(':')?;
    let directory = unescape(fields.nth(1)?);
    let own_options = text(&mut fields)?;
    fields.find(|field| *field == b"-")?;
    let fs_type = text(&mut fields)?;
    let source = unescape(fields.next()?);
    let options = text(&mut fields)?;
    let is_ro = |options: &str| options.split(',').any(|option| option == "ro");
    Some(Mount {
        id,
        parent,
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        directory: PathBuf::from(OsString::from_vec(directory)),
        fs_type,
        source: String::from_utf8_lossy(&source).into_owned(),
        is_read_only: is_ro(&own_options) || is_ro(&options),
        options,
    })
}

/// Blanks, tabs, line feeds and backslashes stand in the table as a backslash and three octal
/// digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let value = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(value.unwrap_or(*first));
        rest = if value.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
44 27 0:45 / /srv/my\\040vault\\134\\011x ro,nosuid - fuse.akvfs my-vault ro,user_id=7,group_id=0
50 27 0:50 / /mnt rw shared:1 master:2 - autofs systemd-1 rw
51 50 0:51 / /mnt rw shared:3 - fuse.akvfs below ro,user_id=0
52 51 0:52 / /mnt rw - tmpfs above rw
53 27 0:45 / /bound ro - fuse.akvfs my-vault ro,user_id=7,group_id=0
nonsense
";

    #[test]
    fn a_line_is_read_with_its_octal_escapes() {
        let table = Table::parse(TABLE);
        let mount = table.at(Path::new("/srv/my vault\\\tx")).unwrap();
        assert_eq!((mount.major, mount.minor, mount.user()), (0, 45, Some(7)));
        assert!(mount.is_akvfs());
        assert_eq!(table.0.len(), 6);
    }

    #[test]
    fn of_several_mounts_in_one_place_the_topmost_counts() {
        let table = Table::parse(TABLE);
        assert_eq!(table.at(Path::new("/mnt")).unwrap().fs_type, "tmpfs");
        assert_eq!(table.at(Path::new("/mnt/")).unwrap().fs_type, "tmpfs");
        assert!(table.at(Path::new("/mn")).is_none());
    }

    #[test]
    fn a_file_system_is_found_in_every_place() {
        assert_eq!(Table::parse(TABLE).of_device(0, 45).count(), 2);
    }

    #[test]
    fn what_only_looks_like_an_escape_stays() {
        assert_eq!(unescape(b"a\\04"), b"a\\04");
        assert_eq!(unescape(b"\\999\\"), b"\\999\\");
        assert_eq!(unescape(b"\\0401"), b" 1");
    }
}
