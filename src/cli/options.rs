//! The one table of options.
//!
//! From it come the long options, the mount options, the help, the manual page and the nearest
//! name that a misspelt option is answered with. An option is in it once it works.

use std::time::Duration;

use crate::cli::option::Command;
use crate::cli::option::Group;
use crate::cli::option::Key;
use crate::cli::option::Kind;
use crate::cli::option::Opt;

/// Every option there is, in the order in which the help shows them.
pub const OPTIONS: [Opt; 30] = [
    Opt {
        key: Key::Identity,
        name: "identity",
        letter: None,
        kind: Kind::Text("IDENTITY"),
        default: Some("auto"),
        group: Group::Vault,
        commands: &ASKING,
        help: "who asks: auto, system, client-id:GUID, object-id:GUID or resource-id:ARMID",
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
        key: Key::Confirm,
        name: "confirm",
        letter: None,
        kind: Kind::Duration(Duration::from_millis(100), Duration::from_secs(DAY)),
        default: Some("15m"),
        group: Group::Cache,
        commands: &MOUNTING,
        help: "how soon it is noticed that the right to one secret went, where the vault's list \
               confirms the others",
    },
    Opt {
        key: Key::EnforceDates,
        name: "enforce-dates",
        letter: None,
        kind: Kind::Flag,
        default: None,
        group: Group::Cache,
        commands: &MOUNTING,
        help: "serve a secret only between its nbf and its exp, which the vault itself ignores",
    },
    Opt {
        key: Key::OnFirewall,
        name: "on-firewall",
        letter: None,
        kind: Kind::OneOf(&["deny", "stale"]),
        default: Some("deny"),
        group: Group::Cache,
        commands: &MOUNTING,
        help: "whether the vault's firewall is a refusal, or an outage that stale bounds",
    },
    Opt {
        key: Key::Prefetch,
        name: "prefetch",
        letter: None,
        kind: Kind::FlagOr("wait"),
        default: None,
        group: Group::Cache,
        commands: &MOUNTING,
        help: "fetch every value once mounted; prefetch=wait: before the mount is ready",
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
        key: Key::Config,
        name: "config",
        letter: None,
        kind: Kind::Text("FILE"),
        default: None,
        group: Group::Files,
        commands: &MOUNTING,
        help: "a file (TOML) with options, and with owner and mode of files by their names",
    },
    Opt {
        key: Key::Context,
        name: "context",
        letter: None,
        kind: Kind::Text("LABEL"),
        default: None,
        group: Group::Files,
        commands: &MOUNTING,
        help: "SELinux label of everything in the mount; nothing where SELinux is off",
    },
    Opt {
        key: Key::FsContext,
        name: "fscontext",
        letter: None,
        kind: Kind::Text("LABEL"),
        default: None,
        group: Group::Files,
        commands: &MOUNTING,
        help: "SELinux label of the file system itself, likewise",
    },
    Opt {
        key: Key::DefContext,
        name: "defcontext",
        letter: None,
        kind: Kind::Text("LABEL"),
        default: None,
        group: Group::Files,
        commands: &MOUNTING,
        help: "SELinux label of files that have none, likewise",
    },
    Opt {
        key: Key::RootContext,
        name: "rootcontext",
        letter: None,
        kind: Kind::Text("LABEL"),
        default: None,
        group: Group::Files,
        commands: &MOUNTING,
        help: "SELinux label of the directory, likewise",
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
