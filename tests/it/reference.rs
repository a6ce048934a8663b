//! The reference, too simple to be wrong: what the vault said of each name and when, and what was
//! served to whom and when. It holds nothing else, decides nothing in advance and forgets nothing;
//! every question is answered from the beginning.

use std::collections::HashMap;
use std::time::Duration;

use akvfs::model::failure::Refusal;
use akvfs::model::moment::Moment;

/// What the vault said of a name. Versions are numbers; a later one is higher.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Said {
    Is(u64),
    No(Refusal),
    Nothing,
    /// The list says that it last changed then.
    Listed(i64),
}

impl Said {
    /// Whether it is the vault's answer about the value itself.
    fn is_about_value(self) -> bool {
        matches!(self, Self::Is(_) | Self::No(_))
    }
}

/// When a secret last changed, and what the vault's clock showed when it said so.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stamp {
    pub(crate) updated: i64,
    pub(crate) date: i64,
}

impl Stamp {
    /// Whether the list, which says this, speaks of what was read then and of nothing later.
    fn is_of(self, updated: i64) -> bool {
        self.updated == updated && self.date > self.updated + 1
    }
}

/// What follows for a name from all that was said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    Unknown,
    Good { verified: Moment },
    Refused(Refusal),
}

#[derive(Debug)]
pub(crate) struct Reference {
    stale: Duration,
    /// By name, in the order of the answers: when it was asked, when answered, what was said.
    said: HashMap<String, Vec<(Moment, Moment, Said)>>,
    /// By name: the stamp of each answer that held a version.
    stamps: HashMap<String, Vec<Stamp>>,
    /// By name: when the caller came, when it was served, which version.
    served: HashMap<String, Vec<(Moment, Moment, u64)>>,
}

impl Reference {
    pub(crate) fn new(stale: Duration) -> Self {
        Self { stale, said: HashMap::new(), stamps: HashMap::new(), served: HashMap::new() }
    }

    /// The list says when a name last changed.
    pub(crate) fn listed(&mut self, name: &str, asked: Moment, answered: Moment, updated: i64) {
        let words = self.said.entry(name.to_owned()).or_default();
        words.push((asked, answered, Said::Listed(updated)));
    }

    pub(crate) fn said(
        &mut self,
        name: &str,
        asked: Moment,
        answered: Moment,
        said: Said,
        stamp: Stamp,
    ) {
        if matches!(said, Said::Is(_)) {
            self.stamps.entry(name.to_owned()).or_default().push(stamp);
        }
        self.said.entry(name.to_owned()).or_default().push((asked, answered, said));
    }

    pub(crate) fn served(&mut self, name: &str, came: Moment, at: Moment, version: u64) {
        self.served.entry(name.to_owned()).or_default().push((came, at, version));
    }

    pub(crate) fn words(&self, name: &str) -> &[(Moment, Moment, Said)] {
        self.said.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn standing(&self, name: &str) -> Standing {
        self.weigh(name, true).0
    }

    /// The same, as if there were no list: what it confirms the cache may count, and need not.
    pub(crate) fn standing_unlisted(&self, name: &str) -> Standing {
        self.weigh(name, false).0
    }

    /// When the first of two 404s was said, while the second is out.
    pub(crate) fn struck(&self, name: &str) -> Option<Moment> {
        self.weigh(name, true).1
    }

    /// The last yes or no counts; of a 404 for a value that may be served, the second.
    fn weigh(&self, name: &str, listed: bool) -> (Standing, Option<Moment>) {
        let mut standing = Standing::Unknown;
        let mut struck = None;
        let mut stamps = self.stamps.get(name).into_iter().flatten();
        let mut stamp = Stamp::default();
        for (asked, answered, said) in self.words(name) {
            if matches!(said, Said::Is(_)) {
                stamp = stamps.next().copied().unwrap_or_default();
            }
            standing = match (*said, standing) {
                (Said::Listed(updated), Standing::Good { verified })
                    if listed && struck.is_none() && stamp.is_of(updated) =>
                {
                    Standing::Good { verified: verified.max(*asked) }
                }
                (Said::Nothing | Said::Listed(_), _) => continue,
                (Said::Is(_), Standing::Good { verified }) => {
                    Standing::Good { verified: verified.max(*asked) }
                }
                (Said::Is(_), _) => Standing::Good { verified: *asked },
                (Said::No(Refusal::Missing), Standing::Good { verified })
                    if *answered < verified + self.stale
                        && answered.since(*struck.get_or_insert(*answered)) < MISSING_FOR =>
                {
                    continue;
                }
                (Said::No(refusal), _) => Standing::Refused(refusal),
            };
            struck = None;
        }
        (standing, struck)
    }

    /// Until when a value of the name may be served, if it may at all.
    pub(crate) fn servable_until(&self, name: &str) -> Option<Moment> {
        match self.standing(name) {
            Standing::Good { verified } => Some(verified + self.stale),
            Standing::Unknown | Standing::Refused(_) => None,
        }
    }

    /// Whether the vault's last word on a name was that it is missing.
    pub(crate) fn last_word_was_missing(&self, name: &str) -> bool {
        let last = self.words(name).iter().rev().find(|(.., said)| said.is_about_value());
        last.is_some_and(|(.., said)| *said == Said::No(Refusal::Missing))
    }

    /// The version that the vault said last.
    pub(crate) fn last_said(&self, name: &str) -> Option<u64> {
        self.words(name).iter().rev().find_map(|(.., said)| match said {
            Said::Is(version) => Some(*version),
            Said::No(_) | Said::Nothing | Said::Listed(_) => None,
        })
    }

    /// A newer version that the vault had said last when this caller came, if it has not said
    /// this one since.
    pub(crate) fn newer_said(&self, name: &str, came: Moment, version: u64) -> Option<u64> {
        for (_, answered, said) in self.words(name).iter().rev() {
            match said {
                Said::Is(said) if *said == version => return None,
                Said::Is(said) if *answered < came => return Some(*said).filter(|s| *s > version),
                Said::Is(_) | Said::No(_) | Said::Nothing | Said::Listed(_) => {}
            }
        }
        None
    }

    /// A newer version that somebody was served before this caller came, though nothing allows to
    /// go back from it to this one.
    pub(crate) fn newer_served(&self, name: &str, came: Moment, version: u64) -> Option<u64> {
        let served = self.served.get(name).into_iter().flatten();
        let earlier = served.filter(|(_, at, _)| *at < came).map(|(.., served)| *served);
        earlier.filter(|newer| *newer > version && !self.may_go_back(name, *newer, version)).max()
    }

    /// The older version was said twice running, or 120 s after the newer one first was, or the
    /// name was missing in between.
    fn may_go_back(&self, name: &str, newer: u64, older: u64) -> bool {
        let words = self.words(name).iter().filter(|(.., said)| said.is_about_value());
        let since: Vec<_> = words.skip_while(|(.., said)| *said != Said::Is(newer)).collect();
        let Some((_, first, _)) = since.first() else { return false };
        let twice = since.windows(2).any(|two| two.iter().all(|word| word.2 == Said::Is(older)));
        twice
            || since.iter().any(|(_, at, said)| match said {
                Said::Is(version) => *version == older && at.since(*first) >= NO_GOING_BACK,
                Said::No(refusal) => *refusal == Refusal::Missing,
                Said::Nothing | Said::Listed(_) => false,
            })
    }
}

/// Between two 404s that end a value.
const MISSING_FOR: Duration = Duration::from_secs(5);

/// For so long an older version does not come back because it was said once.
const NO_GOING_BACK: Duration = Duration::from_secs(120);
