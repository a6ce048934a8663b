//! How the processes of a mount are started: descriptors at fixed numbers, an empty environment,
//! fixed arguments, and no right that they do not need.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use rustix::fs::Mode;
use rustix::process::DumpableBehavior;
use rustix::process::Gid;
use rustix::process::Pid;
use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::Signal;
use rustix::process::Uid;
use rustix::process::geteuid;
use rustix::process::getpid;
use rustix::process::getppid;
use rustix::process::set_dumpable_behavior;
use rustix::process::set_parent_process_death_signal;
use rustix::process::setrlimit;
use rustix::process::setsid;
use rustix::process::umask;
use rustix::thread::CapabilitySet;
use rustix::thread::CapabilitySets;
use rustix::thread::clear_ambient_capability_set;
use rustix::thread::remove_capability_from_bounding_set;
use rustix::thread::set_capabilities;
use rustix::thread::set_name;
use rustix::thread::set_no_new_privs;
use rustix::thread::set_thread_groups;
use rustix::thread::set_thread_res_gid;
use rustix::thread::set_thread_res_uid;

use crate::sys;

// Descriptors are left at numbers above any that a process opens before it has taken them.

/// Where the relay finds the kernel's end of the mount.
pub const FUSE: RawFd = 100;
/// Where relay and worker find their ends of the socket between them.
pub const SOCKET: RawFd = 101;
/// Where the relay finds the ledger.
pub const LEDGER: RawFd = 102;
/// Where the worker finds its socket to the supervisor.
pub const REPORTS: RawFd = 103;
/// Where the worker finds the arena.
pub const ARENA: RawFd = 104;
/// Where supervisor and worker find the brief.
pub const BRIEF: RawFd = 105;
/// Where the supervisor finds what to mount and how.
pub const LAUNCH: RawFd = 106;
/// Where the supervisor finds the pipe to whoever waits for the mount.
pub const OUTCOME: RawFd = 107;

/// Where the worker finds its end of the socket on which it is handed connections.
pub const VISITORS: RawFd = 108;
/// Where the worker finds the socket for what the kernel is to be told.
pub const ORDERS: RawFd = 110;
/// Where the worker finds its socket to the clerk, if opens are recorded.
pub const CLERK: RawFd = 109;

/// The user and the group that own nothing, on every kernel.
const OVERFLOW: (u32, u32) = (65_534, 65_534);
/// The program that runs, even if another one lies on disk by now.
const PROGRAM: &str = "/proc/self/exe";

/// Whose rights a process has.
#[derive(Clone, Copy, Debug)]
pub enum Rights {
    /// All that its parent has: the supervisor must mount and unmount.
    Kept,
    /// Its parent's user, without capabilities.
    User,
    /// Another user, in one more group at the most, without capabilities.
    Of(Uid, Gid, Option<Gid>),
}

impl Rights {
    /// The rights of the worker: whoever mounts, unless another user is named, and if root mounts
    /// one who is not root. `None` if that user is root. Of his groups he keeps `group`, if it is
    /// one of them, because something that he must read is that group's.
    #[must_use]
    pub fn of_worker(run_as: Option<(u32, u32)>, group: Option<&str>) -> Option<Self> {
        let passwd = || fs::read_to_string("/etc/passwd").unwrap_or_default();
        let (uid, gid) = match run_as {
            Some(user) => user,
            None if geteuid().is_root() => user_of_its_own(&passwd()),
            None => return Some(Self::User),
        };
        let group = group.and_then(|group| {
            let groups = fs::read_to_string("/etc/group").unwrap_or_default();
            group_of(uid, group, &passwd(), &groups).map(Gid::from_raw)
        });
        (uid != 0).then(|| Self::Of(Uid::from_raw(uid), Gid::from_raw(gid), group))
    }
}

/// Starts this program again, as the process of that name, its messages going where they are told.
///
/// The thread that calls this must be the process's first: the child is killed when it ends.
pub fn start(
    name: &str,
    descriptors: &[(&OwnedFd, RawFd)],
    rights: Rights,
    messages: Stdio,
) -> io::Result<Child> {
    let parent = getpid();
    let descriptors = descriptors.iter().map(|(from, to)| (from.as_raw_fd(), *to));
    let descriptors = descriptors.collect::<Vec<_>>();
    let mut command = Command::new(PROGRAM);
    command.arg0("akvfs").arg(name).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(messages);
    sys::between_fork_and_exec(&mut command, move || {
        // What whoever called us left open is none of these processes' business.
        let _ = sys::close_at_exec_from(3);
        for (from, to) in &descriptors {
            sys::place_descriptor(*from, *to)?;
        }
        match rights {
            Rights::Kept => setsid().map(drop)?,
            Rights::User => drop_capabilities()?,
            Rights::Of(uid, gid, group) => become_user(uid, gid, group)?,
        }
        if !matches!(rights, Rights::Kept) {
            stay_with(parent)?;
        }
        Ok(())
    });
    command.spawn()
}

