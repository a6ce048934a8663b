//! The file that `config=` names: TOML, whose keys are the options, and `[[file]]` tables.
//!
//! Its words become settings and tables, each with the line that it is on. That the keys exist, that
//! none is there twice and that values are of the right kind is seen here; what they mean is found
//! out elsewhere, as of what was typed.

use std::path::Path;

use toml::Spanned;
use toml::de::DeString;
use toml::de::DeTable;
use toml::de::DeValue;

use crate::cli::complaint::Complaint;
use crate::cli::option::Command;
use crate::cli::option::Key;
use crate::cli::option::Opt;
use crate::cli::settings::Place;
use crate::cli::settings::Settings;
use crate::cli::settings::complain;
use crate::cli::spelling::nearest;
use crate::cli::toml_values::Said;
use crate::cli::toml_values::flag;
use crate::cli::toml_values::kind;
use crate::cli::toml_values::said;
use crate::cli::toml_values::text;
use crate::cli::trusted;
use crate::cli::values::Wrong;

/// What a file says.
#[derive(Debug, Default)]
pub struct ConfigFile {
    /// The options.
    pub settings: Settings,
    /// The `[[file]]` tables, in their order.
    pub tables: Vec<Table>,
}

/// A `[[file]]` table.
#[derive(Debug)]
pub struct Table {
    /// Where it begins.
    pub place: Place,
    /// `name`: which secrets it is for.
    pub name: Word,
    /// `uid`.
    pub uid: Option<Word>,
    /// `gid`.
    pub gid: Option<Word>,
    /// `mode`.
    pub mode: Option<Word>,
    /// `newline`.
    pub newline: Option<bool>,
}

/// A value in a table, in the words in which an option would have it.
#[derive(Debug)]
pub struct Word {
    /// The value.
    pub text: String,
    /// Where it is.
    pub place: Place,
}

impl ConfigFile {
    /// Reads the file that `config=` names, if it names one. It must be of root's or of `owner`'s.
    pub fn of(settings: &Settings, owner: u32) -> Result<Self, Complaint> {
        let Some(file) = settings.given(Key::Config) else {
            return Ok(Self::default());
        };
        let text = trusted::read(Path::new(file), owner, LARGEST);
        let text = text.map_err(|wrong| complain(Key::Config, file, wrong))?;
        Reader { file, text: &text, ends: text.match_indices('\n').map(|(at, _)| at).collect() }
            .read()
    }
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    /// Where its lines end.
    ends: Vec<usize>,
}

type Entry<'t> = (&'t Spanned<DeString<'t>>, &'t Spanned<DeValue<'t>>);

