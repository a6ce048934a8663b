//! What goes wrong between this machine and a vault: what `get`, `list` and `mount` say, with
//! which exit code, and what a person can do about it.
//!
//! The words are kept in snapshots/, so that a changed one is seen.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use akvfs_emulator::authority::Certificate;
use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::identity::Identity;
use akvfs_emulator::vault::Refusal;
use parking_lot::Mutex;

use crate::child::Running;
use crate::snapshot::compare;
use crate::world::LIMIT;
use crate::world::World;

/// One thing that is wrong, and the exit codes of who meets it.
struct Wrong {
    what: &'static str,
    given: fn(&World),
    /// Options of all three.
    options: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    secret: &'static str,
    get: i32,
    list: i32,
    mount: i32,
    strict: i32,
}

impl Default for Wrong {
    fn default() -> Self {
        Self {
            what: "",
            given: |_| {},
            options: &[],
            environment: &[],
            secret: "ftpadmin",
            get: 0,
            list: 0,
            mount: 0,
            strict: 32,
        }
    }
}

/// Meets each in a world of its own, a few at once, and compares what was said.
fn meet(snapshot: &str, wrongs: &[Wrong]) {
    let next = AtomicUsize::new(0);
    let said = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((at, wrong)) =
                    wrongs.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed))
                {
                    let Some(world) = World::new() else { return };
                    said.lock().insert(at, wrong.meet(&world));
                }
            });
        }
    });
    let said: Vec<String> = said.into_inner().into_values().collect();
    if !said.is_empty() {
        compare(snapshot, &said.join("\n"));
    }
}

impl Wrong {
    fn meet(&self, world: &World) -> String {
        world.vault().put("ftpadmin", "s3cret");
        (self.given)(world);
        let mounted = world.mounted_at(world.directory());
        let strict_mounted = world.mounted_at(world.directory());
        let [directory, elsewhere] =
            [&mounted, &strict_mounted].map(|mounted| mounted.directory().to_str().unwrap());
        let get = self.spawn(world, &["get", "my-vault", self.secret, PATIENCE]);
        let list = self.spawn(world, &["list", "my-vault", PATIENCE]);
        let mount = self.spawn(world, &["mount", "my-vault", directory]);
        let strict = self.spawn(world, &["mount", "my-vault", elsewhere, "--check=strict"]);
        let get = said(get, self.get);
        let list = said(list, self.list);
        // Mounting tries what list does.
        let problem = list.replacen("akvfs: ", "akvfs: warning: ", 1);
        let (line, hint) = problem.split_once('\n').unwrap_or_default();
        let warning = format!("{line}; mounted all the same\n{hint}");
        let fails = self.mount != 0 || list.is_empty();
        let expected = if fails { &list } else { &warning };
        assert_eq!(&said(mount, self.mount), expected);
        assert_eq!(said(strict, self.strict), list);
        let are = [mounted.is_mounted(), strict_mounted.is_mounted()];
        assert_eq!(are, [self.mount == 0, self.strict == 0]);
        let Self { what, secret, .. } = self;
        let lines = [
            format!("== {what}: mount {}, with check=strict {}", self.mount, self.strict),
            format!("$ akvfs get my-vault {secret} => {}\n{get}", self.get),
            format!("$ akvfs list my-vault => {}\n{list}", self.list),
        ];
        lines.map(|line| line.trim_end().to_owned() + "\n").concat()
    }

    fn spawn(&self, world: &World, arguments: &[&str]) -> Running {
        let mut command = world.command("akvfs");
        command.args(arguments).args(self.options).envs(self.environment.iter().copied());
        world.spawn(&mut command)
    }
}

/// What a process complained of, which was well said and in time.
fn said(running: Running, code: i32) -> String {
    let ran = running.wait(LIMIT);
    assert!(is_well_said(&ran.stderr, code), "{ran:#?}");
    assert!(code == 0 || ran.stdout.is_empty(), "{ran:#?}");
    assert!(ran.took < READY, "{ran:#?}");
    assert_eq!(ran.code, Some(code), "{ran:#?}");
    anonymous(&ran.stderr)
}

