//! Where recipes are tried: a machine with akvfs installed, the recipe's secrets in its vault, its
//! lines in /etc/fstab, its files in place, and the other side that its programs talk to.

use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::mount::MountFlags;
use rustix::mount::mount;
use rustix::process::Pid;
use rustix::process::Signal;

use crate::child::Ran;
use crate::child::Running;
use crate::mounted::Mounted;
use crate::recipes::page::Recipe;
use crate::world::World;
use crate::world::try_until;
use crate::world::until;

/// The kitchen.
#[derive(Debug)]
pub(crate) struct Kitchen {
    pub(crate) world: World,
    pub(crate) recipe: Recipe,
    /// The secrets that are no text to be shown: name, and the values by number.
    keys: Mutex<Vec<(String, Vec<String>)>>,
}

/// A recipe that is mounted.
#[derive(Debug)]
pub(crate) struct Served<'a> {
    kitchen: &'a Kitchen,
    mounts: Vec<Mounted<'a>>,
}

/// A program that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Server<'a> {
    world: &'a World,
    running: Option<Running>,
}

impl Kitchen {
    /// A machine for the recipe of that heading; none, and said aloud, where one of these programs
    /// is not installed.
    #[track_caller]
    pub(crate) fn new(heading: &str, programs: &[&str]) -> Option<Self> {
        Self::furnish(Recipe::of(PAGE, heading), programs)
    }

    /// A machine with these programs, and without a recipe.
    pub(crate) fn bare(programs: &[&str]) -> Option<Self> {
        Self::furnish(Recipe::empty(), programs)
    }

    fn furnish(recipe: Recipe, programs: &[&str]) -> Option<Self> {
        for program in programs {
            if find(program).is_none() {
                World::skip(&format!("{program} is not installed"))?;
            }
        }
        let world = World::new()?;
        world.install();
        world.inside(|| {
            // What tests write there is nobody else's.
            for directory in ["/mnt", "/srv", "/home", "/var/log"] {
                let flags = MountFlags::NOSUID | MountFlags::NODEV;
                mount("tmpfs", directory, "tmpfs", flags, c"mode=0755").unwrap();
            }
            fs::create_dir("/mnt/vault").unwrap();
        });
        world.write("/etc/hosts", hosts(&world));
        // The world took it away with the trust store.
        if let Ok(settings) = fs::read("/etc/ssl/openssl.cnf") {
            world.write("/etc/ssl/openssl.cnf", settings);
        }
        let kitchen = Self { world, recipe, keys: Mutex::default() };
        kitchen.person(NIGHTLY, 4250);
        kitchen.person(PARTNER, 4251);
        for (path, content) in kitchen.recipe.files() {
            kitchen.write(&path, &content);
        }
        kitchen.rotate(0);
        Some(kitchen)
    }

    /// Somebody with a home, unless there is such a user.
    fn person(&self, name: &str, id: u32) {
        let home = format!("/home/{name}");
        let add = |path: &str, line: String| {
            let text = String::from_utf8(self.world.read(path).unwrap()).unwrap();
            self.world.write(path, text + &line);
        };
        add("/etc/passwd", format!("{name}:x:{id}:{id}::{home}:/bin/sh\n"));
        add("/etc/group", format!("{name}:x:{id}:\n"));
        add("/etc/shadow", format!("{name}:*:19000:0:99999:7:::\n"));
        self.world.inside(|| {
            fs::create_dir(&home).unwrap();
            chown(&home, Some(id), Some(id)).unwrap();
        });
    }

    /// Writes a file where this machine is alone.
    pub(crate) fn write(&self, path: &str, content: &str) {
        let alone = ["/etc/", "/run/", "/mnt/", "/srv/", "/home/"];
        assert!(alone.iter().any(|place| path.starts_with(place)), "{path} is everybody's");
        self.world.inside(|| {
            fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
            if content.starts_with("#!") {
                fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
            }
        });
    }

