//! `config=FILE`: what it says is what the options say, and what is wrong in it is named with file,
//! line and key; and whose file it must be.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;

use akvfs::cli::option::Key;
use akvfs::cli::option::Kind;
use akvfs::cli::options::OPTIONS;

use crate::child::Ran;
use crate::cli::ca_files;
use crate::cli::two_values;
use crate::cli::wanted;
use crate::mounted::Mounted;
use crate::snapshot::compare;
use crate::world::World;
use crate::world::until;

/// Files that cannot be, each as it is written.
const WRONG: &[&str] = &[
    // Keys.
    "refesh = \"5s\"",
    "# a comment\n\nrefresh = \"5s\"\nMode = \"0440\"",
    "password = \"hunter2\"",
    "config = \"/etc/other.toml\"",
    "[mount]\nrefresh = \"5s\"",
    "mount.refresh = \"5s\"",
    "refresh = \"5s\"\nstale = \"1h\"\nrefresh = \"6s\"",
    "allow_other = true\nallow-other = false",
    "\"\" = 1",
    // What is not TOML.
    "refresh",
    "refresh = ",
    "refresh 5s",
    "uid = www-data",
    "mode = 0440",
    "gid = 060",
    "secrets = [\"a\", \"b\"",
    "newline = yes",
    "log = \"/var/log\nstale = \"1h\"",
    "[[file]\nname = \"a\"",
    "\u{0}",
    // Kinds of values.
    "refresh = true",
    "refresh = 60",
    "refresh = 1.5",
    "refresh = \"\"",
    "room = 64",
    "mode = 440",
    "mode = 0o440",
    "dir-mode = 0x168",
    "check = true",
    "identity = 5",
    "newline = \"true\"",
    "newline = 1",
    "verbose = -1",
    "verbose = 256",
    "verbose = \"2\"",
    "prefetch = 1",
    "prefetch = \"\"",
    "uid = 1.0",
    "uid = []",
    "secrets = []",
    "secrets = [\"a\", 5]",
    "secrets = [\"a\", \"\"]",
    "secrets = {a = 1}",
    "keep = 2026-01-01",
    // Values.
    "mode = \"4777\"",
    "mode = \"0640\"",
    "mode = \"rw\"",
    "dir-mode = \"0750\"",
    "refresh = \"60\"",
    "refresh = \"2d\"",
    "stale = \"30s\"",
    "refresh = \"2h\"",
    "room = \"5G\"",
    "uid = \"no-such-user\"",
    "uid = -1",
    "gid = \"no-such-group\"",
    "gid = 4294967295",
    "gid = 99999999999999999999",
    "secrets = \"site_*\"",
    "secrets = [\"ok-*\", \"[\"]",
    "check = \"yes\"",
    "prefetch = \"later\"",
    "on-firewall = \"allow\"",
    "stale = \"2h\"\nidentity = \"sytem\"",
    "newline = true\nresource = \"https://vault.azure.net\"",
    "run-as = \"root\"",
    "run-as = 0",
    "ca-file = \"/no/such/file\"",
    "log = \"syslog\"",
    "log = \"two\\nlines\"",
    // Tables.
    "file = \"a\"",
    "[file]\nname = \"a\"",
    "file = [5]",
    "[[file]]\nmode = \"0440\"",
    "[[file]]\nname = \"\"",
    "[[file]]\nname = 5",
    "[[file]]\nname = [\"a\", \"b\"]",
    "[[file]]\nname = \"[\"",
    "[[file]]\nname = \"a:b\"",
    "[[file]]\nname = \"server.key\"",
    "[[file]]\nname = \"a\"\nname = \"b\"",
    "[[file]]\nname = \"a\"\nowner = \"root\"",
    "[[file]]\nname = \"a\"\nmod = \"0440\"",
    "[[file]]\nname = \"a\"\nrefresh = \"5s\"",
    "[[file]]\nname = \"a\"\n\nmode = \"4777\"",
    "[[file]]\nname = \"a\"\nmode = 440",
    "[[file]]\nname = \"a\"\nmode = 0440",
    "[[file]]\nname = \"a\"\nuid = \"no-such-user\"",
    "[[file]]\nname = \"a\"\ngid = \"no-such-group\"",
    "[[file]]\nname = \"a\"\nuid = true",
    "[[file]]\nname = \"a\"\nnewline = \"no\"",
    "[[file]]\nname = \"a\"\n[file.more]\nx = 1",
    "[[file]]\nname = \"a\"\nmode = \"0440\"\n\n[[file]]\nname = \"b\"\n\n[[file]]\nname = \"a\"",
    "newline = true\n[[file]]\nname = \"a\"\n[[file]]\nname = \"b\"\nmode = \"0777\"",
];

