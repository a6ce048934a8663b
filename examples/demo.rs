//! The main job with no Azure at all: `cargo run --release --example demo`.
//!
//! A vault and a metadata service are made up on loopback; all the rest is the real thing, mounted
//! in a temporary directory by the commands that are shown. Nothing of it is left, however it ends.
//! Started with arguments this program is akvfs itself, which is how it needs no other one built.
#![expect(clippy::disallowed_methods, reason = "what is shown takes time, and says how much")]

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;
use std::process::Output;
use std::sync::mpsc;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use akvfs::cli::program;
use akvfs_emulator::emulator::Emulator;
use nix::sys::signal::SigSet;
use nix::sys::signal::Signal;
use nix::unistd::mkdtemp;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().collect();
    if arguments.len() > 1 {
        return program::run(&arguments);
    }
    match demonstrate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(stopped) => {
            if stopped.code != PIPE {
                let _nobody = writeln!(io::stderr(), "demo: {stopped}");
            }
            ExitCode::from(stopped.code)
        }
    }
}

fn demonstrate() -> Result<(), Stopped> {
    // Before the emulator starts threads: those must leave the signals to the one that waits.
    let signals = signals()?;
    let emulator = Emulator::new();
    let vault = emulator.vault("my-vault");
    vault.put("ftpadmin", "a first password");
    vault.put("site-key", "-----BEGIN PRIVATE KEY-----");
    let (listener, vault_address) = listen()?;
    emulator.serve_vault(listener);
    let (listener, imds_address) = listen()?;
    emulator.serve_imds(listener);
    let imds = format!("{IMDS}=http://{imds_address}");
    let url = format!("https://localhost:{}", vault_address.port());
    let stage = Stage::build(&emulator.authority_pem(), &imds, signals)?;

    stage.say(&format!("# A make-believe Key Vault with two secrets is at {url}."))?;
    stage.say(&format!("$ cd {}; export {imds}", stage.directory.display()))?;
    let options = format!("refresh=1s,{OPTIONS}");
    stage.show(&["akvfs", "mount", &url, "vault", "-o", &options])?;
    stage.show(&["ls", "-l", "vault"])?;
    stage.show(&["cat", FTPADMIN])?;

    stage.say("# Somebody sets a new value in the vault:")?;
    vault.put("ftpadmin", "another one");
    let after = stage.until("the new value is seen", || {
        Ok(stage.run(&["cat", FTPADMIN])?.stdout.starts_with(b"another"))
    })?;
    stage.say(&format!("# {after:.1} s later:"))?;
    stage.show(&["cat", FTPADMIN])?;

    stage.say("# Somebody disables the other secret in the vault:")?;
    vault.disable("site-key");
    let after = stage
        .until("the secret is refused", || Ok(!stage.run(&["cat", SITE_KEY])?.status.success()))?;
    stage.say(&format!("# {after:.1} s later, for root too:"))?;
    stage.show_refused(&["cat", SITE_KEY])?;

    stage.show(&["akvfs", "unmount", "vault"])?;
    stage.strike()?;
    stage.say("# No mount, no process and no file of this is left.")
}

/// A temporary directory, the mount in it, and the commands that are run there.
#[derive(Debug)]
struct Stage {
    directory: PathBuf,
    /// `NAME=VALUE`: where the metadata service is.
    imds: (String, String),
    signals: Receiver<Signal>,
}

impl Stage {
    fn build(ca: &str, imds: &str, signals: Receiver<Signal>) -> Result<Self, Stopped> {
        let (name, value) = imds.split_once('=').unwrap_or_default();
        let directory = mkdtemp(&env::temp_dir().join("akvfs-demo-XXXXXX"))
            .map_err(|error| Stopped::failed(format!("no temporary directory: {error}")))?;
        let stage = Self { directory, imds: (name.to_owned(), value.to_owned()), signals };
        fs::write(stage.directory.join("ca.pem"), ca)?;
        fs::create_dir(stage.directory.join("vault"))?;
        Ok(stage)
    }

    /// Shows a command and what it writes. If it fails, that is the end.
    fn show(&self, command: &[&str]) -> Result<(), Stopped> {
        let done = self.show_command(command)?;
        match done.status.code() {
            Some(0) => Ok(()),
            Some(code) => Err(Stopped::because(code, "that failed".to_owned())),
            None => Err(Stopped::failed("that was killed".to_owned())),
        }
    }

