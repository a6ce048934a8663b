//! A mount for a test, and the processes behind it.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use akvfs::log::Format;
use akvfs::model::secret::SecretBytes;
use akvfs::supervisor::living;
use akvfs::supervisor::mount::Failed;
use akvfs::supervisor::mount::Plan;
use akvfs::supervisor::mountinfo::Mount;
use akvfs::supervisor::mountinfo::Table;
use akvfs::supervisor::supervise;
use akvfs::supervisor::supervise::Launch;
use akvfs::supervisor::supervise::Started;
use akvfs::supervisor::unmount;
use akvfs::supervisor::unmount::How;
use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;

use crate::toy::Beginning;

static WORLDS: AtomicU32 = AtomicU32::new(0);

/// A directory of its own, what is mounted there, and the end of both.
pub struct World {
    pub root: PathBuf,
    pub directory: PathBuf,
    pub open_timeout: Duration,
    pub beginning: Beginning,
}

impl World {
    /// An empty directory, nothing mounted.
    pub fn new() -> Self {
        let number = WORLDS.fetch_add(1, Ordering::SeqCst);
        let root = std::env::temp_dir().join(format!("akvfs-{}-{number}", std::process::id()));
        let directory = root.join("a vault");
        fs::create_dir_all(&directory).unwrap();
        let open_timeout = Duration::from_secs(10);
        Self { root, directory, open_timeout, beginning: Beginning::Ready }
    }

    /// The same with something mounted.
    pub fn mounted() -> Self {
        let world = Self::new();
        world.mount().unwrap();
        world
    }

    pub fn launch(&self) -> Launch {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.root.join("log"));
        Launch {
            open_timeout: self.open_timeout,
            log: Some(OwnedFd::from(log.unwrap())),
            ..launch(&self.directory, self.beginning)
        }
    }

    pub fn mount(&self) -> Result<Started, Failed> {
        supervise::start(self.launch())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.root.join("log")).unwrap_or_default()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub fn table_entry(&self) -> Option<Mount> {
        Table::read().unwrap().at(&self.directory).cloned()
    }

    pub fn supervisor(&self) -> Pid {
        living::supervisor(&self.table_entry().unwrap()).unwrap()
    }

    /// The process of that name under the supervisor, once there is one.
    pub fn child(&self, comm: &str) -> Pid {
        let supervisor = self.supervisor();
        wait_for(&format!("a process {comm}"), || child_of(supervisor, comm))
    }

    /// Unmounts. A child that another test is just forking off may hold what was open at that
    /// moment until it becomes another program; that is waited for.
    pub fn unmount(&self) -> Result<(), Failed> {
        wait_for("a mount that nobody uses", || {
            let ended = unmount::unmount(&self.directory, How::Politely);
            let is_forking = ended.as_ref().is_err_and(|failed| {
                // Its name is still this program's.
                failed.message.ends_with("it is in use") || failed.message.contains("supervisor-")
            });
            (!is_forking).then_some(ended)
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("log of the mount:\n{}", self.log());
        }
        while self.table_entry().is_some() {
            let _ = unmount::unmount(&self.directory, How::Forcibly);
        }
        fs::remove_dir_all(&self.root).unwrap();
    }
}

/// How a toy is mounted, unless a test has it otherwise.
pub fn launch(directory: &Path, beginning: Beginning) -> Launch {
    Launch {
        brief: SecretBytes::new(serde_json::to_vec(&beginning).unwrap()),
        plan: Plan {
            source: "my-vault".to_owned(),
            directory: directory.to_owned(),
            allow_other: false,
            labels: Vec::new(),
        },
        room: 1 << 20,
        open_timeout: Duration::from_secs(10),
        run_as: None,
        group: None,
        foreground: false,
        log: None,
        format: Some(Format::Plain),
        control: None,
        verbosity: 0,
        audit: None,
        progress: |_, _| {},
    }
}

pub fn kill(pid: Pid, signal: Signal) {
    kill_process(pid, signal).unwrap();
}

pub fn child_of(parent: Pid, comm: &str) -> Option<Pid> {
    living::processes().find(|pid| {
        let is_child = status(*pid, "PPid") == parent.as_raw_nonzero().to_string();
        is_child && status(*pid, "Name") == comm && !is_gone(*pid)
    })
}

/// A line of a process's status; nothing, if there is no such process.
pub fn status(pid: Pid, name: &str) -> String {
    let status = fs::read_to_string(living::proc(pid).join("status")).unwrap_or_default();
    let lines = status.lines().filter_map(|line| line.split_once(":\t"));
    let mut named = lines.filter(|(key, _)| *key == name);
    named.next().map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

pub fn is_gone(pid: Pid) -> bool {
    !Path::new("/proc").join(pid.as_raw_nonzero().to_string()).exists()
        || status(pid, "State").starts_with('Z')
}

/// What a closure comes to within half a minute, which is for ever.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "waited for {what}, in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}
