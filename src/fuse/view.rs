//! How one mount shows a vault: which names, whose, with which modes, and whether values that do
//! not end in a line feed are shown with one.
//!
//! Two mounts of one vault may be two views of it. A view holds no value and asks nobody.

use std::borrow::Cow;

use glob::Pattern;
use serde::Deserialize;
use serde::Serialize;

use crate::model::name::SecretName;

/// One mount's view of a vault.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct View {
    /// The owner of the files and of the directory.
    pub uid: u32,
    /// Their group.
    pub gid: u32,
    /// The files' permission bits.
    pub mode: u16,
    /// The directory's permission bits.
    pub dir_mode: u16,
    /// Whether a value that is not empty and does not end in a line feed is shown with one.
    pub newline: bool,
    /// The names that are shown, as globs (`site-*`); all, if there is none.
    pub secrets: Vec<String>,
}

impl View {
    /// The names among [`secrets`](Self::secrets) that stand for one secret each: what can be shown
    /// where the vault refuses its list.
    #[must_use]
    pub fn configured(&self) -> Vec<SecretName> {
        self.secrets.iter().filter_map(|glob| SecretName::parse(glob)).collect()
    }

    /// What decides whether a name is shown. A glob that is none, which the command line refuses,
    /// shows nothing.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter {
            all: self.secrets.is_empty(),
            globs: self.secrets.iter().filter_map(|glob| Pattern::new(glob).ok()).collect(),
        }
    }

    /// How long a value is as this mount shows it.
    #[must_use]
    pub fn size(&self, value: &[u8]) -> usize {
        value.len() + usize::from(self.adds_newline(value))
    }

    /// A part of a value as this mount shows it: at most `size` bytes from `offset` on.
    #[must_use]
    pub fn part<'v>(&self, value: &'v [u8], offset: usize, size: usize) -> Cow<'v, [u8]> {
        let end = offset.saturating_add(size);
        let own = value.get(offset..end.min(value.len())).unwrap_or(&[]);
        if self.adds_newline(value) && (offset..end).contains(&value.len()) {
            return Cow::Owned([own, b"\n"].concat());
        }
        Cow::Borrowed(own)
    }

    fn adds_newline(&self, value: &[u8]) -> bool {
        self.newline && value.last().is_some_and(|last| *last != b'\n')
    }
}

/// Decides whether a mount shows a name.
#[derive(Debug)]
pub struct Filter {
    all: bool,
    globs: Vec<Pattern>,
}

impl Filter {
    /// Whether the name is shown.
    #[must_use]
    pub fn shows(&self, name: &SecretName) -> bool {
        self.all || self.globs.iter().any(|glob| glob.matches(name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(newline: bool) -> View {
        View { uid: 0, gid: 0, mode: 0o400, dir_mode: 0o550, newline, secrets: Vec::new() }
    }

    #[test]
    fn a_line_feed_is_added_to_a_value_that_has_bytes_and_does_not_end_in_one() {
        for (value, shown) in
            [("", ""), ("a", "a\n"), ("a\n", "a\n"), ("a\r", "a\r\n"), ("a\r\n", "a\r\n")]
        {
            let view = view(true);
            assert_eq!(view.part(value.as_bytes(), 0, 100).as_ref(), shown.as_bytes());
            assert_eq!(view.size(value.as_bytes()), shown.len());
        }
    }

    #[test]
    fn globs_choose_the_names_that_are_shown() {
        let secrets = vec!["site-*".to_owned(), "ftpadmin".to_owned()];
        let view = View { secrets, ..view(false) };
        let shows = |name| view.filter().shows(&SecretName::parse(name).unwrap());
        assert!(shows("site-a") && shows("ftpadmin") && !shows("other") && !shows("ftpadmin2"));
        assert_eq!(view.configured(), [SecretName::parse("ftpadmin").unwrap()]);
    }

    #[test]
    fn parts_of_any_size_make_up_the_whole() {
        for newline in [false, true] {
            let (view, value) = (view(newline), b"0123456789");
            for size in 1..15 {
                let mut read = Vec::new();
                loop {
                    let part = view.part(value, read.len(), size);
                    if part.is_empty() {
                        break;
                    }
                    read.extend_from_slice(&part);
                }
                assert_eq!(read.len(), view.size(value));
                assert_eq!(read.get(..10), Some(value.as_slice()));
            }
        }
    }
}
