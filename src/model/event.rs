//! What the cache is told, and what it wants done.

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::model::failure::Why;
use crate::model::moment::Moment;
use crate::model::name::SecretName;
use crate::model::refresh::Outcome;
use crate::model::secret::Version;
use crate::model::tree::Node;

/// The bytes of a value, somewhere: a handle that is cheap to clone.
pub trait Value: Clone {
    /// The number by which a later worker finds the bytes again.
    fn serial(&self) -> u64;
}

/// Something that happened. `W` is whoever waits for an answer.
#[derive(Debug)]
pub enum Event<W, V> {
    /// The kernel looks a name up.
    Lookup { name: SecretName, to: W },
    /// The kernel wants the attributes of a secret's inode.
    Attributes { node: Node, to: W },
    /// The kernel wants the bytes of a secret's inode.
    Read { node: Node, to: W },
    /// The kernel dropped so many of its references to an inode.
    Forget { node: Node, lookups: u64 },
    /// The kernel opens the directory.
    OpenDirectory { to: W },
    /// The kernel reads the directory, from the entry after this cookie.
    ReadDirectory { after: u64, to: W },
    /// The vault, or the road to it, answered a request for a name. `date` is what the vault's
    /// clock showed, in seconds since 1970.
    Answered { name: SecretName, word: Word<V>, retry_after: Option<Duration>, date: Option<i64> },
    /// The vault, or the road to it, answered a request for a page of the listing.
    Paged(Result<Page, (Why, Option<Duration>)>),
    /// The kernel was told of an inode's attributes, and says whether it holds the inode.
    Told { node: Node, held: bool },
    /// Each name in the directory is to be fetched; whoever waits for that is answered when each was
    /// answered.
    Prefetch { to: Option<W> },
    /// The vault refused its list to somebody else than a walk.
    ListDenied,
    /// Somebody wants the vault's word on a name now.
    Refresh { name: SecretName, to: W },
    /// Somebody wants the directory to be as the vault's list is now.
    RefreshListing { to: W },
    /// Somebody watches a name, and says so once a refresh. The answer tells nothing.
    Watch { name: SecretName, to: W },
    /// The machine slept: what the kernel holds may be older than its clock says.
    Slept,
    /// It is later than it was.
    Tick,
}

/// What came back for a name.
#[derive(Debug)]
pub enum Word<V> {
    /// A version that is not the one held.
    New(Version, V),
    /// The version that is held. Only its attributes may have moved.
    Same(Version),
    /// No value, and why.
    No(Why),
}

impl<V> Word<V> {
    /// Why there is no value, if there is none.
    #[must_use]
    pub const fn why(&self) -> Option<Why> {
        match self {
            Self::New(..) | Self::Same(_) => None,
            Self::No(why) => Some(*why),
        }
    }
}

/// A page of the listing.
#[derive(Debug, Default)]
pub struct Page {
    /// The names on it.
    pub items: Vec<Item>,
    /// Whether another page follows.
    pub more: bool,
}

/// A name on a page.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Item {
    /// The name, as the vault spells it.
    pub name: SecretName,
    /// Whether its newest version is enabled.
    pub enabled: bool,
    /// When the vault says that it last changed.
    pub updated: i64,
    /// When its newest version was made, if the vault says that.
    pub created: Option<i64>,
}

impl Item {
    /// Whether this is what a list says of a version, and of no other that is known to differ.
    #[must_use]
    pub fn is_of(&self, version: &Version) -> bool {
        let same_age = self.created.is_none_or(|created| created == version.created);
        self.enabled && self.updated == version.updated && same_age
    }
}

/// Something to be done, in this order. What the kernel is told, in order too, may go before the rest.
#[derive(Debug)]
pub enum Effect<W, V> {
    /// Answer whoever waited.
    Answer { to: W, answer: Answer<V> },
    /// Ask the vault for a name.
    Ask(SecretName),
    /// Ask the vault for a page of the listing: the first one, or the one that follows the last.
    AskPage { first: bool },
    /// Tell the kernel.
    Tell(Notice),
}

/// Something that the kernel is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Notice {
    /// The name may mean another inode now.
    Entry(SecretName),
    /// The attributes of this inode must be asked for. The kernel's answer tells whether it holds
    /// the inode.
    Attributes(Node),
    /// The listing must be read again.
    Listing,
}

/// What a waiter is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer<V> {
    /// The name is this inode.
    Entry(Sight<V>),
    /// The inode is this.
    Attributes(Sight<V>),
    /// The bytes of the secret of that name.
    Bytes(SecretName, V),
    /// The name is missing, and the kernel may say so for that long.
    Missing(Duration),
    /// The directory can be read.
    Ready,
    /// Names, and the cookie that each is continued from.
    Names(Vec<Listed>),
    /// What came of a refresh.
    Refreshed(Outcome),
    /// There is no value, and why.
    No(Why),
    /// No such inode.
    Unknown,
}

/// What the kernel may know of an inode, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Sight<V> {
    /// The inode.
    pub node: Node,
    /// The secret's name.
    pub name: SecretName,
    /// The version that it is bound to, if it is.
    pub bound: Option<(Version, V)>,
    /// How long the kernel may answer by itself.
    pub ttl: Duration,
    /// When the vault last confirmed that version, if it is the one that is held.
    pub verified: Option<Moment>,
}

/// A name in the directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// Where a reader goes on after this name.
    pub cookie: u64,
    /// The inode number that a stat would show.
    pub node: Node,
    /// The name.
    pub name: SecretName,
}
