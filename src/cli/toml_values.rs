//! Values of TOML, in the words in which an option would be given them.
//!
//! A flag is true or false; owners are names or numbers; all else is a string, as it is typed
//! elsewhere. What the words mean is not looked at.

use toml::de::DeInteger;
use toml::de::DeValue;

use crate::cli::option::Key;
use crate::cli::option::Kind;
use crate::cli::option::Opt;
use crate::cli::values::Wrong;

/// What a value says of an option.
#[derive(Debug, Eq, PartialEq)]
pub enum Said {
    /// It has this value.
    Text(String),
    /// It is a flag, given so many times.
    Times(u8),
}

/// What a value says of an option.
pub fn said(opt: &Opt, value: &DeValue<'_>) -> Result<Said, Wrong> {
    match (opt.kind, value) {
        (Kind::Flag, DeValue::Integer(number)) if opt.key == Key::Verbose => {
            let times = number.as_str().parse().ok().filter(|_| number.radix() == 10);
            times.map(Said::Times).ok_or_else(|| Wrong::new("the most is 255"))
        }
        (Kind::Flag | Kind::FlagOr(_), DeValue::Boolean(given)) => {
            Ok(Said::Times(u8::from(*given)))
        }
        (Kind::Flag, _) => flag(value).map(u8::from).map(Said::Times),
        _ => text(Some(opt.key), value).map(Said::Text),
    }
}

/// A value that is true or false.
pub fn flag(value: &DeValue<'_>) -> Result<bool, Wrong> {
    let DeValue::Boolean(given) = value else {
        return Err(Wrong::new(format!("not true or false but {}", kind(value))));
    };
    Ok(*given)
}

/// The words of a value for an option, or for what is none: a string.
pub fn text(option: Option<Key>, value: &DeValue<'_>) -> Result<String, Wrong> {
    let opt = option.and_then(Opt::row);
    match (option, value) {
        (_, DeValue::String(text)) if text.is_empty() => Err(Wrong::new("a value is missing")),
        (_, DeValue::String(text)) => Ok(text.to_string()),
        (Some(Key::Uid | Key::Gid | Key::RunAs), DeValue::Integer(number)) => decimal(number),
        (Some(Key::Secrets), DeValue::Array(globs)) => {
            let globs = globs.iter().map(|glob| text(None, glob.get_ref()));
            Ok(globs.collect::<Result<Vec<_>, _>>()?.join(":"))
        }
        (_, other) => {
            let wrong = Wrong::new(format!("not a string but {}", kind(other)));
            Err(match opt.and_then(|opt| Some((opt.name, example(opt, other)?))) {
                Some((name, example)) => wrong.hint(format!("write it as {name} = \"{example}\"")),
                None => wrong,
            })
        }
    }
}

/// What a value is, in words.
#[must_use]
pub const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// What could be meant. TOML's integers are decimal; the digits of a mode are octal.
fn example(opt: &Opt, value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Integer(number)
            if matches!(opt.key, Key::Mode | Key::DirMode) && matches!(number.radix(), 8 | 10) =>
        {
            Some(format!("{:0>4}", number.as_str()))
        }
        DeValue::Integer(number) if matches!(opt.kind, Kind::Duration(..)) => {
            Some(format!("{}s", number.as_str()))
        }
        DeValue::Integer(number) if matches!(opt.kind, Kind::Size(..)) => {
            Some(format!("{}M", number.as_str()))
        }
        DeValue::Integer(_)
        | DeValue::String(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => opt.default.map(ToOwned::to_owned),
    }
}

fn decimal(number: &DeInteger<'_>) -> Result<String, Wrong> {
    let number = i64::from_str_radix(number.as_str(), number.radix());
    number.map(|number| number.to_string()).map_err(|_| Wrong::new("the number is too large"))
}
