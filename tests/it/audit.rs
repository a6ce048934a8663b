//! Each open is a line before the caller has its descriptor; and what becomes of an open that
//! cannot be recorded.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use rustix::io::Errno;
use rustix::process::Signal;
use rustix::process::kill_process;
use serde_json::Value;

use crate::caller::errno;
use crate::mounted::Mounted;
use crate::world::World;
use crate::world::until;

const JOURNAL: &str = "/run/systemd/journal";

/// A file to record in.
struct Records<'a> {
    world: &'a World,
    path: PathBuf,
}

impl<'a> Records<'a> {
    fn new(world: &'a World) -> Self {
        Self { world, path: world.directory().join("audit") }
    }

    fn option(&self) -> String {
        format!("audit={}", self.path.display())
    }

    fn lines(&self) -> Vec<Value> {
        let text = self.world.read(&self.path).unwrap();
        let text = String::from_utf8(text).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The lines, whose numbers have no gaps.
    fn in_order(&self) -> Vec<Value> {
        let lines = self.lines();
        for (line, number) in lines.iter().zip(1_u64..) {
            assert_eq!(line["seq"], number, "{line}");
        }
        lines
    }
}

fn allowed(lines: &[Value]) -> usize {
    lines.iter().filter(|line| line["decision"] == "allow").count()
}

#[test]
fn a_line_says_who_opened_what_and_never_the_value() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "kanarienvogel");
    world.vault().put("secret-2", "kanarienvogel");
    let records = Records::new(&world);
    let mounted = world.mount(&[&records.option(), "refresh=1s"]);
    assert_eq!(mounted.cat("ftpadmin").ok(), "kanarienvogel");

    let lines = records.in_order();
    let [line] = lines.as_slice() else { panic!("{lines:#?}") };
    let version = world.vault().versions("ftpadmin");
    assert_eq!(line["secret"], "ftpadmin");
    assert_eq!(line["version"], version[0].as_str());
    assert_eq!(line["mount"], mounted.directory().to_str().unwrap());
    assert_eq!((&line["uid"], &line["gid"]), (&0.into(), &0.into()));
    assert!(line["exe"].as_str().unwrap().ends_with("/cat"), "{line}");
    assert!(line["pid"].as_u64().unwrap() > 1, "{line}");
    assert!(line["age"].as_f64().is_some_and(|age| (0.0..60.0).contains(&age)), "{line}");
    assert_eq!((&line["decision"], &line["errno"]), (&"allow".into(), &Value::Null));
    let time = line["time"].as_str().unwrap();
    assert!(time.len() == "2026-11-25T18:00:00.123Z".len() && time.ends_with('Z'), "{time}");
    let text = String::from_utf8(world.read(&records.path).unwrap()).unwrap();
    assert!(!text.contains("kanarien"), "{text}");

    assert_eq!(mounted.text("secret-2"), "kanarienvogel");
    world.vault().disable("secret-2");
    mounted.until_fails("secret-2", libc::EKEYREVOKED);
    let lines = records.in_order();
    let last = lines.last().unwrap();
    assert_eq!((&last["decision"], &last["errno"]), (&"deny".into(), &"EKEYREVOKED".into()));
    assert_eq!(last["secret"], "secret-2");
    // A secret that does not exist is nobody's to be kept from.
    let before = lines.len();
    assert_eq!(mounted.errno("missing"), libc::ENOENT);
    assert_eq!(records.lines().len(), before);
    let about = world.inside(|| fs::metadata(&records.path).unwrap());
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o777, 0o600);
}

#[test]
fn every_open_is_one_line_which_is_there_before_the_open_returns() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "v");
    let records = Records::new(&world);
    let mounted = world.mount(&[&records.option()]);
    for opens in 1..=50 {
        let _file = mounted.inside(|directory| fs::File::open(directory.join("ftpadmin")).unwrap());
        assert_eq!(allowed(&records.in_order()), opens);
    }
}

#[test]
fn a_thousand_opens_at_once_are_a_thousand_lines() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "v");
    let records = Records::new(&world);
    let mounted = world.mount(&[&records.option()]);
    let readers: Vec<_> = (0..1000).map(|_| mounted.reader("ftpadmin")).collect();
    for reader in readers {
        assert_eq!(reader.result().0, Ok(b"v".to_vec()));
    }
    assert_eq!(allowed(&records.in_order()), 1000);
}

#[test]
fn an_audited_mount_reads_from_the_page_cache_all_the_same() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", &"v".repeat(20_000));
    let records = Records::new(&world);
    let mounted = world.mount(&[&records.option()]);
    assert_eq!(mounted.text("ftpadmin").len(), 20_000);
    world.emulator.reset_requests();
    let file = mounted.inside(|directory| fs::File::open(directory.join("ftpadmin")).unwrap());
    // The worker has a last look at whether that open was written down in time.
    std::thread::sleep(Duration::from_millis(400));
    let rested = world.work();
    mounted.inside(|_| {
        for _ in 0..50 {
            let mut bytes = vec![0; 20_000];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0).unwrap();
        }
    });
    assert_eq!(world.work(), rested, "relay and worker had to work");
    assert_eq!(world.emulator.requests().len(), 0);
}

