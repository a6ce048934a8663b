//! The control socket: who may come in, what hangs and nonsense do to it, and what is left of it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::vault::Change;
use serde_json::Value;

use crate::canary::Canaries;
use crate::canary::password;
use crate::child::Ran;
use crate::mounted::Mounted;
use crate::world::LIMIT;
use crate::world::World;
use crate::world::until;

impl Mounted<'_> {
    /// Where its control socket is.
    pub(crate) fn socket(&self) -> PathBuf {
        let line =
            self.world().mounts().into_iter().find(|line| line.directory == self.directory());
        PathBuf::from(format!("/run/akvfs/0:{}.sock", line.unwrap().minor))
    }

    /// Somebody who connects to it, and what he says.
    pub(crate) fn visitor(&self, words: &str) -> UnixStream {
        let socket = self.socket();
        self.world().inside(|| {
            let mut stream = UnixStream::connect(socket).unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            stream.write_all(words.as_bytes()).unwrap();
            stream
        })
    }

    /// Runs `akvfs COMMAND DIR MORE...` to its end.
    pub(crate) fn control(&self, command: &str, more: &[&str]) -> Ran {
        let mut arguments = vec![command, self.directory().to_str().unwrap()];
        arguments.extend(more);
        self.world().akvfs(&arguments)
    }

    /// How it stands, whatever the exit code.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let ran = self.control("status", &["--json"]);
        let status: Value =
            serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:#?}"));
        status["mounts"][0].clone()
    }
}

fn heard(mut stream: UnixStream) -> String {
    let mut text = Vec::new();
    // A connection that was closed before all was read ends in an error, after what was said.
    let _reset = stream.read_to_end(&mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn the_socket_is_its_owners_alone_and_goes_with_the_mount() {
    let Some(world) = World::new() else { return };
    let mounted = world.mount(&[]);
    let socket = mounted.socket();
    world.inside(|| {
        let stat = std::fs::symlink_metadata(&socket).unwrap();
        assert_eq!((stat.mode() & 0o7777, stat.uid()), (0o600, 0));
        let stat = std::fs::symlink_metadata("/run/akvfs").unwrap();
        assert_eq!((stat.mode() & 0o7777, stat.uid()), (0o700, 0));
    });
    assert_eq!(world.run_files(), [PathBuf::from("/run/akvfs"), socket]);
    drop(mounted);
    assert_eq!(world.run_files(), Vec::<PathBuf>::new());
}

#[test]
fn a_socket_of_a_dead_mount_is_replaced() {
    let Some(world) = World::new() else { return };
    let mounted = world.mount(&[]);
    let socket = mounted.socket();
    world.kill_all();
    assert!(world.run_files().contains(&socket), "nobody was there to take it away");
    let at = mounted.directory().to_str().unwrap();

    let ran = world.akvfs(&["mount", "my-vault", at]);

    assert!(ran.stderr.contains("ended a dead mount"), "{ran:#?}");
    assert_eq!(mounted.status()["state"], "serving");
    if mounted.socket() != socket {
        world.sh(&format!("rm -f {}", socket.display())).ok();
    }
}

#[test]
fn nonsense_is_told_so_and_a_gigabyte_is_not_listened_to() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let mounted = world.mount(&[]);
    assert_eq!(mounted.text("ftpadmin"), "s3cret");
    for words in [
        "garbage\n",
        "{}\n",
        "[]\n",
        "\n",
        "{\"ask\":\"value\",\"secrets\":[\"ftpadmin\"]}\n",
        "{\"ask\":\"refresh\",\"secrets\":[\"../etc\"]}\n",
    ] {
        let said = heard(mounted.visitor(words));
        assert!(said.contains("makes no sense") && said.lines().count() == 1, "{words}: {said}");
    }
    let mut stream = mounted.visitor("");
    let part = vec![b'x'; 1 << 20];
    let mut sent = 0_u64;
    while sent < 1 << 30 && stream.write_all(&part).is_ok() {
        sent += 1 << 20;
    }
    assert!(sent < 4 << 20, "{sent} bytes were taken");
    assert!(heard(stream).contains("too long"));
    assert_eq!(mounted.text("ftpadmin"), "s3cret");
    assert_eq!(mounted.status()["restarts"], 0);
}

#[test]
fn those_who_hang_are_nobodys_trouble() {
    let Some(world) = World::new() else { return };
    for name in ["warm", "cold"] {
        world.vault().put(name, "value");
    }
    let mounted = world.mount(&[]);
    assert_eq!(mounted.text("warm"), "value");
    let hanging: Vec<UnixStream> = (0..50)
        .map(|number| mounted.visitor(if number % 2 == 0 { "" } else { "{\"ask\":\"sta" }))
        .collect();

    assert_eq!(mounted.text("warm"), "value");
    assert_eq!(mounted.text("cold"), "value");
    assert_eq!(mounted.status()["state"], "serving");
    assert_eq!(mounted.control("refresh", &["warm"]).ok(), "warm: unchanged\n");
    assert_eq!(mounted.control("unmount", &[]).ok(), "");
    assert!(!mounted.is_mounted());
    drop(hanging);
}

/// They hold their places for some seconds, and no longer.
#[test]
fn however_many_hang_somebody_is_heard_in_the_end() {
    let Some(world) = World::new() else { return };
    world.vault().put("cold", "value");
    let mounted = world.mount(&[]);
    let hanging: Vec<UnixStream> = (0..300).map(|_| mounted.visitor("")).collect();
    assert_eq!(mounted.text("cold"), "value");
    until("there is a place", || mounted.status()["state"] == "serving");
    assert_eq!(mounted.status()["restarts"], 0);
    drop(hanging);
}

/// Whoever asks and does not read the answer holds nobody up.
#[test]
fn whoever_does_not_read_the_answer_is_left_alone() {
    let Some(world) = World::new() else { return };
    let names = ["a", "b", "c", "d", "e", "f"];
    let tags: BTreeMap<String, String> =
        (0..100).map(|number| (format!("tag-{number}"), "x".repeat(1000))).collect();
    for name in names {
        world.vault().put(name, "value");
        world.vault().change(name, Change { tags: Some(tags.clone()), ..Change::default() });
    }
    let mounted = world.mount(&[]);
    for name in names {
        assert_eq!(mounted.text(name), "value");
    }
    let asks = "{\"ask\":\"status\"}\n";
    let deaf: Vec<UnixStream> = (0..40).map(|_| mounted.visitor(asks)).collect();
    assert_eq!(mounted.status()["secrets"][5]["tags"]["tag-99"], "x".repeat(1000));
    assert_eq!(mounted.text("a"), "value");
    drop(deaf);
}

#[test]
fn a_mount_whose_worker_is_not_there_says_so_itself() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let mounted = world.mount(&[]);
    assert_eq!(mounted.text("ftpadmin"), "s3cret");
    // From the fifth death at its start on it is kept away for longer and longer.
    for _ in 0..8 {
        world.replace("worker");
    }
    world.process("worker").unwrap().kill();

    let ran = mounted.control("status", &["--json"]);

    assert_eq!(ran.code, Some(5), "{ran:#?}");
    let status: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let mount = &status["mounts"][0];
    assert_eq!(
        (&mount["state"], &mount["restarts"]),
        (&Value::from("crash-loop"), &Value::from(9))
    );
    assert_eq!(mount["alarms"][0]["alarm"], "crash-loop");
    assert_eq!(mount["error"], "worker: signal 9");
    assert_eq!(mount["directory"], mounted.directory().to_str().unwrap());
    until("it is over", || {
        let mount = mounted.status();
        mount["state"] == "serving" && mount["alarms"] == Value::Array(Vec::new())
    });
    assert_eq!(mounted.status()["secrets"][0]["name"], "ftpadmin");
}

