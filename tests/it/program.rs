//! The program, run as a person runs it, and what it said.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// The program with these arguments, in an environment of its own.
pub(crate) fn akvfs<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_akvfs"));
    command.arg0("akvfs").args(arguments);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn run(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    Said {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Has cargo build what a test of this binary alone has not built; gives where that lies.
pub(crate) fn build(what: &[&str], program: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_akvfs")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--workspace"]).args(what);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    folder.join(program)
}

/// A metadata service that is never to be asked: without its token no vault is.
pub(crate) struct Nobody(TcpListener);

impl Nobody {
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    /// Has the program take this for its metadata service.
    pub(crate) fn be_asked_by<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let address = format!("http://{}", self.0.local_addr().unwrap());
        command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", address)
    }

    pub(crate) fn was_not_asked(&self) {
        let asked = self.0.accept().map(|_| ()).map_err(|error| error.kind());
        assert_eq!(asked, Err(ErrorKind::WouldBlock));
    }
}
