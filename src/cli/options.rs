//! The one table of options.
//!
//! From it come the long options, the mount options, the help, the manual page and the nearest
//! name that a misspelt option is answered with. An option is in it once it works.

use std::time::Duration;

/// Every option there is, in the order in which the help shows them.
pub const OPTIONS: [Opt; 22] = [
    Opt {
        key: Key::Identity,
        name: "identity",
        letter: None,
        kind: Kind::Text("IDENTITY"),
        default: Some("auto"),
        group: Group::Vault,
        commands: &ASKING,
        help: "who asks: auto, system, client-id:GUID, workload, from:VAULT/SECRET and others",
    },
    Opt {
        key: Key::CaFile,
        name: "ca-file",
        letter: None,
        kind: Kind::Text("FILE"),
        default: None,
        group: Group::Vault,
        commands: &ASKING,
        help: "certificates (PEM) to trust instead of the system's",
    },
    Opt {
        key: Key::Resource,
        name: "resource",
        letter: None,
        kind: Kind::Text("URL"),
        default: None,
        group: Group::Vault,
        commands: &ASKING,
        help: "what tokens are for; only for a host outside the known clouds",
    },
    Opt {
        key: Key::Authority,
        name: "authority",
        letter: None,
        kind: Kind::Text("URL"),
        default: None,
        group: Group::Vault,
        commands: &ASKING,
        help: "who issues tokens; only for a host outside the known clouds",
    },
    Opt {
        key: Key::Proxy,
        name: "proxy",
        letter: None,
        kind: Kind::Text("URL"),
        default: None,
        group: Group::Vault,
        commands: &ASKING,
        help: "the proxy on the way to vault and Entra; those of the environment are not used",
    },
    Opt {
        key: Key::OpenTimeout,
        name: "open-timeout",
        letter: None,
        kind: Kind::Duration(Duration::from_millis(100), Duration::from_secs(5 * MINUTE)),
        default: Some("10s"),
        group: Group::Vault,
        commands: &ASKING,
        help: "how long a caller waits for a value that is not here",
    },
    Opt {
        key: Key::Check,
        name: "check",
        letter: None,
        kind: Kind::OneOf(&["on", "off", "strict"]),
        default: Some("on"),
        group: Group::Vault,
        commands: &MOUNTING,
        help: "try token and vault while mounting: on, off, or strict: fail if either fails",
    },
    Opt {
        key: Key::Refresh,
        name: "refresh",
        letter: None,
        kind: Kind::Duration(Duration::from_millis(100), Duration::from_secs(DAY)),
        default: Some("60s"),
        group: Group::Cache,
        commands: &MOUNTING,
        help: "how soon a change or a refusal is seen for a name in use",
    },
    Opt {
        key: Key::Stale,
        name: "stale",
        letter: None,
        kind: Kind::Duration(Duration::from_millis(100), Duration::from_secs(30 * DAY)),
        default: Some("1h"),
        group: Group::Cache,
        commands: &MOUNTING,
        help: "how long an outage may last before reads fail",
    },
    Opt {
        key: Key::Keep,
        name: "keep",
        letter: None,
        kind: Kind::Duration(Duration::from_secs(1), Duration::from_secs(365 * DAY)),
        default: Some("8d"),
        group: Group::Cache,
        commands: &MOUNTING,
        help: "how long a value that was read is held after its last use",
    },
    Opt {
        key: Key::Room,
        name: "room",
        letter: None,
        kind: Kind::Size(1 << 20, 4 << 30),
        default: Some("64M"),
        group: Group::Cache,
        commands: &MOUNTING,
        help: "memory for the values held",
    },
    Opt {
        key: Key::Secrets,
        name: "secrets",
        letter: None,
        kind: Kind::Text("GLOB[:GLOB...]"),
        default: None,
        group: Group::Files,
        commands: &MOUNTING,
        help: "show only these names, such as site-*:ftpadmin",
    },
    Opt {
        key: Key::Uid,
        name: "uid",
        letter: None,
        kind: Kind::Text("USER"),
        default: None,
        group: Group::Files,
        commands: &MOUNTING,
        help: "owner of files and directory, a name or a number [default: whoever mounts]",
    },
    Opt {
        key: Key::Gid,
        name: "gid",
        letter: None,
        kind: Kind::Text("GROUP"),
        default: None,
        group: Group::Files,
        commands: &MOUNTING,
        help: "group of files and directory, a name or a number [default: that of whoever mounts]",
    },
    Opt {
        key: Key::Mode,
        name: "mode",
        letter: None,
        kind: Kind::Text("OCTAL"),
        default: Some("0400"),
        group: Group::Files,
        commands: &MOUNTING,
        help: "permissions of the files; read bits only",
    },
    Opt {
        key: Key::DirMode,
        name: "dir-mode",
        letter: None,
        kind: Kind::Text("OCTAL"),
        default: Some("0550"),
        group: Group::Files,
        commands: &MOUNTING,
        help: "permissions of the directory; no write bits",
    },
    Opt {
        key: Key::AllowOther,
        name: "allow_other",
        letter: None,
        kind: Kind::Flag,
        default: None,
        group: Group::Files,
        commands: &MOUNTING,
        help: "let other users in, as far as mode and dir-mode allow",
    },
    Opt {
        key: Key::Newline,
        name: "newline",
        letter: None,
        kind: Kind::Flag,
        default: None,
        group: Group::Files,
        commands: &[Command::Mount, Command::Get],
        help: "end a value in a line feed if it is not empty and has none",
    },
    Opt {
        key: Key::RunAs,
        name: "run-as",
        letter: None,
        kind: Kind::Text("USER"),
        default: None,
        group: Group::Process,
        commands: &MOUNTING,
        help: "whom the worker runs as [default: akvfs if there is such a user, else nobody]",
    },
    Opt {
        key: Key::Log,
        name: "log",
        letter: None,
        kind: Kind::Text("journal|stderr|FILE"),
        default: None,
        group: Group::Process,
        commands: &MOUNTING,
        help: "where messages go [default: stderr in the foreground, else the journal or syslog]",
    },
    Opt {
        key: Key::Foreground,
        name: "foreground",
        letter: Some('f'),
        kind: Kind::Flag,
        default: None,
        group: Group::Process,
        commands: &MOUNTING,
        help: "stay, and serve until unmounted or interrupted",
    },
    Opt {
        key: Key::Verbose,
        name: "verbose",
        letter: Some('v'),
        kind: Kind::Flag,
        default: None,
        group: Group::Process,
        commands: &ASKING,
        help: "say more; twice for each request made",
    },
];

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

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;
const MOUNTING: [Command; 1] = [Command::Mount];
const ASKING: [Command; 3] = [Command::Mount, Command::Get, Command::List];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_has_one_row_and_a_line_of_help() {
        for (at, opt) in OPTIONS.iter().enumerate() {
            let twins = OPTIONS.iter().filter(|other| other.key == opt.key);
            assert_eq!(twins.count(), 1, "row {at}: {:?}", opt.key);
            assert!(!opt.help.is_empty() && !opt.help.ends_with('.'));
            assert!(opt.help.len() <= 82, "{} is too long", opt.name);
        }
    }
}