/// What every process of a mount does first: it takes its name, and gives up core files and being
/// looked into by others of the same user.
pub fn harden(name: &CStr) -> io::Result<()> {
    set_name(name)?;
    keep_to_itself()?;
    umask(Mode::RWXG | Mode::RWXO);
    // Where files may not grow any more, that is an error and not the end.
    sys::ignore_signal(Signal::XFSZ);
    Ok(())
}

/// Has this process leave no core file, and not be looked into by others of the same user: it
/// holds a token, and soon a value.
pub fn keep_to_itself() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

/// The user made for the purpose, or the one that every machine has. /etc/passwd alone is asked: a
/// directory service may not be there yet when the machine boots.
fn user_of_its_own(passwd: &str) -> (u32, u32) {
    let user = |name: &str| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let is_named = fields.next() == Some(name);
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            is_named.then_some((uid, gid)).filter(|(uid, _)| *uid != 0)
        })
    };
    user("akvfs").or_else(|| user("nobody")).unwrap_or(OVERFLOW)
}

/// The number of a group, if that user is among its members. A group of root's is none to keep.
fn group_of(uid: u32, group: &str, passwd: &str, groups: &str) -> Option<u32> {
    let user = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_named = fields.next() == Some(group);
        let gid = fields.nth(1)?.parse().ok()?;
        let is_member = fields.next()?.split(',').any(|member| member == user);
        (is_named && is_member && gid != 0).then_some(gid)
    })
}

fn become_user(uid: Uid, gid: Gid, group: Option<Gid>) -> io::Result<()> {
    drop_bounding_set();
    // Only root may set groups; a user's own are what the mounting user has anyway.
    if set_thread_groups(group.as_slice()).is_ok() || geteuid() != uid {
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
    }
    drop_capabilities()
}

fn drop_capabilities() -> io::Result<()> {
    drop_bounding_set();
    // Kernels before 4.3 have no ambient set, and so nothing in it.
    let _ = clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(set_no_new_privs(true)?)
}

/// Empties the set from which root's exec takes its capabilities. Who may not do that is not root.
fn drop_bounding_set() {
    for number in 0..u64::BITS {
        let _ = remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number));
    }
}

/// Ends with its parent, and with nothing else that is meant for the parent alone.
fn stay_with(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Some(parent) {
        return Err(io::ErrorKind::NotConnected.into());
    }
    sys::ignore_signal(Signal::TERM);
    sys::ignore_signal(Signal::INT);
    sys::ignore_signal(Signal::HUP);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_of_root_is_a_local_user_and_never_root() {
        let users = "root:x:0:0::/:/bin/sh\nakvfsx:x:1:1::/:\nnobody:x:99:98::/:\nbad:x:::\n";
        assert_eq!(user_of_its_own(users), (99, 98));
        assert_eq!(user_of_its_own(&format!("{users}akvfs:x:990:989::/:\n")), (990, 989));
        assert_eq!(user_of_its_own("akvfs:x:0:0::/:\nnobody:x:0:99::/:\n"), OVERFLOW);
        assert_eq!(user_of_its_own("nobody:x:::\n"), OVERFLOW);
    }

    #[test]
    fn a_group_is_kept_by_its_members_alone() {
        let passwd = "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:\nakvfs:x:990:989::/:\n";
        let groups = "root:x:0:akvfs\nhimds:x:998:syslog,akvfs\nhimds2:x:997:nobody\nbad\n";
        assert_eq!(group_of(990, "himds", passwd, groups), Some(998));
        assert_eq!(group_of(65_534, "himds", passwd, groups), None);
        assert_eq!(group_of(991, "himds", passwd, groups), None);
        assert_eq!(group_of(990, "root", passwd, groups), None);
        assert_eq!(group_of(990, "none", passwd, groups), None);
    }
}