impl Reader<'_> {
    fn read(&self) -> Result<ConfigFile, Complaint> {
        let document = DeTable::parse(self.text).map_err(|error| self.no_toml(&error))?;
        let mut file = ConfigFile::default();
        let mut seen: Vec<(Key, Place)> = Vec::new();
        for (key, value) in in_order(document.get_ref()) {
            if key.get_ref() == TABLES {
                file.tables = self.tables(value)?;
                continue;
            }
            let (name, place) = (key.get_ref(), self.place(key));
            let Some(opt) = Opt::find(Command::Mount, name) else {
                let known = Opt::of(Command::Mount).map(|opt| opt.name).chain([TABLES]);
                return Err(unknown(name, known).at(Some(&place)));
            };
            if opt.key == Key::Config {
                let why = "config: a file of options cannot name another one";
                return Err(Complaint::usage(why).at(Some(&place)));
            }
            // TOML takes `allow-other` and `allow_other` for two keys.
            if let Some((_, first)) = seen.iter().find(|(key, _)| *key == opt.key) {
                return Err(twice(name, first).at(Some(&place)));
            }
            seen.push((opt.key, place.clone()));
            match said(opt, value.get_ref()).map_err(|wrong| self.wrong(name, key, wrong))? {
                Said::Text(text) => file.settings.add_written(opt.key, text, place),
                Said::Times(times) => {
                    for _ in 0..times {
                        file.settings.add_written(opt.key, String::new(), place.clone());
                    }
                }
            }
        }
        Ok(file)
    }

    fn tables(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<Table>, Complaint> {
        let no_tables = |at: &Spanned<DeValue<'_>>| {
            Complaint::usage(format!("{TABLES}: not an array of tables but {}", kind(at.get_ref())))
                .hint("each table begins with [[file]]")
                .at(Some(&self.place(at)))
        };
        let DeValue::Array(array) = value.get_ref() else {
            return Err(no_tables(value));
        };
        let mut tables: Vec<Table> = Vec::new();
        for item in array.iter() {
            let DeValue::Table(table) = item.get_ref() else {
                return Err(no_tables(item));
            };
            let table = self.table(table, self.place(item))?;
            let same = |other: &&Table| other.name.text == table.name.text;
            if let Some(first) = tables.iter().find(same) {
                let name = &table.name.text;
                let why = format!("[[file]] name={name}: the one on line {} is", first.place.line);
                return Err(Complaint::usage(format!("{why} for the same names, and holds"))
                    .at(Some(&table.name.place)));
            }
            tables.push(table);
        }
        Ok(tables)
    }

    fn table(&self, table: &DeTable<'_>, place: Place) -> Result<Table, Complaint> {
        let (mut name, mut uid, mut gid, mut mode, mut newline) = (None, None, None, None, None);
        for (key, value) in in_order(table) {
            let wrong = |wrong| self.wrong(&format!("[[file]] {}", key.get_ref()), key, wrong);
            let word = |option| {
                let word = |text| Some(Word { text, place: self.place(key) });
                text(option, value.get_ref()).map(word).map_err(wrong)
            };
            match key.get_ref().as_ref() {
                "name" => name = word(None)?,
                "uid" => uid = word(Some(Key::Uid))?,
                "gid" => gid = word(Some(Key::Gid))?,
                "mode" => mode = word(Some(Key::Mode))?,
                "newline" => newline = Some(flag(value.get_ref()).map_err(wrong)?),
                other => {
                    let complaint = unknown(&format!("[[file]] {other}"), KEYS.into_iter());
                    let complaint = match Opt::find(Command::Mount, other) {
                        Some(_) => complaint.hint("options come before the first [[file]]"),
                        None => complaint,
                    };
                    return Err(complaint.at(Some(&self.place(key))));
                }
            }
        }
        let Some(name) = name else {
            return Err(Complaint::usage("[[file]] name: it is missing")
                .hint("write name = \"site-*\", a glob as secrets= takes")
                .at(Some(&place)));
        };
        Ok(Table { place, name, uid, gid, mode, newline })
    }

    /// What the parser does not understand. Its words name what it expects, and nothing of the file.
    fn no_toml(&self, error: &toml::de::Error) -> Complaint {
        let offset = error.span().map_or(0, |span| span.start);
        let start =
            self.text.get(..offset).and_then(|text| text.rfind('\n')).map_or(0, |at| at + 1);
        let line = self.text.get(start..).and_then(|text| text.lines().next()).unwrap_or_default();
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let (key, value) = (key.trim(), value.trim());
        let known = |key: &&str| Opt::find(Command::Mount, key).is_some() || KEYS.contains(key);
        let what = Some(key).filter(known).unwrap_or("this is not TOML");
        let why = match (value, line.contains('=')) {
            ("", true) => "a value is missing",
            _ => error.message().trim_end_matches(", expected nothing"),
        };
        let complaint = Complaint::usage(format!("{what}: {why}"));
        let octal = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let complaint = match key {
            "mode" | "dir-mode" if octal => complaint.hint(format!("write {key} = \"{value}\"")),
            _ => complaint,
        };
        complaint.at(Some(&self.line(offset)))
    }

    fn wrong(&self, name: &str, key: &Spanned<DeString<'_>>, wrong: Wrong) -> Complaint {
        Complaint::wrong(name, wrong).at(Some(&self.place(key)))
    }

    fn place<T>(&self, written: &Spanned<T>) -> Place {
        self.line(written.span().start)
    }

    fn line(&self, offset: usize) -> Place {
        let line = self.ends.partition_point(|end| *end < offset) + 1;
        Place { file: self.file.to_owned(), line }
    }
}

/// The entries of a table as they follow each other in the file.
fn in_order<'t>(table: &'t DeTable<'t>) -> Vec<Entry<'t>> {
    let mut entries: Vec<Entry<'t>> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// The value is not told: it may be what belongs into a secret.
fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Complaint {
    let name = if name.is_empty() { "\"\"" } else { name };
    let complaint = Complaint::usage(format!("{name}: there is no such key"));
    match nearest(name.trim_start_matches("[[file]] "), known) {
        Some(near) => complaint.hint(format!("the nearest is {near}")),
        None => complaint,
    }
}

fn twice(name: &str, first: &Place) -> Complaint {
    Complaint::usage(format!("{name}: given twice, the first time on line {}", first.line))
}

/// The key of the tables, which is no option's.
const TABLES: &str = "file";

/// The keys in a table.
const KEYS: [&str; 5] = ["name", "uid", "gid", "mode", "newline"];

/// Far more than a person writes.
const LARGEST: u64 = 256 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<ConfigFile, Complaint> {
        let ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Reader { file: "f", text, ends }.read()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn whatever_is_in_a_file_is_taken_or_complained_of_in_one_line_with_its_place(
            lines in proptest::collection::vec(
                "\\PC{0,12}|(mode|uid|file|newline|secrets|\\[\\[file\\]\\]|name)? ?=? ?(\"[a-z*]{0,4}\"|true|[0-9]{1,4}|\\[\"a\", 5\\])",
                0..6,
            ),
        ) {
            let text = lines.join("\n");
            if let Err(complaint) = read(&text) {
                let place = complaint.message.strip_prefix("f:").and_then(|rest| rest.split_once(": "));
                let line: usize = place.unwrap().0.parse().unwrap();
                prop_assert!((1..=lines.len().max(1)).contains(&line), "{}", complaint);
            }
        }
    }

    #[test]
    fn options_and_tables_know_their_lines() {
        let file =
            read("refresh = \"5s\"\n\n[[file]]\n  name = \"a\"\n\n[[file]]\nname = \"b\"").unwrap();
        assert_eq!(file.settings.place(Key::Refresh).map(|place| place.line), Some(1));
        let lines: Vec<_> =
            file.tables.iter().map(|table| (table.place.line, table.name.place.line)).collect();
        assert_eq!(lines, [(3, 4), (6, 7)]);
    }
}
