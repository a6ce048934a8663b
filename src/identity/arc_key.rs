//! The key file of the Azure Arc agent: which paths can be one, and how it is read.
//!
//! The path comes from whoever answers on the agent's port. What is read from it goes back there,
//! so it is read only if it is a short regular file of one word, with the right ending, directly in
//! the agent's folder, and no link.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::open;
use rustix::fs::openat;
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::http::Key;
use crate::identity::no_token::Reason;
use crate::identity::token::NoSense;
use crate::model::secret::SecretBytes;

const FOLDER: &str = "/var/opt/azcmagent/tokens";
/// The group that may read the keys.
pub(crate) const GROUP: &str = "himds";
const LARGEST: u64 = 4096;

/// A key that could not be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoKey {
    user: String,
    errno: Errno,
}

/// The key at `path`.
pub(crate) fn read(path: &str) -> Result<SecretBytes, Reason> {
    read_in(FOLDER, path)
}

fn read_in(folder: &str, path: &str) -> Result<SecretBytes, Reason> {
    let nonsense = |why| Reason::Nonsense(NoSense(why));
    let name = name(folder, path).ok_or(nonsense("it names a file that is no key of the agent"))?;
    // A FIFO would be waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = open(folder, OFlags::PATH | OFlags::DIRECTORY | flags, Mode::empty())
        .and_then(|folder| openat(folder, name, flags, Mode::empty()));
    let file = match opened {
        Ok(file) => File::from(file),
        Err(Errno::LOOP) => return Err(nonsense("the key file that it names is a link")),
        Err(errno) => return Err(Reason::NoKey(NoKey { user: user(), errno })),
    };
    if !file.metadata().is_ok_and(|file| file.is_file() && file.len() <= LARGEST) {
        return Err(nonsense("the key file that it names is no short regular file"));
    }
    let mut key = Vec::with_capacity(LARGEST as usize + 1);
    let read = file.take(LARGEST + 1).read_to_end(&mut key);
    let key = SecretBytes::new(key);
    if read.is_err() || key.expose().len() as u64 > LARGEST || !Key::fits(&key) {
        return Err(nonsense("the key file that it names holds no key"));
    }
    Ok(key)
}

/// The name of the file, if the path is one of a key directly in the folder, spelled plainly.
fn name<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    let name = path.strip_prefix(folder)?.strip_prefix('/')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let stem = name.strip_suffix(".key")?;
    let is_plain = !stem.is_empty() && !name.starts_with('.') && name.bytes().all(plain);
    (is_plain && name.len() <= 255).then_some(name)
}

/// Who this process is, by the name that this machine has for it, if it has one.
fn user() -> String {
    let uid = geteuid().as_raw().to_string();
    let passwd = std::fs::read_to_string(Path::new("/etc/passwd")).unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    name.unwrap_or(uid)
}

impl NoKey {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        (self.errno == Errno::ACCESS).then(|| {
            format!(
                "add the user to the group {GROUP}: usermod -aG {GROUP} {}; then mount again",
                self.user
            )
        })
    }
}

impl fmt::Display for NoKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, errno } = self;
        let why = std::io::Error::from(*errno).kind();
        write!(out, "the user {user} cannot read the key in {FOLDER}: {why}")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use rustix::fs::CWD;
    use rustix::fs::FileType;
    use rustix::fs::mknodat;

    use super::*;

    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("akvfs-arc-{}-{test}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn path(&self, name: &str) -> String {
            self.0.join(name).to_str().unwrap().to_owned()
        }

        fn read(&self, path: &str) -> Result<SecretBytes, Reason> {
            read_in(self.0.to_str().unwrap(), path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_key_is_read_anew_each_time_as_it_is() {
        let folder = Folder::new("read");
        let path = folder.path("0f0e0d0c-1111-2222.key");
        for key in ["c2VjcmV0", &"x".repeat(4096)] {
            std::fs::write(&path, key).unwrap();
            assert_eq!(folder.read(&path).unwrap().expose(), key.as_bytes());
        }
    }

    #[test]
    fn only_a_plain_name_with_the_right_ending_directly_in_the_folder_is_a_key() {
        for bad in [
            "",
            "/",
            "a.key",
            "/etc/passwd",
            "/etc/a.key",
            "/var/opt/azcmagent/tokens",
            "/var/opt/azcmagent/tokens/",
            "/var/opt/azcmagent/tokens/.key",
            "/var/opt/azcmagent/tokens/..key",
            "/var/opt/azcmagent/tokens/a",
            "/var/opt/azcmagent/tokens/a.KEY",
            "/var/opt/azcmagent/tokens/a.key.pem",
            "/var/opt/azcmagent/tokens/a.key/",
            "/var/opt/azcmagent/tokens/b/a.key",
            "/var/opt/azcmagent/tokens/../a.key",
            "/var/opt/azcmagent/tokens/../tokens/a.key",
            "/var/opt/azcmagent/tokens/./a.key",
            "/var/opt/azcmagent/tokens//a.key",
            "/var/opt/azcmagent/tokens2/a.key",
            "/var/opt/azcmagent/tokens/a b.key",
            "/var/opt/azcmagent/tokens/a\0.key",
            "/VAR/opt/azcmagent/tokens/a.key",
            "//var/opt/azcmagent/tokens/a.key",
            "\"/var/opt/azcmagent/tokens/a.key\"",
            " /var/opt/azcmagent/tokens/a.key",
        ] {
            assert_eq!(name(FOLDER, bad), None, "{bad:?}");
        }
        assert_eq!(name(FOLDER, "/var/opt/azcmagent/tokens/a-1.key"), Some("a-1.key"));
        let long = format!("{FOLDER}/{}.key", "a".repeat(252));
        assert_eq!(name(FOLDER, &long), None);
    }

    #[test]
    fn what_is_no_short_regular_file_of_one_word_is_not_read() {
        let folder = Folder::new("kinds");
        let path = folder.path("a.key");
        let nonsense = || {
            let read = folder.read(&path);
            assert!(matches!(read, Err(Reason::Nonsense(_))), "{read:?}");
            std::fs::remove_file(&path).unwrap();
        };
        let elsewhere = folder.path("word");
        std::fs::write(&elsewhere, "k3y").unwrap();
        symlink(&elsewhere, &path).unwrap();
        nonsense();
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        nonsense();
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        // Something to read is in it, and nobody who could write more.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let _reader = open(&path, flags, Mode::empty()).unwrap();
        File::options().write(true).open(&path).unwrap().write_all(b"k3y").unwrap();
        nonsense();
        for content in
            ["", "two words", "a\nb", "ends in a line feed\n", "\u{e9}", &"x".repeat(4097)]
        {
            std::fs::write(&path, content).unwrap();
            nonsense();
        }
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(folder.read(&path), Err(Reason::Nonsense(_))));
    }

    /// Seen in the field: the error spoke of another service, and nobody thought of the file.
    #[test]
    fn who_may_not_read_the_key_is_told_folder_and_user_and_what_to_do() {
        let no_key = NoKey { user: "nobody".to_owned(), errno: Errno::ACCESS };
        let text = no_key.to_string();
        assert!(text.contains("nobody") && text.contains(FOLDER), "{text}");
        assert!(no_key.hint().unwrap().contains("group himds"));
        let folder = Folder::new("missing");
        let missing = folder.read(&folder.path("a.key")).unwrap_err();
        let Reason::NoKey(no_key) = missing else { panic!("{missing:?}") };
        assert_eq!(no_key.hint(), None);
        assert!(!no_key.user.is_empty());
    }
}