/// What, why and perhaps what to do about it; and silence, or one warning, where it works.
fn is_well_said(stderr: &str, code: i32) -> bool {
    let mut lines = stderr.lines();
    let what = if code == 0 { "akvfs: warning: " } else { "akvfs: " };
    let said = lines.next();
    said.map_or(code == 0, |line| line.starts_with(what) && line.matches(": ").count() > 1)
        && lines.next().is_none_or(|line| line.starts_with("hint: "))
        && lines.next().is_none()
}

/// The text without the numbers of requests, which differ from run to run.
fn anonymous(text: &str) -> String {
    let mut parts = text.split("request ");
    let mut anonymous = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        anonymous.push_str("request GUID");
        anonymous.push_str(part.get(36..).unwrap_or_default());
    }
    anonymous
}

#[test]
fn without_a_fitting_identity_it_is_said_what_to_set() {
    meet(
        "wrong-identity.txt",
        &[
            Wrong {
                what: "no identity on the machine",
                given: |world| world.emulator.imds().set_system(None),
                get: 4,
                list: 4,
                ..Wrong::default()
            },
            Wrong {
                what: "several identities and none chosen",
                given: several,
                get: 4,
                list: 4,
                mount: 32,
                ..Wrong::default()
            },
            Wrong {
                what: "an identity that the machine does not have",
                options: &["--identity=client-id:c1000000-0000-4000-8000-0000000000ff"],
                get: 4,
                list: 4,
                ..Wrong::default()
            },
            Wrong {
                what: "no system-assigned identity",
                given: |world| world.emulator.imds().set_system(None),
                options: &["--identity=system"],
                get: 4,
                list: 4,
                ..Wrong::default()
            },
        ],
    );
}

fn several(world: &World) {
    let imds = world.emulator.imds();
    imds.set_system(None);
    imds.add_user(Identity::numbered(1));
    imds.add_user(Identity::numbered(2));
}

fn deny(world: &World, refusal: Refusal) {
    world.vault().deny_get("*", refusal);
    world.vault().deny_list(refusal);
}

#[test]
fn a_refusal_is_said_with_who_can_lift_it() {
    let refused = |what, given| Wrong { what, given, get: 4, list: 4, ..Wrong::default() };
    let challenged = |what, given| Wrong { mount: 32, ..refused(what, given) };
    meet(
        "wrong-refused.txt",
        &[
            refused("no access policy", |world| deny(world, Refusal::Policy)),
            refused("no access policy, in older words", |w| deny(w, Refusal::AccessDenied)),
            refused("no role", |world| deny(world, Refusal::Rbac)),
            refused("firewall", |world| deny(world, Refusal::Firewall)),
            refused("private endpoints only", |world| deny(world, Refusal::Connection)),
            Wrong {
                what: "get without list",
                given: |world| world.vault().deny_list(Refusal::Policy),
                list: 4,
                ..Wrong::default()
            },
            Wrong {
                what: "list without get",
                given: |world| world.vault().deny_get("*", Refusal::Rbac),
                get: 4,
                strict: 0,
                ..Wrong::default()
            },
            challenged("401 after a new token", |world| challenge(world, OURS)),
            challenged("401 of something else", |world| challenge(world, "Basic realm=proxy")),
        ],
    );
}

fn fault(world: &World, scope: Scope, kind: Kind) {
    world.emulator.inject(Fault::always(scope, kind));
}

fn challenge(world: &World, header: &str) {
    fault(world, Scope::Vault, Kind::Challenge(header.to_owned()));
}

fn hosts(world: &World, address: &str) {
    world.write("/etc/hosts", format!("{address} my-vault.vault.azure.net\n"));
}

