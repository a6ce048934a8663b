//! `akvfs status`: how mounts stand, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::alarm::Alarm;
use crate::cli::arguments::Status;
use crate::cli::complaint::Complaint;
use crate::cli::complaint::Exit;
use crate::cli::environment;
use crate::cli::output;
use crate::cli::reach;
use crate::cli::reach::Silence;
use crate::cli::reach::Target;
use crate::clock;
use crate::control::protocol::Line;
use crate::control::protocol::Mount;
use crate::control::protocol::Request;
use crate::control::protocol::Secret;
use crate::control::protocol::Serving;
use crate::log::one_line;

/// All that `--json` shows.
#[derive(Serialize)]
struct Mounts<'a> {
    mounts: &'a [Mount],
}

/// Writes how one mount stands, or each there is. What is amiss decides the exit code.
pub fn run(order: &Status) -> Result<(), Complaint> {
    let control = environment::control()?;
    let targets = match &order.directory {
        Some(directory) => vec![reach::find(directory, control.as_deref())?],
        None => reach::all(control.as_deref())?,
    };
    let mut mounts = Vec::new();
    for target in &targets {
        match ask(target) {
            Ok(mount) => mounts.push(mount),
            Err(complaint) if order.directory.is_some() => return Err(complaint),
            Err(_) => mounts.push(unheard(target, Serving::Silent)),
        }
    }
    let text = if order.json { json(&mounts) } else { mounts.iter().map(table).collect() };
    output::write(text.as_bytes())?;
    match mounts.iter().find_map(amiss) {
        Some(complaint) => Err(complaint),
        None => Ok(()),
    }
}

/// Asks until somebody has answered who knows. A worker that has just died is back in a moment.
fn ask(target: &Target) -> Result<Mount, Complaint> {
    let since = clock::awake();
    loop {
        let left = PATIENCE.saturating_sub(clock::awake().saturating_sub(since));
        let heard = target.ask(&Request::Status).and_then(|mut client| client.next(Some(left)));
        let passed = clock::awake().saturating_sub(since);
        match heard {
            Ok(Some(Line::Mount(mount)))
                if mount.state != Serving::Starting || passed >= PATIENCE =>
            {
                return Ok(*mount);
            }
            Ok(Some(Line::Error(error))) => {
                return Err(target.refused(&error));
            }
            Ok(_) if passed >= PATIENCE => return Ok(unheard(target, Serving::Silent)),
            Ok(_) => {}
            Err(error) => match target.silence(&error) {
                Silence::Late => return Ok(unheard(target, Serving::Silent)),
                Silence::Dead => return Ok(unheard(target, Serving::Dead)),
                // It has only just been mounted.
                Silence::NoSocket if passed < BIRTH => {}
                Silence::NoSocket | Silence::Denied | Silence::TooMuch => {
                    return Err(target.complain(&error));
                }
            },
        }
        reach::pause(PAUSE);
    }
}

/// A mount of which only the table of mounts tells.
fn unheard(target: &Target, state: Serving) -> Mount {
    let error = match state {
        Serving::Dead => "nobody serves this mount any more",
        Serving::Serving
        | Serving::Starting
        | Serving::CrashLoop
        | Serving::Leaving
        | Serving::Silent => "its processes do not answer",
    };
    Mount {
        directory: target.directory().to_string_lossy().into_owned(),
        vault: target.vault(),
        state,
        error: Some(error.to_owned()),
        ..Mount::default()
    }
}

/// What a person must be told of a mount, if anything.
fn amiss(mount: &Mount) -> Option<Complaint> {
    let complain =
        |exit, why: &str| Some(Complaint::new(exit, format!("{}: {why}", mount.directory)));
    let error = mount.error.as_deref();
    match mount.state {
        Serving::Serving | Serving::Leaving => {}
        Serving::Dead => {
            let complaint = complain(Exit::System, error.unwrap_or("nobody serves it"))?;
            return Some(complaint.hint(format!("akvfs unmount {}", mount.directory)));
        }
        Serving::Starting | Serving::CrashLoop | Serving::Silent => {
            let why = error.map_or_else(String::new, |error| format!(": {error}"));
            return complain(Exit::Unreachable, &format!("it has no worker{why}"));
        }
    }
    let unverified =
        |alarm: Alarm| matches!(alarm, Alarm::Unverified | Alarm::StaleEnded | Alarm::Unauthorized);
    let alarm = mount.alarms.iter().find(|standing| unverified(standing.alarm))?;
    complain(Exit::Unreachable, &alarm.message)
}

fn json(mounts: &[Mount]) -> String {
    // Strings, numbers and maps of strings are always JSON.
    serde_json::to_string_pretty(&Mounts { mounts }).unwrap_or_default() + "\n"
}

/// What a person sees of a mount. What a stranger may have written is made harmless.
fn table(mount: &Mount) -> String {
    let mut text = String::new();
    let state = word(&mount.state);
    let since = mount.since.as_ref().map_or_else(String::new, |since| format!(" since {since}"));
    line(&mut text, &format!("{}: {}, {state}{since}", mount.directory, mount.vault));
    if let Some(identity) = &mount.identity {
        let token = mount.token.as_ref().map_or("none", |token| &token.expires);
        let (source, list) = (&identity.source, word(&mount.list));
        line(&mut text, &format!("  identity {source}, token until {token}, list {list}"));
    }
    let sandbox = mount.sandbox.join(", ");
    line(&mut text, &format!("  restarts {}, worker: {sandbox}", mount.restarts));
    if let Some(error) = &mount.error {
        line(&mut text, &format!("  {error}"));
    }
    for standing in &mount.alarms {
        let alarm = word(&standing.alarm);
        line(&mut text, &format!("  ALARM {alarm} since {}: {}", standing.since, standing.message));
    }
    let rows = mount.secrets.iter().map(row).collect::<Vec<_>>();
    if rows.is_empty() {
        return text;
    }
    let titles = ["SECRET", "STATE", "VERSION", "VERIFIED", "NEXT"].map(ToOwned::to_owned);
    let rows = [vec![titles], rows].concat();
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        line(&mut text, &format!("  {}", cells.collect::<Vec<_>>().join("  ").trim_end()));
    }
    text
}

fn row(secret: &Secret) -> [String; 5] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        secret.name.to_string(),
        word(&secret.state),
        or_dash(secret.version.map(|version| version.to_string())),
        or_dash(secret.verified.clone()),
        or_dash(secret.next.clone()),
    ]
}

fn line(text: &mut String, line: &str) {
    let _infallible = writeln!(text, "{}", one_line(line));
}

/// The word that JSON has for it.
pub(super) fn word(word: &impl Serialize) -> String {
    let word = serde_json::to_value(word).unwrap_or_default();
    word.as_str().unwrap_or_default().to_owned()
}

/// How long a mount has to answer: longer than a worker that hangs is borne with.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a mount may take from its place in the table to its control socket.
const BIRTH: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_who_answers_writes_no_lines_and_no_escapes() {
        let mount = Mount {
            directory: "/mnt\n/mnt/other: all is well\u{1b}[2J".to_owned(),
            since: Some("now\r".to_owned()),
            ..Mount::default()
        };
        let text = table(&mount);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains(['\u{1b}', '\r']), "{text}");
    }

    #[test]
    fn what_is_amiss_decides_the_exit_code() {
        let exit = |state| amiss(&Mount { state, ..Mount::default() }).map(|it| it.exit);
        assert_eq!(exit(Serving::Serving), None);
        assert_eq!(exit(Serving::Dead), Some(Exit::System));
        assert_eq!(exit(Serving::CrashLoop), Some(Exit::Unreachable));
    }
}
