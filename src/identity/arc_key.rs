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
                "add the user to the group himds: usermod -aG himds {}; then mount again",
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
