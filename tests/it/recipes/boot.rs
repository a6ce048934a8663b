//! A real systemd, as the first process of a machine within the machine: with the kitchen's files,
//! mounts and network, and without a unit of the machine's own.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::child::Ran;
use crate::child::Running;
use crate::recipes::kitchen::Kitchen;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

/// systemd. It and all that it started are killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Booted<'a> {
    kitchen: &'a Kitchen,
    unshare: Option<Running>,
    first: i32,
}

impl<'a> Booted<'a> {
    /// Boots, up to that unit, which the kitchen must hold. None, and said aloud, where there is
    /// no systemd, or where the machine has no cgroups of the second kind to give.
    pub(crate) fn up_to(kitchen: &'a Kitchen, unit: &str) -> Option<Self> {
        if !Path::new(SYSTEMD).exists() {
            let _: Option<World> = World::skip("systemd is not installed");
            return None;
        }
        for (name, content) in STUBS {
            kitchen.write(&format!("/srv/units/{name}"), content);
        }
        kitchen.write("/srv/boot", &BOOT.replace("UNIT", unit).replace("SYSTEMD", SYSTEMD));
        kitchen.write("/srv/console", "");
        let mut command = kitchen.world.command("unshare");
        command.args(["--mount", "sh", "-e", "/srv/boot"]);
        let mut unshare = kitchen.world.spawn(&mut command);
        let mut first = None;
        until("systemd is there", || {
            first = only_child(unshare.pid().as_raw_nonzero().get());
            first.is_some() || !unshare.runs()
        });
        let Some(first) = first else {
            let why = unshare.wait(LIMIT);
            let _: Option<World> = World::skip(&format!("systemd cannot be booted: {why:?}"));
            return None;
        };
        let booted = Self { kitchen, unshare: Some(unshare), first };
        until("systemd answers", || {
            let said = booted.sh("systemctl is-system-running");
            ["running\n", "degraded\n"].contains(&String::from_utf8_lossy(&said.stdout).as_ref())
        });
        Some(booted)
    }

    /// Runs a line of the shell there.
    pub(crate) fn sh(&self, line: &str) -> Ran {
        let first = self.first.to_string();
        let enter = ["--target", &first, "--mount", "--pid", "--uts", "--cgroup", "sh", "-c", line];
        self.kitchen.world.run("nsenter", &enter)
    }

    /// What systemd has said.
    pub(crate) fn console(&self) -> String {
        String::from_utf8_lossy(&self.kitchen.world.read("/srv/console").unwrap()).into_owned()
    }
}

impl Drop for Booted<'_> {
    fn drop(&mut self) {
        let Some(unshare) = self.unshare.take() else { return };
        unshare.signal(Signal::KILL);
        let pid = unshare.pid().as_raw_nonzero().to_string();
        let ended = unshare.wait(LIMIT);
        let sweep = ["--mount", "sh", "-e", "-c", SWEEP, "sh", &pid];
        let swept = self.kitchen.world.run("unshare", &sweep);
        if !std::thread::panicking() {
            assert_eq!(ended.signal, Some(9), "{ended:?}");
            swept.ok();
        }
    }
}

/// The one child of a process, if it runs systemd by now.
fn only_child(pid: i32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let child: i32 = children.split_whitespace().next()?.parse().ok()?;
    let program = fs::read_link(format!("/proc/{child}/exe")).ok()?;
    (program == fs::canonicalize(SYSTEMD).ok()?).then_some(child)
}

const SYSTEMD: &str = "/lib/systemd/systemd";

/// The targets that every unit refers to, with nothing in them.
const STUBS: [(&str, &str); 8] = [
    ("sysinit.target", "[Unit]\nDefaultDependencies=no\n"),
    ("basic.target", "[Unit]\nRequires=sysinit.target\nAfter=sysinit.target\n"),
    ("shutdown.target", "[Unit]\nDefaultDependencies=no\n"),
    ("umount.target", "[Unit]\nDefaultDependencies=no\n"),
    ("remote-fs.target", "[Unit]\n"),
    ("remote-fs-pre.target", "[Unit]\n"),
    ("network-online.target", "[Unit]\n"),
    ("multi-user.target", "[Unit]\nAfter=basic.target remote-fs.target\nWants=remote-fs.target\n"),
];

/// In a cgroup, and then in namespaces of its own, systemd becomes the first process.
const BOOT: &str = r#"
mkdir -p /srv/cgroup /srv/generators
mount -t cgroup2 cgroup2 /srv/cgroup
own=/srv/cgroup$(sed -n s/^0:://p /proc/self/cgroup)/akvfs-recipes-$$
mkdir "$own"
echo $$ > "$own/cgroup.procs"
exec unshare --cgroup --uts --ipc --pid --fork --mount --mount-proc --kill-child=KILL sh -e -c '
    umount /srv/cgroup
    mount -t tmpfs tmpfs /run
    cp /lib/systemd/system-generators/systemd-fstab-generator /srv/generators
    mount --bind /srv/generators /lib/systemd/system-generators
    mount --bind /srv/units /lib/systemd/system
    [ ! -e /dev/console ] || mount --bind /srv/console /dev/console
    umount -R /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mount --bind /proc/sys /proc/sys
    mount -o remount,bind,ro /proc/sys
    mount --make-rshared /
    exec env -i container=akvfs PATH="$PATH" SYSTEMD --system --unit=UNIT \
        --log-target=console --show-status=no
'
"#;

/// Takes the cgroups away, which are empty once their last process is gone.
const SWEEP: &str = r#"
mount -t cgroup2 cgroup2 /srv/cgroup
own=/srv/cgroup$(sed -n s/^0:://p /proc/self/cgroup)/akvfs-recipes-$1
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    [ -d "$own" ] || exit 0
    find "$own" -depth -type d -exec rmdir {} + 2> /dev/null || sleep 0.1
done
[ ! -d "$own" ]
"#;
