//! `akvfs status`: what it says of a mount, when it says that something is amiss, and to whom.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use akvfs::alarm::Alarm;
use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::vault::Change;
use akvfs_emulator::vault::Refusal;
use serde_json::Value;

use crate::mounted::Mounted;
use crate::world::World;
use crate::world::until;

/// The journal of a machine.
struct Journal(UnixDatagram, Vec<String>);

impl Journal {
    fn of(world: &World) -> Self {
        let directory = Path::new("/run/systemd/journal");
        let socket = world.inside(|| {
            fs::create_dir_all(directory).unwrap();
            UnixDatagram::bind(directory.join("socket")).unwrap()
        });
        socket.set_nonblocking(true).unwrap();
        Self(socket, Vec::new())
    }

    /// How often an alarm was raised.
    fn count(&mut self, alarm: Alarm) -> usize {
        let mut entry = vec![0; 1 << 16];
        while let Ok(length) = self.0.recv(&mut entry) {
            self.1.push(String::from_utf8(entry[..length].to_vec()).unwrap());
        }
        let id = format!("MESSAGE_ID={}\n", alarm.message_id());
        self.1.iter().filter(|entry| entry.contains(&id)).count()
    }
}

impl Mounted<'_> {
    /// The alarms that stand.
    pub(crate) fn alarms(&self) -> Vec<String> {
        let alarms = self.status()["alarms"].as_array().unwrap().clone();
        alarms.iter().map(|alarm| alarm["alarm"].as_str().unwrap().to_owned()).collect()
    }

    fn state(&self, name: &str) -> String {
        let status = self.status();
        let secrets = status["secrets"].as_array().unwrap();
        let found = secrets.iter().find(|secret| secret["name"] == name);
        found.map_or_else(String::new, |secret| secret["state"].as_str().unwrap().to_owned())
    }
}

/// Which members there are, each with the kind of its value.
fn shape(value: &Value, at: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                // Tags are called what their owner calls them.
                let name = if at.ends_with("tags") { "*" } else { name };
                shape(member, &format!("{at}.{name}"), into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| shape(item, &format!("{at}[]"), into)),
        Value::String(_) => drop(into.insert(format!("{at}: text"))),
        Value::Number(_) => drop(into.insert(format!("{at}: number"))),
        Value::Bool(_) => drop(into.insert(format!("{at}: truth"))),
        Value::Null => drop(into.insert(format!("{at}: nothing"))),
    }
}

#[test]
fn json_is_as_the_document_shows_it() {
    let Some(world) = World::new() else { return };
    let (exp, tags) = (Some(4_102_444_800), [("owner".to_owned(), "ops".to_owned())]);
    world.vault().put("ftpadmin", "s3cret");
    let content_type = Some("text/plain".to_owned());
    let change =
        Change { exp, nbf: Some(0), tags: Some(tags.into()), content_type, ..Change::default() };
    assert!(world.vault().change("ftpadmin", change));
    let mounted = world.mount(&[]);
    assert_eq!(mounted.text("ftpadmin"), "s3cret");
    world.sh(&format!("mount -i -o remount,rw {}", mounted.directory().display())).ok();
    let document = fs::read_to_string("docs/JSON.md").unwrap();
    let examples: Vec<Value> = document
        .split("```json\n")
        .skip(1)
        .map(|rest| serde_json::from_str(rest.split("```").next().unwrap()).unwrap())
        .collect();
    let [list, status] = &examples[..] else { panic!("{} examples", examples.len()) };
    for (command, example) in
        [(["list", "my-vault", "--json"], list), (["status", "--json", "-"], status)]
    {
        let arguments: Vec<&str> = command.into_iter().filter(|word| *word != "-").collect();
        let said: Value = serde_json::from_str(&world.akvfs(&arguments).ok()).unwrap();
        let (mut real, mut shown) = (BTreeSet::new(), BTreeSet::new());
        shape(&said, "", &mut real);
        shape(example, "", &mut shown);
        assert_eq!(real, shown, "{command:?}: {said:#}");
    }
}

#[test]
fn the_numbers_of_the_alarms_are_those_in_the_document() {
    let document = fs::read_to_string("docs/JSON.md").unwrap();
    for alarm in Alarm::ALL {
        let name = serde_json::to_value(alarm).unwrap();
        let row = format!("| `{}` | `{}` |\n", name.as_str().unwrap(), alarm.message_id());
        assert!(document.contains(&row), "{row}");
    }
}