fn filled() -> Option<World> {
    let world = World::new()?;
    for name in ["ftpadmin", "site-a", "site-b"] {
        world.vault().put(name, "s3cret");
    }
    Some(world)
}

/// Where a file lies that root alone can change.
const FILE: &str = "/etc/akvfs.toml";

impl World {
    /// Mounts by a file, which must work, and in silence.
    #[track_caller]
    fn mount_by(&self, text: &str, options: &str) -> Mounted<'_> {
        self.write(FILE, text);
        self.mount(&[&format!("config={FILE}{options}")])
    }

    fn try_by(&self, file: &str) -> Ran {
        let directory = self.directory();
        let option = format!("config={file}");
        self.akvfs(&["mount", "my-vault", directory.to_str().unwrap(), "-o", &option])
    }
}

impl Mounted<'_> {
    /// Owner, group, mode and size, as stat(1) shows them.
    fn shown(&self, name: &str) -> String {
        let seen = self.stat(name).unwrap();
        format!("{}:{} {:o} {}", seen.uid(), seen.gid(), seen.mode() & 0o7777, seen.size())
    }
}

#[test]
fn a_wrong_file_is_named_with_line_and_key_and_nothing_is_mounted() {
    let Some(world) = filled() else { return };
    let mut text = String::new();
    for wrong in WRONG {
        world.write(FILE, wrong);
        let said = world.try_by(FILE).failed(1);
        let mut lines = said.lines();
        let first = lines.next().unwrap();
        assert!(first.starts_with(&format!("akvfs: {FILE}:")), "{wrong}: {said}");
        assert!(lines.next().is_none_or(|it| it.starts_with("hint: ")), "{wrong}: {said}");
        assert_eq!(lines.next(), None, "{wrong}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
        for line in wrong.replace('\0', "^@").lines() {
            writeln!(text, "| {line}").unwrap();
        }
        writeln!(text, "{said}").unwrap();
    }
    compare("config.txt", &text);
    assert_eq!(world.mounts().len(), 0);
    assert_eq!(world.emulator.requests().len(), 0);
}

/// What a shell does to make a file wrong; the file that is then named; and whose fault it is.
const UNTRUSTED: &[(&str, &str)] = &[
    ("chmod 0664 /etc/akvfs.toml", FILE),
    ("chmod 0646 /etc/akvfs.toml", FILE),
    ("chown 4242 /etc/akvfs.toml", FILE),
    ("chmod 0775 /etc/safe", "/etc/safe/akvfs.toml"),
    ("chmod 0757 /etc/safe", "/etc/safe/akvfs.toml"),
    ("chmod 1777 /etc/safe", "/etc/safe/akvfs.toml"),
    ("chown 4242 /etc/safe", "/etc/safe/akvfs.toml"),
    ("chmod g+w /etc", "/etc/safe/akvfs.toml"),
    // A link leads to what can be changed, or lies where it can be changed.
    ("chmod 0777 /etc/safe; ln -s safe/akvfs.toml /etc/link", "/etc/link"),
    ("chmod 0777 /etc/safe; ln -s /etc/safe/../safe/akvfs.toml /etc/link", "/etc/link"),
    ("mkdir -m 0777 /etc/open; ln -s /etc/akvfs.toml /etc/open/link", "/etc/open/link"),
    ("mkdir -m 0777 /etc/open; ln -s /etc/safe /etc/open/link", "/etc/open/link/akvfs.toml"),
    ("mkdir -m 0777 /etc/open; mkdir /etc/open/in", "/etc/open/in/../../akvfs.toml"),
    ("ln -s two /etc/one; ln -s one /etc/two", "/etc/one"),
    // What is no file.
    ("rm /etc/akvfs.toml; mkfifo /etc/akvfs.toml", FILE),
    ("rm /etc/akvfs.toml; mkdir /etc/akvfs.toml", FILE),
    ("rm /etc/akvfs.toml", FILE),
    ("true", "/etc"),
    ("true", "/etc/akvfs.toml/more"),
    ("true", "/etc/safe/"),
    ("true", "/dev/zero"),
    ("head -c 262145 /dev/zero | tr '\\0' '#' > /etc/akvfs.toml", FILE),
    ("printf '\\377' > /etc/akvfs.toml", FILE),
];

#[test]
fn a_file_that_somebody_else_can_change_is_refused() {
    let Some(world) = filled() else { return };
    let mut text = String::new();
    for (spoil, file) in UNTRUSTED {
        world.sh("rm -rf /etc/akvfs.toml /etc/safe /etc/link /etc/open /etc/one /etc/two").ok();
        world.sh("chmod 0755 /etc; umask 022; mkdir /etc/safe").ok();
        for place in [FILE, "/etc/safe/akvfs.toml"] {
            world.write(place, "newline = true\n");
        }
        world.sh("chmod 0644 /etc/akvfs.toml /etc/safe/akvfs.toml").ok();
        world.sh(spoil).ok();
        let said = world.try_by(file).failed(1);
        assert!(said.starts_with(&format!("akvfs: config={file}: ")), "{spoil}: {said}");
        writeln!(text, "# {spoil}\n{said}").unwrap();
    }
    compare("config-untrusted.txt", &text);
    assert_eq!(world.mounts().len(), 0);
    assert_eq!(world.emulator.requests().len(), 0);
}

#[test]
fn a_file_of_roots_is_taken_however_the_way_to_it_is_written() {
    let Some(world) = filled() else { return };
    world.sh("mkdir -p /etc/safe/deep && ln -s ../../akvfs.toml /etc/safe/deep/link").ok();
    world.sh("ln -s /etc/safe /etc/way").ok();
    // As large as it may be.
    world.write(FILE, format!("mode = \"0\"\n#{}", "#".repeat((256 << 10) - 12)));
    for file in [
        "/etc/akvfs.toml",
        "//etc/./safe/../akvfs.toml",
        "/../etc/akvfs.toml",
        "/etc/safe/deep/link",
        "/etc/way/deep/link",
        "/etc/way/../akvfs.toml",
        "/proc/self/root/etc/akvfs.toml",
        "etc/akvfs.toml",
        "./etc/akvfs.toml",
    ] {
        let mounted = world.mount(&["check=off", &format!("config={file}")]);
        assert_eq!(mounted.shown("ftpadmin"), "0:0 0 6", "{file}");
    }
}

#[test]
fn a_user_mounts_by_his_own_file_or_by_roots() {
    let Some(world) = filled() else { return };
    world.install();
    world.open_fuse_to_all();
    let [alice, bob] = [world.user("alice", 4242), world.user("bob", 4243)];
    for user in [&alice, &bob] {
        assert_eq!(user.run("mkdir", &["vault"]).ok(), "");
        assert_eq!(user.run("sh", &["-c", "echo 'mode = \"0440\"' > own.toml"]).ok(), "");
    }
    world.write(FILE, "mode = \"0444\"\n");
    for (file, mode) in [("own.toml", "440"), (FILE, "444")] {
        let mounted = alice.mounted("vault");
        let option = format!("config={file}");
        assert_eq!(alice.run("akvfs", &["mount", "my-vault", "vault", "-o", &option]).ok(), "");
        let seen = alice.run("stat", &["-c", "%a", "vault/ftpadmin"]).ok();
        assert_eq!(seen.trim(), mode);
        drop(mounted);
    }
    let bobs = format!("config={}", bob.home.join("own.toml").display());
    let said = alice.run("akvfs", &["mount", "my-vault", "vault", "-o", &bobs]).failed(1);
    assert!(said.contains("belongs to somebody else, user 4243\nhint: "), "{said}");
    // Not even for root: it would be bob who decides.
    assert!(world.try_by(&bobs[7..]).failed(1).contains("user 4243"));
    world.write(FILE, "mode = \"0444\"\n");
    world.sh(&format!("chmod 0600 {FILE}")).ok();
    let option = format!("config={FILE}");
    let said = alice.run("akvfs", &["mount", "my-vault", "vault", "-o", &option]).failed(1);
    assert_eq!(said, format!("akvfs: config={FILE}: Permission denied\n"));
}

/// How an option is written in a file.
fn written(name: &str, kind: Kind, value: &str) -> String {
    match kind {
        Kind::Flag => format!("{name} = true\n"),
        Kind::FlagOr(_) if value.is_empty() => format!("{name} = true\n"),
        Kind::FlagOr(_) | Kind::Duration(..) | Kind::Size(..) | Kind::OneOf(_) | Kind::Text(_) => {
            format!("{name} = \"{value}\"\n")
        }
    }
}

#[test]
fn every_option_can_be_in_the_file_and_says_what_it_says_elsewhere() {
    let Some(world) = World::new() else { return };
    let ca_files = ca_files();
    let option = format!("config={FILE}");
    for opt in OPTIONS.iter().filter(|opt| opt.key != Key::Config) {
        let foreign = "vault.example.com";
        let (vault, other) = if opt.key == Key::Resource {
            (foreign, "authority=https://login.example.com")
        } else if opt.key == Key::Authority {
            (foreign, "resource=https://vault.example.com")
        } else {
            ("my-vault", "rw")
        };
        let flag = matches!(opt.kind, Kind::Flag);
        for value in two_values(opt.key, &ca_files) {
            for name in [opt.name.to_owned(), opt.long()] {
                world.write(FILE, written(&name, opt.kind, value));
                let by_file = world.inside(|| wanted(vault, &["-o", &option, "-o", other]));
                let typed = if flag || value.is_empty() {
                    opt.name.to_owned()
                } else {
                    format!("{}={value}", opt.name)
                };
                let by_option = wanted(vault, &["-o", &typed, "-o", other]).unwrap();
                let mut by_file = by_file.unwrap();
                // Which line of which file it is, no option knows.
                by_file.log_place = None;
                assert_eq!(format!("{by_file:?}"), format!("{by_option:?}"), "{name}");
            }
        }
    }
    for path in ca_files {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn what_toml_has_words_for_is_written_in_them() {
    let Some(world) = World::new() else { return };
    let option = format!("config={FILE}");
    let by_file = |text: &str| {
        world.write(FILE, text);
        format!("{:?}", world.inside(|| wanted("my-vault", &["-o", &option])).unwrap())
    };
    let plain = by_file("");
    assert_eq!(plain, format!("{:?}", wanted("my-vault", &[]).unwrap()));
    assert_eq!(by_file("newline = false\nallow_other = false\nprefetch = false\n"), plain);
    assert_eq!(by_file("verbose = false"), by_file("verbose = 0"));
    assert_eq!(by_file("verbose = true"), by_file("verbose = 1"));
    assert_eq!(by_file("uid = 60"), by_file("uid = \"60\""));
    assert_eq!(by_file("uid = 0x3c"), by_file("uid = \"games\"").replace("uid: 5,", "uid: 60,"));
    assert_eq!(by_file("secrets = [\"a\", \"b-*\"]"), by_file("secrets = 'a:b-*'"));
    assert_eq!(by_file("\u{feff}mode = \"0440\"\r\n"), by_file("mode = \"0440\""));
    let tables = "[[file]]\nname = \"a\"\ngid = 60\n[[file]]\nname = \"b\"\n";
    let inline = "file = [{ name = \"a\", gid = 60 }, { name = \"b\" }]";
    assert_eq!(by_file(tables), by_file(inline));
}

#[test]
fn what_is_typed_beats_the_file_and_the_file_beats_the_default() {
    let Some(world) = World::new() else { return };
    let option = format!("config={FILE}");
    world.write(FILE, "refresh = \"1s\"\nmode = \"0440\"\nnewline = true\nverbose = 1\n");
    let refresh = |options: &[&str]| {
        let wanted = world.inside(|| wanted("my-vault", options)).unwrap();
        wanted.config.policy.refresh.as_secs()
    };
    assert_eq!(refresh(&[]), 60);
    assert_eq!(refresh(&["-o", &option]), 1);
    assert_eq!(refresh(&["-o", &option, "-o", "refresh=2s"]), 2);
    assert_eq!(refresh(&["-o", &format!("refresh=2s,{option}")]), 2);
    assert_eq!(refresh(&["-o", "refresh=2s", "--refresh=3s", &format!("--{option}")]), 3);
    let all = world.inside(|| wanted("my-vault", &["-o", &option, "-v", "-o", "mode=0400"]));
    let config = all.unwrap().config;
    assert_eq!((config.view.mode, config.view.newline, config.verbosity), (0o400, true, 2));
}

const TABLES: &str = r#"
allow_other = true
gid = 60
mode = "0440"
dir-mode = "0555"
newline = true

[[file]]
name = "site-b"
newline = false

[[file]]
name = "site-*"
uid = "daemon"
gid = 33
mode = "0400"
"#;

#[test]
fn a_table_gives_files_by_name_their_owner_group_mode_and_line_feed() {
    let Some(world) = filled() else { return };
    let mounted = world.mount_by(TABLES, "");
    let all = || ["ftpadmin", "site-a", "site-b", ""].map(|name| mounted.shown(name));
    let expected = ["0:60 440 7", "1:33 400 7", "0:60 440 6", "0:60 555 0"];
    // Before a value was fetched, and after; for the first table that matches holds alone.
    for _ in 0..2 {
        assert_eq!(all(), expected);
        for (name, value) in
            [("ftpadmin", "s3cret\n"), ("site-a", "s3cret\n"), ("site-b", "s3cret")]
        {
            assert_eq!(mounted.text(name), value, "{name}");
        }
    }
}

#[test]
fn a_table_can_add_the_line_feed_that_the_others_do_not_get() {
    let Some(world) = filled() else { return };
    let mounted = world.mount_by("[[file]]\nname = \"site-a\"\nnewline = true\n", "");
    for (name, value) in [("ftpadmin", "s3cret"), ("site-a", "s3cret\n")] {
        assert_eq!(
            (mounted.text(name).as_str(), mounted.shown(name)),
            (value, format!("0:0 400 {}", value.len()))
        );
    }
}

#[test]
fn the_files_that_are_given_for_examples_are_taken_in_silence() {
    let Some(world) = filled() else { return };
    let readme = std::fs::read_to_string("README.md").unwrap();
    let manual = std::fs::read_to_string("packaging/akvfs.1.in").unwrap().replace("\\-", "-");
    let between = |text: &str, begin: &str, end: &str| {
        text.split(begin).skip(1).map(|rest| rest.split(end).next().unwrap().to_owned()).collect()
    };
    let mut examples: Vec<String> = between(&readme, "```toml\n", "```");
    examples
        .extend(between(&manual, ".EX\nallow", ".EE").iter().map(|rest| format!("allow{rest}")));
    examples.push(std::fs::read_to_string("packaging/akvfs.toml").unwrap());
    assert_eq!(examples.len(), 3);
    for example in examples {
        let example = example.replace("\"ftp\"", "60").replace("\"www-data\"", "33");
        let mounted = world.mount_by(&example, "");
        assert_eq!(mounted.shown(""), "0:60 551 0", "{example}");
        assert!(["33:60 400 7", "0:33 440 7"].contains(&mounted.shown("site-a").as_str()));
    }
}

#[test]
fn the_file_is_read_by_whoever_mounts_and_never_again() {
    let Some(world) = filled() else { return };
    let mounted = world.mount_by(TABLES, ",refresh=300ms");
    assert_eq!(mounted.shown("site-a"), "1:33 400 7");
    world.sh(&format!("rm {FILE}")).ok();
    let worker = world.process("worker").unwrap();
    worker.kill();
    until("another one is there", || {
        world.process("worker").is_some_and(|other| other.pid != worker.pid)
    });
    world.vault().put("site-a", "rotated");
    mounted.until_shows("site-a", "rotated\n");
    assert_eq!(mounted.shown("site-a"), "1:33 400 8");
    assert_eq!(mounted.shown("site-b"), "0:60 440 6");
}

#[test]
fn who_may_read_a_file_but_not_enter_the_directory_is_told_before_he_is_surprised() {
    let Some(world) = filled() else { return };
    let warned = |dir_mode: &str, tables: &str| {
        let text = format!("allow_other = true\ngid = 60\ndir-mode = \"{dir_mode}\"\n{tables}");
        world.write(FILE, text);
        let said = world.try_by_and_unmount();
        said.replace("akvfs: warning: /etc/akvfs.toml:", "").replace("hint: ", "")
    };
    let table = |rest: &str| format!("[[file]]\nname = \"site-*\"\n{rest}");
    let told = |who: &str, dir_mode: &str, instead: &str| {
        format!(
            "4: [[file]] name=site-* lets the {who} read, but dir-mode={dir_mode} not enter\n\
             dir-mode={instead} lets everybody pass\n"
        )
    };
    world.user("alice", 4242);
    assert_eq!(warned("0550", &table("uid = \"alice\"")), told("user alice", "0550", "0551"));
    assert_eq!(warned("0550", &table("uid = 4999")), told("user 4999", "0550", "0551"));
    let group = table("gid = \"daemon\"\nmode = \"0440\"");
    assert_eq!(warned("0550", &group), told("group daemon", "0550", "0551"));
    assert_eq!(warned("0500", &table("mode = \"0040\"")), told("group 60", "0500", "0501"));
    let everybody = warned("0550", &table("mode = \"0444\""));
    assert!(everybody.contains("lets everybody read"), "{everybody}");
    for (dir_mode, silent) in [
        ("0551", table("uid = \"alice\"")),
        ("0551", group),
        ("0550", table("uid = \"root\"\nmode = \"0440\"")),
        ("0550", table("newline = true")),
        ("0550", table("uid = 4999\nmode = \"0\"")),
        ("0555", table("mode = \"0444\"")),
    ] {
        assert_eq!(warned(dir_mode, &silent), "", "{dir_mode} {silent}");
    }
    // Alice is in the directory's group, as root has noted.
    world.sh("sed -i 's/^\\(games:x:60:\\).*/\\1alice/' /etc/group").ok();
    assert_eq!(warned("0550", &table("uid = \"alice\"")), "");
    world.write(FILE, table("gid = 60\nmode = \"0440\""));
    let said = world.try_by_and_unmount();
    assert!(said.contains("only root can enter") && said.contains("hint: allow_other"), "{said}");
}

impl World {
    /// Mounts by the file and ends that; what was said.
    #[track_caller]
    fn try_by_and_unmount(&self) -> String {
        let (mounted, ran) = self.mount_with_complaints(&format!("check=off,config={FILE}"));
        drop(mounted);
        ran.stderr
    }
}
