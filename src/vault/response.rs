//! What a vault answers: a secret, a page of the list, or a reason.
//!
//! The documented shape and no other: what is not it is [`Misshapen`], whole, and nothing of it is
//! used. Unknown fields are no fault. Nothing in here repeats what it read in an error.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use crate::json;
use crate::model::name::SecretName;
use crate::model::name::VersionId;
use crate::model::secret::About;
use crate::model::secret::Secret;
use crate::model::secret::Version;
use crate::vault::address::VaultAddress;
use crate::vault::request::NextLink;

/// A value is at most 25,600 bytes, JSON spells a byte in six at most, and there is what is beside
/// the value.
pub(crate) const SECRET_CAP: usize = 160 * 1024;

/// A body longer than this is believed only if escapes made it so long.
const PLAIN_CAP: usize = 128 * 1024;

/// The longest value that the service takes.
const LONGEST_VALUE: usize = 25_600;

/// A page holds at most 25 names.
pub(crate) const PAGE_CAP: usize = 1024 * 1024;

const OTHER_VAULT: Misshapen = Misshapen("an id in it names another vault");

/// How an answer differs from the documented shape.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Misshapen(pub &'static str);

/// A secret under the name that the vault knows it by, which may differ in case from the one
/// asked for.
#[derive(Debug)]
pub struct Found {
    /// The vault's spelling.
    pub name: SecretName,
    /// The secret.
    pub secret: Secret,
}

/// A page of the list of secrets.
#[derive(Debug)]
pub struct Page {
    /// What is on it. It may be empty and still not be the last.
    pub items: Vec<Listed>,
    /// Where the next page is; none after the last.
    pub next: Option<NextLink>,
    /// How many items were left out because no secret can be called that.
    pub dropped: usize,
}

/// What a list says of a secret. Times are seconds since 1970.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// Its name.
    pub name: SecretName,
    /// Whether its newest version is enabled.
    pub enabled: bool,
    /// When its newest version was made.
    pub created: Option<i64>,
    /// When that, or its attributes, last changed.
    pub updated: Option<i64>,
    /// When it ends, for those who care.
    pub expires: Option<i64>,
    /// When it begins, for those who care.
    pub not_before: Option<i64>,
    /// What the value is said to be.
    pub content_type: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Whether it belongs to a certificate.
    pub managed: bool,
}

/// The code of an error, and of the reason inside it: words of a fixed set, never prose.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Code {
    /// Such as `Forbidden`.
    pub code: String,
    /// Such as `ForbiddenByRbac`.
    pub inner: Option<String>,
}

#[derive(Deserialize)]
struct Bundle<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(borrow)]
    id: Cow<'a, str>,
    attributes: Attributes,
    #[serde(borrow, rename = "contentType")]
    content_type: Option<&'a RawValue>,
    #[serde(borrow)]
    tags: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Attributes {
    enabled: Option<bool>,
    created: Option<i64>,
    updated: Option<i64>,
    exp: Option<i64>,
    nbf: Option<i64>,
}

#[derive(Deserialize)]
struct Items<'a> {
    #[serde(borrow)]
    value: Option<Vec<Item<'a>>>,
    #[serde(borrow, rename = "nextLink")]
    next_link: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    attributes: Option<Attributes>,
    #[serde(borrow, rename = "contentType")]
    content_type: Option<&'a RawValue>,
    #[serde(borrow)]
    tags: Option<&'a RawValue>,
    managed: Option<bool>,
}

#[derive(Deserialize)]
struct Failure {
    error: Reason,
}

#[derive(Deserialize)]
struct Reason {
    code: String,
    #[serde(alias = "innerError")]
    innererror: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    code: Option<String>,
}

