//! What an option is: its names, the value that it takes, and the commands that take it.

use std::time::Duration;

use crate::cli::options::OPTIONS;

/// Which option.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Key {
    /// The identity that asks.
    Identity,
    /// Certificates to trust.
    CaFile,
    /// The audience of tokens.
    Resource,
    /// The issuer of tokens.
    Authority,
    /// The proxy on the way out.
    Proxy,
    /// How long a caller waits.
    OpenTimeout,
    /// Whether token and vault are tried while mounting.
    Check,
    /// How often a name in use is asked about.
    Refresh,
    /// How long an unconfirmed value is served.
    Stale,
    /// How long an unused value is held.
    Keep,
    /// How often a name is confirmed by a request of its own.
    Confirm,
    /// Whether a secret's dates bound it.
    EnforceDates,
    /// What the vault's firewall is.
    OnFirewall,
    /// Whether values are fetched before anybody comes.
    Prefetch,
    /// Memory for values.
    Room,
    /// The names shown.
    Secrets,
    /// The owner shown.
    Uid,
    /// The group shown.
    Gid,
    /// The files' permissions.
    Mode,
    /// The directory's permissions.
    DirMode,
    /// Whether other users are let in.
    AllowOther,
    /// Whether a line feed is added.
    Newline,
    /// Where opens are recorded.
    Audit,
    /// What becomes of an open that cannot be recorded.
    AuditFailure,
    /// A file of options.
    Config,
    /// The files' SELinux label.
    Context,
    /// The file system's.
    FsContext,
    /// That of files which have none.
    DefContext,
    /// The directory's.
    RootContext,
    /// Whom the worker runs as.
    RunAs,
    /// Where messages go.
    Log,
    /// Whether the command stays.
    Foreground,
    /// How much is said.
    Verbose,
}

/// One option.
#[derive(Debug)]
pub struct Opt {
    /// Which one.
    pub key: Key,
    /// The mount option's name. The long option's has `-` for `_`.
    pub name: &'static str,
    /// The letter that is short for it.
    pub letter: Option<char>,
    /// What kind of value it takes.
    pub kind: Kind,
    /// The value it has unless one is given, in the words in which it would be given.
    pub default: Option<&'static str>,
    /// Under which heading the help shows it.
    pub group: Group,
    /// The commands that take it.
    pub commands: &'static [Command],
    /// What it does, in a line.
    pub help: &'static str,
}

impl Opt {
    /// The row of an option.
    #[must_use]
    pub fn row(key: Key) -> Option<&'static Self> {
        OPTIONS.iter().find(|opt| opt.key == key)
    }

    /// The option of that name, if the command has it.
    #[must_use]
    pub fn find(command: Command, name: &str) -> Option<&'static Self> {
        Self::of(command).find(|opt| opt.name == name || opt.long() == name)
    }

    /// The options of a command.
    pub fn of(command: Command) -> impl Iterator<Item = &'static Self> {
        OPTIONS.iter().filter(move |opt| opt.commands.contains(&command))
    }

    /// The long option's name, without the dashes.
    #[must_use]
    pub fn long(&self) -> String {
        self.name.replace('_', "-")
    }

    /// What stands for the value in the help, if there is a value.
    #[must_use]
    pub fn placeholder(&self) -> Option<String> {
        match self.kind {
            Kind::Flag => None,
            Kind::Duration(..) => Some("DURATION".to_owned()),
            Kind::Size(..) => Some("SIZE".to_owned()),
            Kind::OneOf(words) => Some(words.join("|")),
            Kind::FlagOr(word) => Some(word.to_owned()),
            Kind::Text(placeholder) => Some(placeholder.to_owned()),
        }
    }
}

/// What kind of value an option takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// None: the option is given or not.
    Flag,
    /// A duration with a unit, within these bounds.
    Duration(Duration, Duration),
    /// A number of bytes with a unit, within these bounds.
    Size(u64, u64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// This word, or none.
    FlagOr(&'static str),
    /// Something that has its own parser; the help calls it this.
    Text(&'static str),
}

/// The headings of the help.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Group {
    /// Whom to ask, and as whom.
    Vault,
    /// What is kept, and for how long.
    Cache,
    /// How the files look.
    Files,
    /// What the program does as a process.
    Process,
}

impl Group {
    /// The heading's words.
    #[must_use]
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Vault => "Vault and identity",
            Self::Cache => "Cache",
            Self::Files => "Files",
            Self::Process => "Process",
        }
    }
}

/// The commands that take options of the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// `akvfs mount`, and what mount(8) and mount.fuse(8) call.
    Mount,
    /// `akvfs get`.
    Get,
    /// `akvfs list`.
    List,
}