#[test]
fn people_see_a_table() {
    let Some(world) = World::new() else { return };
    assert_eq!(world.akvfs(&["status"]).ok(), "");
    assert_eq!(world.akvfs(&["status", "--json"]).ok(), "{\n  \"mounts\": []\n}\n");
    let id = world.vault().put("ftpadmin", "s3cret");
    world.vault().put("off", "value");
    world.vault().disable("off");
    let mounted = world.mount(&[]);
    assert_eq!(mounted.text("ftpadmin"), "s3cret");
    assert_eq!(mounted.errno("off"), libc::EKEYREVOKED);

    let text = world.akvfs(&["status"]).ok();

    let lines: Vec<&str> = text.lines().collect();
    let first = format!("{}: my-vault, serving since 20", mounted.directory().display());
    assert!(lines[0].starts_with(&first), "{text}");
    assert!(lines[1].starts_with("  identity imds, token until 20"), "{text}");
    assert_eq!(lines[2], "  restarts 0, worker: uid 65534, no capabilities, no new privileges");
    assert!(lines[3].starts_with("  SECRET    STATE     VERSION"), "{text}");
    assert!(lines[4].starts_with(&format!("  ftpadmin  fresh     {id}  20")), "{text}");
    assert!(lines[5].starts_with("  off       disabled  -"), "{text}");
    assert_eq!(lines.len(), 6);
}

#[test]
fn every_spelling_of_the_directory_finds_the_mount() {
    let Some(world) = World::new() else { return };
    let mounted = world.mount(&[]);
    let at = mounted.directory().to_str().unwrap();
    world.sh(&format!("ln -s {at} /run/directories/link")).ok();
    for spelling in [format!("{at}/"), format!("{at}/../0/."), "/run/directories/link".to_owned()] {
        let said: Value =
            serde_json::from_str(&world.akvfs(&["status", &spelling, "--json"]).ok()).unwrap();
        assert_eq!(said["mounts"][0]["directory"], at, "{spelling}");
    }
    let other = world.directory();
    let other = other.to_str().unwrap();
    world.run("mount", &["-n", "--bind", at, other]).ok();
    assert!(world.akvfs(&["status", other]).ok().starts_with(at));
    let all: Value = serde_json::from_str(&world.akvfs(&["status", "--json"]).ok()).unwrap();
    assert_eq!(all["mounts"].as_array().unwrap().len(), 1, "one mount, in two places");
    world.run("umount", &["-n", other]).ok();
}

/// A certificate's secret is base64, and only its content type says so.
#[test]
fn content_type_and_tags_are_shown_and_a_change_of_them_too() {
    let Some(world) = World::new() else { return };
    world.vault().put("site", "MIIJ==");
    let kind = |text: &str| Change { content_type: Some(text.to_owned()), ..Change::default() };
    world.vault().change("site", kind("application/x-pkcs12"));
    let tags = [("file-encoding".to_owned(), "base64".to_owned())];
    world.vault().change("site", Change { tags: Some(tags.into()), ..Change::default() });
    let mounted = world.mount(&["refresh=200ms"]);
    assert_eq!(mounted.text("site"), "MIIJ==");
    let secret = || mounted.status()["secrets"][0].clone();
    assert_eq!(secret()["contentType"], "application/x-pkcs12");
    assert_eq!(secret()["tags"]["file-encoding"], "base64");
    world.vault().change("site", kind("text/plain"));
    until("it is seen", || secret()["contentType"] == "text/plain");
    world.replace("worker");
    until("it is known still", || secret()["contentType"] == "text/plain");
    assert_eq!(mounted.status()["restarts"], 1);
}

#[test]
fn a_name_in_use_that_is_not_confirmed_is_exit_5_and_one_entry_in_the_journal() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let mut journal = Journal::of(&world);
    let mounted = world.mount(&["refresh=200ms", "open-timeout=500ms", "stale=1h", "log=journal"]);
    assert_eq!(mounted.text("ftpadmin"), "s3cret");
    assert_eq!((mounted.alarms(), mounted.state("ftpadmin")), (vec![], "fresh".to_owned()));
    world.cut_network();
    until("it is late", || {
        let _keeps_it_in_use = mounted.read("ftpadmin");
        mounted.control("status", &[]).code == Some(5)
    });
    let said = mounted.control("status", &[]).failed(5);
    assert!(said.ends_with("in use and not confirmed for two refreshes: ftpadmin\n"), "{said}");
    assert_eq!(mounted.state("ftpadmin"), "late");
    assert_eq!(mounted.text("ftpadmin"), "s3cret");
    assert_eq!(journal.count(Alarm::Unverified), 1);
    world.mend_network();
    until("it is confirmed", || {
        mounted.read("ftpadmin").is_ok() && mounted.state("ftpadmin") == "fresh"
    });
    assert_eq!(mounted.alarms(), [""; 0]);
    assert_eq!(mounted.control("status", &[]).code, Some(0));
    assert_eq!(journal.count(Alarm::Unverified), 1);
}

