//! What a command that failed tells a person: what, why, what to do about it, and the exit code.

use std::fmt;
use std::io;
use std::io::Write;

use crate::cli::settings::Place;
use crate::cli::values::Wrong;
use crate::log::one_line;
use crate::supervisor::mount::Failed;
use crate::tls::BadRoots;

/// Why a command ends without having done what was asked.
#[derive(Debug, Eq, PartialEq)]
pub struct Complaint {
    /// The exit code.
    pub exit: Exit,
    /// `what: why`.
    pub message: String,
    /// What can be done about it.
    pub hint: Option<String>,
}

impl Complaint {
    /// A complaint without a hint.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// Something that was typed cannot be.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Something that was typed cannot be, for this reason.
    #[must_use]
    pub fn wrong(what: impl fmt::Display, wrong: Wrong) -> Self {
        Self { hint: wrong.hint, ..Self::usage(format!("{what}: {}", wrong.why)) }
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with where what is wrong is written, if that is in a file and not said already.
    #[must_use]
    pub fn at(mut self, place: Option<&Place>) -> Self {
        let place = place.map(|place| format!("{place}: "));
        if let Some(place) = place.filter(|place| !self.message.starts_with(place)) {
            self.message.insert_str(0, &place);
        }
        self
    }

    /// Tells standard error, as far as it is there; but not that a reader went away, who knows.
    pub fn tell(&self) {
        if self.exit != Exit::Pipe {
            say(&self.to_string());
        }
    }
}

impl From<Failed> for Complaint {
    fn from(failed: Failed) -> Self {
        let exit = match failed.code {
            1 => Exit::Usage,
            32 => Exit::Mount,
            _ => Exit::System,
        };
        Self { exit, message: failed.message, hint: failed.hint }
    }
}

impl From<BadRoots> for Complaint {
    fn from(error: BadRoots) -> Self {
        let hint = error.hint().map(ToOwned::to_owned);
        Self { exit: Exit::System, message: format!("no TLS: {error}"), hint }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "akvfs: {}", one_line(&self.message))?;
        if let Some(hint) = &self.hint {
            write!(out, "\nhint: {}", one_line(hint))?;
        }
        Ok(())
    }
}

/// The exit codes, one meaning each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// The command line is wrong.
    Usage,
    /// This machine does not do what is needed: no /dev/fuse, a full disk.
    System,
    /// The vault holds no such secret.
    NotFound,
    /// The vault or the identity said no.
    Refused,
    /// Nobody answered, or the answer makes no sense.
    Unreachable,
    /// The mount failed, in mount(8)'s table.
    Mount,
    /// The reader of our output went away: what a shell reports of a program that SIGPIPE ended.
    Pipe,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Usage => 1,
            Self::System => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::Unreachable => 5,
            Self::Mount => 32,
            Self::Pipe => 141,
        }
    }
}

/// Says a line on standard error. Where that is closed or full, there is nobody to tell.
pub fn say(line: &str) {
    let _nobody = writeln!(io::stderr().lock(), "{line}");
}

/// What the system says of an error, as it says it elsewhere: "No such file or directory".
#[must_use]
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_cannot_write_lines_or_escapes_of_its_own() {
        let complaint = Complaint::usage("a\nakvfs: all is well\u{1b}[2J: no such option");
        assert_eq!(
            complaint.to_string(),
            "akvfs: a\\nakvfs: all is well\\u{1b}[2J: no such option"
        );
    }
}
