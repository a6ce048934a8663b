//! What was typed for the options of the table, not yet understood.

use std::fmt;
use std::time::Duration;

use crate::cli::complaint::Complaint;
use crate::cli::complaint::Exit;
use crate::cli::option::Key;
use crate::cli::option::Kind;
use crate::cli::option::Opt;
use crate::cli::values;
use crate::cli::values::Wrong;

/// The options given, in the order of their weight: of two of a name, the later holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    given: Vec<Given>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Given {
    key: Key,
    value: String,
    place: Option<Place>,
}

/// Where in a file something is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The file, as typed.
    pub file: String,
    /// The line, the first being 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.file, self.line)
    }
}

impl Settings {
    /// Adds one, over what was there.
    pub fn add(&mut self, key: Key, value: String) {
        self.given.push(Given { key, value, place: None });
    }

    /// Adds one that is written in a file, over what was there.
    pub fn add_written(&mut self, key: Key, value: String, place: Place) {
        self.given.push(Given { key, value, place: Some(place) });
    }

    /// Adds a flag so many times.
    pub fn repeat(&mut self, flag: Key, times: u8) {
        for _ in 0..times {
            self.add(flag, String::new());
        }
    }

    /// Adds others, over what was there.
    pub fn append(&mut self, mut others: Self) {
        self.given.append(&mut others.given);
    }

    /// The value of an option: the one given, else the default, if there is one.
    #[must_use]
    pub fn text(&self, key: Key) -> Option<&str> {
        self.given(key).or_else(|| Opt::row(key).and_then(|opt| opt.default))
    }

    /// The value given to an option.
    #[must_use]
    pub fn given(&self, key: Key) -> Option<&str> {
        self.last(key).map(|given| given.value.as_str())
    }

    /// Where the value of an option is written, if that is in a file.
    #[must_use]
    pub fn place(&self, key: Key) -> Option<&Place> {
        self.last(key).and_then(|given| given.place.as_ref())
    }

    /// How often a flag was given.
    #[must_use]
    pub fn count(&self, key: Key) -> usize {
        self.given.iter().filter(|given| given.key == key).count()
    }

    /// How often `-v` was given.
    #[must_use]
    pub fn verbosity(&self) -> u8 {
        u8::try_from(self.count(Key::Verbose)).unwrap_or(u8::MAX)
    }

    /// The value of an option, understood.
    pub fn parsed<T>(
        &self,
        key: Key,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Result<Option<T>, Complaint> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        parse(text).map(Some).map_err(|wrong| complain(key, text, wrong).at(self.place(key)))
    }

    /// The value of an option that takes one of these words, as what the word stands for.
    pub fn one_of<T: Copy>(&self, key: Key, words: &[(&str, T)]) -> Result<Option<T>, Complaint> {
        let name = Opt::row(key).map_or("", |opt| opt.name);
        self.parsed(key, |text| values::one_of(name, text, words))
    }

    /// The value of an option that is a duration; zero for any other option.
    pub fn duration(&self, key: Key) -> Result<Duration, Complaint> {
        let Some(Kind::Duration(least, most)) = Opt::row(key).map(|opt| opt.kind) else {
            return Ok(Duration::ZERO);
        };
        let span = self.parsed(key, |text| values::duration(text, least, most))?;
        Ok(span.unwrap_or_default())
    }

    /// The value of an option that is a size; zero for any other option.
    pub fn size(&self, key: Key) -> Result<u64, Complaint> {
        let Some(Kind::Size(least, most)) = Opt::row(key).map(|opt| opt.kind) else {
            return Ok(0);
        };
        let bytes = self.parsed(key, |text| values::size(text, least, most))?;
        Ok(bytes.unwrap_or_default())
    }

    /// Says where what is wrong is written. That is the line without which something else is wrong,
    /// or nothing; `again` tries.
    #[must_use]
    pub fn located(
        &self,
        complaint: Complaint,
        again: impl Fn(&Self) -> Option<Complaint>,
    ) -> Complaint {
        // What somebody answered, or did not, is no line's fault; and asking takes time.
        if complaint.exit != Exit::Usage {
            return complaint;
        }
        let at_fault = |given: &&Given| {
            let mut others = self.clone();
            others.given.retain(|other| other != *given);
            given.place.is_some() && again(&others).as_ref() != Some(&complaint)
        };
        let place = self.given.iter().find(at_fault).and_then(|given| given.place.as_ref());
        complaint.at(place)
    }

    fn last(&self, key: Key) -> Option<&Given> {
        self.given.iter().rev().find(|given| given.key == key)
    }
}

/// What to tell of an option whose value cannot be.
#[must_use]
pub fn complain(key: Key, text: &str, wrong: Wrong) -> Complaint {
    let name = Opt::row(key).map_or("", |opt| opt.name);
    Complaint::wrong(format_args!("{name}={text}"), wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_answered_is_no_lines_fault_and_nobody_is_asked_again() {
        let mut settings = Settings::default();
        let place = Place { file: "f".to_owned(), line: 1 };
        settings.add_written(Key::Identity, "system".to_owned(), place);
        let told = |exit| settings.located(Complaint::new(exit, "no answer"), |_| None).message;
        assert_eq!(told(Exit::Usage), "f:1: no answer");
        for exit in [Exit::Mount, Exit::Unreachable, Exit::Refused, Exit::System] {
            assert_eq!(told(exit), "no answer");
        }
    }
}
