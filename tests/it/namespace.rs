//! A network and a mount namespace of our own, and threads that go there and come back.
//!
//! Descriptors keep the namespaces, no process does: when the last descriptor and the last process
//! in it are gone, the kernel takes every mount and every address away.

use std::fs;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rustix::mount::UnmountFlags;
use rustix::mount::unmount;
use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use rustix::thread::LinkNameSpaceType;
use rustix::thread::UnshareFlags;
use rustix::thread::move_into_link_name_space;

/// The two namespaces.
#[derive(Debug)]
pub(crate) struct Namespace {
    gate: Gate,
    name: PathBuf,
}

/// A way in, for a thread that nobody waits for.
#[derive(Debug)]
pub(crate) struct Gate {
    network: File,
    mounts: File,
}

/// A process in the namespaces.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
}

/// A line of the table of mounts.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) directory: PathBuf,
    pub(crate) options: Vec<String>,
    pub(crate) kind: String,
    pub(crate) source: String,
    /// The minor number of its device.
    pub(crate) minor: u32,
}

impl Namespace {
    /// Makes the namespaces, and furnishes them from within.
    pub(crate) fn new<T: Send>(furnish: impl FnOnce() -> T + Send) -> Result<(Self, T), String> {
        in_a_thread(|| {
            unshare(UnshareFlags::NEWNS | UnshareFlags::NEWNET)
                .map_err(|error| format!("no namespaces: {error}"))?;
            let here = Path::new("/proc/thread-self/ns");
            let gate = Gate {
                network: File::open(here.join("net")).unwrap(),
                mounts: File::open(here.join("mnt")).unwrap(),
            };
            let namespace = Self { gate, name: fs::read_link(here.join("mnt")).unwrap() };
            Ok((namespace, furnish()))
        })
    }

    /// Runs something inside. It may look at things outside, but what it opens is of the inside.
    pub(crate) fn inside<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        in_a_thread(|| {
            self.gate.enter();
            run()
        })
    }

    /// A way in.
    pub(crate) fn gate(&self) -> Gate {
        let Gate { network, mounts } = &self.gate;
        Gate { network: network.try_clone().unwrap(), mounts: mounts.try_clone().unwrap() }
    }

    /// The processes inside. Nobody else's can be among them.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let path = entry.path();
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let Some(pid) = number.and_then(Pid::from_raw) else { continue };
            // A process that is gone, or a zombie, has no namespaces; one that is about to be
            // has no program any more.
            if fs::read_link(path.join("ns/mnt")).is_ok_and(|name| name == self.name)
                && let Ok(program) = fs::read_link(path.join("exe"))
            {
                let arguments = fs::read(path.join("cmdline")).unwrap_or_default();
                let arguments = arguments.split(|byte| *byte == 0);
                let arguments = arguments.map(|part| String::from_utf8_lossy(part).into_owned());
                found.push(Process { pid, program, arguments: arguments.collect() });
            }
        }
        found
    }

    /// The table of mounts inside.
    pub(crate) fn mounts(&self) -> Vec<Line> {
        self.inside(mounts_here)
    }

    /// Kills whatever is inside and cuts every FUSE connection that is mounted below `territory`,
    /// so that nothing can be left hanging. To cut a connection ends it for everybody who has the
    /// same thing mounted: what was inherited from outside must not be there.
    pub(crate) fn end(&self, territory: &Path) {
        for process in self.processes() {
            let _ = kill_process(process.pid, Signal::KILL);
        }
        self.inside(|| {
            for line in mounts_here() {
                if line.is_fuse() && line.directory.starts_with(territory) {
                    // The first ends the connection, even where it says that the mount is busy.
                    let _ = unmount(&line.directory, UnmountFlags::FORCE);
                    let _ = unmount(&line.directory, UnmountFlags::DETACH);
                }
            }
        });
    }
}

/// Lets go of the FUSE mounts that the namespace was made with. They are others'; a copy here would
/// keep their servers from seeing the end of them. Mounts must be private before.
pub(crate) fn let_go_of_inherited() -> io::Result<()> {
    // The latest first: one may lie upon another.
    for line in mounts_here().into_iter().rev().filter(Line::is_fuse) {
        unmount(&line.directory, UnmountFlags::DETACH)?;
    }
    Ok(())
}

fn mounts_here() -> Vec<Line> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    table.lines().map(Line::parse).collect()
}

impl Gate {
    /// Takes the calling thread inside, for good.
    pub(crate) fn enter(&self) {
        // A thread that shares its working directory cannot change its mounts.
        unshare(UnshareFlags::FS).unwrap();
        let network = LinkNameSpaceType::Network;
        move_into_link_name_space(self.network.as_fd(), Some(network)).unwrap();
        let mounts = LinkNameSpaceType::Mount;
        move_into_link_name_space(self.mounts.as_fd(), Some(mounts)).unwrap();
    }
}

impl Process {
    /// How much CPU time it has used, all its threads together, in clock ticks.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid.as_raw_nonzero())).unwrap();
        // The name may hold blanks; what follows its bracket is field 3.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum()
    }

    /// For how long it has run on a CPU, all its threads together. It is exact.
    pub(crate) fn ran(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid.as_raw_nonzero())).unwrap();
        let ran = threads.flatten().map(|thread| {
            let numbers = fs::read_to_string(thread.path().join("schedstat")).unwrap();
            numbers.split(' ').next().unwrap().parse::<u64>().unwrap()
        });
        Duration::from_nanos(ran.sum())
    }

    /// Its share of the machine's memory, in bytes.
    pub(crate) fn pss(&self) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.pid.as_raw_nonzero());
        let text = fs::read_to_string(path).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    pub(crate) fn kill(&self) {
        kill_process(self.pid, Signal::KILL).unwrap();
    }
}

impl Line {
    fn is_fuse(&self) -> bool {
        self.kind == "fuse" || self.kind.starts_with("fuse.") || self.kind == "akvfs"
    }

    fn parse(line: &str) -> Self {
        let fields: Vec<&str> = line.split(' ').collect();
        let dash = fields.iter().position(|field| *field == "-").unwrap();
        let options = format!("{},{}", fields[5], fields[dash + 3]);
        Self {
            directory: PathBuf::from(unescape(fields[4])),
            options: options.split(',').map(ToOwned::to_owned).collect(),
            kind: fields[dash + 1].to_owned(),
            source: unescape(fields[dash + 2]),
            minor: fields[2].split(':').nth(1).unwrap().parse().unwrap(),
        }
    }
}

/// The table writes blanks, tabs, line feeds and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let escapes = [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", r"\")];
    escapes.iter().fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

fn in_a_thread<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    let ran = thread::scope(|scope| scope.spawn(run).join());
    ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Gives this thread namespaces of its own.
#[expect(
    deprecated,
    reason = "the new name is unsafe because of FILES, which nobody asks for here"
)]
pub(crate) fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    rustix::thread::unshare(flags)
}
