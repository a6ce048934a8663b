//! The names in the directory: what the last walk of the vault's list found, in an order that
//! does not change under a reader, and who waits for the first walk.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;

use crate::model::economy::Pages;
use crate::model::event::Item;
use crate::model::failure::Why;
use crate::model::moment::Moment;
use crate::model::name::SecretName;
use crate::model::policy::Policy;
use crate::model::queue::Class;
use crate::model::refresh::Seeker;
use crate::model::secret::Version;
use crate::model::tree::Node;

/// The directory's names.
#[derive(Debug)]
pub struct Listing<W> {
    /// The names shown, by cookie. A name keeps its cookie for as long as it is shown.
    shown: BTreeMap<u64, Shown>,
    cookies: HashMap<SecretName, u64>,
    next_cookie: u64,
    /// What the last walk said of each name, those that are not shown included.
    walked: Walked,
    /// Where the names come from.
    pub source: Source,
    /// When the kernel last read the directory.
    pub read: Option<Moment>,
    /// Whether the kernel may hold a copy.
    pub in_kernel: bool,
    /// The walk that is under way.
    pub walk: Option<Walk>,
    /// How long the list is.
    pub pages: Pages,
    /// When the vault last refused its list.
    pub denied: Option<Moment>,
    /// Whether names in use are confirmed by walks.
    pub confirms: bool,
    /// When it is the next one's turn to be asked about itself, while walks confirm names.
    pub turn: Option<Moment>,
    /// Whether the next walk is to tell which names there are not.
    pub learns: bool,
    /// When the next walk is due.
    pub next: Option<Moment>,
    /// Why the last walk failed, and how many failed in a row.
    pub failed: Option<Why>,
    /// See `failed`.
    pub failures: u32,
    /// Who waits for the first walk.
    pub waiters: Vec<(W, Moment)>,
    /// Who wants it as it is now.
    pub seekers: Vec<Seeker<W>>,
    /// Whether something changed that a later worker must know.
    pub changed: bool,
}

/// The items of a walk, by name. There may be ten thousand, and they are kept as small as can be.
#[derive(Debug, Default)]
struct Walked(Vec<Item>);

impl Walked {
    /// Of a name that came twice, what was said first.
    fn of(mut items: Vec<Item>) -> Self {
        items.sort_by(|one, other| one.name.cmp(&other.name));
        items.dedup_by(|later, first| later.name == first.name);
        items.shrink_to_fit();
        Self(items)
    }

    fn get(&self, name: &SecretName) -> Option<&Item> {
        let found = self.0.binary_search_by(|item| item.name.cmp(name));
        found.ok().and_then(|at| self.0.get(at))
    }
}

/// A walk that is under way.
#[derive(Debug)]
pub struct Walk {
    /// When its first page was asked for.
    pub began: Moment,
    /// When the page was asked for that is under way.
    pub asked: Moment,
    /// How many pages came.
    pub pages: u32,
    /// What they brought.
    pub items: Vec<Item>,
    /// Whether it confirms names in use.
    pub confirms: bool,
    /// Whether it is to tell which names there are not.
    pub learns: bool,
}

/// A name that is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The name.
    pub name: SecretName,
    /// The inode number that is kept for its first look-up.
    pub number: Option<Node>,
}

/// Where the names come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// Nobody asked yet.
    Nothing,
    /// The vault's list, walked to its end then.
    Walk(Moment),
    /// The vault refuses the list: the names that were configured or seen.
    Seen,
}

/// What a walk changed.
#[derive(Debug, Default)]
pub struct Change {
    /// Whether the directory shows other names.
    pub names: bool,
    /// The names that came, went or moved.
    pub touched: Vec<SecretName>,
}

impl<W> Default for Listing<W> {
    fn default() -> Self {
        Self {
            shown: BTreeMap::new(),
            cookies: HashMap::new(),
            next_cookie: FIRST_COOKIE,
            walked: Walked::default(),
            source: Source::Nothing,
            read: None,
            in_kernel: false,
            walk: None,
            turn: None,
            pages: Pages::Exactly(1),
            denied: None,
            confirms: false,
            learns: false,
            next: None,
            failed: None,
            failures: 0,
            waiters: Vec::new(),
            seekers: Vec::new(),
            changed: false,
        }
    }
}

impl<W> Listing<W> {
    /// Whether there is something to read.
    #[must_use]
    pub fn known(&self) -> bool {
        self.source != Source::Nothing
    }

    /// Until when no walk begins, because the last one failed.
    #[must_use]
    pub fn pause(&self, now: Moment) -> Option<Moment> {
        self.next.filter(|next| self.failures > 0 && *next > now)
    }

    /// Whether somebody waits for a walk.
    #[must_use]
    pub fn is_sought(&self) -> bool {
        !self.waiters.is_empty() || !self.seekers.is_empty()
    }

    /// How urgent a walk is.
    #[must_use]
    pub fn class(&self) -> Class {
        match (self.waiters.is_empty(), self.seekers.is_empty()) {
            (false, _) => Class::Waited,
            (true, false) => Class::Refresh,
            (true, true) => Class::Background,
        }
    }

