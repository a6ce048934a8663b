//! Values and tokens are nowhere but where they belong.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;
use std::time::SystemTime;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use rustix::io::Errno;
use rustix::process::Signal;

use crate::canary::Canaries;
use crate::canary::password;
use crate::canary::token;
use crate::child::Ran;
use crate::together::together;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

const JOURNAL: &str = "/run/systemd/journal";

impl Canaries {
    #[track_caller]
    pub(crate) fn look_into_output(&self, ran: &Ran) {
        self.look_into("stdout", &ran.stdout);
        self.look_into("stderr", &ran.stderr);
    }

    /// What /proc tells everybody, or their user, of the processes.
    #[track_caller]
    pub(crate) fn look_into_processes(&self, world: &World) {
        for process in world.akvfs_processes() {
            for file in ["cmdline", "environ", "comm", "status", "mountinfo", "maps", "wchan"] {
                let path = format!("/proc/{}/{file}", process.pid.as_raw_nonzero());
                self.look_into(&path, fs::read(&path).unwrap_or_default());
            }
        }
    }

    /// What was written below a directory since then.
    fn look_into_files(&self, directory: &Path, since: SystemTime, depth: usize) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(about) = entry.metadata() else { continue };
            let path = entry.path();
            self.look_into(
                &format!("names in {}", directory.display()),
                path.to_string_lossy().as_bytes(),
            );
            if about.is_dir() && depth > 0 {
                self.look_into_files(&path, since, depth - 1);
            }
            let written = about.modified().is_ok_and(|at| at >= since);
            if about.is_file() && written && about.len() < 1 << 20 {
                self.look_into(&path.display().to_string(), fs::read(&path).unwrap_or_default());
            }
        }
    }
}

/// All that a mount goes through in its life, with the values coming and going.
fn live(world: &World, canaries: &mut Canaries, options: &str) {
    let rotated = password();
    canaries.add(&rotated);
    let (mounted, ran) = world.mount_with_complaints(options);
    canaries.look_into_output(&ran);
    let value = mounted.outcome("one").unwrap();
    assert!(!value.is_empty());
    canaries.look_into_output(&mounted.cat("missing"));
    world.vault().put("two", &rotated);
    until("the new version is seen", || mounted.outcome("two") == Ok(rotated.clone().into_bytes()));
    world.run("ls", &["-la", mounted.directory().to_str().unwrap()]);
    world.vault().disable("one");
    until("it is refused", || mounted.outcome("one") == Err(Errno::KEYREVOKED));
    world.vault().enable("one");
    until("it is allowed again", || mounted.outcome("one").is_ok());
    for kind in [Kind::status(500), Kind::Truncated, Kind::Reset, Kind::status(429)] {
        world.emulator.reset_requests();
        world.emulator.inject(Fault::times(1, Scope::Get, kind));
        until("it was asked again", || {
            assert!(mounted.outcome("one").is_ok());
            world.emulator.count(|request| request.is_get()) >= 3
        });
    }
    world.emulator.imds().expire_tokens();
    for role in ["worker", "relay"] {
        canaries.look_into_processes(world);
        world.replace(role);
        assert!(mounted.outcome("one").is_ok());
    }
    for token in world.emulator.imds().tokens() {
        canaries.add(&token);
    }
    canaries.look_into_processes(world);
    canaries.look_into_files(Path::new("/dev/shm"), SystemTime::UNIX_EPOCH, 2);
}

fn furnished() -> Option<(World, Canaries)> {
    let world = World::new()?;
    let mut canaries = Canaries::default();
    for name in ["one", "two"] {
        let value = password();
        canaries.add(&value);
        world.vault().put(name, &value);
    }
    Some((world, canaries))
}

#[test]
fn a_log_at_its_most_talkative_holds_no_value_and_no_token() {
    let Some((world, mut canaries)) = furnished() else { return };
    let since = SystemTime::now() - Duration::from_secs(1);
    let log = world.directory().join("log");

    live(&world, &mut canaries, &format!("refresh=200ms,verbose,verbose,log={}", log.display()));

    let said = world.read(&log).unwrap();
    assert!(said.len() > 1000, "it says nothing: {}", String::from_utf8_lossy(&said));
    canaries.look_into("log", said);
    world.inside(|| canaries.look_into_files(Path::new("/run"), since, 8));
    for directory in ["/tmp", "/var/tmp"] {
        canaries.look_into_files(Path::new(directory), since, 1);
    }
}