#[test]
fn an_unreachable_vault_is_told_from_one_that_says_no() {
    let away = |what, given| Wrong { what, given, get: 5, list: 5, ..Wrong::default() };
    meet(
        "wrong-unreachable.txt",
        &[
            away("no such host", |world| world.write("/etc/hosts", "")),
            away("no resolver", |world| {
                world.lose_resolver();
                world.write("/etc/hosts", "");
            }),
            away("no route", |world| {
                world.sh("ip addr del 192.0.2.10/32 dev lo").ok();
            }),
            away("connection refused", |world| hosts(world, "127.0.0.1")),
            away("no answer to a connection", |world| {
                world.sh("ip route add 198.51.100.7 dev lo").ok();
                hosts(world, "198.51.100.7");
            }),
            away("hang", |world| fault(world, Scope::Vault, Kind::Hang)),
            away("reset", |world| fault(world, Scope::Vault, Kind::Reset)),
            away("throttled", |world| fault(world, Scope::Vault, Kind::status(429))),
            away("503", |world| fault(world, Scope::Vault, Kind::status(503))),
            away("a page of a proxy", |world| fault(world, Scope::Vault, Kind::html(200))),
            away("a redirect", |world| {
                let location = "https://evil.example/".to_owned();
                fault(world, Scope::Vault, Kind::Redirect { code: 302, location });
            }),
            away("truncated", |world| fault(world, Scope::Vault, Kind::Truncated)),
        ],
    );
}

#[test]
fn bad_tls_is_said_with_the_issuer() {
    let show = |what, given| Wrong { what, given, get: 5, list: 5, ..Wrong::default() };
    meet(
        "wrong-tls.txt",
        &[
            show("expired", |world| world.emulator.show_certificate(Certificate::Expired)),
            show("of another host", |w| w.emulator.show_certificate(Certificate::OtherHost)),
            show("self-signed", |w| w.emulator.show_certificate(Certificate::SelfSigned)),
            Wrong {
                what: "no trusted certificates on the machine",
                given: |world| drop(world.sh("rm -rf /etc/ssl /etc/pki").ok()),
                get: 2,
                list: 2,
                mount: 2,
                strict: 2,
                ..Wrong::default()
            },
        ],
    );
}

#[test]
fn an_unreachable_metadata_service_is_said() {
    let away = |what, given| Wrong { what, given, get: 5, list: 5, ..Wrong::default() };
    meet(
        "wrong-metadata.txt",
        &[
            away("no route", |world| {
                world.sh("ip addr del 169.254.169.254/32 dev lo").ok();
            }),
            Wrong {
                environment: &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")],
                ..away("connection refused", |_| {})
            },
            away("hang", |world| fault(world, Scope::Token, Kind::Hang)),
            away("410", |world| fault(world, Scope::Token, Kind::status(410))),
            away("500", |world| fault(world, Scope::Token, Kind::status(500))),
            away("nonsense", |world| fault(world, Scope::Token, Kind::html(200))),
            Wrong {
                get: 4,
                list: 4,
                ..away("403", |world| fault(world, Scope::Token, Kind::status(403)))
            },
        ],
    );
}

#[test]
fn a_secret_that_is_not_there_is_said_by_get_alone() {
    let secret = |what, get, given| Wrong { what, given, get, strict: 0, ..Wrong::default() };
    meet(
        "wrong-secret.txt",
        &[
            secret("missing", 3, |world| {
                world.vault().purge("ftpadmin");
            }),
            secret("deleted softly", 3, |world| {
                world.vault().delete("ftpadmin");
            }),
            secret("disabled", 4, |world| {
                world.vault().disable("ftpadmin");
            }),
            Wrong { secret: "FTPadmin", ..secret("another case", 0, |_| {}) },
            secret("nonsense", 5, |world| {
                world.vault().put_raw("ftpadmin", "17");
            }),
            secret("half a character", 5, |world| {
                world.vault().put_raw("ftpadmin", r#""\ud800""#);
            }),
        ],
    );
}

const PATIENCE: &str = "--open-timeout=3s";
const AT_ONCE: usize = 4;
/// Within what a mount is ready, whatever is away.
const READY: Duration = Duration::from_secs(5);
const OURS: &str = "Bearer authorization=\"https://login.microsoftonline.com/\
                    7e4a0000-0000-4000-8000-000000000001\", resource=\"https://vault.azure.net\"";
