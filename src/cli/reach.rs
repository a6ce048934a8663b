//! Finding a mount on this machine, and asking those who serve it.
//!
//! The mount itself is never touched: it may hang. The kernel's table says where it is and whose.

use std::io;
use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::poll;

use crate::cli::complaint::Complaint;
use crate::cli::complaint::Exit;
use crate::cli::complaint::reason;
use crate::cli::environment::control_of;
use crate::cli::owner::Account;
use crate::control::client::Client;
use crate::control::protocol;
use crate::control::protocol::Request;
use crate::model::name::SecretName;
use crate::supervisor::door;
use crate::supervisor::living;
use crate::supervisor::mountinfo::Mount;
use crate::supervisor::mountinfo::Table;
use crate::supervisor::place;

/// A mount of akvfs.
#[derive(Debug)]
pub struct Target {
    mount: Mount,
    sockets: Vec<PathBuf>,
}

/// The mount on a directory, by whatever spelling.
pub fn find(directory: &Path, control: Option<&Path>) -> Result<Target, Complaint> {
    let fail = |why: &str| Complaint::new(Exit::System, format!("{}: {why}", directory.display()));
    let table = Table::read().map_err(|error| fail(&reason(&error)))?;
    let place = place::resolve(directory, &table).map_err(|error| fail(&reason(&error)))?;
    let mount = table.at(&place).filter(|mount| mount.is_akvfs());
    let mount = mount.ok_or_else(|| fail("akvfs is not mounted there"))?;
    Ok(Target::new(mount.clone(), control))
}

/// All mounts that whoever runs this may ask about, each once.
pub fn all(control: Option<&Path>) -> Result<Vec<Target>, Complaint> {
    let table = Table::read().map_err(|error| {
        Complaint::new(Exit::System, format!("the table of mounts: {}", reason(&error)))
    })?;
    let own = Account::own().uid;
    let mut found: Vec<Mount> = Vec::new();
    for mount in table.akvfs() {
        let known = found.iter().any(|known| known.minor == mount.minor);
        if !known && (own == 0 || mount.user() == Some(own)) {
            found.push(mount.clone());
        }
    }
    Ok(found.into_iter().map(|mount| Target::new(mount, control)).collect())
}

/// Names that were typed.
pub fn names(typed: &[String]) -> Result<Vec<SecretName>, Complaint> {
    let name = |text: &String| {
        SecretName::parse(text).ok_or_else(|| {
            Complaint::usage(format!("{text:?}: no secret can be called that"))
                .hint("a name is 1 to 127 letters, digits and dashes")
        })
    };
    typed.iter().map(name).collect()
}

/// Lets a moment pass.
pub fn pause(span: Duration) {
    // It is cut short by a signal, and then the next look comes sooner.
    let _passed = poll(&mut [], Timespec::try_from(span).ok().as_ref());
}

impl Target {
    fn new(mount: Mount, control: Option<&Path>) -> Self {
        let own = Account::own().uid;
        let user = mount.user().unwrap_or(0);
        let chosen = control.filter(|_| user == own);
        let mut directories = vec![control_of(user)];
        directories.extend(chosen.filter(|chosen| *chosen != control_of(user)).map(Path::to_owned));
        let name = door::name(mount.minor);
        let sockets = directories.iter().rev().map(|directory| directory.join(&name)).collect();
        Self { mount, sockets }
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.mount.directory
    }

    /// The vault, as the table has it.
    #[must_use]
    pub fn vault(&self) -> String {
        self.mount.source.clone()
    }

    /// Asks those who serve it.
    pub fn ask(&self, request: &Request) -> io::Result<Client> {
        let mut failed = io::Error::from(ErrorKind::NotFound);
        for socket in &self.sockets {
            match Client::ask(socket, self.mount.user().unwrap_or(0), request) {
                Err(error) if error.kind() == ErrorKind::NotFound => failed = error,
                asked => return asked,
            }
        }
        Err(failed)
    }

    /// Whether it is still there.
    #[must_use]
    pub fn is_mounted(&self) -> bool {
        let is_it = |mount: &Mount| (mount.id, mount.minor) == (self.mount.id, self.mount.minor);
        Table::read().is_ok_and(|table| table.akvfs().any(is_it))
    }

    /// Whether anybody serves it.
    #[must_use]
    pub fn is_served(&self) -> bool {
        living::supervisor(&self.mount).is_some()
    }

    /// Why an attempt to ask failed.
    #[must_use]
    pub fn silence(&self, error: &io::Error) -> Silence {
        let kind = error.kind();
        if kind == ErrorKind::PermissionDenied {
            Silence::Denied
        } else if kind == ErrorKind::InvalidInput {
            Silence::TooMuch
        } else if kind == ErrorKind::NotFound || kind == ErrorKind::ConnectionRefused {
            if self.is_served() { Silence::NoSocket } else { Silence::Dead }
        } else {
            Silence::Late
        }
    }

    /// What to tell of an answer that is none.
    #[must_use]
    pub fn refused(&self, why: &protocol::Complaint) -> Complaint {
        let directory = self.directory().display();
        Complaint::new(Exit::Unreachable, format!("{directory}: {}", why.message))
    }

    /// What to tell of an attempt to ask that failed.
    #[must_use]
    pub fn complain(&self, error: &io::Error) -> Complaint {
        let directory = self.directory().display();
        let fail = |exit, why: &str| Complaint::new(exit, format!("{directory}: {why}"));
        match self.silence(error) {
            Silence::Denied => fail(Exit::System, "only root and the user who mounted may ask"),
            Silence::TooMuch => fail(Exit::Usage, "more names than can be asked about at once"),
            Silence::Dead => fail(Exit::System, "nobody serves this mount any more")
                .hint(format!("akvfs unmount {directory}")),
            Silence::NoSocket => fail(Exit::System, "this mount has no control socket").hint(
                "a user's mount has one in XDG_RUNTIME_DIR, or in /run/user/UID if that is there",
            ),
            Silence::Late => {
                let why = format!("its processes do not answer: {}", reason(error));
                fail(Exit::Unreachable, &why)
            }
        }
    }
}

/// Why nobody could be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Silence {
    /// It is not ours to ask.
    Denied,
    /// What is asked is too long.
    TooMuch,
    /// Nobody serves the mount.
    Dead,
    /// The mount is served, but not there.
    NoSocket,
    /// There was no answer, or none in time.
    Late,
}