/// Reads a secret out of the body of a 200, if it is the one asked for.
pub(crate) fn secret(
    body: &[u8],
    vault: &VaultAddress,
    name: &SecretName,
    version: Option<VersionId>,
) -> Result<Found, Misshapen> {
    let bundle: Bundle<'_> = json::object(body).ok_or(Misshapen("it is not a secret"))?;
    let (spelled, id) = identify(&bundle.id, vault)?;
    let id = id.ok_or(Misshapen("its id names no version"))?;
    if !spelled.as_str().eq_ignore_ascii_case(name.as_str()) {
        return Err(Misshapen("its id names another secret"));
    }
    if version.is_some_and(|version| version != id) {
        return Err(Misshapen("its id names another version"));
    }
    let Attributes { created, updated, nbf, exp, .. } = bundle.attributes;
    let created = created.ok_or(Misshapen("it does not say when it was made"))?;
    let value = json::secret(bundle.value).ok_or(Misshapen("its value is not a text"))?;
    if body.len() > PLAIN_CAP && value.expose().len() > LONGEST_VALUE {
        return Err(Misshapen("it is longer than a secret can be"));
    }
    let updated = updated.unwrap_or(created);
    let about = About {
        content_type: bundle.content_type.and_then(understood),
        tags: bundle.tags.and_then(understood).unwrap_or_default(),
    };
    let (not_before, expires) = (nbf, exp);
    let version = Version { id, created, updated, not_before, expires, about: about.into() };
    Ok(Found { name: spelled, secret: Secret { version, value, date: None } })
}

/// What is only shown may be of any shape: no value is refused for it.
fn understood<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// Reads a page out of the body of a 200.
pub(crate) fn page(body: &[u8], vault: &VaultAddress) -> Result<Page, Misshapen> {
    let page: Items<'_> = json::object(body).ok_or(Misshapen("it is not a page of a list"))?;
    let next = match page.next_link.as_deref() {
        None | Some("") => None,
        Some(link) => Some(
            NextLink::parse(link, vault)
                .ok_or(Misshapen("its link to the next page leads out of the vault"))?,
        ),
    };
    let mut items = Vec::new();
    let mut dropped = 0;
    for item in page.value.unwrap_or_default() {
        match identify(&item.id, vault) {
            Ok((name, None)) => items.push(listed(name, item)),
            Err(OTHER_VAULT) => return Err(OTHER_VAULT),
            Ok((_, Some(_))) | Err(_) => dropped += 1,
        }
    }
    Ok(Page { items, next, dropped })
}

/// Reads the code out of the body of a refusal; `None` if these are not the vault's words.
pub(crate) fn code(body: &[u8]) -> Option<Code> {
    let Failure { error } = json::object(body)?;
    Some(Code {
        code: word(error.code)?,
        inner: error.innererror.and_then(|inner| inner.code).and_then(word),
    })
}

/// Lets through what looks like an identifier and not like prose, so that it can be printed.
pub(crate) fn word(text: String) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    ((1..=64).contains(&text.len()) && text.bytes().all(plain)).then_some(text)
}

/// Takes an `id` apart. It must be a secret of this vault, spelled as the service spells it.
fn identify(id: &str, vault: &VaultAddress) -> Result<(SecretName, Option<VersionId>), Misshapen> {
    let plain = id.bytes().all(|byte| byte.is_ascii_graphic()) && !id.contains(['@', '\\', '%']);
    let url = plain.then(|| Url::parse(id).ok()).flatten();
    let url = url.ok_or(Misshapen("its id is no URL"))?;
    if !vault.is_origin_of(&url) || url.query().is_some() || url.fragment().is_some() {
        return Err(OTHER_VAULT);
    }
    let path = url.path().strip_prefix("/secrets/");
    let path = path.ok_or(Misshapen("its id names no secret"))?;
    let (name, version) = match path.split_once('/') {
        Some((name, version)) => (name, Some(version)),
        None => (path, None),
    };
    let name = SecretName::parse(name).ok_or(Misshapen("its id names no secret"))?;
    let version = match version {
        None => None,
        Some(text) => Some(VersionId::parse(text).ok_or(Misshapen("its id names no version"))?),
    };
    Ok((name, version))
}

