//! `make install`: everything in its place, and nothing left by `make uninstall`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// A folder that is gone with the test.
struct Stage(PathBuf);

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn make(target: &str, stage: &Path) {
    let mut command = Command::new("make");
    command.arg("--silent").arg(target).arg("PREFIX=/usr");
    command.arg(format!("DESTDIR={}", stage.display()));
    command.arg(format!("PROGRAM={}", env!("CARGO_BIN_EXE_akvfs")));
    let output = command.output().unwrap();
    assert!(output.status.success(), "make {target}: {output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn install_puts_program_helper_and_manual_in_place_and_uninstall_takes_them_away() {
    let stage = Stage(std::env::temp_dir().join(format!("akvfs-stage-{}", std::process::id())));
    let path = |name: &str| stage.0.join(name);

    make("install", &stage.0);

    let names = ["sbin/mount.akvfs", "usr/bin/akvfs"]
        .into_iter()
        .chain(["usr/share/man/man1/akvfs.1", "usr/share/man/man8/mount.akvfs.8"]);
    assert_eq!(files(&stage.0), names.map(path).collect::<Vec<_>>());
    let mode = |name: &str| fs::metadata(path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("usr/bin/akvfs"), 0o755);
    assert_eq!(mode("usr/share/man/man1/akvfs.1"), 0o644);
    // The helper is found where the package will be, not where it was put together.
    let helper = fs::read_link(path("sbin/mount.akvfs")).unwrap();
    assert_eq!(helper, Path::new("/usr/bin/akvfs"));
    let manual = fs::read_to_string(path("usr/share/man/man8/mount.akvfs.8")).unwrap();
    assert!(manual.contains(".TH AKVFS 1") && manual.contains("open\\-timeout"));
    let version = Command::new(path("usr/bin/akvfs")).arg("--version").output().unwrap();
    assert_eq!(version.stdout, format!("akvfs {}\n", env!("CARGO_PKG_VERSION")).as_bytes());

    make("uninstall", &stage.0);

    assert_eq!(files(&stage.0), [""; 0].map(PathBuf::from));
}

#[test]
fn the_manual_is_a_page_without_warnings() {
    let page = Command::new(env!("CARGO_BIN_EXE_akvfs")).arg("manual").output().unwrap();
    let mut groff = Command::new("groff");
    groff.args(["-man", "-Tascii", "-P-cbou", "-ww", "-rCHECKSTYLE=3"]);
    let groff = groff.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let Ok(mut child) = groff.stderr(std::process::Stdio::piped()).spawn() else {
        let _ = std::io::Write::write_all(&mut std::io::stderr(), b"skipped: there is no groff\n");
        return;
    };
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &page.stdout).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert!(String::from_utf8(output.stdout).unwrap().contains("--refresh=DURATION"));
}
