//! The command line as a person meets it: what is wrong is named, with what is right, and nobody
//! is asked anything.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::fs::File;
use std::io::Seek;
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;

use akvfs::cli::arguments;
use akvfs::cli::arguments::Order;
use akvfs::cli::brief;
use akvfs::cli::config;
use akvfs::cli::config::Wanted;
use akvfs::cli::option::Key;
use akvfs::cli::option::Kind;
use akvfs::cli::options::OPTIONS;
use akvfs::identity::surroundings::Surroundings;
use rustix::fs::MemfdFlags;
use rustix::fs::memfd_create;

use crate::program::Nobody;
use crate::program::Said;
use crate::program::akvfs;
use crate::program::run;
use crate::snapshot::compare;

/// Wrong command lines, the program's own name left out. `;` stands for a blank in an argument.
const WRONG: &[&str] = &[
    // No command, or none that there is.
    "",
    "moutn my-vault /mnt",
    "lsit my-vault",
    "umount /mnt",
    "doctor my-vault",
    "metrics",
    "statsu /mnt",
    "status /mnt /mnt",
    "status /mnt --jsn",
    "refresh",
    "refresh /mnt a_b",
    "refresh /mnt --json",
    "watch",
    "watch /mnt a.b -- true",
    "my-vault /mnt",
    "moutn my-vault -o rw",
    "my-vault",
    "--nope",
    "--verbose mount my-vault /mnt",
    "help nope",
    // Too few and too many arguments.
    "mount",
    "mount my-vault",
    "mount my-vault /mnt /mnt",
    "unmount",
    "unmount /mnt /mnt",
    "unmount /mnt --lazy --force",
    "get",
    "get my-vault",
    "get my-vault ftpadmin ftpuser",
    "list",
    "list my-vault ftpadmin",
    // Options that there are not, or not yet, or not there.
    "mount my-vault /mnt --refesh=5s",
    "mount my-vault /mnt -q",
    "mount my-vault /mnt -o Mode=0440",
    "mount my-vault /mnt -o rw,refesh=5s",
    "mount my-vault /mnt -o config=/no/such/file",
    "mount my-vault /mnt -o config=/dev/null",
    "mount my-vault /mnt -o config=/",
    "mount my-vault /mnt -o allow_root",
    "mount my-vault /mnt -o password=hunter2",
    "mount my-vault /mnt --password=hunter2",
    "mount my-vault /mnt -o context=httpd_sys_content_t",
    "mount my-vault /mnt -o context=system_u:object_r:httpd_sys_content_t:s0:c1,c2",
    "mount my-vault /mnt --rootcontext=a:b:c=d",
    "get my-vault ftpadmin --mode=0400",
    "get my-vault ftpadmin -o identity=system",
    "get my-vault -ftpadmin",
    "list my-vault --newline",
    "list my-vault --jsn",
    "list my-vault --json=yes",
    // Values that are missing or too many.
    "mount my-vault /mnt --refresh",
    "mount my-vault /mnt -o",
    "mount my-vault /mnt -o refresh",
    "mount my-vault /mnt -o refresh=",
    "mount my-vault /mnt --refresh=",
    "mount my-vault /mnt -o newline=yes",
    "mount my-vault /mnt --newline=yes",
    "mount my-vault /mnt -o secrets=\"a,b",
    // Durations and sizes.
    "mount my-vault /mnt -o refresh=60",
    "mount my-vault /mnt --refresh 60",
    "mount my-vault /mnt -o refresh=0s",
    "mount my-vault /mnt -o refresh=2d",
    "mount my-vault /mnt -o refresh=1.5h",
    "mount my-vault /mnt -o refresh=soon",
    "mount my-vault /mnt -o refresh=-1s",
    "mount my-vault /mnt -o refresh=99999999999999999999d",
    "mount my-vault /mnt -o stale=30s",
    "mount my-vault /mnt -o refresh=2h",
    "mount my-vault /mnt -o open-timeout=1h",
    "mount my-vault /mnt -o keep=1w",
    "mount my-vault /mnt -o room=64",
    "mount my-vault /mnt -o room=64MB",
    "mount my-vault /mnt -o room=1K",
    "mount my-vault /mnt -o room=5G",
    "get my-vault ftpadmin --open-timeout=10",
    // Modes and owners.
    "mount my-vault /mnt -o mode=0640",
    "mount my-vault /mnt -o mode=0500",
    "mount my-vault /mnt -o mode=4400",
    "mount my-vault /mnt -o mode=u=r",
    "mount my-vault /mnt -o mode=rw",
    "mount my-vault /mnt -o dir-mode=0750",
    "mount my-vault /mnt -o dir-mode=0440",
    "mount my-vault /mnt -o uid=no-such-user",
    "mount my-vault /mnt -o gid=no-such-group",
    "mount my-vault /mnt -o gid=4294967295",
    "mount my-vault /mnt -o gid=-1",
    "mount my-vault /mnt -o run-as=no-such-user",
    "mount my-vault /mnt -o run-as=root",
    "mount my-vault /mnt -o run-as=0",
    // Words, names and files.
    "mount my-vault /mnt -o check=yes",
    "mount my-vault /mnt --prefetch=later",
    "mount my-vault /mnt -o on-firewall=allow",
    "mount my-vault /mnt -o audit=syslog",
    "mount my-vault /mnt --audit-failure=ignore",
    "mount my-vault /mnt -o identity=sytem",
    "mount my-vault /mnt -o identity=client-id:1234",
    "mount my-vault /mnt -o identity=resource-id:/subscriptions/1",
    "mount my-vault /mnt -o identity=azure",
    "mount my-vault /mnt -o secrets=site_*",
    "mount my-vault /mnt -o secrets=[",
    "mount my-vault /mnt -o secrets=a::b",
    "mount my-vault /mnt -o log=syslog",
    "mount my-vault /mnt -o log=/no/such/folder/log",
    "mount my-vault /mnt -o log=/",
    "mount my-vault /mnt -o ca-file=/no/such/file",
    "mount my-vault /mnt -o ca-file=/etc/passwd",
    "mount my-vault /mnt -o ca-file=/dev/null",
    "mount my-vault /mnt -o resource=https://vault.azure.net",
    // Vaults and secrets.
    "mount my_vault /mnt",
    "mount v /mnt",
    "mount my-vault; /mnt",
    "mount http://my-vault.vault.azure.net /mnt",
    "mount https://my-vault.vault.azure.net/secrets/ftpadmin /mnt",
    "mount https://me@my-vault.vault.azure.net /mnt",
    "mount myvault.privatelink.vaultcore.azure.net /mnt",
    "mount vault.example.com /mnt",
    "mount my-vault.vault.azure.net.example.com /mnt",
    "mount tag: /mnt",
    "mount tag:vault /mnt -o resource=https://vault.azure.net",
    "mount my-vault /mnt -o identity=from:my-vault.vault.azure.net/sp",
    "mount my-vault /mnt -o identity=service-principal",
    "mount my-vault /mnt -o identity=workload",
    "mount my-vault /mnt -o authority=https://login.microsoftonline.us",
    "mount my-vault /mnt -o proxy=http://me:word@proxy.example:3128",
    "mount my-vault /mnt -o proxy=socks5://proxy.example",
    "get my-vault ftp_admin",
    "get my-vault .git",
    "get my-vault ;",
    "get https://my-vault.vault.azure.net",
    "get https://my-vault.vault.azure.net/keys/ftpadmin",
    "get https://my-vault.vault.azure.net/secrets/ftpadmin/latest",
    "get https://my-vault.vault.azure.net/secrets/ftpadmin ftpadmin",
    "get http://my-vault.vault.azure.net/secrets/ftpadmin",
    "list my-vault\u{1b}[2J",
];

