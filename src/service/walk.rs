//! A walk of the vault's list, page by page: where it goes on, and when it has gone on for too long.

use std::collections::HashSet;

use crate::model::event::Item;
use crate::model::event::Page;
use crate::model::name::SecretName;
use crate::vault::request::NextLink;
use crate::vault::response;

/// The walk that is under way.
#[derive(Default)]
pub(super) struct Walk {
    next: Option<NextLink>,
    seen: HashSet<String>,
    names: usize,
}

impl Walk {
    /// The link of the next page; none for the first.
    pub(super) fn begin(&mut self, first: bool) -> Option<NextLink> {
        if first {
            *self = Self::default();
        }
        self.next.take()
    }

    /// Takes a page, unless it leads in a circle or too far, and gives the names that are shown.
    pub(super) fn turn(
        &mut self,
        page: response::Page,
        shown: impl Fn(&SecretName) -> bool,
    ) -> Option<Page> {
        self.next = page.next;
        if let Some(link) = &self.next {
            let new = self.seen.insert(link.url().as_str().to_owned());
            if !new || self.seen.len() > MOST_PAGES {
                return None;
            }
        }
        self.names = self.names.saturating_add(page.items.len());
        if self.names > MOST_NAMES {
            return None;
        }
        let items =
            page.items.into_iter().filter(|listed| shown(&listed.name)).map(|listed| Item {
                name: listed.name,
                enabled: listed.enabled,
                // As where a secret itself does not say it.
                updated: listed.updated.or(listed.created).unwrap_or(0),
                created: listed.created,
            });
        Some(Page { items: items.collect(), more: self.next.is_some() })
    }
}

const MOST_PAGES: usize = 10_000;

/// As many as full pages of the service's own size hold.
const MOST_NAMES: usize = 25 * MOST_PAGES;
