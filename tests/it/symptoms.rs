//! How each symptom of docs/TROUBLESHOOTING.md is brought about.

use akvfs_emulator::authority::Certificate;
use akvfs_emulator::fault::Fault;
use akvfs_emulator::fault::Kind;
use akvfs_emulator::fault::Scope;
use akvfs_emulator::identity::Identity;
use akvfs_emulator::vault::Change;
use akvfs_emulator::vault::Refusal;

use crate::mounted::Mounted;
use crate::recipes::kitchen::Kitchen;
use crate::recipes::kitchen::NIGHTLY;
use crate::recipes::rsync;
use crate::world::World;
use crate::world::until;

/// What must not end before the symptom was seen.
pub(crate) trait Kept {}
impl<T> Kept for T {}

/// What is given where the symptom of that heading is seen, on a machine with these programs.
pub(crate) struct Symptom {
    pub(crate) heading: &'static str,
    pub(crate) programs: &'static [&'static str],
    pub(crate) given: for<'a> fn(&'a Kitchen) -> Vec<Box<dyn Kept + 'a>>,
}

impl Symptom {
    const fn of(
        heading: &'static str,
        given: for<'a> fn(&'a Kitchen) -> Vec<Box<dyn Kept + 'a>>,
    ) -> Self {
        Self { heading, programs: &[], given }
    }

    const fn with(
        programs: &'static [&'static str],
        heading: &'static str,
        given: for<'a> fn(&'a Kitchen) -> Vec<Box<dyn Kept + 'a>>,
    ) -> Self {
        Self { heading, programs, given }
    }
}

/// Of a file that cannot be read, or does not say what it should.
pub(crate) const READING: &[Symptom] = &[
    Symptom::of("Permission denied, for everybody but root", |it| keep(mounted(it, "rw"))),
    Symptom::of("Permission denied, for root as well", |it| {
        refused(it, Refusal::Rbac);
        keep(mounted(it, "rw"))
    }),
    Symptom::of("Permission denied, from a private network", |it| {
        refused(it, Refusal::Connection);
        keep(mounted(it, "rw"))
    }),
    Symptom::with(&["fusermount3"], "Permission denied, for root in the mount of a user", |it| {
        keep(mounted_by_nightly(it))
    }),
    Symptom::of("Permission denied, when a script in the vault is run", |it| {
        it.world.vault().put("job", "#!/bin/sh\necho done\n");
        keep(mounted(it, "rw"))
    }),
    Symptom::of("Required key not available", |it| {
        it.world.emulator.imds().set_system(None);
        keep(mounted(it, "rw"))
    }),
    Symptom::of("Key has been revoked", |it| {
        assert!(it.world.vault().disable("ftpadmin"));
        keep(mounted(it, "rw"))
    }),
    Symptom::of("Key has expired", |it| {
        let over = Change { exp: Some(1_600_000_000), ..Change::default() };
        assert!(it.world.vault().change("ftpadmin", over));
        keep(mounted(it, "enforce-dates"))
    }),
    Symptom::of("Connection timed out", |it| {
        let mounted = mounted(it, "open-timeout=300ms");
        it.world.cut_network();
        keep(mounted)
    }),
    Symptom::of("Connection timed out, and the vault is busy", |it| {
        it.world.emulator.inject(Fault::always(Scope::Get, Kind::throttled("30")));
        keep(mounted(it, "open-timeout=300ms"))
    }),
    Symptom::of("Input/output error", |it| {
        it.world.emulator.inject(Fault::always(Scope::Get, Kind::html(200)));
        keep(mounted(it, "rw"))
    }),
    Symptom::of("No such file or directory", |it| keep(mounted(it, "rw"))),
    Symptom::of("No such file or directory, and the vault has it", |it| {
        it.world.vault().put("site-key", "the key\n");
        keep(mounted(it, "secrets=ftp*"))
    }),
    Symptom::of("Cannot allocate memory", |it| {
        let mounted = mounted(it, "room=1M,log=/var/log/akvfs");
        // To the last block, or a short value still finds one.
        for size in [25_000, 2_000, 100] {
            for number in 0..60 {
                let name = format!("of-{size}-{number}");
                it.world.vault().put(&name, &"x".repeat(size));
                if mounted.read(&name).is_err() {
                    break;
                }
            }
        }
        // So that the log names the one that is shown.
        it.world.sh(": > /var/log/akvfs").ok();
        keep(mounted)
    }),
    Symptom::of("Transport endpoint is not connected", |it| {
        let mounted = mounted(it, "rw");
        for process in it.world.akvfs_processes() {
            process.kill();
        }
        until("all are gone", || it.world.akvfs_processes().is_empty());
        keep(mounted)
    }),
    Symptom::of("Read-only file system", |it| keep(mounted(it, "rw"))),
    Symptom::of("The directory is empty, and yet a file can be read", |it| {
        it.world.vault().deny_list(Refusal::Policy);
        to_be_mounted(it)
    }),
    Symptom::of("ls takes long, or times out", |it| {
        let mounted = mounted(it, "check=off,open-timeout=300ms");
        it.world.emulator.inject(Fault::always(Scope::List, Kind::Hang));
        keep(mounted)
    }),
    Symptom::of("The value is an old one", |it| {
        let mounted = mounted(it, "refresh=300ms");
        assert_eq!(mounted.read("ftpadmin").unwrap(), b"s3cret\n");
        let bind = "mkdir /srv/app; touch /srv/app/ftpadmin; \
                    mount --bind /mnt/vault/ftpadmin /srv/app/ftpadmin";
        it.world.sh(bind).ok();
        it.world.vault().put("ftpadmin", "n3w\n");
        until("it is rotated", || mounted.read("ftpadmin").unwrap() == b"n3w\n");
        struct Bound<'a>(&'a World);
        impl Drop for Bound<'_> {
            fn drop(&mut self) {
                self.0.sh("umount /srv/app/ftpadmin").ok();
            }
        }
        vec![Box::new(Bound(&it.world)), Box::new(mounted)]
    }),
    Symptom::of("The value is an old one, and a minute is too long", |it| {
        let mounted = mounted(it, "rw");
        assert_eq!(mounted.read("ftpadmin").unwrap(), b"s3cret\n");
        it.world.vault().put("ftpadmin", "n3w\n");
        keep(mounted)
    }),
];

