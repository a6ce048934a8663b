//! Machines of every kind that has an identity, each within a world of its own.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::chown;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;

use akvfs_emulator::dialect::Dialect;
use rustix::mount::MountFlags;
use rustix::mount::mount;

use crate::canary;
use crate::child::Ran;
use crate::mounted::Mounted;
use crate::world::LIMIT;
use crate::world::World;

/// A kind of machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Vm,
    AppService,
    /// App Service as it was before 2019.
    OldAppService,
    AzureMl,
    CloudShell,
    Arc,
    ServiceFabric,
}

/// A machine, and the environment that programs have there.
pub(crate) struct Host {
    pub(crate) world: World,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// What the environment holds that must get nowhere, if there is such a thing.
    pub(crate) secret: Option<String>,
}

pub(crate) const KINDS: [Kind; 7] = [
    Kind::Vm,
    Kind::AppService,
    Kind::OldAppService,
    Kind::AzureMl,
    Kind::CloudShell,
    Kind::Arc,
    Kind::ServiceFabric,
];

impl Host {
    /// A machine of that kind, with an identity, and a vault with the secret `ftpadmin`.
    pub(crate) fn new(kind: Kind) -> Option<Self> {
        let world = World::new()?;
        world.vault().put("ftpadmin", "s3cret");
        let mut host = Self { world, environment: Vec::new(), secret: None };
        let secret = canary::token();
        match kind {
            Kind::Vm => {}
            Kind::AppService => {
                host.serve(Dialect::AppService, "IDENTITY_ENDPOINT", "/msi/token", &secret);
                host.set_secret("IDENTITY_HEADER", secret);
            }
            Kind::OldAppService | Kind::AzureMl => {
                host.serve(Dialect::AzureMl, "MSI_ENDPOINT", "/msi/token", &secret);
                host.set_secret("MSI_SECRET", secret);
                host.world.emulator.write_dates(kind == Kind::OldAppService);
            }
            Kind::CloudShell => {
                host.serve(Dialect::CloudShell, "MSI_ENDPOINT", "/oauth2/token", "");
            }
            Kind::Arc => {
                host.serve(Dialect::Arc, "IDENTITY_ENDPOINT", TOKEN, "");
                host.set("IMDS_ENDPOINT", "http://127.0.0.1:40342");
                host.keep_keys();
            }
            Kind::ServiceFabric => {
                let (listener, address) = host.listen();
                let print = host.world.emulator.serve_cluster(listener, &secret);
                host.set("IDENTITY_SERVER_THUMBPRINT", &print);
                host.set("IDENTITY_ENDPOINT", &format!("https://{address}{TOKEN}"));
                host.set_secret("IDENTITY_HEADER", secret);
            }
        }
        Some(host)
    }

    /// Sets a variable.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.environment.retain(|(known, _)| *known != name);
        self.environment.push((name, value.to_owned()));
    }

    /// Runs akvfs to its end, in this environment.
    pub(crate) fn akvfs(&self, arguments: &[&str]) -> Ran {
        let mut command = self.world.command("akvfs");
        command.args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.world.spawn(&mut command).wait(LIMIT)
    }

    /// Gets `ftpadmin`.
    pub(crate) fn get(&self, options: &[&str]) -> Ran {
        self.akvfs(&[&["get", "my-vault", "ftpadmin"], options].concat())
    }

    /// Mounts `my-vault`, and gives what was said.
    #[track_caller]
    pub(crate) fn mount(&self, options: &str) -> (Mounted<'_>, String) {
        let mounted = self.world.mounted_at(self.world.directory());
        let directory = mounted.directory().to_str().unwrap();
        let ran = self.akvfs(&["mount", "my-vault", directory, "-o", options]);
        assert_eq!(ran.code, Some(0), "{ran:#?}");
        (mounted, ran.stderr)
    }

    /// Lets only root read the keys of Arc, or the group as well.
    pub(crate) fn admit_to_keys(&self, members: &str) {
        let groups = self.world.read("/etc/group").unwrap();
        let groups = String::from_utf8(groups).unwrap();
        let others = groups.lines().filter(|line| !line.starts_with("himds:"));
        let others: String = others.map(|line| format!("{line}\n")).collect();
        self.world.write("/etc/group", format!("{others}himds:x:{HIMDS}:{members}\n"));
    }

    fn set_secret(&mut self, name: &'static str, secret: String) {
        self.set(name, &secret);
        self.secret = Some(secret);
    }

    fn listen(&self) -> (TcpListener, String) {
        let listener = self.world.inside(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = listener.local_addr().unwrap().to_string();
        (listener, address)
    }

    fn serve(&mut self, dialect: Dialect, variable: &'static str, path: &str, secret: &str) {
        let (listener, address) = self.listen();
        self.world.emulator.serve_machine(listener, dialect, secret);
        self.set(variable, &format!("http://{address}{path}"));
    }

    /// Has the agent of Arc write its keys where it does on a machine, for its group to read.
    fn keep_keys(&self) {
        self.admit_to_keys("syslog,nobody,akvfs");
        self.world.inside(|| {
            mount("tmpfs", "/var/opt", "tmpfs", MountFlags::NOSUID, c"mode=0755").unwrap();
            fs::create_dir_all(KEYS).unwrap();
            chown(KEYS, Some(0), Some(HIMDS)).unwrap();
            fs::set_permissions(KEYS, fs::Permissions::from_mode(0o750)).unwrap();
        });
        let gate = self.world.gate();
        let count = AtomicUsize::new(0);
        self.world.emulator.keep_arc_keys(Box::new(move |key| {
            let path = format!("{KEYS}/key-{}.key", count.fetch_add(1, Ordering::Relaxed));
            let write = || {
                gate.enter();
                fs::write(&path, key).unwrap();
                chown(&path, Some(0), Some(HIMDS)).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
            };
            thread::scope(|scope| scope.spawn(write).join()).unwrap();
            path
        }));
    }
}

/// Where the agent of Arc keeps its keys.
pub(crate) const KEYS: &str = "/var/opt/azcmagent/tokens";

/// The number of the group of the agent of Arc.
const HIMDS: u32 = 40_342;

const TOKEN: &str = "/metadata/identity/oauth2/token";
