//! `akvfs refresh`: the vault is asked now, and what came of it is written, name by name.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::time::Duration;

use crate::cli::arguments::Refresh;
use crate::cli::complaint::Complaint;
use crate::cli::complaint::Exit;
use crate::cli::environment;
use crate::cli::output;
use crate::cli::reach;
use crate::cli::reach::Target;
use crate::clock;
use crate::control::client::Client;
use crate::control::protocol::Found;
use crate::control::protocol::Line;
use crate::control::protocol::No;
use crate::control::protocol::Request;
use crate::control::protocol::Seen;
use crate::log::one_line;

/// Asks, and waits. The first that is not as it should be decides the exit code.
pub fn run(order: &Refresh) -> Result<(), Complaint> {
    let secrets = reach::names(&order.secrets)?;
    let target = reach::find(&order.directory, environment::control()?.as_deref())?;
    let request = Request::Refresh { secrets };
    let mut told = Told { names: HashSet::new(), broken: None };
    let since = clock::awake();
    loop {
        let error = match target.ask(&request).and_then(|client| hear(&target, client, &mut told)) {
            Ok(Heard::All) => return told.broken.map_or(Ok(()), Err),
            Ok(Heard::Complaint(complaint)) => return Err(complaint),
            // The worker is not there, or died meanwhile: the next one knows what this one knew.
            Ok(Heard::Part(why)) => std::io::Error::new(ErrorKind::UnexpectedEof, why),
            Err(error) => error,
        };
        let is_over = clock::awake().saturating_sub(since) >= PATIENCE;
        let may_pass = error.kind() == ErrorKind::UnexpectedEof;
        if is_over || !may_pass {
            return Err(no_answer(&target, &error));
        }
        reach::pause(PAUSE);
    }
}

/// What has been told, and the first thing that is not as it should be.
struct Told {
    names: HashSet<String>,
    broken: Option<Complaint>,
}

enum Heard {
    All,
    Part(String),
    Complaint(Complaint),
}

fn hear(target: &Target, mut client: Client, told: &mut Told) -> std::io::Result<Heard> {
    let mut patience = PATIENCE;
    while let Some(line) = client.next(Some(patience))? {
        match line {
            Line::Wait(most) => patience = PATIENCE.saturating_add(Duration::from_millis(most)),
            Line::Secret(seen) if told.names.contains(&seen.name) => {}
            Line::Secret(seen) => match tell(&seen) {
                Ok(broken) => {
                    told.broken = told.broken.take().or(broken);
                    told.names.insert(seen.name);
                }
                Err(complaint) => return Ok(Heard::Complaint(complaint)),
            },
            // A vault that refuses its list is none that is broken.
            Line::List(Seen { found: Found::No(no), .. }) if !matches!(no, No::Refused) => {
                let complaint = Complaint::new(exit(no), format!("list: {}", words(no)));
                told.broken = told.broken.take().or(Some(complaint));
            }
            Line::List(_) => {}
            Line::Done => return Ok(Heard::All),
            Line::Error(error) => {
                return Ok(Heard::Complaint(target.refused(&error)));
            }
            Line::Mount(mount) => {
                let why = mount.error.unwrap_or_else(|| "it starts".to_owned());
                return Ok(Heard::Part(format!("it has no worker: {why}")));
            }
        }
    }
    Ok(Heard::Part("the worker went away".to_owned()))
}

/// Writes what came of a name. Gives what is wrong with that, if anything.
fn tell(seen: &Seen) -> Result<Option<Complaint>, Complaint> {
    let name = &seen.name;
    let version = seen.version.map(|version| version.to_string()).unwrap_or_default();
    let (text, exit) = match seen.found {
        Found::New => (format!("new version {version}"), None),
        Found::Unchanged | Found::Listed => ("unchanged".to_owned(), None),
        Found::NotAsked => {
            let why = "not asked about in time: raise open-timeout, or name fewer";
            (why.to_owned(), Some(Exit::Unreachable))
        }
        Found::No(no) => (words(no).to_owned(), Some(exit(no))),
    };
    let line = one_line(&format!("{name}: {text}"));
    output::write(format!("{line}\n").as_bytes())?;
    Ok(exit.map(|exit| Complaint::new(exit, line)))
}

/// Why there is no value, for people.
#[must_use]
pub fn words(no: No) -> &'static str {
    match no {
        No::Missing => "missing",
        No::Disabled => "refused: it is disabled",
        No::Refused => "refused: no permission, by policy, role or firewall",
        No::Expired => "refused: its time is over",
        No::NotYet => "refused: its time is to come",
        No::Firewall => "unreachable: the vault's firewall is in the way",
        No::NoIdentity => "unreachable: there is no identity",
        No::NoToken => "unreachable: the identity gave no token",
        No::Unauthorized => "refused: the vault takes no token",
        No::Throttled => "unreachable: too many requests",
        No::Unreachable => "unreachable",
        No::Nonsense => "unreachable: the answer makes no sense",
        No::NoRoom => "no room for the value: raise room=",
    }
}

const fn exit(no: No) -> Exit {
    match no {
        No::Missing => Exit::NotFound,
        No::Disabled
        | No::Refused
        | No::Expired
        | No::NotYet
        | No::NoIdentity
        | No::Unauthorized => Exit::Refused,
        No::NoRoom => Exit::System,
        No::NoToken | No::Throttled | No::Unreachable | No::Firewall | No::Nonsense => {
            Exit::Unreachable
        }
    }
}

fn no_answer(target: &Target, error: &std::io::Error) -> Complaint {
    if error.kind() != ErrorKind::UnexpectedEof {
        return target.complain(error);
    }
    let directory = target.directory().display();
    Complaint::new(Exit::Unreachable, format!("{directory}: {error}"))
}

/// How long a worker may be away, and how late an answer may be.
const PATIENCE: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(100);
