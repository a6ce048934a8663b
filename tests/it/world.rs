//! A machine in Azure, within this one: the production binary runs in it on its defaults.
//!
//! In a network and a mount namespace of its own, 169.254.169.254:80 is the emulator's metadata
//! service and `*.vault.azure.net:443` its vault, by /etc/hosts; the only authority that the
//! trust store knows is the emulator's. /run is fresh, /etc is a copy that tests may write to.
//! When a world is dropped it must be empty, and the emulator must have seen no violation; what is
//! left is killed in any case, and nothing of anybody else is touched.

use std::fs;
use std::io;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use akvfs_emulator::emulator::Emulator;
use akvfs_emulator::vault::Vault;
use rustix::mount::MountFlags;
use rustix::mount::MountPropagationFlags;
use rustix::mount::mount;
use rustix::mount::mount_bind;
use rustix::mount::mount_change;

use crate::child::Ran;
use crate::child::Running;
use crate::namespace::Gate;
use crate::namespace::Line;
use crate::namespace::Namespace;
use crate::namespace::Process;
use crate::namespace::let_go_of_inherited;

/// The machine.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) emulator: Emulator,
    namespace: Namespace,
    directories: AtomicUsize,
    violations_expected: AtomicBool,
}

impl World {
    /// A machine with a system-assigned identity and a vault `my-vault` that it may get from and
    /// list. None, and said aloud, where there is no FUSE or nobody to mount.
    pub(crate) fn new() -> Option<Self> {
        match Self::make() {
            Ok(world) => Some(world),
            Err(why) if std::env::var_os(REQUIRE).is_some_and(|value| value == "1") => {
                panic!("{REQUIRE} is set, and {why}")
            }
            Err(why) => Self::skip(&why),
        }
    }

    /// None, and said aloud why.
    pub(crate) fn skip(why: &str) -> Option<Self> {
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        let _ = writeln!(io::stderr(), "skipped: {test}: {why}");
        None
    }