#[test]
fn a_wrong_command_line_is_named_with_what_is_right_and_nobody_is_asked() {
    let nobody = Nobody::listen();
    let mut text = String::new();
    for line in WRONG {
        let arguments = line.split_whitespace().map(|word| word.replace(';', " "));
        let said = run(nobody.be_asked_by(&mut akvfs(arguments)));
        assert_eq!(said.code, Some(1), "akvfs {line}: {}", said.stderr);
        assert!(said.stdout.is_empty(), "akvfs {line}");
        let mut lines = said.stderr.lines();
        assert!(lines.next().is_some_and(|it| it.starts_with("akvfs: ")), "akvfs {line}");
        assert!(lines.next().is_none_or(|it| it.starts_with("hint: ")), "akvfs {line}");
        assert_eq!(lines.next(), None, "akvfs {line}");
        assert!(!said.stderr.contains("hunter2"), "akvfs {line}");
        let line = line.replace('\u{1b}', "^[");
        writeln!(text, "$ akvfs {line}\n{}", said.stderr).unwrap();
    }
    compare("wrong.txt", &text);
    nobody.was_not_asked();
}

#[test]
fn help_says_what_there_is() {
    let mut text = String::new();
    for line in ["--help", "mount --help", "unmount -h", "get --help", "list --help"] {
        let said = run(&mut akvfs(line.split(' ')));
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "akvfs {line}");
        let stdout = String::from_utf8(said.stdout).unwrap();
        writeln!(text, "$ akvfs {line}\n{stdout}").unwrap();
    }
    compare("help.txt", &text);
    for line in ["help", "-h", "help mount", "--version", "-V"] {
        let said = run(&mut akvfs(line.split(' ')));
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "akvfs {line}");
        assert!(!said.stdout.is_empty(), "akvfs {line}");
    }
}

