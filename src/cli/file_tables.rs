//! What `[[file]]` tables mean: rules for owner, group, mode and line feed of files by their names;
//! and who is let read a file by one, but not enter the directory.

use std::time::Duration;

use crate::cli::complaint::Complaint;
use crate::cli::config_file::Table;
use crate::cli::config_file::Word;
use crate::cli::owner;
use crate::cli::values;
use crate::cli::values::Wrong;
use crate::fuse::looks::Look;
use crate::fuse::looks::Rule;
use crate::fuse::view::View;

/// Understands the tables. A look-up of a user or group may take so long.
pub fn rules(tables: &[Table], patience: Duration) -> Result<Vec<Rule>, Complaint> {
    let rule = |table: &Table| {
        Ok(Rule {
            name: parsed("name", &table.name, values::glob)?,
            uid: optional("uid", &table.uid, |text| owner::user(text, patience))?,
            gid: optional("gid", &table.gid, |text| owner::group(text, patience))?,
            mode: optional("mode", &table.mode, values::file_mode)?,
            newline: table.newline,
        })
    };
    tables.iter().map(rule).collect()
}

/// Whom a table lets read, but the directory not enter: its owner, its group, or everybody. Nobody
/// is presumed to be in a group that he is not known to be in.
pub fn shut_out(
    tables: &[Table],
    view: &View,
    patience: Duration,
) -> Vec<(String, Option<String>)> {
    let plain = Look { uid: view.uid, gid: view.gid, mode: view.mode, newline: view.newline };
    let looks: Vec<Look> = view.rules.iter().map(|rule| rule.over(plain)).collect();
    let groups = owner::groups(looks.iter().map(|look| look.uid).collect(), patience);
    let mut warnings = Vec::new();
    for (table, look) in tables.iter().zip(looks) {
        let is_plain = Look { newline: plain.newline, ..look } == plain;
        let known = groups.get(&look.uid).map_or(&[][..], Vec::as_slice);
        let Some(who) = shut_out_by(table, look, view, known).filter(|_| !is_plain) else {
            continue;
        };
        let (place, name, dir_mode) = (&table.place, &table.name.text, view.dir_mode);
        warnings.push((
            format!(
                "{place}: [[file]] name={name} lets {who} read, but dir-mode=0{dir_mode:03o} not enter"
            ),
            Some(format!("dir-mode=0{:03o} lets everybody pass", dir_mode | OTHERS_PASS)),
        ));
    }
    warnings
}

/// Who may read a file of that look, whose owner is in these groups, and not pass the directory.
fn shut_out_by(table: &Table, look: Look, view: &View, groups: &[u32]) -> Option<String> {
    let spelled = |word: &Option<Word>, number: u32| {
        word.as_ref().map_or_else(|| number.to_string(), |word| word.text.clone())
    };
    let group_bit = |is_its: bool| if is_its { OTHERS_PASS << 3 } else { OTHERS_PASS };
    let owner_bit = match look.uid == view.uid {
        true => OTHERS_PASS << 6,
        false => group_bit(groups.contains(&view.gid)),
    };
    if look.mode & 0o400 != 0 && look.uid != 0 && view.dir_mode & owner_bit == 0 {
        return Some(format!("the user {}", spelled(&table.uid, look.uid)));
    }
    if look.mode & 0o040 != 0 && view.dir_mode & group_bit(look.gid == view.gid) == 0 {
        return Some(format!("the group {}", spelled(&table.gid, look.gid)));
    }
    let shut = look.mode & 0o004 != 0 && view.dir_mode & OTHERS_PASS == 0;
    shut.then(|| "everybody".to_owned())
}

fn optional<T>(
    key: &str,
    word: &Option<Word>,
    parse: impl FnOnce(&str) -> Result<T, Wrong>,
) -> Result<Option<T>, Complaint> {
    word.as_ref().map(|word| parsed(key, word, parse)).transpose()
}

fn parsed<T>(
    key: &str,
    word: &Word,
    parse: impl FnOnce(&str) -> Result<T, Wrong>,
) -> Result<T, Complaint> {
    parse(&word.text).map_err(|wrong| {
        let what = format_args!("[[file]] {key}={}", word.text);
        Complaint::wrong(what, wrong).at(Some(&word.place))
    })
}

const OTHERS_PASS: u16 = 0o001;