    /// Makes keys for a host and their certificates; gives both parts, for each rotation.
    pub(crate) fn certify(&self, host: &str) -> Vec<(String, String)> {
        let line = format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
             -subj /CN={host} -addext subjectAltName=DNS:{host} -keyout - -out - 2> /dev/null"
        );
        let pairs = (0..=ROTATIONS).map(|_| {
            let both = self.world.sh(&line).ok();
            let (key, certificate) = both.split_at(both.find("-----BEGIN CERT").unwrap());
            (key.to_owned(), certificate.to_owned())
        });
        pairs.collect()
    }

    /// Makes a secret of which the page does not show the value: one for each rotation.
    pub(crate) fn shelve(&self, name: &str, values: impl IntoIterator<Item = String>) {
        let values: Vec<String> = values.into_iter().collect();
        self.world.vault().put(name, &values[0]);
        self.keys.lock().push((name.to_owned(), values));
    }

    /// The secrets of the recipe: name and value, after so many rotations.
    pub(crate) fn secrets(&self, number: usize) -> Vec<(String, String)> {
        let shown = self.recipe.secrets().into_iter();
        let shown = shown.map(|(name, it)| (name, it.replace(PASSWORD, &password(number))));
        let keys = self.keys.lock();
        let keys = keys.iter().map(|(name, values)| (name.clone(), values[number].clone()));
        shown.chain(keys).collect()
    }

    /// Puts the recipe's secrets into the vault as they are after so many rotations.
    pub(crate) fn rotate(&self, number: usize) {
        for (name, value) in self.secrets(number) {
            self.world.vault().put(&name, &value);
        }
    }

    /// Mounts what the recipe's lines for /etc/fstab say, with rotations that come soon.
    #[track_caller]
    pub(crate) fn serve(&self) -> Served<'_> {
        let mut table = String::new();
        let mut mounts = Vec::new();
        for line in self.recipe.fstab().lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields.get(2) != Some(&"akvfs") {
                continue;
            }
            let [vault, directory, kind, options, dump, pass] = fields.as_slice() else {
                panic!("{line}");
            };
            table += &format!("{vault} {directory} {kind} {options},refresh=300ms {dump} {pass}\n");
            self.world.inside(|| fs::create_dir_all(directory).unwrap());
            mounts.push(self.world.mounted_at((*directory).into()));
        }
        self.write("/etc/fstab", &table);
        assert_eq!(self.world.run("mount", &["-a"]).ok(), "");
        assert_eq!(self.world.mounts().len(), mounts.len(), "{:?}", self.world.mounts());
        Served { kitchen: self, mounts }
    }

    /// Types every block of the recipe, each as whom the page says. Gives what they wrote; they
    /// must succeed, and complain of nothing.
    #[track_caller]
    pub(crate) fn type_all(&self) -> Vec<String> {
        let typed = self.recipe.typed();
        typed.iter().map(|(who, lines)| self.type_as(who, lines).ok()).collect()
    }

    /// Types lines as somebody, up to the first that fails.
    pub(crate) fn type_as(&self, who: &str, lines: &str) -> Ran {
        self.type_in(who, &format!("set -e\n{lines}"))
    }

    /// Types lines as somebody.
    pub(crate) fn type_in(&self, who: &str, lines: &str) -> Ran {
        self.world.spawn(self.as_whom(who, "sh").args(["-c", lines])).wait(LIMIT)
    }

    /// Runs akvfs from where it is installed: where it was built may be below what is hidden here.
    pub(crate) fn akvfs(&self, arguments: &[&str]) -> Ran {
        self.world.run("/sbin/akvfs", arguments)
    }

    /// A program that somebody starts at home.
    pub(crate) fn as_whom(&self, who: &str, program: &str) -> Command {
        let passwd = String::from_utf8(self.world.read("/etc/passwd").unwrap()).unwrap();
        let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let fields = fields.into_iter().find(|fields| fields[0] == who).unwrap();
        let (uid, gid) = (fields[2].parse().unwrap(), fields[3].parse().unwrap());
        let home = if uid == 0 { "/srv" } else { fields[5] };
        let mut command = self.world.command(program);
        command.uid(uid).gid(gid).current_dir(home).env("HOME", home).env("USER", who);
        command
    }

    /// Starts the other side, and waits until it is there.
    pub(crate) fn start(&self, command: &mut Command, there: impl FnMut() -> bool) -> Server<'_> {
        let what = format!("{command:?} is there");
        let server = Server { world: &self.world, running: Some(self.world.spawn(command)) };
        until(&what, there);
        server
    }

    /// Whether somebody listens at that port.
    pub(crate) fn listens(&self, port: u16) -> bool {
        self.world.inside(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())
    }

    /// The certificate that is shown at that port.
    pub(crate) fn certificate_at(&self, port: u16, more: &str) -> String {
        let line = format!("openssl s_client -connect 127.0.0.1:{port} {more} 2> /dev/null");
        self.world.sh(&format!("{line} < /dev/null | openssl x509")).ok()
    }

    /// Gives a user of this machine a password.
    pub(crate) fn let_in(&self, who: &str, number: usize) {
        self.world.sh(&format!("echo {who}:{} | chpasswd", password(number))).ok();
    }
}