/// Of programs that are particular about their files.
pub(crate) const PROGRAMS: &[Symptom] = &[
    Symptom::with(&["ssh-keygen"], "ssh: UNPROTECTED PRIVATE KEY FILE", |it| {
        it.world.vault().put("deploy-key", &ssh_key(it));
        keep(mounted(it, "allow_other,uid=nightly,gid=nightly,mode=0440"))
    }),
    Symptom::with(&["ssh-keygen"], "ssh: error in libcrypto", |it| {
        it.world.vault().put("deploy-key", ssh_key(it).trim_end());
        keep(mounted(it, "allow_other,uid=nightly,mode=0400"))
    }),
    Symptom::with(&["psql"], "PostgreSQL: password file has group or world access", |it| {
        it.world.vault().put("pgpass", "db.example.com:5432:*:app:s3cret\n");
        keep(mounted(it, "allow_other,gid=nightly,mode=0440"))
    }),
    Symptom::with(&["rsync"], "rsync: password file must not be other-accessible", |it| {
        it.world.vault().put("rsync-password", "s3cret\n");
        let mounted = mounted(it, "allow_other,mode=0444,dir-mode=0555");
        vec![Box::new(rsync::usual(it)), Box::new(mounted)]
    }),
    Symptom::with(&["rsync"], "rsync: password file must be owned by root", |it| {
        it.world.vault().put("rsync-password", "s3cret\n");
        let mounted = mounted(it, "allow_other,uid=nightly,mode=0400");
        vec![Box::new(rsync::usual(it)), Box::new(mounted)]
    }),
    Symptom::of("A script ends where it reads a password", |it| {
        it.world.vault().put("ftpadmin", "s3cret");
        keep(mounted(it, "allow_other,uid=nightly"))
    }),
    Symptom::of("A password is right, and is refused", |it| {
        it.world.vault().put("ftpadmin", "\u{feff}s3cret\r\n");
        keep(mounted(it, "allow_other,uid=nightly"))
    }),
    Symptom::with(&["openssl"], "A certificate cannot be read", |it| {
        let (key, certificate) = it.certify("www.example.com").remove(0);
        it.write("/srv/both", &(key + &certificate));
        let pack = "openssl pkcs12 -export -in /srv/both -passout pass: | base64 -w0";
        it.world.vault().put("site", &it.world.sh(pack).ok());
        keep(mounted(it, "rw"))
    }),
];