/// The kernel's callers see to it that it is replaced; then whoever asked is answered by the next.
#[test]
fn a_worker_that_is_stopped_holds_up_nobody_who_asks_for_longer_than_the_kernel() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let mounted = world.mount(&[]);
    let worker = world.process("worker").unwrap();
    worker.stop();
    let reader = mounted.reader("ftpadmin");

    let asked = mounted.control("status", &["--json"]);

    let status: Value = serde_json::from_slice(&asked.stdout).unwrap();
    let mount = &status["mounts"][0];
    assert_eq!((asked.code, &mount["state"]), (Some(0), &Value::from("serving")), "{asked:#?}");
    assert_eq!(mount["restarts"], 1);
    assert_eq!(reader.result().0, Ok(b"s3cret".to_vec()));
}

#[test]
fn a_death_while_a_refresh_waits_is_not_noticed_by_whoever_asked() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let mounted = world.mount(&[]);
    assert_eq!(mounted.text("ftpadmin"), "s3cret");
    let hold = world.emulator.inject(Fault::always(Scope::Get, Kind::Hold));
    world.emulator.reset_requests();
    let asked = thread::scope(|scope| {
        let asked = scope.spawn(|| mounted.control("refresh", &["ftpadmin"]));
        assert!(world.emulator.wait_for(LIMIT, 1, |request| request.is_get()));
        world.replace("worker");
        assert!(world.emulator.wait_for(LIMIT, 2, |request| request.is_get()));
        world.emulator.clear(hold);
        asked.join().unwrap()
    });
    assert_eq!(asked.ok(), "ftpadmin: unchanged\n");
}

