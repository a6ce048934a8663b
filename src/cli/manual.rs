//! The manual page: packaging/akvfs.1.in with the options filled in from their table.

use std::fmt::Write as _;

use crate::cli::mount_options;
use crate::cli::option::Command;
use crate::cli::option::Opt;
use crate::cli::options::OPTIONS;

/// The page, for man(1).
#[must_use]
pub fn page() -> String {
    let options: String = OPTIONS.iter().map(entry).collect();
    TEMPLATE
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@OPTIONS@", options.trim_end())
        .replace("@IGNORED@", &ignored())
}

fn entry(opt: &Opt) -> String {
    let mut text = String::from(".TP\n");
    let name = escape(opt.name);
    let long = escape(&opt.long());
    let letter = match opt.letter {
        Some(letter) => format!("\\fB\\-{letter}\\fR, "),
        None => String::new(),
    };
    let value = match opt.placeholder() {
        Some(placeholder) => format!("=\\fI{}\\fR", escape(&placeholder)),
        None => String::new(),
    };
    let _infallible =
        writeln!(text, "{letter}\\fB\\-\\-{long}\\fR{value}, \\fB\\-o {name}\\fR{value}");
    let (help, default) = match opt.help.strip_suffix(']').and_then(|h| h.split_once(" [default: "))
    {
        Some((help, default)) => (help, Some(default)),
        None => (opt.help, opt.default),
    };
    let first = help.get(..1).unwrap_or_default().to_uppercase();
    let rest = help.get(1..).unwrap_or_default();
    let _infallible = writeln!(text, "{}{}.", first, escape(rest));
    if let Some(default) = default {
        let _infallible = writeln!(text, "The default is \\fB{}\\fR.", escape(default));
    }
    if opt.commands != [Command::Mount] {
        let also = match opt.commands.contains(&Command::List) {
            true => "\\fBget\\fR and \\fBlist\\fR take",
            false => "\\fBget\\fR takes",
        };
        let _infallible = writeln!(text, "{also} it as well.");
    }
    text
}

fn ignored() -> String {
    let words: Vec<String> =
        mount_options::ignored().map(|name| format!("\\fB{}\\fR", escape(name))).collect();
    words.join(", ")
}

/// A hyphen is a minus sign where it may be typed, and nothing begins a request.
fn escape(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

const TEMPLATE: &str = include_str!("../../packaging/akvfs.1.in");