/// Of mounting and unmounting.
pub(crate) const MOUNTING: &[Symptom] = &[
    Symptom::of("several identities", |it| {
        it.world.emulator.imds().set_system(None);
        it.world.emulator.imds().add_user(Identity::numbered(1));
        it.world.emulator.imds().add_user(Identity::numbered(2));
        to_be_mounted(it)
    }),
    Symptom::of("no managed identity", |it| {
        it.world.emulator.imds().set_system(None);
        to_be_mounted(it)
    }),
    Symptom::of("no token from the metadata service", |it| {
        it.world.cut_network();
        to_be_mounted(it)
    }),
    Symptom::of("forbidden", |it| {
        refused(it, Refusal::Rbac);
        to_be_mounted(it)
    }),
    Symptom::of("a certificate of an unknown issuer", |it| {
        it.world.emulator.show_certificate(Certificate::SelfSigned);
        vec![]
    }),
    Symptom::of("the host is not known", |_| vec![]),
    Symptom::of("a private endpoint's name", |_| vec![]),
    Symptom::with(&["fusermount3"], "allow_other is not for users", |it| {
        it.world.open_fuse_to_all();
        it.world.write("/etc/fuse.conf", "");
        assert_eq!(it.type_in(NIGHTLY, "mkdir ~/vault").ok(), "");
        vec![]
    }),
    Symptom::of("allow_other is missing", to_be_mounted),
    Symptom::with(&["fusermount3"], "/dev/fuse may not be opened", |it| {
        it.world.open_fuse_to_all();
        it.world.sh("chmod 0600 /dev/fuse").ok();
        assert_eq!(it.type_in(NIGHTLY, "mkdir ~/vault").ok(), "");
        vec![]
    }),
    Symptom::of("the file of options is refused", |it| {
        it.write("/etc/akvfs.toml", "mode = \"0440\"\n");
        it.world.sh("chmod 0666 /etc/akvfs.toml").ok();
        vec![]
    }),
    Symptom::of("no such group", |_| vec![]),
    Symptom::of("an option that is not known", |_| vec![]),
    Symptom::of("the directory is not empty", |it| {
        it.write("/mnt/vault/orders", "the orders\n");
        to_be_mounted(it)
    }),
    Symptom::of("already mounted", |it| {
        it.write("/etc/fstab", "my-vault /mnt/vault akvfs _netdev 0 0\n");
        keep(mounted(it, "rw"))
    }),
    Symptom::of("target is busy", |it| keep(mounted(it, "rw"))),
    Symptom::of("the options do not change", |it| keep(mounted(it, "rw"))),
    Symptom::of("df does not show it", |it| keep(mounted(it, "rw"))),
];

/// In the log.
pub(crate) const LOGGED: &[Symptom] = &[
    Symptom::of("the worker died", |it| {
        let mounted = mounted(it, "log=/var/log/akvfs");
        it.world.replace("worker");
        until("it is told", || logs(it, "/var/log/akvfs", "died"));
        keep(mounted)
    }),
    Symptom::of("the service does not work, and answers again", |it| {
        let mounted = mounted(it, "refresh=300ms,verbose,log=/var/log/akvfs");
        assert_eq!(mounted.read("ftpadmin").unwrap(), b"s3cret\n");
        let fault = it.world.emulator.inject(Fault::always(Scope::Vault, Kind::status(503)));
        until("it is told", || logs(it, "/var/log/akvfs", "secret ftpadmin"));
        it.world.emulator.clear(fault);
        until("its end is told", || logs(it, "/var/log/akvfs", "answers again"));
        keep(mounted)
    }),
    Symptom::with(&["fusermount3"], "values may be swapped out", |it| {
        it.world.open_fuse_to_all();
        let mounted = it.world.mounted_at("/home/nightly/vault".into());
        let line = "mkdir ~/vault && ulimit -l 0 && akvfs mount my-vault ~/vault -o log=$HOME/log";
        assert_eq!(it.type_in(NIGHTLY, line).ok(), "");
        assert_eq!(it.type_in(NIGHTLY, "cat ~/vault/ftpadmin").ok(), "s3cret\n");
        until("it is told", || logs(it, "/home/nightly/log", "swapped"));
        keep(mounted)
    }),
];

fn keep<'a>(one: impl Kept + 'a) -> Vec<Box<dyn Kept + 'a>> {
    vec![Box::new(one)]
}

/// A mount at /mnt/vault with these options, whatever it complains of.
fn mounted<'a>(kitchen: &'a Kitchen, options: &str) -> Mounted<'a> {
    let mounted = kitchen.world.mounted_at("/mnt/vault".into());
    let ran = kitchen.akvfs(&["mount", "my-vault", "/mnt/vault", "-o", options]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    mounted
}

fn to_be_mounted(kitchen: &Kitchen) -> Vec<Box<dyn Kept + '_>> {
    keep(kitchen.world.mounted_at("/mnt/vault".into()))
}

fn refused(kitchen: &Kitchen, refusal: Refusal) {
    kitchen.world.vault().deny_get("*", refusal);
    kitchen.world.vault().deny_list(refusal);
}

fn mounted_by_nightly(kitchen: &Kitchen) -> Mounted<'_> {
    kitchen.world.open_fuse_to_all();
    let mounted = kitchen.world.mounted_at("/home/nightly/vault".into());
    assert_eq!(kitchen.type_in(NIGHTLY, "mkdir ~/vault && akvfs mount my-vault ~/vault").ok(), "");
    mounted
}

fn ssh_key(kitchen: &Kitchen) -> String {
    kitchen.world.sh("ssh-keygen -q -t ed25519 -N '' -f /srv/key && cat /srv/key").ok()
}

fn logs(kitchen: &Kitchen, log: &str, words: &str) -> bool {
    kitchen.world.read(log).is_ok_and(|log| String::from_utf8_lossy(&log).contains(words))
}
