//! How a file looks, by the name of its secret: whose it is, who may read it, and whether a value
//! that does not end in a line feed is shown with one.
//!
//! A mount has one look for all its files, and rules for some names. It decides about no caller:
//! the kernel does that, by what it is shown.

use std::borrow::Cow;

use glob::Pattern;
use serde::Deserialize;
use serde::Serialize;

use crate::model::name::SecretName;

/// How one file looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Look {
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u16,
    /// Whether a value that is not empty and does not end in a line feed is shown with one.
    pub newline: bool,
}

/// What is different for some names. What a rule does not say is as it is for the others.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Rule {
    /// The names, as a glob.
    pub name: String,
    /// Their owner.
    pub uid: Option<u32>,
    /// Their group.
    pub gid: Option<u32>,
    /// Their permission bits.
    pub mode: Option<u16>,
    /// Whether a line feed is added.
    pub newline: Option<bool>,
}

impl Rule {
    /// How a file looks to which this rule applies, where the others look like `plain`.
    #[must_use]
    pub fn over(&self, plain: Look) -> Look {
        Look {
            uid: self.uid.unwrap_or(plain.uid),
            gid: self.gid.unwrap_or(plain.gid),
            mode: self.mode.unwrap_or(plain.mode),
            newline: self.newline.unwrap_or(plain.newline),
        }
    }
}

/// How each file of a mount looks.
#[derive(Debug)]
pub struct Looks {
    plain: Look,
    rules: Vec<(Pattern, Look)>,
}

impl Looks {
    /// All look alike but for those that a rule is for. A glob that is none, which the command line
    /// refuses, is for no name.
    #[must_use]
    pub fn new(plain: Look, rules: &[Rule]) -> Self {
        let compiled = rules.iter().filter_map(|rule| {
            let glob = Pattern::new(&rule.name).ok()?;
            Some((glob, rule.over(plain)))
        });
        Self { plain, rules: compiled.collect() }
    }

    /// How the file of that name looks: the first rule that is for it decides, alone.
    #[must_use]
    pub fn of(&self, name: &SecretName) -> Look {
        let rule = self.rules.iter().find(|(glob, _)| glob.matches(name.as_str()));
        rule.map_or(self.plain, |(_, look)| *look)
    }

    /// How a file looks to which no rule applies.
    #[must_use]
    pub const fn plain(&self) -> Look {
        self.plain
    }
}

impl Look {
    /// How long a value is as it is shown.
    #[must_use]
    pub fn size(self, value: &[u8]) -> usize {
        value.len() + usize::from(self.adds_newline(value))
    }

    /// A part of a value as it is shown: at most `size` bytes from `offset` on.
    #[must_use]
    pub fn part(self, value: &[u8], offset: usize, size: usize) -> Cow<'_, [u8]> {
        let end = offset.saturating_add(size);
        let own = value.get(offset..end.min(value.len())).unwrap_or(&[]);
        if self.adds_newline(value) && (offset..end).contains(&value.len()) {
            return Cow::Owned([own, b"\n"].concat());
        }
        Cow::Borrowed(own)
    }

    fn adds_newline(self, value: &[u8]) -> bool {
        self.newline && value.last().is_some_and(|last| *last != b'\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(newline: bool) -> Look {
        Look { uid: 0, gid: 0, mode: 0o400, newline }
    }

    #[test]
    fn a_line_feed_is_added_to_a_value_that_has_bytes_and_does_not_end_in_one() {
        for (value, shown) in
            [("", ""), ("a", "a\n"), ("a\n", "a\n"), ("a\r", "a\r\n"), ("a\r\n", "a\r\n")]
        {
            let look = look(true);
            assert_eq!(look.part(value.as_bytes(), 0, 100).as_ref(), shown.as_bytes());
            assert_eq!(look.size(value.as_bytes()), shown.len());
        }
    }

    #[test]
    fn parts_of_any_size_make_up_the_whole() {
        for newline in [false, true] {
            let (look, value) = (look(newline), b"0123456789");
            for size in 1..15 {
                let mut read = Vec::new();
                loop {
                    let part = look.part(value, read.len(), size);
                    if part.is_empty() {
                        break;
                    }
                    read.extend_from_slice(&part);
                }
                assert_eq!(read.len(), look.size(value));
                assert_eq!(read.get(..10), Some(value.as_slice()));
            }
        }
    }

    #[test]
    fn the_first_rule_for_a_name_decides_and_what_it_leaves_out_is_as_elsewhere() {
        let rule = |name: &str, gid, mode, newline| Rule {
            name: name.to_owned(),
            uid: None,
            gid,
            mode,
            newline,
        };
        let rules = [
            rule("site-a", None, Some(0o440), None),
            rule("site-*", Some(33), None, Some(false)),
            rule("*", Some(60), Some(0), None),
        ];
        let looks = Looks::new(look(true), &rules);
        let of = |name| {
            let Look { gid, mode, newline, .. } = looks.of(&SecretName::parse(name).unwrap());
            (gid, mode, newline)
        };
        assert_eq!(of("site-a"), (0, 0o440, true));
        assert_eq!(of("site-b"), (33, 0o400, false));
        assert_eq!(of("Site-b"), (60, 0, true));
        assert_eq!(Looks::new(look(true), &[]).of(&SecretName::parse("a").unwrap()), look(true));
    }
}
