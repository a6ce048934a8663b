//! What can be seen of a process that opens a file: its number, its program, its systemd unit.
//!
//! The kernel names a thread, and the thread waits for its answer, so it is still there. What
//! cannot be seen is left away: the process is in another PID namespace, or /proc hides it.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use crate::log::one_line;

/// A process, as far as it can be seen.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Caller {
    /// The process, whose thread it is.
    pub(crate) pid: Option<u32>,
    /// Its program, as the kernel knows its path.
    pub(crate) exe: Option<String>,
    /// The systemd unit that its cgroup belongs to.
    pub(crate) unit: Option<String>,
}

impl Caller {
    /// Looks at a thread.
    pub(crate) fn of(thread: u32) -> Self {
        if thread == 0 {
            // Outside our PID namespace: the kernel has no number for it here.
            return Self::default();
        }
        let read = |what: &str| fs::read_to_string(format!("/proc/{thread}/{what}")).ok();
        let exe = fs::read_link(format!("/proc/{thread}/exe")).ok();
        Self {
            pid: read("status").and_then(|status| process_of(&status)),
            exe: exe.map(|path| one_line(&String::from_utf8_lossy(path.as_os_str().as_bytes()))),
            unit: read("cgroup").and_then(|cgroup| unit_of(&cgroup)),
        }
    }
}

fn process_of(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    line.trim().parse().ok()
}

/// The unit is the last folder of the path that systemd calls one; below it a service may have
/// made folders of its own. Of the hierarchies of version 1, systemd's own counts.
fn unit_of(cgroup: &str) -> Option<String> {
    let path = cgroup.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        matches!(controllers, "" | "name=systemd").then_some(path)
    })?;
    let is_unit = |folder: &&str| {
        [".service", ".scope", ".socket", ".mount", ".swap", ".slice"]
            .iter()
            .any(|kind| folder.len() > kind.len() && folder.ends_with(kind))
    };
    path.rsplit('/').find(is_unit).map(one_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_innermost_one_in_either_version_of_cgroups() {
        let unit = |text: &str| unit_of(text);
        assert_eq!(unit("0::/system.slice/vsftpd.service\n").as_deref(), Some("vsftpd.service"));
        assert_eq!(
            unit("0::/user.slice/user-1000.slice/session-3.scope\n").as_deref(),
            Some("session-3.scope")
        );
        assert_eq!(
            unit("0::/system.slice/podman.service/inner/deep\n").as_deref(),
            Some("podman.service")
        );
        assert_eq!(
            unit("4:cpu:/x.service\n1:name=systemd:/system.slice/cron.service\n").as_deref(),
            Some("cron.service")
        );
        assert_eq!(unit("0::/\n"), None);
        assert_eq!(unit(""), None);
    }

    #[test]
    fn a_process_sees_itself() {
        let me = Caller::of(std::process::id());
        assert_eq!(me.pid, Some(std::process::id()));
        let exe = std::env::current_exe().unwrap();
        assert_eq!(me.exe.as_deref(), exe.to_str());
        assert_eq!(Caller::of(0), Caller::default());
    }
}