impl Served<'_> {
    /// What the first of the mounts shows.
    pub(crate) fn reads(&self, name: &str) -> String {
        String::from_utf8(self.mounts[0].read(name).unwrap()).unwrap()
    }

    /// Waits until the mounts show the secrets with the password of that number.
    #[track_caller]
    fn shows(&self, number: usize) {
        for (name, value) in self.kitchen.secrets(number) {
            for mounted in &self.mounts {
                // A mount need not show each of them.
                let path = mounted.path(&name);
                until(&format!("{} is number {number}", path.display()), || {
                    let read =
                        self.kitchen.world.read(&path).map(|it| String::from_utf8(it).unwrap());
                    read.map_or(true, |it| it == value || it.strip_suffix('\n') == Some(&value))
                });
            }
        }
    }

    /// Runs a recipe again and again: before and after the worker dies, over rotations, over a
    /// death in the middle of one, and in a storm of both. `accept` tells the other side of the
    /// password to come.
    #[track_caller]
    pub(crate) fn over_rotations_and_deaths(&self, accept: impl Fn(usize), run: impl Fn(usize)) {
        run(0);
        for number in 1..=ROTATIONS {
            self.kill("worker");
            run(number - 1);
            accept(number);
            self.kitchen.rotate(number);
            if number % 2 == 0 {
                self.kill("relay");
            }
            self.shows(number);
            run(number);
        }
        self.kill("worker");
        self.shows(ROTATIONS);
        run(ROTATIONS);
        self.in_a_storm(|| run(ROTATIONS));
    }

    /// Runs it while there is one version after the other, all of the same value, and while the
    /// processes of the mount are killed.
    fn in_a_storm(&self, run: impl Fn()) {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1.. {
                    self.kitchen.rotate(ROTATIONS);
                    if number % BETWEEN_DEATHS == 0 {
                        self.kill(if number % (2 * BETWEEN_DEATHS) == 0 {
                            "relay"
                        } else {
                            "worker"
                        });
                    }
                    if try_until(BETWEEN_VERSIONS, || stop.load(Ordering::Relaxed)) {
                        return;
                    }
                }
            });
            // Also where a run fails the thread must end.
            let runs = std::env::var("AKVFS_RUNS").map_or(RUNS, |runs| runs.parse().unwrap());
            let ran = catch_unwind(AssertUnwindSafe(|| (0..runs).for_each(|_| run())));
            stop.store(true, Ordering::Relaxed);
            ran.unwrap_or_else(|panic| resume_unwind(panic));
        });
    }

    /// Kills one of the processes of a mount, and waits for nothing.
    fn kill(&self, role: &str) {
        until(&format!("there is a {role}"), || {
            self.kitchen.world.process(role).map(|process| process.kill()).is_some()
        });
    }
}

impl Server<'_> {
    pub(crate) fn pid(&self) -> Pid {
        self.running.as_ref().unwrap().pid()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.running.as_ref().unwrap().signal(signal);
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let Some(mut server) = self.running.take() else { return };
        if thread::panicking() {
            return;
        }
        assert!(server.runs(), "it ended before its time: {:?}", server.wait(LIMIT));
        let pid = server.pid();
        let processes = self.world.processes();
        let program = processes.iter().find(|it| it.pid == pid).map(|it| it.program.clone());
        server.signal(Signal::TERM);
        server.wait(LIMIT);
        until(&format!("the last {program:?} is gone"), || {
            self.world.processes().iter().all(|it| Some(&it.program) != program.as_ref())
        });
    }
}

/// Where a program is, if it is installed.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    let places = ["/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let mut paths = places.iter().map(|place| Path::new(place).join(program));
    paths.find(|path| path.exists())
}

/// The password of that number. A rotation brings the next one.
pub(crate) fn password(number: usize) -> String {
    match number {
        0 => PASSWORD.to_owned(),
        _ => format!("{PASSWORD}-{number}"),
    }
}

/// The hosts of the page are this machine.
fn hosts(world: &World) -> Vec<u8> {
    let mut hosts = world.read("/etc/hosts").unwrap();
    hosts.extend_from_slice(b"127.0.0.1 ftp.example.com backup.example.com www.example.com\n");
    hosts.extend_from_slice(b"127.0.0.1 db.example.com files.example.com git.example.com\n");
    hosts
}

const PAGE: &str = "docs/RECIPES.md";
/// Whoever runs jobs.
pub(crate) const NIGHTLY: &str = "nightly";
/// Whoever the other side knows.
pub(crate) const PARTNER: &str = "partner";
/// The password on the page.
pub(crate) const PASSWORD: &str = "s3cret";
pub(crate) const ROTATIONS: usize = 3;
/// How often a recipe is run in a storm, unless AKVFS_RUNS says otherwise.
const RUNS: usize = 5;
const BETWEEN_VERSIONS: Duration = Duration::from_millis(40);
/// In versions. Deaths that follow each other within a second would be a crash loop.
const BETWEEN_DEATHS: usize = 30;
/// Some programs take their time.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