#[test]
fn the_journal_is_told_no_value_and_no_token() {
    let Some((world, mut canaries)) = furnished() else { return };
    let journal = world.inside(|| {
        fs::create_dir_all(JOURNAL).unwrap();
        UnixDatagram::bind(Path::new(JOURNAL).join("socket")).unwrap()
    });
    journal.set_nonblocking(true).unwrap();
    let told = std::thread::spawn(move || {
        let mut told = Vec::new();
        let mut entry = vec![0; 1 << 16];
        crate::world::try_until(LIMIT, || {
            while let Ok(length) = journal.recv(&mut entry) {
                told.extend_from_slice(&entry[..length]);
            }
            told.ends_with(b"MESSAGE=the end\n")
        });
        told
    });

    live(&world, &mut canaries, "refresh=200ms,verbose,verbose,log=journal");

    world.inside(|| {
        let end = UnixDatagram::unbound().unwrap();
        end.send_to(b"MESSAGE=the end\n", Path::new(JOURNAL).join("socket")).unwrap();
    });
    let told = told.join().unwrap();
    assert!(told.len() > 1000, "it is told nothing: {}", String::from_utf8_lossy(&told));
    canaries.look_into("journal", told);
}

#[test]
fn standard_error_in_the_foreground_holds_no_value_and_no_token() {
    let Some((world, mut canaries)) = furnished() else { return };
    let mounted = world.mounted_at(world.directory());
    let mut command = world.command("akvfs");
    command.args(["mount", "-vv", "--foreground", "--refresh=200ms", "my-vault"]);
    let running = world.spawn(command.arg(mounted.directory()));
    until("it is mounted", || mounted.is_mounted());
    assert!(mounted.outcome("one").is_ok());
    world.vault().disable("one");
    until("it is refused", || mounted.outcome("one") == Err(Errno::KEYREVOKED));
    world.process("worker").unwrap().kill();
    assert!(mounted.outcome("two").is_ok());

    running.signal(Signal::TERM);
    let ran = running.wait(LIMIT);

    for token in world.emulator.imds().tokens() {
        canaries.add(&token);
    }
    assert!(ran.stderr.contains("asks for two"), "{}", ran.stderr);
    canaries.look_into_output(&ran);
}

/// What is wrong with an answer that holds a value or a token.
type Wrong = (Scope, Kind);

fn body(scope: Scope, body: String) -> Wrong {
    (scope, Kind::Body(body))
}

fn status(scope: Scope, code: u16, body: String) -> Wrong {
    (scope, Kind::Status { code, body, headers: Vec::new() })
}

