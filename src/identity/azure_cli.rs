//! `az`, for a laptop: the token of whoever logged in there.
//!
//! It is a program that is run, with a person's rights and where that person's files are. It is run
//! by its path, in an environment of four variables, and left after ten seconds.

use std::io;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process_group;
use serde::Deserialize;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::clock;
use crate::identity::date;
use crate::identity::no_token::NoProof;
use crate::identity::no_token::Reason;
use crate::identity::token::NoSense;
use crate::identity::token::Token;
use crate::json;
use crate::model::secret::SecretBytes;

/// Where `az` is, and what it needs of its person's environment.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Program {
    /// The program, by its whole path.
    pub path: PathBuf,
    /// Where it looks for what it starts itself.
    pub search: String,
    /// The home of whoever logged in.
    pub home: String,
    /// Where the log-in is kept, if not in the home.
    pub config: Option<String>,
}

/// `az`, asked for tokens for one resource.
#[derive(Clone, Debug)]
pub(crate) struct AzureCli {
    program: Program,
    resource: String,
}

/// What it writes, as far as it matters.
#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow, rename = "accessToken")]
    token: &'a RawValue,
    expires_on: Option<i64>,
    /// Older ones have the hour of their place on earth alone.
    #[serde(rename = "expiresOn")]
    local: Option<String>,
}

impl AzureCli {
    pub(crate) fn new(program: &Program, resource: &str) -> Self {
        Self { program: program.clone(), resource: resource.to_owned() }
    }

    pub(crate) async fn ask(&self) -> Result<Token, Reason> {
        let mut child = self.command().spawn().map_err(|error| self.no_program(&error))?;
        let mut group = Group { leader: Pid::from_child(&child), has_ended: false };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let said = tokio::task::spawn_blocking(move || read(stdout));
        let complained = tokio::task::spawn_blocking(move || read(stderr));
        let ended = tokio::task::spawn_blocking(move || child.wait());
        let all = async { tokio::join!(said, complained, ended) };
        let all = tokio::time::timeout(PATIENCE, all).await;
        let (said, complained, ended) =
            all.map_err(|_| failed("it says nothing for ten seconds"))?;
        group.has_ended = ended.is_ok();
        match (said, complained, ended) {
            (Ok(Some(text)), _, Ok(Ok(status))) if status.success() => token(&text, clock::wall()),
            (_, Ok(Some(complaint)), Ok(Ok(_))) => Err(refused(&complaint)),
            _ => Err(failed("it cannot be heard")),
        }
    }

    fn command(&self) -> Command {
        let Program { path, search, home, config } = &self.program;
        let mut command = Command::new(path);
        command
            .args(["account", "get-access-token", "--output", "json", "--scope"])
            .arg(format!("{}/.default", self.resource))
            .env_clear()
            .env("PATH", search)
            .env("HOME", home)
            // Where the time of an older one's `expiresOn` is.
            .env("TZ", "UTC")
            .envs(config.iter().map(|config| ("AZURE_CONFIG_DIR", config)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // It is a script that starts another: they end together.
            .process_group(0);
        command
    }

    fn no_program(&self, error: &io::Error) -> Reason {
        Reason::NoProof(NoProof {
            what: format!("{}: {}", self.program.path.display(), error.kind()),
            hint: Some("is az installed?".to_owned()),
            heals: false,
        })
    }
}

/// The processes that were started, which end when nobody waits for them any more.
struct Group {
    leader: Pid,
    has_ended: bool,
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.has_ended {
            let _gone = kill_process_group(self.leader, Signal::KILL);
        }
    }
}

fn read(pipe: Option<impl Read>) -> Option<SecretBytes> {
    let mut text = Vec::with_capacity(LARGEST);
    let read = pipe?.take(LARGEST as u64).read_to_end(&mut text);
    let text = SecretBytes::new(text);
    read.is_ok().then_some(text)
}

fn token(text: &SecretBytes, now: i64) -> Result<Token, Reason> {
    let asked = clock::now();
    let output: Option<Output<'_>> = json::object(text.expose());
    let nonsense = |why| Reason::Nonsense(NoSense(why));
    let output = output.ok_or(nonsense("what it writes is no token"))?;
    let end = output.expires_on.or_else(|| date::seconds(output.local.as_deref()?));
    let life = end.and_then(|end| u64::try_from(end.checked_sub(now)?).ok());
    let life = Duration::from_secs(life.ok_or(nonsense("it does not say how long a token lives"))?);
    let secret = json::secret(output.token).ok_or(nonsense("the token is no text"))?;
    Token::of(secret, asked, life).map_err(Reason::Nonsense)
}

/// Its words name people and tenants: they are looked at, and not repeated.
fn refused(complaint: &SecretBytes) -> Reason {
    let text = String::from_utf8_lossy(complaint.expose());
    let why = if text.contains("az login") { "nobody is logged in" } else { "it fails" };
    failed(why)
}

fn failed(why: &str) -> Reason {
    Reason::NoProof(NoProof { what: why.to_owned(), hint: Some(LOG_IN.to_owned()), heals: false })
}

const LOG_IN: &str = "as the user that this runs as: az login";
const PATIENCE: Duration = Duration::from_secs(10);
const LARGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Token, Reason> {
        token(&SecretBytes::new(text.as_bytes().to_vec()), 1_767_366_245)
    }

    fn life(text: &str) -> Duration {
        let token = read(text).unwrap();
        assert_eq!(token.secret().expose(), b"t0ken");
        token.expires().since(clock::now())
    }

    #[test]
    fn the_end_is_taken_from_seconds_or_else_from_a_date_in_utc() {
        let hour = Duration::from_secs(3590)..=Duration::from_secs(3600);
        let both = r#"{"accessToken":"t0ken","expiresOn":"2026-01-02 23:59:59.999999",
            "expires_on":1767369845,"subscription":"s","tenant":"t","tokenType":"Bearer"}"#;
        assert!(hour.contains(&life(both)));
        let old = r#"{"accessToken":"t0ken","expiresOn":"2026-01-02 16:04:05.999999",
            "tokenType":"Bearer"}"#;
        assert!(hour.contains(&life(old)));
    }

    #[test]
    fn what_is_no_token_is_none() {
        for bad in [
            "",
            "[]",
            "Please run az login",
            r#"{"accessToken":"t0ken"}"#,
            r#"{"accessToken":"t0ken","expires_on":1}"#,
            r#"{"accessToken":"","expires_on":1767369845}"#,
            r#"{"accessToken":"a b","expires_on":1767369845}"#,
            r#"{"accessToken":17,"expires_on":1767369845}"#,
            r#"{"accessToken":"t0ken","expires_on":99999999999}"#,
            r#"{"accessToken":"t0ken","expiresOn":"soon"}"#,
        ] {
            assert!(matches!(read(bad), Err(Reason::Nonsense(_))), "{bad}");
        }
    }

    #[test]
    fn its_complaints_are_not_repeated() {
        let complaint = b"ERROR: AADSTS50173 alice@contoso.com. Run: az login --tenant 7e4a";
        let Reason::NoProof(no_proof) = refused(&SecretBytes::new(complaint.to_vec())) else {
            panic!("it is one");
        };
        assert_eq!(no_proof.what, "nobody is logged in");
    }
}