#[test]
fn the_end_of_stale_is_an_alarm() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let mut journal = Journal::of(&world);
    let mounted = world.mount(&["refresh=1s", "open-timeout=500ms", "stale=2s", "log=journal"]);
    assert_eq!(mounted.text("ftpadmin"), "s3cret");
    world.emulator.inject(Fault::always(Scope::Get, Kind::status(503)));
    until("it is lost", || mounted.alarms().contains(&"stale-ended".to_owned()));
    assert_eq!(mounted.control("status", &[]).code, Some(5));
    assert_eq!(journal.count(Alarm::StaleEnded), 1);
    world.emulator.clear_all();
    mounted.until_shows("ftpadmin", "s3cret");
    assert_eq!(mounted.alarms(), [""; 0]);
}

#[test]
fn a_vault_that_takes_no_token_is_an_alarm() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let mut journal = Journal::of(&world);
    let mounted = world.mount(&["refresh=500ms", "open-timeout=1s", "log=journal"]);
    assert_eq!(mounted.text("ftpadmin"), "s3cret");
    let challenge = "Bearer authorization=\"https://login.microsoftonline.com/\
                     11111111-2222-3333-4444-555555555555\", resource=\"https://vault.azure.net\"";
    world.emulator.inject(Fault::always(Scope::Get, Kind::Challenge(challenge.to_owned())));
    until("it is alarmed", || mounted.alarms().contains(&"unauthorized".to_owned()));
    assert_eq!(mounted.text("ftpadmin"), "s3cret");
    assert_eq!(mounted.control("status", &[]).code, Some(5));
    assert_eq!(journal.count(Alarm::Unauthorized), 1);
    world.emulator.clear_all();
    until("it is over", || !mounted.alarms().contains(&"unauthorized".to_owned()));
}

#[test]
fn a_mount_that_root_made_writable_is_an_alarm_as_long_as_it_is() {
    let Some(world) = World::new() else { return };
    let mut journal = Journal::of(&world);
    let mounted = world.mount(&["log=journal"]);
    let remount = |how: &str| {
        world.sh(&format!("mount -i -o remount,{how} {}", mounted.directory().display())).ok();
    };
    remount("rw");
    until("it is noticed", || journal.count(Alarm::ReadWrite) == 1);
    assert_eq!(mounted.alarms(), ["read-write"]);
    assert_eq!(
        mounted.control("status", &[]).code,
        Some(0),
        "every change is refused all the same"
    );
    remount("ro");
    until("it is over", || mounted.alarms().is_empty());
    remount("rw");
    until("it is noticed again", || journal.count(Alarm::ReadWrite) == 2);
}

#[test]
fn a_room_that_is_full_is_an_alarm() {
    let Some(world) = World::new() else { return };
    let names: Vec<String> = (0..60).map(|number| format!("name-{number}")).collect();
    for name in &names {
        world.vault().put(name, &"x".repeat(25_000));
    }
    let mut journal = Journal::of(&world);
    let mounted = world.mount(&["room=1M", "log=journal"]);
    let full = names.iter().any(|name| mounted.errno(name) == libc::ENOMEM);
    assert!(full, "there is room for all");
    assert_eq!(mounted.alarms(), ["room-full"]);
    assert_eq!(journal.count(Alarm::RoomFull), 1);
}

#[test]
fn a_refresh_too_short_for_all_in_use_is_an_alarm() {
    let Some(world) = World::new() else { return };
    world.vault().deny_list(Refusal::Policy);
    let names: Vec<String> = (0..10).map(|number| format!("name-{number}")).collect();
    for name in &names {
        world.vault().put(name, "value");
    }
    let mounted = world.mount(&["refresh=200ms", "check=off"]);
    for name in &names {
        assert_eq!(mounted.text(name), "value");
    }
    until("it is said", || mounted.alarms().contains(&"interval-stretched".to_owned()));
}

#[test]
fn each_no_is_told_from_the_others() {
    let Some(world) = World::new() else { return };
    for name in ["good", "off", "denied"] {
        world.vault().put(name, "value");
    }
    world.vault().disable("off");
    world.vault().deny_get("denied", Refusal::Rbac);
    let mounted = world.mount(&["check=off"]);
    for name in ["good", "off", "denied", "never-was"] {
        let _ = mounted.open(name);
    }
    let states = ["good", "off", "denied", "never-was"].map(|name| mounted.state(name));
    assert_eq!(states, ["fresh", "disabled", "refused", "missing"]);
    assert_eq!(mounted.status()["list"], "unknown");
    mounted.names();
    assert_eq!(mounted.status()["list"], "allowed");
}
