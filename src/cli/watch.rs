//! `akvfs watch`: a line, or a command, for each new version and each refusal.
//!
//! It knows what was so when it began and what it has told, and compares: what a mount says first
//! after its worker was replaced is news only where it differs. What changes while a command runs
//! is told when that has ended, each name once.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Condvar;
use parking_lot::Mutex;

use crate::cli::arguments::Watch;
use crate::cli::complaint::Complaint;
use crate::cli::complaint::Exit;
use crate::cli::complaint::reason;
use crate::cli::complaint::say;
use crate::cli::environment;
use crate::cli::output;
use crate::cli::reach;
use crate::cli::reach::Silence;
use crate::cli::reach::Target;
use crate::cli::status::word;
use crate::clock;
use crate::control::client::Client;
use crate::control::protocol::Found;
use crate::control::protocol::Line;
use crate::control::protocol::Request;
use crate::control::protocol::Seen;

/// Tells what changes until the mount ends.
pub fn run(order: &Watch) -> Result<(), Complaint> {
    let secrets = reach::names(&order.secrets)?;
    let target = reach::find(&order.directory, environment::control()?.as_deref())?;
    let news = Arc::new(News::default());
    let told = Arc::clone(&news);
    let _ends_with_the_mount = thread::spawn(move || {
        let ending = listen(&target, &Request::Watch { secrets }, &told);
        told.end(ending);
    });
    loop {
        match news.next() {
            Ok(seen) => tell(&seen, &order.command)?,
            Err(ending) => return ending,
        }
    }
}

/// Hears what there is to tell, from one worker after the other, until the mount ends.
fn listen(target: &Target, request: &Request, news: &News) -> Result<(), Complaint> {
    let mut known = HashMap::new();
    let mut alone = None;
    loop {
        let heard = target.ask(request).and_then(|client| hear(target, client, &mut known, news));
        match heard {
            Ok(Some(complaint)) => return Err(complaint),
            _ if !target.is_mounted() => return Ok(()),
            Ok(None) => alone = None,
            Err(error) => {
                let since = *alone.get_or_insert_with(clock::awake);
                let silence = target.silence(&error);
                let is_absence = matches!(silence, Silence::Dead | Silence::NoSocket);
                let is_long = clock::awake().saturating_sub(since) >= ABSENCE;
                if !is_absence || is_long {
                    return Err(target.complain(&error));
                }
            }
        }
        reach::pause(PAUSE);
    }
}

/// Hears one worker, until it goes away or complains.
fn hear(
    target: &Target,
    mut client: Client,
    known: &mut HashMap<String, Seen>,
    news: &News,
) -> std::io::Result<Option<Complaint>> {
    while let Some(line) = client.next(None)? {
        match line {
            Line::Secret(seen) => {
                let earlier = known.insert(seen.name.clone(), seen.clone());
                // What is heard of for the first time was so before.
                if earlier.is_some_and(|earlier| earlier != seen) {
                    news.add(seen);
                }
            }
            Line::Error(error) => {
                return Ok(Some(target.refused(&error)));
            }
            // There is no worker right now.
            Line::Mount(_) | Line::Done | Line::Wait(_) | Line::List(_) => return Ok(None),
        }
    }
    Ok(None)
}

fn tell(seen: &Seen, command: &[OsString]) -> Result<(), Complaint> {
    let version = seen.version.map(|version| version.to_string()).unwrap_or_default();
    let state = match seen.found {
        Found::No(no) => word(&no),
        Found::New | Found::Unchanged | Found::Listed | Found::NotAsked => "new".to_owned(),
    };
    let Some((program, arguments)) = command.split_first() else {
        let line = format!("{} {state} {version}", seen.name);
        return output::write(format!("{}\n", line.trim_end()).as_bytes());
    };
    let ran = Command::new(program)
        .args(arguments)
        .env("AKVFS_SECRET", &seen.name)
        .env("AKVFS_STATE", &state)
        .env("AKVFS_VERSION", &version)
        .status();
    let program = program.to_string_lossy();
    match ran {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            say(&Complaint::new(Exit::System, format!("watch: {program}: {status}")).to_string());
            Ok(())
        }
        Err(error) => {
            let why = reason(&error);
            Err(Complaint::new(Exit::System, format!("watch: cannot run {program}: {why}")))
        }
    }
}

/// What there is to tell, in order, each name once; and how it ended.
#[derive(Default)]
struct News {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    line: VecDeque<Seen>,
    ending: Option<Result<(), Complaint>>,
}

impl News {
    fn add(&self, seen: Seen) {
        let mut state = self.state.lock();
        match state.line.iter_mut().find(|waiting| waiting.name == seen.name) {
            Some(waiting) => *waiting = seen,
            None => state.line.push_back(seen),
        }
        self.changed.notify_one();
    }

    fn end(&self, ending: Result<(), Complaint>) {
        self.state.lock().ending = Some(ending);
        self.changed.notify_one();
    }

    /// The next to tell; or how it ended, once all is told.
    fn next(&self) -> Result<Seen, Result<(), Complaint>> {
        let mut state = self.state.lock();
        loop {
            if let Some(seen) = state.line.pop_front() {
                return Ok(seen);
            }
            if let Some(ending) = state.ending.take() {
                return Err(ending);
            }
            self.changed.wait(&mut state);
        }
    }
}

/// How long nobody may serve a mount before it is given up.
const ABSENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, found: Found) -> Seen {
        Seen { name: name.to_owned(), found, version: None }
    }

    #[test]
    fn what_changes_twice_before_it_is_told_is_told_once_as_it_is_then() {
        let news = News::default();
        news.add(seen("a", Found::New));
        news.add(seen("b", Found::New));
        news.add(seen("a", Found::Unchanged));
        news.end(Ok(()));
        assert_eq!(news.next().unwrap(), seen("a", Found::Unchanged));
        assert_eq!(news.next().unwrap(), seen("b", Found::New));
        assert_eq!(news.next(), Err(Ok(())));
    }
}