    /// Shows a command and what it writes, which must be a refusal.
    fn show_refused(&self, command: &[&str]) -> Result<(), Stopped> {
        match self.show_command(command)?.status.success() {
            true => Err(Stopped::failed("that was not refused".to_owned())),
            false => Ok(()),
        }
    }

    fn show_command(&self, command: &[&str]) -> Result<Output, Stopped> {
        self.say(&format!("$ {}", command.join(" ")))?;
        let done = self.run(command)?;
        let text = String::from_utf8_lossy(&done.stdout);
        if !text.is_empty() {
            // A value ends where it ends; the next line begins a line all the same.
            self.say(text.strip_suffix('\n').unwrap_or(&text))?;
        }
        io::stderr().write_all(&done.stderr)?;
        Ok(done)
    }

    /// Runs a command to its end, which takes no longer than a first open may.
    fn run(&self, command: &[&str]) -> Result<Output, Stopped> {
        self.go_on_after(Duration::ZERO)?;
        let (program, arguments) = command.split_first().unwrap_or((&"true", &[]));
        let mut child = match *program {
            "akvfs" => Command::new("/proc/self/exe"),
            program => Command::new(program),
        };
        child.args(arguments).current_dir(&self.directory);
        child.env(&self.imds.0, &self.imds.1);
        // Ctrl-C is for this program, which unmounts once nothing is under way any more.
        child.process_group(0);
        Ok(child.output()?)
    }

    /// Waits until something holds; says how many seconds that took.
    fn until(&self, what: &str, holds: impl Fn() -> Result<bool, Stopped>) -> Result<f64, Stopped> {
        let since = Instant::now();
        while !holds()? {
            if since.elapsed() > PATIENCE {
                return Err(Stopped::failed(format!("{what}: not within {PATIENCE:?}")));
            }
            self.go_on_after(Duration::from_millis(50))?;
        }
        Ok(since.elapsed().as_secs_f64())
    }

    fn go_on_after(&self, pause: Duration) -> Result<(), Stopped> {
        match self.signals.recv_timeout(pause) {
            Ok(signal) => Err(Stopped::because(128 + signal as i32, format!("ended by {signal}"))),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(()),
        }
    }

    fn say(&self, line: &str) -> Result<(), Stopped> {
        Ok(writeln!(io::stdout().lock(), "{line}")?)
    }

    /// Takes down what was built, at whatever point that is.
    fn strike(&self) -> io::Result<()> {
        if self.directory.exists() {
            let mut unmount = Command::new("/proc/self/exe");
            unmount.args(["unmount", "--force", "vault"]).current_dir(&self.directory);
            // That nothing is mounted is no fault; and what is goes on to hold its directory.
            let _tried = unmount.process_group(0).output()?;
            fs::remove_dir_all(&self.directory)?;
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = self.strike() {
            let place = self.directory.display();
            let _nobody = writeln!(io::stderr(), "demo: {place} is left: {error}");
        }
    }
}

/// Why the demonstration ended early.
#[derive(Debug)]
struct Stopped {
    code: u8,
    why: String,
}

impl Stopped {
    fn failed(why: String) -> Self {
        Self { code: 1, why }
    }

    fn because(code: i32, why: String) -> Self {
        Self { code: u8::try_from(code).unwrap_or(1), why }
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::BrokenPipe { PIPE } else { 1 };
        Self { code, why: error.to_string() }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.why)
    }
}

/// The signals that end this program, received one by one instead.
fn signals() -> Result<Receiver<Signal>, Stopped> {
    let failed = |error| Stopped::failed(format!("signals: {error}"));
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block().map_err(failed)?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        while let Ok(signal) = set.wait() {
            if sender.send(signal).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

const IMDS: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
/// What a host that is in none of the known clouds needs to be told.
const OPTIONS: &str =
    "ca-file=ca.pem,resource=https://vault.azure.net,authority=https://login.microsoftonline.com";
const FTPADMIN: &str = "vault/ftpadmin";
const SITE_KEY: &str = "vault/site-key";
/// Ten times what it takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a shell reports of a program whose reader went away; he needs no telling.
const PIPE: u8 = 141;