    fn make() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root can make namespaces".to_owned());
        }
        fs::File::open("/dev/fuse").map_err(|error| format!("/dev/fuse: {error}"))?;
        let emulator = Emulator::new();
        let _ = emulator.vault(VAULT);
        let authority = emulator.authority_pem();
        let (namespace, furnished) = Namespace::new(|| furnish(&authority))?;
        let [imds, vaults, logins] = furnished?;
        emulator.serve_imds(imds);
        emulator.serve_vault(vaults);
        emulator.serve_entra(logins);
        Ok(Self {
            emulator,
            namespace,
            directories: AtomicUsize::new(0),
            violations_expected: AtomicBool::new(false),
        })
    }

    /// The vault `my-vault`.
    pub(crate) fn vault(&self) -> Vault {
        self.emulator.vault(VAULT)
    }

    /// Lets a host's name lead to where the vaults are.
    pub(crate) fn name_host(&self, host: &str) {
        let hosts = self.read("/etc/hosts").unwrap();
        let line = format!("{VAULTS} {host}\n");
        self.write("/etc/hosts", [hosts.as_slice(), line.as_bytes()].concat());
    }

    /// Lets a host's name lead to where tokens are issued to principals.
    pub(crate) fn name_login(&self, host: &str) {
        let hosts = self.read("/etc/hosts").unwrap();
        let line = format!("{LOGINS} {host}\n");
        self.write("/etc/hosts", [hosts.as_slice(), line.as_bytes()].concat());
    }

    /// Runs akvfs to its end in an environment that holds these as well.
    pub(crate) fn akvfs_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let mut command = self.command("akvfs");
        command.args(arguments).envs(environment.iter().copied());
        self.spawn(&mut command).wait(LIMIT)
    }

    /// From now on nobody can say which names there are; until now, unknown ones were none.
    pub(crate) fn lose_resolver(&self) {
        self.write("/etc/nsswitch.conf", format!("{NSSWITCH}hosts: files dns\n"));
    }

    /// Unknown names are none again.
    pub(crate) fn find_resolver(&self) {
        self.write("/etc/nsswitch.conf", format!("{NSSWITCH}hosts: files\n"));
    }

    /// Takes the network away: whoever connects hears at once that there is no route, and what
    /// is connected hears nothing more.
    pub(crate) fn cut_network(&self) {
        self.addresses("del");
    }

    /// Brings the network back.
    pub(crate) fn mend_network(&self) {
        self.addresses("add");
    }

    /// The emulator may see violations, because the test provokes them.
    pub(crate) fn expect_violations(&self) {
        self.violations_expected.store(true, Ordering::Relaxed);
    }

    /// Runs something in a thread on the machine.
    pub(crate) fn inside<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        self.namespace.inside(run)
    }

    /// A way in for threads that nobody waits for.
    pub(crate) fn gate(&self) -> Gate {
        self.namespace.gate()
    }

    /// A program as a person would start it, in an environment that holds nothing but PATH, with
    /// nothing to read. `akvfs` is the one that was built.
    pub(crate) fn command(&self, program: &str) -> Command {
        let program = if program == "akvfs" { AKVFS } else { program };
        let mut command = Command::new(program);
        command.env_clear().env("PATH", PATH).stdin(Stdio::null()).current_dir("/");
        command
    }

    /// Starts a program on the machine.
    pub(crate) fn spawn(&self, command: &mut Command) -> Running {
        self.inside(|| Running::spawn(command))
    }

    /// Runs a program to its end.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Ran {
        self.spawn(self.command(program).args(arguments)).wait(LIMIT)
    }

    /// Runs akvfs to its end.
    pub(crate) fn akvfs(&self, arguments: &[&str]) -> Ran {
        self.run("akvfs", arguments)
    }

    /// Runs a line of the shell.
    pub(crate) fn sh(&self, line: &str) -> Ran {
        self.run("sh", &["-c", line])
    }

    /// Lets cat(1) print a file.
    pub(crate) fn cat(&self, path: impl AsRef<Path> + Sync) -> Ran {
        self.run("cat", &[path.as_ref().to_str().unwrap()])
    }

    /// Reads a file in this process. For what cannot hang; what can is for [`Self::cat`].
    pub(crate) fn read(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        let path = path.as_ref();
        self.inside(|| fs::read(path))
    }

    /// Writes a file of the machine: one below /etc or /run, where it is nobody else's.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        assert!(path.starts_with("/etc/") || path.starts_with("/run/"), "{path} is everybody's");
        let content = content.as_ref();
        self.inside(|| fs::write(path, content).unwrap());
    }

    /// A fresh directory to mount at.
    pub(crate) fn directory(&self) -> PathBuf {
        let number = self.directories.fetch_add(1, Ordering::Relaxed);
        let directory = PathBuf::from(format!("{DIRECTORIES}/{number}"));
        self.inside(|| fs::create_dir_all(&directory).unwrap());
        directory
    }

    /// The processes on the machine.
    pub(crate) fn processes(&self) -> Vec<Process> {
        self.namespace.processes()
    }

    /// The process of akvfs whose first argument is that.
    pub(crate) fn process(&self, role: &str) -> Option<Process> {
        let plays = |process: &Process| process.arguments.get(1).is_some_and(|name| name == role);
        self.akvfs_processes().into_iter().find(plays)
    }

    /// The processes of akvfs on the machine.
    pub(crate) fn akvfs_processes(&self) -> Vec<Process> {
        let mut processes = self.processes();
        // It may be where it was built, or where it is installed.
        let name = Path::new(AKVFS).file_name();
        processes.retain(|process| process.program.file_name() == name);
        processes
    }

    /// The whole table of mounts.
    pub(crate) fn table(&self) -> Vec<Line> {
        self.namespace.mounts()
    }

    /// The mounts of akvfs.
    pub(crate) fn mounts(&self) -> Vec<Line> {
        let ours = |line: &Line| line.kind.ends_with("akvfs");
        self.namespace.mounts().into_iter().filter(ours).collect()
    }

    /// What is in /run beside the directories to mount at and what mount(8) notes there.
    pub(crate) fn run_files(&self) -> Vec<PathBuf> {
        let mut found = self.inside(|| everything_in(Path::new(RUN)));
        found.retain(|path| !path.starts_with(DIRECTORIES) && !path.starts_with(NOTED));
        found
    }

    fn addresses(&self, verb: &str) {
        for address in [IMDS, VAULTS, LOGINS] {
            let address = format!("{address}/32");
            self.run("ip", &["addr", verb, &address, "dev", "lo"]).ok();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // One that is about to end has no program any more; it may not stay like that.
        try_until(LIMIT, || {
            self.processes().iter().all(|process| process.program != Path::new(""))
        });
        let left = self.processes();
        self.namespace.end(Path::new(RUN));
        let gone = try_until(LIMIT, || self.processes().is_empty());
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left behind: {left:#?}");
            assert!(gone, "cannot be killed: {:#?}", self.processes());
            let violations = self.emulator.violations();
            let expected = self.violations_expected.load(Ordering::Relaxed);
            assert_eq!(expected, !violations.is_empty(), "{violations:#?}");
        }
    }
}