#[test]
fn a_file_that_was_moved_away_is_made_anew() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "v");
    let records = Records::new(&world);
    let mounted = world.mount(&[&records.option()]);
    assert_eq!(mounted.text("ftpadmin"), "v");
    let moved = records.path.with_extension("1");
    world.inside(|| fs::rename(&records.path, &moved).unwrap());
    assert_eq!(mounted.text("ftpadmin"), "v");
    let line = |path: &Path| String::from_utf8(world.read(path).unwrap()).unwrap();
    assert!(line(&moved).contains("\"seq\":1,") && !line(&moved).contains("\"seq\":2,"));
    assert!(line(&records.path).contains("\"seq\":2,"));
}

#[test]
fn numbers_go_on_over_a_death_of_the_worker() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "v");
    let records = Records::new(&world);
    let mounted = world.mount(&[&records.option()]);
    for _ in 0..5 {
        assert_eq!(mounted.text("ftpadmin"), "v");
        let worker = world.process("worker").unwrap().pid;
        kill_process(worker, Signal::KILL).unwrap();
        assert_eq!(mounted.text("ftpadmin"), "v");
        until("another worker", || {
            world.process("worker").is_some_and(|process| process.pid != worker)
        });
    }
    // An open that a death interrupts may be recorded twice, and is never forgotten.
    assert!(allowed(&records.in_order()) >= 10);
}

#[test]
fn a_line_names_the_directory_in_full_however_it_was_typed() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "v");
    let records = Records::new(&world);
    let mounted = world.mounted_at(world.directory());
    let (home, name) = (mounted.directory().parent().unwrap(), mounted.directory().file_name());
    let line = format!(
        "cd {} && {} mount my-vault ./{} -o {}",
        home.display(),
        env!("CARGO_BIN_EXE_akvfs"),
        name.unwrap().to_str().unwrap(),
        records.option()
    );
    world.sh(&line).ok();
    assert_eq!(mounted.text("ftpadmin"), "v");
    assert_eq!(records.lines()[0]["mount"], mounted.directory().to_str().unwrap());
}

/// A file system of one page, which is full: whether an open goes on.
fn with_a_full_disk(failure: &str) -> (i32, Vec<String>) {
    let world = World::new().unwrap();
    world.vault().put("ftpadmin", "v");
    let disk = world.directory();
    let path = disk.to_str().unwrap();
    world.run("mount", &["-t", "tmpfs", "-o", "size=4k", "tmpfs", path]).ok();
    let log = world.directory().join("log");
    let options = format!("audit={path}/audit,audit-failure={failure},log={}", log.display());
    let mounted = world.mount(&[&options]);
    let mut last = 0;
    for _ in 0..40 {
        last = mounted.errno("ftpadmin");
    }
    // The mount lives, whatever became of the opens.
    assert!(mounted.stat("ftpadmin").is_ok());
    let log = String::from_utf8(world.read(&log).unwrap()).unwrap();
    // There is room again.
    world.inside(|| fs::write(disk.join("audit"), "").unwrap());
    assert_eq!(mounted.text("ftpadmin"), "v");
    let text = String::from_utf8(world.read(disk.join("audit")).unwrap()).unwrap();
    drop(mounted);
    world.run("umount", &[path]).ok();
    (last, vec![log, text])
}

#[test]
fn on_a_full_disk_an_open_is_eio_and_the_mount_lives() {
    if World::new().is_none() {
        return;
    }
    let (errno, texts) = with_a_full_disk("deny");
    assert_eq!(errno, libc::EIO);
    assert!(texts[0].contains("warning: audit: a line cannot be written"), "{}", texts[0]);
}

#[test]
fn with_audit_failure_allow_it_goes_on_and_what_was_lost_is_counted() {
    if World::new().is_none() {
        return;
    }
    let (errno, texts) = with_a_full_disk("allow");
    assert_eq!(errno, 0);
    let errors = texts[0].matches("audit: a line cannot be written").count();
    assert_eq!(errors, 1, "one alarm: {}", texts[0]);
    assert!(texts[1].contains("\"lost\":"), "{}", texts[1]);
}

#[test]
fn opens_that_cannot_be_recorded_are_an_alarm_as_long_as_that_is_so() {
    for failure in ["deny", "allow"] {
        let Some(world) = World::new() else { return };
        world.vault().put("ftpadmin", "v");
        let folder = world.directory();
        let options = format!("audit={}/audit,audit-failure={failure}", folder.display());
        let mounted = world.mount(&[&options]);
        assert_eq!(mounted.text("ftpadmin"), "v");
        assert_eq!(mounted.alarms(), [""; 0]);

        world.inside(|| fs::remove_dir_all(&folder).unwrap());
        let errno = if failure == "deny" { libc::EIO } else { 0 };
        for _ in 0..3 {
            assert_eq!(mounted.errno("ftpadmin"), errno);
        }
        assert_eq!(mounted.alarms(), ["audit-failed"]);
        let status = String::from_utf8(mounted.control("status", &[]).stdout).unwrap();
        assert!(status.contains("3 lost"), "{status}");

        world.inside(|| fs::create_dir(&folder).unwrap());
        assert_eq!(mounted.text("ftpadmin"), "v");
        assert_eq!(mounted.alarms(), [""; 0]);
    }
}