/// Answers of the vault in which the value is not where it belongs, or all else is not. `quoted` is
/// the value as JSON spells it, `plain` as it is.
fn wrong_secrets(quoted: &str, plain: &str) -> Vec<Wrong> {
    let id =
        r#""id":"https://my-vault.vault.azure.net/secrets/one/0123456789abcdef0123456789abcdef""#;
    let bodies = [
        format!(r#"{{"value":{quoted}}}"#),
        format!(r#"{{"value":{quoted},"id":{quoted},"attributes":{{}}}}"#),
        format!(r#"{{"value":{quoted},{id}}}"#),
        format!(r#"{{"value":[{quoted}],{id},"attributes":{{"created":1}}}}"#),
        format!(r#"{{"value":{{{quoted}:{quoted}}},{id},"attributes":{{"created":1}}}}"#),
        format!(r#"{{"value":{quoted},{id},"attributes":{quoted}}}"#),
        format!(r#"{{"value":{quoted},{id},"attributes":{{"created":{quoted}}}}}"#),
        format!(r#"{{"value":{quoted},{id},"attributes":{{"enabled":{quoted}}}}}"#),
        format!(r#"{{"value":{quoted},"value":{quoted},{id},"attributes":{{"created":1}}}}"#),
        format!(
            r#"{{"value":{quoted},"id":"https://my-vault.vault.azure.net/secrets/other/0123456789abcdef0123456789abcdef","attributes":{{"created":1}}}}"#
        ),
        format!(r#"{{"value":"\ud800{plain}",{id},"attributes":{{"created":1}}}}"#),
        format!(r#"{{"value":"{plain}"#),
        format!("\u{feff}{{\"value\":{quoted},{id}}}"),
        format!("[{quoted}]"),
        quoted.to_owned(),
        plain.to_owned(),
        format!("<html><title>{plain}</title></html>"),
        format!(r#"{{"value":[{{"id":{quoted}}}],"nextLink":{quoted}}}"#),
    ];
    let mut wrong: Vec<Wrong> = bodies.into_iter().map(|text| body(Scope::Vault, text)).collect();
    let error = format!(
        r#"{{"error":{{"code":{quoted},"message":{quoted},"innererror":{{"code":{quoted}}}}}}}"#
    );
    for code in [204, 400, 401, 403, 404, 418, 429, 500, 503] {
        wrong.push(status(Scope::Vault, code, error.clone()));
    }
    wrong
}

fn wrong_tokens(token: &str) -> Vec<Wrong> {
    let rest = r#""expires_in":"3600","resource":"https://vault.azure.net","token_type":"Bearer""#;
    let bodies = [
        format!(r#"{{"access_token":"{token}"}}"#),
        format!(r#"{{"access_token":"{token}","expires_in":"{token}"}}"#),
        format!(
            r#"{{"access_token":"{token}","expires_in":-1,"resource":"https://vault.azure.net"}}"#
        ),
        format!(r#"{{"access_token":["{token}"],{rest}}}"#),
        format!(r#"{{"access_token":{{"token":"{token}"}},{rest}}}"#),
        format!(r#"{{"access_token":"{token}\r\nX-Other: header",{rest}}}"#),
        format!(
            r#"{{"access_token":"{token}","expires_in":"3600","resource":"https://management.azure.com"}}"#
        ),
        format!(r#"{{"access_token":"{token}","expires_in":"3600","resource":"{token}"}}"#),
        format!(r#"{{"access_token":"{token}","client_id":"{token}",{rest}}}"#),
        format!(r#"{{"access_token":"{token}",{rest}}}"#),
        format!(r#"{{"access_token":"{token}"#),
        format!(r#""{token}""#),
        token.to_owned(),
        format!("<html><title>{token}</title></html>"),
    ];
    let mut wrong: Vec<Wrong> = bodies.into_iter().map(|text| body(Scope::Token, text)).collect();
    let error = format!(r#"{{"error":"{token}","error_description":"{token}"}}"#);
    for code in [302, 400, 403, 404, 429, 500] {
        wrong.push(status(Scope::Token, code, error.clone()));
    }
    let location = format!("http://169.254.169.254/{token}");
    wrong.push((Scope::Token, Kind::Redirect { code: 302, location }));
    wrong
}

/// Asks in every way there is, and looks into all that is said.
fn asks_for_nonsense(world: &World, canaries: &Canaries, cases: Vec<Wrong>) {
    let log = world.directory().join("log");
    let options = format!("check=off,open-timeout=300ms,verbose,verbose,log={}", log.display());
    let mounted = world.mount(&[&options]);
    for (number, (scope, kind)) in cases.into_iter().enumerate() {
        let name = format!("one-{number}");
        let what = format!("{kind:?}");
        world.emulator.inject(Fault::always(scope, named(kind, &name)));
        for command in [&["get", "my-vault", &name][..], &["list", "my-vault"]] {
            let ran = world.akvfs(&[command, &["--open-timeout=300ms"]].concat());
            assert!(ran.code.is_some_and(|code| code < 10), "{what}: {ran:?}");
            canaries.look_into_output(&ran);
        }
        canaries.look_into_output(&mounted.cat(&name));
        canaries.look_into_processes(world);
        world.emulator.clear_all();
    }
    world.emulator.inject(Fault::always(Scope::Everything, Kind::status(500)));
    world.process("worker").unwrap().kill();
    canaries.look_into_output(&mounted.cat("one-0"));
    let said = world.read(&log).unwrap();
    assert!(!said.is_empty(), "nothing is said of it");
    canaries.look_into("log", said);
}

/// The same for a secret of that name.
fn named(mut kind: Kind, name: &str) -> Kind {
    if let Kind::Body(body) = &mut kind {
        *body = body.replace("/secrets/one/", &format!("/secrets/{name}/"));
    }
    kind
}

#[test]
fn an_answer_that_makes_no_sense_is_not_repeated() {
    let value = password();
    let quoted = serde_json::to_string(&value).unwrap();
    let jwt = token();
    let mut canaries = Canaries::default();
    canaries.add(&value);
    canaries.add(&jwt);
    // A refusal of the metadata service stands for a while: one of those for each mount.
    let tokens = wrong_tokens(&jwt).into_iter().map(|case| vec![case]);
    let secrets = wrong_secrets(&quoted, &value);
    let secrets = secrets.chunks(7).map(<[Wrong]>::to_vec);

    together(tokens.chain(secrets), |cases| {
        let Some(world) = World::new() else { return };
        asks_for_nonsense(&world, &canaries, cases);
    });
}