fn listed(name: SecretName, item: Item<'_>) -> Listed {
    let attributes = item.attributes.unwrap_or_default();
    Listed {
        name,
        enabled: attributes.enabled.unwrap_or(true),
        created: attributes.created,
        updated: attributes.updated,
        expires: attributes.exp,
        not_before: attributes.nbf,
        content_type: item.content_type.and_then(understood),
        tags: item.tags.and_then(understood).unwrap_or_default(),
        managed: item.managed.unwrap_or(false),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::ProptestConfig;
    use proptest::prelude::any;
    use proptest::proptest;

    use super::*;

    const ID: &str =
        "https://my-vault.vault.azure.net/secrets/db-1/0123456789abcdef0123456789abcdef";
    const ATTRIBUTES: &str = r#"{"enabled":true,"created":1,"updated":2}"#;

    fn vault() -> VaultAddress {
        VaultAddress::parse("my-vault", None, None).unwrap()
    }

    fn read(body: &[u8]) -> Result<Found, Misshapen> {
        secret(body, &vault(), &SecretName::parse("db-1").unwrap(), None)
    }

    fn bundle(value: &str, id: &str, attributes: &str) -> Vec<u8> {
        format!(r#"{{"value":{value},"id":"{id}","attributes":{attributes}}}"#).into_bytes()
    }

    fn refused(body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        assert!(read(body).is_err(), "{}", String::from_utf8_lossy(body));
    }

    #[test]
    fn a_value_comes_out_byte_for_byte() {
        for size in [0, 1, 25_599, 25_600, 25_601, 65_535, 120_000] {
            let value = "x".repeat(size);
            let found = read(&bundle(&format!("\"{value}\""), ID, ATTRIBUTES)).unwrap();
            assert_eq!(found.secret.value.expose(), value.as_bytes());
        }
        for value in ["\u{feff}a\r\n", "\0", "\u{7f}\u{1f}", "e\u{301}", "\u{202e}x", "\"\\/", "{}"]
        {
            let json = serde_json::to_string(value).unwrap();
            let found = read(&bundle(&json, ID, ATTRIBUTES)).unwrap();
            assert_eq!(found.secret.value.expose(), value.as_bytes(), "{json}");
        }
    }

    /// What is only shown, of one name, is no reason to know nothing of all.
    #[test]
    fn a_list_is_read_whatever_its_tags_and_content_types_are() {
        let origin = "https://my-vault.vault.azure.net";
        let body = format!(
            r#"{{"value":[{{"id":"{origin}/secrets/a","tags":{{"t":null}},"contentType":1,"attributes":{{"updated":7}}}},{{"id":"{origin}/secrets/b","tags":[],"contentType":"text"}}]}}"#
        );
        let items = page(body.as_bytes(), &vault()).unwrap().items;
        let names: Vec<_> = items.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!((items[0].updated, items[0].tags.len()), (Some(7), 0));
        assert_eq!(items[1].content_type.as_deref(), Some("text"));
    }

    #[test]
    fn what_is_no_json_object_is_no_secret() {
        let good = String::from_utf8(bundle("\"v\"", ID, ATTRIBUTES)).unwrap();
        assert!(read(good.as_bytes()).is_ok());
        refused("");
        refused("null");
        refused("not json");
        refused("<html><head><title>Sign in</title></head></html>");
        refused(format!("\u{feff}{good}"));
        refused(format!("{good}{good}"));
        refused(format!("[{good}]"));
        refused(format!("[\"v\",\"{ID}\",{ATTRIBUTES}]"));
        refused(format!("/* hello */{good}"));
        refused(good.replace("}}", "},}"));
        refused(&good[..good.len() - 1]);
        refused(good.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
        refused(good.replace("\"v\"", "NaN"));
        refused(good.replace("\"v\"", "1e999"));
        refused(good.replace("{\"value\"", &format!("{{\"x\":{}\"value\"", "[".repeat(100_000))));
        let mut bad_utf8 = good.into_bytes();
        let at = bad_utf8.iter().position(|&byte| byte == b'v').unwrap();
        bad_utf8[at] = 0xff;
        refused(bad_utf8);
    }

    #[test]
    fn the_longest_value_is_read_however_it_is_escaped_and_no_longer_body_is() {
        let longest = "\\u0001".repeat(25_600);
        let found = read(&bundle(&format!("\"{longest}\""), ID, ATTRIBUTES)).unwrap();
        assert_eq!(found.secret.value.expose(), [1; 25_600]);
        let plain = "x".repeat(PLAIN_CAP);
        refused(bundle(&format!("\"{plain}\""), ID, ATTRIBUTES));
    }

    #[test]
    fn a_value_that_is_not_one_text_is_none() {
        for value in ["1", "true", "null", "[]", "[\"v\"]", "{}", "{\"v\":1}", "\"\\ud800\""] {
            refused(bundle(value, ID, ATTRIBUTES));
        }
        refused(format!(r#"{{"id":"{ID}","attributes":{ATTRIBUTES}}}"#));
        refused(format!(r#"{{"Value":"v","id":"{ID}","attributes":{ATTRIBUTES}}}"#));
        refused(format!(r#"{{"value":"v","value":"v","id":"{ID}","attributes":{ATTRIBUTES}}}"#));
        refused(format!(r#"{{"value":"v","id":"{ID}","id":"{ID}","attributes":{ATTRIBUTES}}}"#));
        refused(format!(
            r#"{{"value":"v","v\u0061lue":"w","id":"{ID}","attributes":{ATTRIBUTES}}}"#
        ));
        refused(format!(r#"{{"value":"v","attributes":{ATTRIBUTES}}}"#));
        refused(format!(r#"{{"value":"v","id":"{ID}"}}"#));
    }

    #[test]
    fn an_id_must_name_this_vault_this_secret_and_a_version() {
        let version = "0123456789abcdef0123456789abcdef";
        let origin = "https://my-vault.vault.azure.net";
        for id in [
            String::new(),
            origin.to_owned(),
            format!("{origin}/secrets/db-1"),
            format!("{origin}/secrets/db-1/"),
            format!("{origin}/secrets/db-2/{version}"),
            format!("{origin}/keys/db-1/{version}"),
            format!("{origin}/secrets/db-1/{version}/x"),
            format!("{origin}/secrets/db-1/{version}0"),
            format!("{origin}/secrets/db-1/{}", version.to_uppercase()),
            format!("{origin}/secrets/db-1/{}", "g".repeat(32)),
            format!("{origin}/secrets/db-1%2f{version}"),
            format!("{origin}/secrets%2fdb-1/{version}"),
            format!("{origin}/secrets/db%2d1/{version}"),
            format!("{origin}/secrets/../secrets/x/{version}"),
            format!("{origin}/secrets/db-1/{version}?x"),
            format!("{origin}/secrets/db-1/{version}#x"),
            format!("{origin}:8443/secrets/db-1/{version}"),
            format!("http://my-vault.vault.azure.net/secrets/db-1/{version}"),
            format!("https://other.vault.azure.net/secrets/db-1/{version}"),
            format!("https://my-vault.vault.azure.net@evil.example/secrets/db-1/{version}"),
            format!("https://me@my-vault.vault.azure.net/secrets/db-1/{version}"),
            format!("https:\\\\/\\\\/my-vault.vault.azure.net/secrets/db-1/{version}"),
        ] {
            refused(bundle("\"v\"", &id, ATTRIBUTES));
        }
        for id in [
            format!("{origin}:443/secrets/db-1/{version}"),
            format!("https://MY-VAULT.vault.azure.net/secrets/db-1/{version}"),
            format!("https:\\/\\/my-vault.vault.azure.net\\/secrets\\/db-1\\/{version}"),
        ] {
            assert!(read(&bundle("\"v\"", &id, ATTRIBUTES)).is_ok(), "{id}");
        }
    }

    #[test]
    fn a_version_asked_for_is_the_version_given() {
        let name = SecretName::parse("db-1").unwrap();
        let body = bundle("\"v\"", ID, ATTRIBUTES);
        let asked = |text: &str| secret(&body, &vault(), &name, VersionId::parse(text));
        assert!(asked("0123456789abcdef0123456789abcdef").is_ok());
        assert!(asked("0123456789abcdef0123456789abcde0").is_err());
    }

    #[test]
    fn another_case_is_found_under_the_vaults_spelling() {
        let id = ID.replace("db-1", "DB-1");
        let found = read(&bundle("\"v\"", &id, ATTRIBUTES)).unwrap();
        assert_eq!(found.name.as_str(), "DB-1");
    }

    #[test]
    fn attributes_of_another_type_are_refused_and_odd_times_are_not() {
        for attributes in [
            r#"{"created":1,"enabled":"true"}"#,
            r#"{"created":"1"}"#,
            r#"{"created":1.5}"#,
            r#"{"created":9223372036854775808}"#,
            r#"{"created":1,"created":1}"#,
            r#"{"created":1,"exp":1e3}"#,
            r#"{"created":1,"exp":"1000"}"#,
            r#"{"created":null}"#,
            "{}",
            "[]",
            "null",
            "1",
        ] {
            refused(bundle("\"v\"", ID, attributes));
        }
        for attributes in [
            r#"{"created":-1,"updated":9223372036854775807,"nbf":-9,"exp":-10}"#,
            r#"{"created":32503680000,"nbf":null,"enabled":false}"#,
        ] {
            assert!(read(&bundle("\"v\"", ID, attributes)).is_ok(), "{attributes}");
        }
    }

    #[test]
    fn ten_thousand_tags_and_keys_do_no_harm() {
        let tags: Vec<String> = (0..10_000).map(|n| format!("\"{n}\":\"\"")).collect();
        let tags = tags.join(",");
        let body = format!(
            r#"{{"value":"v","id":"{ID}","attributes":{ATTRIBUTES},"tags":{{{tags}}},{tags}}}"#
        );
        assert!(read(body.as_bytes()).is_ok());
    }

    #[test]
    fn a_code_is_a_word_and_never_prose() {
        let body = |code: &str| {
            format!(
                r#"{{"error":{{"code":"{code}","message":"m","innererror":{{"code":"{code}"}}}}}}"#
            )
        };
        let found = code(body("ForbiddenByRbac").as_bytes()).unwrap();
        assert_eq!(found.inner.as_deref(), Some("ForbiddenByRbac"));
        for bare in [r#""innererror":{}"#, r#""innererror":null"#, r#""message":"m""#] {
            let body = format!(r#"{{"error":{{"code":"Forbidden",{bare}}}}}"#);
            let found = code(body.as_bytes()).unwrap();
            assert_eq!((found.code.as_str(), found.inner), ("Forbidden", None));
        }
        for bad in ["", "a b", "a\\u001b[2J", "\u{e9}", &"x".repeat(65)] {
            assert!(code(body(bad).as_bytes()).is_none(), "{bad}");
        }
        for bad in ["", "{}", "[]", "null", r#"{"error":"Forbidden"}"#, r#"{"error":{"code":403}}"#]
        {
            assert!(code(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    /// No eight bytes in a row of this may show in anything that is printed.
    const CANARY: &str = "kanarienvogelimbergwerk";

    fn is_silent(text: &str) -> bool {
        !CANARY
            .as_bytes()
            .windows(8)
            .any(|window| text.as_bytes().windows(8).any(|shown| shown == window))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_damaged_secret_is_read_or_refused_and_never_repeated(
            at in any::<proptest::sample::Index>(),
            cut in 0..12_usize,
            junk in r#"["\\{}\[\]:,a-z0-9\x00-\x1f]{0,6}"#,
        ) {
            let mut body = bundle(&format!("\"{CANARY}\""), ID, ATTRIBUTES);
            let at = at.index(body.len());
            let end = (at + cut).min(body.len());
            body.splice(at..end, junk.bytes());
            let result = read(&body);
            assert!(is_silent(&format!("{result:?}")));
            let result = page(&body, &vault());
            assert!(is_silent(&format!("{result:?}")));
            assert!(is_silent(&format!("{:?}", code(&body))));
        }

        #[test]
        fn any_bytes_are_read_or_refused(body: Vec<u8>) {
            let _ = read(&body);
            let _ = page(&body, &vault());
            let _ = code(&body);
        }
    }
}