    /// Takes the result of a walk that ended.
    pub fn replace(&mut self, now: Moment, items: Vec<Item>) -> Change {
        let order: Vec<SecretName> = items.iter().map(|item| item.name.clone()).collect();
        let before = std::mem::replace(&mut self.walked, Walked::of(items));
        let mut change = Change::default();
        let gone = before.0.iter().filter(|item| self.walked.get(&item.name).is_none());
        change.touched.extend(gone.map(|item| item.name.clone()));
        let moved = self.walked.0.iter().filter(|item| before.get(&item.name) != Some(*item));
        change.touched.extend(moved.map(|item| item.name.clone()));
        let enabled = |name: &SecretName| self.walked.get(name).is_some_and(|item| item.enabled);
        change.names = self.show(order.into_iter().filter(enabled).collect());
        let first = !matches!(self.source, Source::Walk(_));
        self.source = Source::Walk(now);
        self.changed |= first || change.names || !change.touched.is_empty();
        change
    }

    /// The vault refuses its list: only these names are shown. Returns whether others were.
    pub fn refused(&mut self, seen: Vec<SecretName>) -> bool {
        self.walked = Walked::default();
        self.source = Source::Seen;
        self.changed = true;
        self.show(seen)
    }

    /// Where the list is refused, a name that was seen is shown and one that is missing is not.
    /// Returns whether that changed something.
    pub fn seen(&mut self, name: &SecretName, there: bool) -> bool {
        if self.source != Source::Seen || self.cookies.contains_key(name) == there {
            return false;
        }
        if there {
            self.add(name.clone())
        } else {
            self.drop(name)
        }
        self.changed = true;
        true
    }

    /// Whether a fresh listing is there and does not hold the name.
    #[must_use]
    pub fn misses(&self, now: Moment, name: &SecretName, policy: &Policy) -> bool {
        self.fresh(now, policy) && !self.walked(name)
    }

    /// Whether the last walk, however long ago it was, found the name.
    #[must_use]
    pub fn walked(&self, name: &SecretName) -> bool {
        self.walked.get(name).is_some()
    }

    /// Whether the vault's list was walked of late.
    #[must_use]
    pub fn fresh(&self, now: Moment, policy: &Policy) -> bool {
        matches!(self.source, Source::Walk(at) if now.since(at) <= policy.trusted_for())
    }

    /// Whether the last walk says nothing else of a name than what is known of this version of it.
    #[must_use]
    pub fn shows(&self, name: &SecretName, version: &Version) -> bool {
        let item = self.walked.get(name);
        item.is_some_and(|item| item.is_of(version))
    }

    /// Up to so many names after a cookie.
    #[must_use]
    pub fn after(&self, cookie: u64, most: usize) -> Vec<(u64, SecretName)> {
        let rest = self.shown.range(cookie.saturating_add(1)..);
        rest.take(most).map(|(cookie, shown)| (*cookie, shown.name.clone())).collect()
    }

    /// Up to so many names that follow one in the directory.
    #[must_use]
    pub fn following(&self, name: &SecretName, most: usize) -> Vec<SecretName> {
        let Some(cookie) = self.cookies.get(name) else { return Vec::new() };
        self.after(*cookie, most).into_iter().map(|(_, name)| name).collect()
    }

    /// The number kept for a name's first look-up, if the name is shown.
    pub fn number(&mut self, name: &SecretName) -> Option<&mut Option<Node>> {
        let cookie = self.cookies.get(name)?;
        self.shown.get_mut(cookie).map(|shown| &mut shown.number)
    }

    /// What a later worker must know: the names shown with their cookies, and the last walk.
    #[must_use]
    pub fn saved(&self) -> (Vec<(u64, SecretName)>, Vec<Item>) {
        (self.after(0, usize::MAX), self.walked.0.clone())
    }

    /// Takes over what an earlier worker knew.
    pub fn restore(&mut self, source: Source, shown: Vec<(u64, SecretName)>, walked: Vec<Item>) {
        for (cookie, name) in shown {
            self.next_cookie = self.next_cookie.max(cookie.saturating_add(1));
            self.cookies.insert(name.clone(), cookie);
            self.shown.insert(cookie, Shown { name, number: None });
        }
        self.walked = Walked::of(walked);
        self.source = source;
    }

    fn show(&mut self, names: Vec<SecretName>) -> bool {
        let wanted: HashSet<&SecretName> = names.iter().collect();
        let gone: Vec<SecretName> =
            self.cookies.keys().filter(|name| !wanted.contains(name)).cloned().collect();
        let mut changed = !gone.is_empty();
        for name in gone {
            self.drop(&name);
        }
        for name in names {
            if !self.cookies.contains_key(&name) {
                self.add(name);
                changed = true;
            }
        }
        changed
    }

    fn add(&mut self, name: SecretName) {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        self.cookies.insert(name.clone(), cookie);
        self.shown.insert(cookie, Shown { name, number: None });
    }

    fn drop(&mut self, name: &SecretName) {
        if let Some(cookie) = self.cookies.remove(name) {
            self.shown.remove(&cookie);
        }
    }
}

/// The cookies before this one are those of `.` and `..`.
pub const FIRST_COOKIE: u64 = 3;
