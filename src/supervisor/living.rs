//! Tells a mount that somebody serves from one that nobody does, by the names of processes.
//!
//! A supervisor calls itself after its mount's device. Nothing lies in /run that could be stale,
//! and the mount itself, which may hang, is not asked.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::Path;

use rustix::process::Pid;
use rustix::thread::set_name;

use crate::supervisor::mountinfo::Mount;

/// Has the calling process, which must be the thread it began with, be known as the supervisor of
/// the mount with that device.
pub fn call_myself(minor: u32) -> io::Result<()> {
    let name = CString::new(supervisor_of(minor))?;
    Ok(set_name(&name)?)
}

/// Has the calling process be known as one whose mount is gone. The device's number may be another
/// mount's by now.
pub fn call_myself_leaving() -> io::Result<()> {
    Ok(set_name(c"akvfs-leaving")?)
}

/// The process that supervises a mount, if it lives and may be believed: it must be root's, or
/// belong to the user who mounted.
#[must_use]
pub fn supervisor(mount: &Mount) -> Option<Pid> {
    let name = supervisor_of(mount.minor);
    let named: Vec<(Pid, String)> = processes()
        .map(|pid| (pid, fs::read_to_string(proc(pid).join("status")).unwrap_or_default()))
        .filter(|(_, status)| is_supervisor(status, &name, mount.user()))
        .collect();
    parent_among(&named)
}

/// Of those that bear a name, the one whose parent does not. One that a supervisor just starts has its
/// name until it becomes another program, and may have a lower number, where numbers began anew.
fn parent_among(named: &[(Pid, String)]) -> Option<Pid> {
    let is_child = |status: &str| {
        let parent = field(status, "PPid:").and_then(|parent| Pid::from_raw(parent.parse().ok()?));
        named.iter().any(|(pid, _)| Some(*pid) == parent)
    };
    named.iter().find(|(_, status)| !is_child(status)).map(|(pid, _)| *pid)
}

/// The numbers of all processes that can be seen.
pub fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}

/// A process's directory in /proc.
#[must_use]
pub fn proc(pid: Pid) -> std::path::PathBuf {
    Path::new("/proc").join(pid.as_raw_nonzero().to_string())
}

fn supervisor_of(minor: u32) -> String {
    format!("akvfs-{minor}")
}

/// Whether a process's status is that of a living process with that name, root's or the user's. The
/// owner of its directory in /proc would not do: it is root for whoever keeps others from looking
/// into it. One that has ended may stand there for as long as its parent does not care.
fn is_supervisor(status: &str, name: &str, user: Option<u32>) -> bool {
    let uid = field(status, "Uid:").and_then(|uid| uid.parse::<u32>().ok());
    let is_alive = !matches!(field(status, "State:"), Some("Z" | "X") | None);
    is_alive
        && field(status, "Name:") == Some(name)
        && uid.is_some_and(|uid| uid == 0 || Some(uid) == user)
}

/// The first word of a line of a process's status.
fn field<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\takvfs-41\nState:\tS (sleeping)\nUid:\t1000\t1000\t1000\t1000\n";

    #[test]
    fn a_supervisor_is_alive_and_belongs_to_root_or_to_whoever_mounted() {
        assert!(is_supervisor(STATUS, "akvfs-41", Some(1000)));
        assert!(is_supervisor(&STATUS.replace("1000", "0"), "akvfs-41", Some(1000)));
        assert!(!is_supervisor(STATUS, "akvfs-41", Some(1001)));
        assert!(!is_supervisor(STATUS, "akvfs-41", None));
        assert!(!is_supervisor(STATUS, "akvfs-4", Some(1000)));
        assert!(!is_supervisor(
            &STATUS.replace("S (sleeping)", "Z (zombie)"),
            "akvfs-41",
            Some(1000)
        ));
        assert!(!is_supervisor("", "akvfs-41", Some(1000)));
    }

    #[test]
    fn a_process_that_a_supervisor_just_starts_is_not_taken_for_it() {
        let process = |pid: i32, parent: i32| {
            (Pid::from_raw(pid).unwrap(), format!("Name:\takvfs-41\nPPid:\t{parent}\n"))
        };
        let supervisor = Pid::from_raw(32_700);
        assert_eq!(parent_among(&[process(300, 32_700), process(32_700, 1)]), supervisor);
        assert_eq!(parent_among(&[process(32_700, 1), process(32_701, 32_700)]), supervisor);
        assert_eq!(parent_among(&[]), None);
    }
}
