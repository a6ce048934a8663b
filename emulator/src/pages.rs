//! Lists in pages: short, empty, and tied together by a link that means nothing to a client.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use serde_json::json;

use crate::answer::Answer;
use crate::asked::Asked;
use crate::fault::Plan;
use crate::secrets::bad_parameter;
use crate::secrets::describe;
use crate::secrets::origin;
use crate::vault::Store;

/// A page of the vault's secrets.
pub(crate) fn secrets(store: &Store, asked: &Asked, plan: &Plan) -> Answer {
    let origin = origin(store, asked);
    let items = store.front("").iter().filter(|(_, secret)| !secret.deleted);
    let items = items.filter_map(|(key, secret)| {
        let version = secret.versions.last()?;
        let id = format!("{origin}/secrets/{}", secret.name);
        Some((key.clone(), format!("{{{}}}", describe(version, &id))))
    });
    page(store, asked, "/secrets", items.collect(), plan.next_link.as_deref())
}

/// A page of a secret's versions. A secret that is missing has none.
pub(crate) fn versions(store: &Store, asked: &Asked, name: &str) -> Answer {
    let origin = origin(store, asked);
    let secret = store.secret(name);
    let versions = secret.map(|secret| &secret.versions).into_iter().flatten();
    let items = versions.map(|version| {
        let id = format!("{origin}/secrets/{name}/{}", version.id);
        (version.id.clone(), format!("{{{}}}", describe(version, &id)))
    });
    let mut items: Vec<(String, String)> = items.collect();
    items.sort_unstable();
    page(store, asked, &format!("/secrets/{name}/versions"), items, None)
}

/// Where in a walk a page begins.
#[derive(Debug, Default)]
struct Place {
    page: usize,
    /// The last key of the pages before.
    after: String,
}

/// `items` are in order of their keys, each with its text.
fn page(
    store: &Store,
    asked: &Asked,
    path: &str,
    items: Vec<(String, String)>,
    rewritten: Option<&str>,
) -> Answer {
    let Some(most) = maxresults(asked) else {
        return bad_parameter("The value of maxresults must be between 1 and 25.");
    };
    let most = store.full_page.unwrap_or(most);
    let Some(place) = Place::of(asked) else {
        return bad_parameter("The value of $skiptoken is not valid.");
    };
    let size = store.page_sizes.get(place.page).copied().unwrap_or(most);
    let mut left = items.into_iter().filter(|(key, _)| *key > place.after).peekable();
    let mut texts = Vec::new();
    let mut after = place.after.clone();
    while texts.len() < size.min(most)
        && let Some((key, text)) = left.next()
    {
        after = key;
        texts.push(text);
    }
    let next = Place { page: place.page + 1, after };
    let ends = left.peek().is_none() && next.page >= store.page_sizes.len();
    let link = match (rewritten, ends) {
        (Some(link), _) => Value::from(link),
        (None, true) => Value::Null,
        (None, false) => Value::from(link(store, asked, path, &next)),
    };
    let texts = texts.join(",");
    Answer::json(200, format!(r#"{{"value":[{texts}],"nextLink":{link}}}"#))
}

fn maxresults(asked: &Asked) -> Option<usize> {
    match asked.one("maxresults") {
        Some(text) => text.parse().ok().filter(|most| (1..=25).contains(most)),
        None => (!asked.query.contains("maxresults")).then_some(25),
    }
}

fn link(store: &Store, asked: &Asked, path: &str, next: &Place) -> String {
    let mut origin = origin(store, asked);
    if !asked.host.contains(':') || asked.bare_host() == store.host {
        origin.push_str(":443");
    }
    let version = asked.one("api-version").unwrap_or_default();
    let mut link = format!("{origin}{path}?api-version={version}&$skiptoken={}", next.token());
    if let Some(most) = asked.one("maxresults") {
        link += &format!("&maxresults={most}");
    }
    link
}

impl Place {
    /// The place that the query names; the beginning, if it names none.
    fn of(asked: &Asked) -> Option<Self> {
        let Some(token) = asked.one("$skiptoken") else {
            return (!asked.query.contains("skiptoken")).then(Self::default);
        };
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let token: Value = serde_json::from_slice(&token).ok()?;
        let page = token.get("TargetLocation")?.as_u64()?;
        let marker = token.get("NextMarker")?.as_str()?.rsplit('!').next()?;
        let marker = STANDARD.decode(marker.replace('-', "=")).ok()?;
        let marker = String::from_utf8(marker).ok()?;
        Some(Self {
            page: usize::try_from(page).ok()?,
            after: marker.split('!').nth(2)?.to_ascii_lowercase(),
        })
    }

    /// The same in the service's manner, a marker within JSON within base64. The page's number is
    /// where the service has a location.
    fn token(&self) -> String {
        let after = self.after.to_ascii_uppercase();
        let marker = format!("000024!secret!{after}!000028!9999-12-31T23:59:59.9999999Z!");
        let marker = STANDARD.encode(marker).replace('=', "-");
        let marker = format!("2!{}!{marker}", marker.len());
        URL_SAFE_NO_PAD
            .encode(json!({ "NextMarker": marker, "TargetLocation": self.page }).to_string())
    }
}
