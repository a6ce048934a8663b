//! `akvfs list`: the names of a vault's secrets, or all that the vault's list says of them.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io;
use std::io::IsTerminal;

use serde::Serialize;

use crate::cli::access::Access;
use crate::cli::arguments::List;
use crate::cli::complaint::Complaint;
use crate::cli::complaint::Exit;
use crate::cli::environment;
use crate::cli::option::Key;
use crate::cli::output;
use crate::cli::patience;
use crate::cli::verbosity;
use crate::clock;
use crate::log;
use crate::model::moment::Moment;
use crate::vault::client::Vault;
use crate::vault::problem::Problem;
use crate::vault::response::Listed;

/// Writes the whole list, or nothing of it.
pub fn run(order: &List) -> Result<(), Complaint> {
    let settings = &order.settings;
    let access = Access::to_vault(&order.vault, settings, &environment::read()?)?;
    let limit = settings.duration(Key::OpenTimeout)?;
    verbosity::start(settings)?;
    log::info(format_args!("{}", access.identity));
    let listed = patience::ask(&access, limit, walk)?;
    let Some(mut listed) = listed else {
        let host = access.vault.host();
        return Err(Complaint::new(
            Exit::Unreachable,
            format!("list of {host}: the answer makes no sense: its pages go round in a circle"),
        ));
    };
    listed.sort_by(|one, other| one.name.cmp(&other.name));
    let text = if order.json { json(&listed) } else { names(&listed, io::stdout().is_terminal()) };
    output::write(text.as_bytes())
}

/// All pages; `None` if they never end.
async fn walk(vault: &Vault, deadline: Moment) -> Result<Option<Vec<Listed>>, Problem> {
    let mut listed = vec![];
    let mut next = None;
    let mut seen = HashSet::new();
    while seen.len() < MOST_PAGES {
        let ask = |deadline| vault.page(next.as_ref(), deadline);
        let page = patience::until(deadline, ask).await?;
        listed.extend(page.items);
        let Some(link) = page.next else {
            return Ok(Some(listed));
        };
        if !seen.insert(link.clone()) {
            return Ok(None);
        }
        next = Some(link);
    }
    Ok(None)
}

/// One name a line. Who looks at a terminal also sees which are disabled.
fn names(listed: &[Listed], marked: bool) -> String {
    let mut text = String::new();
    for secret in listed {
        let mark = if marked && !secret.enabled { "  (disabled)" } else { "" };
        let _infallible = writeln!(text, "{}{mark}", secret.name);
    }
    text
}

fn json(listed: &[Listed]) -> String {
    let entries: Vec<Entry<'_>> = listed.iter().map(Entry::of).collect();
    let text = serde_json::to_string_pretty(&entries);
    // Strings, numbers and maps of strings are always JSON.
    text.unwrap_or_default() + "\n"
}

/// A secret in `--json`. Members are added; none changes or goes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    name: &'a str,
    enabled: bool,
    created: Option<String>,
    updated: Option<String>,
    expires: Option<String>,
    not_before: Option<String>,
    content_type: Option<&'a str>,
    tags: &'a BTreeMap<String, String>,
    managed: bool,
}

impl<'a> Entry<'a> {
    fn of(secret: &'a Listed) -> Self {
        Self {
            name: secret.name.as_str(),
            enabled: secret.enabled,
            created: secret.created.map(clock::rfc3339),
            updated: secret.updated.map(clock::rfc3339),
            expires: secret.expires.map(clock::rfc3339),
            not_before: secret.not_before.map(clock::rfc3339),
            content_type: secret.content_type.as_deref(),
            tags: &secret.tags,
            managed: secret.managed,
        }
    }
}

/// A vault with more pages than that is none.
const MOST_PAGES: usize = 10_000;