/// Waits until something holds; fails if it takes longer than [`LIMIT`].
#[track_caller]
pub(crate) fn until(what: &str, holds: impl FnMut() -> bool) {
    assert!(try_until(LIMIT, holds), "in vain: {what}");
}

/// Waits until something holds, at most for `limit`; whether it did.
pub(crate) fn try_until(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs within the new namespaces; gives the listeners of metadata service, vaults and Entra.
fn furnish(authority: &str) -> Result<[TcpListener; 3], String> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|error| format!("mounts cannot be made private: {error}"))?;
    let_go_of_inherited().map_err(|error| format!("a FUSE mount stays: {error}"))?;
    fresh_run();
    copy_etc(authority);
    fresh_run();
    fs::create_dir(DIRECTORIES).unwrap();
    for line in [
        "link set lo up".to_owned(),
        format!("addr add {IMDS}/32 dev lo"),
        format!("addr add {VAULTS}/32 dev lo"),
        format!("addr add {LOGINS}/32 dev lo"),
    ] {
        let output = Command::new("ip").args(line.split(' ')).output();
        let output = output.map_err(|error| format!("ip (package iproute2): {error}"))?;
        assert!(output.status.success(), "ip {line}: {output:?}");
    }
    let imds = TcpListener::bind((IMDS, 80)).unwrap();
    let vaults = TcpListener::bind((VAULTS, 443)).unwrap();
    let logins = TcpListener::bind((LOGINS, 443)).unwrap();
    Ok([imds, vaults, logins])
}

fn fresh_run() {
    mount("tmpfs", RUN, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=0755").unwrap();
}

/// Puts a copy of /etc in its place that resolves and trusts nothing but the emulator.
fn copy_etc(authority: &str) {
    let copied = Command::new("cp").args(["-a", "/etc", "/run/etc"]).status().unwrap();
    assert!(copied.success());
    mount_bind("/run/etc", "/etc").unwrap();
    for trusted in ["/etc/ssl", "/etc/pki", "/etc/ca-certificates"] {
        let _ = fs::remove_dir_all(trusted);
    }
    // Debian's place, and Red Hat's.
    for bundle in ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"] {
        fs::create_dir_all(Path::new(bundle).parent().unwrap()).unwrap();
        fs::write(bundle, authority).unwrap();
    }
    // A link would be written through, to where all the others look.
    for file in ["/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf"] {
        let _ = fs::remove_file(file);
    }
    let hosts = format!(
        "127.0.0.1 localhost\n{VAULTS} {VAULT}.vault.azure.net\n\
         {LOGINS} login.microsoftonline.com login.microsoftonline.us login.chinacloudapi.cn\n"
    );
    fs::write("/etc/hosts", hosts).unwrap();
    fs::write("/etc/resolv.conf", "nameserver 192.0.2.53\noptions timeout:1 attempts:1\n").unwrap();
    fs::write("/etc/nsswitch.conf", format!("{NSSWITCH}hosts: files\n")).unwrap();
}

fn everything_in(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        found.push(entry.path());
        if entry.file_type().unwrap().is_dir() && !entry.path().starts_with(DIRECTORIES) {
            found.extend(everything_in(&entry.path()));
        }
    }
    found
}

/// How long anything may take that should take no time.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

const REQUIRE: &str = "AKVFS_REQUIRE_FUSE";
pub(crate) const AKVFS: &str = env!("CARGO_BIN_EXE_akvfs");
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const VAULT: &str = "my-vault";
const IMDS: &str = "169.254.169.254";
/// An address that nobody has: it is set aside for documents.
const VAULTS: &str = "192.0.2.10";
const LOGINS: &str = "192.0.2.11";
/// Where this machine has what is its alone.
const RUN: &str = "/run";
const DIRECTORIES: &str = "/run/directories";
/// Where mount(8) notes which options were for itself.
const NOTED: &str = "/run/mount";
const NSSWITCH: &str = "passwd: files\ngroup: files\n";