#[test]
fn help_and_manual_name_every_option() {
    let help = run(&mut akvfs(["mount", "--help"])).stdout;
    let manual = run(&mut akvfs(["manual"])).stdout;
    let help = String::from_utf8(help).unwrap();
    let manual = String::from_utf8(manual).unwrap();
    for opt in &OPTIONS {
        assert!(help.contains(&format!("--{}", opt.long())), "{}", opt.name);
        let name = opt.name.replace('-', "\\-");
        assert!(manual.contains(&format!("\\-o {name}")), "{}", opt.name);
    }
    assert!(!manual.contains('@'), "something was not filled in");
}

/// Two values of each option that must come to different mounts. A flag is given and not given.
pub(crate) fn two_values(key: Key, ca_files: &[String; 2]) -> [&str; 2] {
    let guids = [
        "client-id:00000000-0000-0000-0000-000000000001",
        "client-id:00000000-0000-0000-0000-000000000002",
    ];
    match key {
        Key::Identity => guids,
        Key::CaFile => [ca_files[0].as_str(), ca_files[1].as_str()],
        Key::Resource | Key::Authority => ["https://one.example.com", "https://two.example.com"],
        Key::Proxy => ["http://proxy.example.com:3128", "https://proxy.example.com"],
        Key::OpenTimeout => ["5s", "1m"],
        Key::Check => ["off", "strict"],
        Key::Refresh => ["1s", "500ms"],
        Key::Stale => ["1h", "1d"],
        Key::Keep => ["1h", "365d"],
        Key::Confirm => ["1m", "1h"],
        Key::Audit => ["journal", "/var/log/akvfs.audit"],
        Key::AuditFailure => ["deny", "allow"],
        Key::OnFirewall => ["deny", "stale"],
        Key::Prefetch => ["wait", ""],
        Key::Room => ["64M", "4G"],
        Key::Secrets => ["site-*", "site-*:ftpadmin"],
        Key::Uid | Key::Gid => ["root", "65534"],
        Key::Mode => ["0440", "444"],
        Key::DirMode => ["0555", "0500"],
        Key::Config => panic!("it is config.rs that tries it"),
        Key::Context | Key::FsContext | Key::DefContext | Key::RootContext => ["a:b:c", "a:b:d:s0"],
        Key::RunAs => ["nobody", "4242"],
        Key::Log => ["stderr", "/var/log/akvfs.log"],
        Key::AllowOther | Key::EnforceDates | Key::Newline | Key::Foreground | Key::Verbose => {
            ["", ""]
        }
    }
}

