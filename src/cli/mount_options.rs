//! What follows `-o`: mount options with commas between them.
//!
//! Beside the table's options these are the ones that fstab, mount(8), mount.fuse(8) and the
//! kernel's own table of mounts put there, which are accepted and ignored.

use crate::cli::complaint::Complaint;
use crate::cli::complaint::Exit;
use crate::cli::option::Command;
use crate::cli::option::Kind;
use crate::cli::option::Opt;
use crate::cli::settings::Settings;
use crate::cli::spelling::nearest;

/// Adds what one `-o` says to the settings. `sloppy` passes over options that do not exist.
pub fn read(text: &str, sloppy: bool, settings: &mut Settings) -> Result<(), Complaint> {
    for item in split(text)? {
        let (name, value) = match item.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (item.as_str(), None),
        };
        if let Some(opt) = Opt::find(Command::Mount, name) {
            settings.add(opt.key, one_value(opt, value)?);
        } else if name == "remount" {
            return Err(Complaint::new(
                Exit::Mount,
                "-o remount: the options of a mount that lives cannot be changed",
            )
            .hint("akvfs unmount DIR, then mount with the new options"));
        } else if !is_ignored(name, value.is_some()) && !sloppy {
            return Err(unknown(name));
        }
    }
    Ok(())
}

/// What is accepted and ignored, as the manual names it.
pub fn ignored() -> impl Iterator<Item = &'static str> {
    let patterns = ["*atime", "x-*"];
    let with_value = WITH_VALUE.into_iter().filter(|name| !WITHOUT_VALUE.contains(name));
    WITHOUT_VALUE.into_iter().chain(patterns).chain(with_value)
}

fn one_value(opt: &Opt, value: Option<&str>) -> Result<String, Complaint> {
    let name = opt.name;
    match (opt.kind, value) {
        (Kind::Flag | Kind::FlagOr(_), None) => Ok(String::new()),
        (Kind::Flag, Some(value)) => {
            Err(Complaint::usage(format!("-o {name}={value}: {name} takes no value"))
                .hint(format!("write {name}, or leave it away")))
        }
        (_, Some("") | None) => {
            let placeholder = opt.placeholder().unwrap_or_default();
            Err(Complaint::usage(format!("-o {name}: a value is missing"))
                .hint(format!("write {name}={placeholder}")))
        }
        (_, Some(value)) => Ok(value.to_owned()),
    }
}

/// The value is not told: it may be a password that another program's option takes.
fn unknown(name: &str) -> Complaint {
    let complaint = Complaint::usage(format!("-o {name}: there is no such option"));
    match nearest(name, Opt::of(Command::Mount).map(|opt| opt.name)) {
        Some(near) => {
            complaint.hint(format!("the nearest is {near}; akvfs mount --help lists them all"))
        }
        None => complaint,
    }
}

/// Cuts at commas, except within double quotes, which are taken off.
fn split(text: &str) -> Result<Vec<String>, Complaint> {
    let mut items = vec![];
    let mut item = String::new();
    let mut quoted = false;
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => items.push(std::mem::take(&mut item)),
            _ => item.push(letter),
        }
    }
    if quoted {
        return Err(Complaint::usage(format!("-o {item}: a double quote is not closed")));
    }
    items.push(item);
    items.retain(|item| !item.is_empty());
    Ok(items)
}

fn is_ignored(name: &str, has_value: bool) -> bool {
    if has_value {
        name.starts_with("x-") || WITH_VALUE.contains(&name)
    } else {
        name.starts_with("x-") || name.ends_with("atime") || WITHOUT_VALUE.contains(&name)
    }
}

const WITHOUT_VALUE: [&str; 19] = [
    "default_permissions",
    "rw",
    "ro",
    "defaults",
    "auto",
    "noauto",
    "dirsync",
    "_netdev",
    "nofail",
    "user",
    "users",
    "owner",
    "group",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
];

const WITH_VALUE: [&str; 8] =
    ["comment", "user", "user_id", "group_id", "rootmode", "fd", "max_read", "blksize"];
