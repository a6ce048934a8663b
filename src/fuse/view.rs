//! How one mount shows a vault: which names, whose, with which modes, and whether values that do
//! not end in a line feed are shown with one; and for which names that is different.
//!
//! Two mounts of one vault may be two views of it. A view holds no value and asks nobody.

use glob::Pattern;
use serde::Deserialize;
use serde::Serialize;

use crate::fuse::looks::Look;
use crate::fuse::looks::Looks;
use crate::fuse::looks::Rule;
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
    /// What is different for some names; the first rule that is for a name holds.
    pub rules: Vec<Rule>,
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

    /// How each of its files looks.
    #[must_use]
    pub fn looks(&self) -> Looks {
        let Self { uid, gid, mode, newline, .. } = *self;
        Looks::new(Look { uid, gid, mode, newline }, &self.rules)
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

    #[test]
    fn globs_choose_the_names_that_are_shown() {
        let secrets = vec!["site-*".to_owned(), "ftpadmin".to_owned()];
        let (mode, dir_mode, rules) = (0o400, 0o550, Vec::new());
        let view = View { uid: 0, gid: 0, mode, dir_mode, newline: false, secrets, rules };
        let shows = |name| view.filter().shows(&SecretName::parse(name).unwrap());
        assert!(shows("site-a") && shows("ftpadmin") && !shows("other") && !shows("ftpadmin2"));
        assert_eq!(view.configured(), [SecretName::parse("ftpadmin").unwrap()]);
    }
}