#[test]
fn only_root_and_whoever_mounted_may_ask() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    world.install();
    world.open_fuse_to_all();
    let users = [world.user("alice", 4242), world.user("bob", 4243)];
    for uid in [4242, 4243] {
        let directory = format!("/run/user/{uid}");
        let line = "mkdir -p -m 755 /run/user; mkdir -m 700";
        world.sh(&format!("{line} {directory}; chown {uid} {directory}")).ok();
    }
    let [alice, bob] = &users;
    let roots = world.mount(&["allow_other", "dir-mode=0555"]);
    let own = alice.mounted("vault");
    alice.run("mkdir", &["vault"]).ok();
    let at = own.directory().to_str().unwrap();
    let mut mounting = alice.command("akvfs");
    mounting.args(["mount", "my-vault", at]).env("XDG_RUNTIME_DIR", "/run/user/4242");
    world.spawn(&mut mounting).wait(LIMIT).ok();
    assert_eq!(alice.run("cat", &["vault/ftpadmin"]).ok(), "s3cret");

    let at_roots = roots.directory().to_str().unwrap();
    for (command, user) in [("status", alice), ("refresh", bob), ("watch", bob)] {
        let said = user.run("akvfs", &[command, at_roots]).failed(2);
        assert!(said.ends_with(": only root and the user who mounted may ask\n"), "{said}");
    }
    // The modes are one wall, and whom the kernel says that somebody is the other.
    let socket = roots.socket();
    world.sh(&format!("chmod 711 /run/akvfs; chmod 666 {}", socket.display())).ok();
    let said = bob.run("akvfs", &["refresh", at_roots]).failed(5);
    assert!(said.contains("went away"), "{said}");
    world.sh("chmod 700 /run/akvfs").ok();
    assert!(bob.run("akvfs", &["status", at]).failed(2).contains("only root and the user"));

    let seen = |ran: Ran| {
        let status: Value = serde_json::from_str(&ran.ok()).unwrap();
        let mounts = status["mounts"].as_array().unwrap().clone();
        let directory = |mount: &Value| mount["directory"].as_str().unwrap().to_owned();
        mounts.iter().map(directory).collect::<BTreeSet<String>>()
    };
    let both = [at_roots.to_owned(), at.to_owned()];
    assert_eq!(seen(world.akvfs(&["status", "--json"])), both.into());
    assert_eq!(seen(alice.run("akvfs", &["status", "--json"])), [at.to_owned()].into());
    assert_eq!(seen(bob.run("akvfs", &["status", "--json"])), [].into());
    let unchanged = "ftpadmin: unchanged\n";
    assert_eq!(alice.run("akvfs", &["refresh", "vault", "ftpadmin"]).ok(), unchanged);
    assert_eq!(world.akvfs(&["refresh", at, "ftpadmin"]).ok(), unchanged);
}

/// A user who has no directory for such things has a mount all the same.
#[test]
fn without_a_place_for_a_socket_a_mount_has_none() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    world.install();
    world.open_fuse_to_all();
    let alice = world.user("alice", 4242);
    let own = alice.mounted("vault");
    alice.run("mkdir", &["vault"]).ok();
    alice.run("akvfs", &["mount", "my-vault", "vault"]).ok();
    assert_eq!(alice.run("cat", &["vault/ftpadmin"]).ok(), "s3cret");
    let said = alice.run("akvfs", &["status", "vault"]).failed(2);
    let hint = "has no control socket\nhint: ";
    assert!(said.contains(hint) && said.contains("XDG_RUNTIME_DIR"), "{said}");
    drop(own);
}

#[test]
fn what_is_said_there_holds_no_value_and_no_token() {
    let Some(world) = World::new() else { return };
    let mut canaries = Canaries::default();
    let values = [password(), password()];
    values.iter().for_each(|value| canaries.add(value));
    world.vault().put("ftpadmin", &values[0]);
    let mounted = world.mount(&["refresh=200ms"]);
    let mut watching = world.command("akvfs");
    let told = world.directory().join("told");
    let script = format!("env >> {}", told.display());
    watching.arg("watch").arg(mounted.directory()).args(["ftpadmin", "--", "sh", "-c", &script]);
    let watching = world.spawn(&mut watching);
    assert_eq!(mounted.text("ftpadmin"), values[0]);
    let mut said = mounted.control("refresh", &[]).stdout;
    world.vault().put("ftpadmin", &values[1]);
    mounted.until_shows("ftpadmin", &values[1]);
    for (command, more) in [("status", &["--json"][..]), ("status", &[]), ("refresh", &[])] {
        said.extend(mounted.control(command, more).stdout);
    }
    said.extend(heard(mounted.visitor("{\"ask\":\"status\"}\n")).into_bytes());
    world.vault().disable("ftpadmin");
    mounted.until_fails("ftpadmin", libc::EKEYREVOKED);
    said.extend(mounted.control("refresh", &["ftpadmin"]).stdout);
    let heard = || String::from_utf8(world.read(&told).unwrap_or_default()).unwrap();
    until("it is told", || heard().contains("AKVFS_STATE=disabled"));
    drop(mounted);
    said.extend(watching.wait(LIMIT).ok().into_bytes());
    said.extend(heard().into_bytes());
    for token in world.emulator.imds().tokens() {
        canaries.add(&token);
    }
    assert!(said.len() > 1500, "{}", String::from_utf8_lossy(&said));
    canaries.look_into("what was said", said);
}