pub(crate) fn wanted(vault: &str, options: &[&str]) -> Result<Wanted, String> {
    let line = [&["akvfs", "mount", vault, "/mnt"], options].concat();
    let line: Vec<OsString> = line.iter().map(OsString::from).collect();
    let order = arguments::read(&line).map_err(|complaint| complaint.to_string())?;
    let Order::Mount(order) = order else { panic!("{order:?}") };
    config::mount(&order, &Surroundings::default()).map_err(|complaint| complaint.to_string())
}

pub(crate) fn ca_files() -> [String; 2] {
    ["one", "two"].map(|name| {
        let certificate = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let path = std::env::temp_dir().join(format!("akvfs-{name}-{}", std::process::id()));
        fs::write(&path, certificate.cert.pem()).unwrap();
        path.to_str().unwrap().to_owned()
    })
}

#[test]
fn every_option_does_something_and_the_same_in_both_its_forms() {
    let ca_files = ca_files();
    for opt in OPTIONS.iter().filter(|opt| opt.key != Key::Config) {
        let foreign = matches!(opt.key, Key::Resource | Key::Authority);
        let vault = if foreign { "vault.example.com" } else { "my-vault" };
        let other = if opt.key == Key::Resource {
            "authority=https://login.example.com"
        } else if opt.key == Key::Authority {
            "resource=https://vault.example.com"
        } else {
            "rw"
        };
        let values = two_values(opt.key, &ca_files);
        let flag = matches!(opt.kind, Kind::Flag);
        let labels = [Key::Context, Key::FsContext, Key::DefContext, Key::RootContext];
        if labels.contains(&opt.key) && !nix::unistd::Uid::effective().is_root() {
            continue;
        }
        if opt.key == Key::RunAs && !nix::unistd::Uid::effective().is_root() {
            assert!(wanted(vault, &["--run-as=4242"]).unwrap_err().contains("only root"));
            continue;
        }
        let [one, two] = values.map(|value| {
            let long = opt.long();
            let (long, short) = if flag || value.is_empty() {
                (format!("--{long}"), opt.name.to_owned())
            } else {
                (format!("--{long}={value}"), format!("{}={value}", opt.name))
            };
            let by_long = wanted(vault, &["-o", other, &long]).unwrap();
            let by_short = wanted(vault, &["-o", other, "-o", &short]).unwrap();
            assert_eq!(format!("{by_long:?}"), format!("{by_short:?}"), "{}", opt.name);
            format!("{by_long:?}")
        });
        let two = if flag { format!("{:?}", wanted(vault, &[]).unwrap()) } else { two };
        assert_ne!(one, two, "{} does nothing", opt.name);
    }
    for path in ca_files {
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn the_later_holds_and_a_long_option_beats_a_mount_option() {
    let refresh = |options: &[&str]| wanted("my-vault", options).unwrap().config.policy.refresh;
    assert_eq!(refresh(&["-o", "refresh=1s,refresh=2s"]).as_secs(), 2);
    assert_eq!(refresh(&["-o", "refresh=1s", "-o", "refresh=2s"]).as_secs(), 2);
    assert_eq!(refresh(&["--refresh=1s", "--refresh=2s"]).as_secs(), 2);
    assert_eq!(refresh(&["--refresh=1s", "-o", "refresh=2s"]).as_secs(), 1);
    assert_eq!(wanted("my-vault", &["-vv", "-o", "verbose"]).unwrap().config.verbosity, 3);
}

#[test]
fn a_value_in_double_quotes_may_hold_commas() {
    let log = |options: &str| format!("{:?}", wanted("my-vault", &["-o", options]).unwrap().log);
    assert!(log("log=\"/a,b\",rw").contains("/a,b"));
    assert!(log("rw,,log=/a,ro,").ends_with("\"/a\")"));
}

#[test]
fn the_defaults_are_those_that_the_help_gives() {
    let plain = wanted("my-vault", &[]).unwrap();
    let defaults = OPTIONS.iter().filter_map(|opt| {
        let default = opt.default?;
        Some(format!("{}={default}", opt.name))
    });
    let defaults: Vec<String> = defaults.collect();
    let spelled = wanted("my-vault", &["-o", &defaults.join(",")]).unwrap();
    assert_eq!(format!("{plain:?}"), format!("{spelled:?}"));
    assert_eq!(plain.config.policy, akvfs::model::policy::Policy::default());
    assert_eq!((plain.config.view.mode, plain.config.view.dir_mode), (0o400, 0o550));
}

#[test]
fn a_brief_is_read_back_as_it_was_written() {
    let config = wanted("my-vault", &["-o", "secrets=a:b,gid=60,newline,-v"]);
    assert!(config.is_err(), "-v is no mount option");
    let config = wanted("my-vault", &["-o", "secrets=a:b,gid=60,newline,verbose"]).unwrap().config;
    let written = brief::write(&config).unwrap();
    let memory = memfd_create("brief", MemfdFlags::CLOEXEC).unwrap();
    let mut file = File::from(memory);
    file.write_all(written.expose()).unwrap();
    file.rewind().unwrap();
    assert_eq!(format!("{:?}", brief::read(file).unwrap()), format!("{config:?}"));
}

#[test]
fn who_cannot_enter_is_told_before_he_is_surprised() {
    let warned = |options: &str| wanted("my-vault", &["-o", options]).unwrap().warnings.len();
    let root = nix::unistd::Uid::effective().is_root();
    assert_eq!(warned("rw"), 0);
    assert_eq!(warned("gid=60"), usize::from(root));
    assert_eq!(warned("uid=60,gid=60,mode=0444"), usize::from(root));
    assert_eq!(warned("allow_other,gid=60,mode=0440"), 0);
    assert_eq!(warned("allow_other,mode=0444"), 1);
    assert_eq!(warned("allow_other,mode=0444,dir-mode=0555"), 0);
}

#[test]
fn mount_8_may_say_what_it_always_says() {
    let nobody = Nobody::listen();
    let lines = [
        "my-vault /mnt -f",
        "my-vault /mnt -sfnv -o rw",
        "my-vault /mnt -f -N 1234 -t akvfs -o rw,_netdev,allow_other,gid=root,mode=0440",
        "my-vault /mnt -v -f -n -o rw,nofail,user=alice,noatime,x-systemd.automount,comment=x",
        "my-vault /mnt -f -o ro,nosuid,nodev,noexec,relatime,user_id=0,group_id=0,\
         default_permissions,allow_other,max_read=131072,blksize=4096,rootmode=40000,fd=4",
        "my-vault /mnt -f -o defaults,auto,noauto,users,owner,group,suid,dev,exec,dirsync",
        "my-vault /mnt -s -f -o no-such-option=5,nope",
        "my-vault /mnt -f -o rw,context=\"system_u:object_r:httpd_sys_content_t:s0:c1,c2\"",
        "my-vault /mnt -f -o fscontext=a:b:c,defcontext=\"a:b:c\",rootcontext=a:b:c:s0",
        "akvfs#my-vault /mnt -f",
        "https://my-vault.vault.azure.net/ /mnt -f",
        "MY-VAULT.vault.azure.net /mnt -f -t fuse.akvfs",
    ];
    for called in ["mount.akvfs", "/sbin/mount.akvfs", "/usr/sbin/mount.fuse.akvfs"] {
        for line in lines {
            let mut command = akvfs(line.split(' '));
            let said = run(nobody.be_asked_by(command.arg0(called)));
            assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{called} {line}");
        }
    }
    nobody.was_not_asked();
}

#[test]
fn the_lines_that_are_given_for_fstab_are_taken() {
    let text = fs::read_to_string("packaging/fstab").unwrap();
    let manual = fs::read_to_string("packaging/akvfs.1.in").unwrap().replace("\\-", "-");
    let lines = text.lines().chain(manual.lines());
    let lines =
        lines.map(|line| line.trim_start_matches('#')).filter(|line| line.contains(" akvfs  "));
    let mut count = 0;
    for line in lines {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [vault, directory, "akvfs", options, "0", "0"] = fields.as_slice() else {
            panic!("{line}");
        };
        // A test cannot count on the groups of others.
        let options = options.replace("gid=ftp", "gid=root").replace("gid=www-data", "gid=root");
        let mut command = akvfs([vault, directory, "-f", "-o", &options]);
        let said = run(command.arg0("mount.akvfs"));
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{line}");
        count += 1;
    }
    assert_eq!(count, 4);
}

#[test]
fn mount_8_is_told_what_is_wrong() {
    let nobody = Nobody::listen();
    let lines = [
        ("my-vault", 1),
        ("my-vault /mnt /mnt", 1),
        ("my-vault /mnt -f -o nope", 1),
        ("my-vault /mnt -f -o Mode=0440", 1),
        ("my-vault /mnt -s -f -o mode=0640", 1),
        ("my-vault /mnt -f -o gid=no-such-group", 1),
        ("my-vault /mnt -f --refresh=5s", 1),
        ("my_vault /mnt -f", 1),
        ("my-vault /mnt -o remount,rw", 32),
        ("my-vault /mnt -f -o rw,remount", 32),
        ("my-vault /mnt -q", 1),
    ];
    let mut text = String::new();
    for (line, code) in lines {
        let mut command = akvfs(line.split(' '));
        let said = run(nobody.be_asked_by(command.arg0("/sbin/mount.akvfs")));
        assert_eq!(said.code, Some(code), "mount.akvfs {line}: {}", said.stderr);
        writeln!(text, "$ mount.akvfs {line}\n{}", said.stderr).unwrap();
    }
    compare("mount.akvfs.txt", &text);
    nobody.was_not_asked();
}

#[test]
fn mount_fuse_calls_without_a_command() {
    let read = |line: &str| {
        let line: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let order = arguments::read(&line).unwrap();
        let Order::Mount(mount) = order else { panic!("{order:?}") };
        (mount.vault, mount.directory, mount.settings.count(Key::Gid))
    };
    let mounted = |vault: &str, gids| (vault.to_owned(), PathBuf::from("/mnt"), gids);
    let options = "-o rw,gid=60,mode=0440,dev,suid";
    assert_eq!(read(&format!("akvfs my-vault /mnt {options}")), mounted("my-vault", 1));
    assert_eq!(read(&format!("akvfs list /mnt {options}")), mounted("list", 1));
    assert_eq!(read(&format!("akvfs worker /mnt {options}")), mounted("worker", 1));
    assert_eq!(read("akvfs my-vault /mnt -o rw --gid=60"), mounted("my-vault", 1));
}

/// mount(8)'s fake mount, in an environment with these variables.
fn fake(variables: &[(&str, &str)]) -> Said {
    let mut command = akvfs(["my-vault", "/mnt", "-f"]);
    run(command.arg0("mount.akvfs").envs(variables.iter().copied()))
}

#[test]
fn the_environment_is_understood_or_named() {
    let guid = "00000000-0000-0000-0000-000000000001";
    let near = "http://127.0.0.1:42356/msi/token";
    let secure = "https://10.0.0.4:2377/token";
    let print = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
    for whole in [
        &[][..],
        &[("AZURE_CLIENT_ID", guid)],
        &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://10.0.0.4:2579/")],
        &[("IDENTITY_ENDPOINT", near), ("IDENTITY_HEADER", "canary")],
        &[("IDENTITY_ENDPOINT", near), ("IMDS_ENDPOINT", near)],
        &[("MSI_ENDPOINT", near), ("MSI_SECRET", "canary")],
        &[("MSI_ENDPOINT", near)],
        &[
            ("IDENTITY_ENDPOINT", secure),
            ("IDENTITY_HEADER", "canary"),
            ("IDENTITY_SERVER_THUMBPRINT", print),
        ],
    ] {
        let said = fake(whole);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{whole:?}");
        // Whatever belongs together, each by itself says too little or too much; empty is unset.
        let emptied: Vec<(&str, &str)> = whole.iter().map(|(name, _)| (*name, "")).collect();
        let said = fake(&emptied);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{emptied:?}");
    }
    for (wrong, named) in [
        (&[("AZURE_CLIENT_ID", "nonsense")][..], "AZURE_CLIENT_ID"),
        (&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "nonsense")], "AZURE_POD_IDENTITY_AUTHORITY_HOST"),
        (&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://192.0.2.1")], "local and private"),
        (&[("IDENTITY_ENDPOINT", near)], "IDENTITY_HEADER"),
        (&[("IDENTITY_HEADER", "canary")], "IDENTITY_ENDPOINT"),
        (&[("IDENTITY_HEADER", "canary"), ("IDENTITY_ENDPOINT", "")], "IDENTITY_ENDPOINT"),
        (&[("IDENTITY_ENDPOINT", "http://192.0.2.1/"), ("IDENTITY_HEADER", "canary")], "192.0.2.1"),
        (&[("IDENTITY_ENDPOINT", near), ("IDENTITY_HEADER", "canary canary")], "IDENTITY_HEADER"),
        (&[("IDENTITY_SERVER_THUMBPRINT", print)], "IDENTITY_ENDPOINT"),
        (&[("MSI_SECRET", "canary")], "MSI_ENDPOINT"),
        (&[("MSI_ENDPOINT", "http://192.0.2.1/"), ("MSI_SECRET", "canary")], "192.0.2.1"),
        (&[("IMDS_ENDPOINT", near)], "IDENTITY_ENDPOINT"),
        (&[("IDENTITY_ENDPOINT", secure), ("IMDS_ENDPOINT", near)], "this machine"),
    ] {
        let said = fake(wrong);
        assert_eq!(said.code, Some(1), "{wrong:?}: {}", said.stderr);
        let is_named = wrong.iter().any(|(name, _)| said.stderr.contains(name));
        assert!(is_named, "{wrong:?}: {}", said.stderr);
        assert!(said.stderr.contains(named) && said.stderr.contains("hint: "), "{}", said.stderr);
        assert!(!said.stderr.contains("canary"), "{}", said.stderr);
    }
}

#[test]
fn an_argument_that_is_no_text_is_an_error_and_no_panic() {
    let bytes = OsString::from_vec(vec![b'a', 0xff, b'b']);
    for place in 1..4 {
        let mut arguments: Vec<OsString> = vec!["get".into(), "my-vault".into(), "name".into()];
        if place < 3 {
            arguments[place] = bytes.clone();
        } else {
            arguments.push(bytes.clone());
        }
        let said = run(&mut akvfs(&arguments));
        assert_eq!(said.code, Some(1), "{arguments:?}: {}", said.stderr);
        assert!(said.stderr.starts_with("akvfs: "), "{}", said.stderr);
    }
}

#[test]
fn a_reader_who_went_away_is_not_told_and_nothing_panics() {
    let (theirs, ours) = std::io::pipe().unwrap();
    drop(theirs);
    let output = akvfs(["--help"]).stdout(ours).output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn a_full_disk_is_an_error_of_this_machine() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let said = run(akvfs(["manual"]).stdout(full()));
    assert_eq!(said.code, Some(2));
    assert_eq!(said.stderr, "akvfs: cannot write the output: No space left on device\n");
    let said = run(akvfs(["nope"]).stderr(full()));
    assert_eq!(said.code, Some(1));
    let (theirs, ours) = std::io::pipe().unwrap();
    drop(theirs);
    assert_eq!(run(akvfs(["nope"]).stderr(Stdio::from(ours))).code, Some(1));
}