#[test]
fn a_journal_that_does_not_read_holds_up_nobody() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "v");
    let journal = journal(&world);
    let log = format!("log={}", world.directory().join("log").display());
    let mounted = world.mount(&["audit=journal", &log]);
    assert_eq!(mounted.text("ftpadmin"), "v");
    let text = received(&journal);
    assert!(text.contains("SYSLOG_IDENTIFIER=akvfs-audit\n"), "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix("MESSAGE=")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["secret"], &line["seq"]), (&"ftpadmin".into(), &1.into()));

    // Until its socket is full.
    let mut failed = None;
    for _ in 0..2000 {
        let start = Instant::now();
        if mounted.errno("ftpadmin") == libc::EIO {
            failed = Some(start.elapsed());
            break;
        }
    }
    let took = failed.expect("it reads after all");
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(3), "{took:?}");
    while !received(&journal).is_empty() {}
    mounted.until_shows("ftpadmin", "v");
    end(&world, journal);
}

#[test]
fn without_a_journal_there_is_no_mount_that_records_in_it() {
    let Some(world) = World::new() else { return };
    let ran = world.akvfs(&["mount", "my-vault", "/mnt", "-o", "audit=journal"]);
    let said = ran.failed(32);
    assert!(said.starts_with("akvfs: audit=journal: "), "{said}");
    assert!(world.mounts().is_empty());
}

#[test]
fn a_file_that_cannot_be_one_is_refused_and_nothing_is_mounted() {
    let Some(world) = World::new() else { return };
    let (home, mount) = (world.directory(), world.directory());
    world.inside(|| {
        std::os::unix::fs::symlink(home.join("target"), home.join("link")).unwrap();
        fs::create_dir(home.join("folder")).unwrap();
    });
    world.run("mkfifo", &[home.join("fifo").to_str().unwrap()]).ok();
    let wrong = [
        home.join("link"),
        home.join("folder"),
        home.join("fifo"),
        home.join("no/such/folder"),
        mount.join("on-the-mount"),
    ];
    let mut said = BTreeSet::new();
    for path in wrong {
        let option = format!("audit={}", path.display());
        let ran = world.akvfs(&["mount", "my-vault", mount.to_str().unwrap(), "-o", &option]);
        let text = ran.failed(32);
        assert!(text.contains(&option) && text.contains("hint: "), "{text}");
        said.insert(text);
        assert!(world.mounts().is_empty());
    }
    assert_eq!(said.len(), 5);
    assert!(world.read(home.join("target")).is_err(), "the link was followed");
}

#[test]
fn what_would_change_something_is_still_erofs() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "v");
    let records = Records::new(&world);
    let mounted = world.mount(&[&records.option()]);
    let write = mounted.inside(|directory| {
        errno(fs::OpenOptions::new().write(true).open(directory.join("ftpadmin")))
    });
    assert_eq!(write, Errno::ROFS.raw_os_error());
    let path = mounted.directory().to_str().unwrap();
    world.run("mount", &["-i", "-o", "remount,rw", path]).ok();
    let write = mounted.inside(|directory| {
        errno(fs::OpenOptions::new().write(true).open(directory.join("ftpadmin")))
    });
    assert_eq!(write, Errno::ROFS.raw_os_error());
    assert_eq!(allowed(&records.in_order()), 0);
}

fn journal(world: &World) -> UnixDatagram {
    world.inside(|| {
        fs::create_dir_all(JOURNAL).unwrap();
        let socket = UnixDatagram::bind(format!("{JOURNAL}/socket")).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    })
}

fn received(journal: &UnixDatagram) -> String {
    let mut buffer = vec![0; 4096];
    let length = journal.recv(&mut buffer).unwrap_or(0);
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

fn end(world: &World, journal: UnixDatagram) {
    drop(journal);
    world.inside(|| fs::remove_file(format!("{JOURNAL}/socket")).unwrap());
}

#[test]
fn a_value_is_never_recorded_even_by_a_mount_of_many() {
    let Some(world) = World::new() else { return };
    let names: Vec<String> = (0..20).map(|number| format!("secret-{number}")).collect();
    for name in &names {
        world.vault().put(name, &format!("kanarienvogel-{name}"));
    }
    let records = Records::new(&world);
    let mounted: Mounted<'_> = world.mount(&[&records.option()]);
    for name in &names {
        assert_eq!(mounted.text(name), format!("kanarienvogel-{name}"));
    }
    let text = String::from_utf8(world.read(&records.path).unwrap()).unwrap();
    assert_eq!(text.lines().count(), 20);
    assert!(!text.contains("kanarien"));
}
