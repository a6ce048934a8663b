//! What a 401 says about whose token it wanted.
//!
//! It is compared with what is known already and used to explain; it never chooses an audience, an
//! authority or a host. Nothing of it is kept but what the next token is to claim.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::de::IgnoredAny;

use crate::json;
use crate::vault::address::VaultAddress;

/// A server that says more than this in one header is not listened to.
const LIMIT: usize = 4 * 1024;
const PARAMETERS: usize = 32;

/// Whose token a 401 wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Challenge {
    /// One for this vault's cloud: the very token that it got.
    Ours,
    /// One for something else.
    Other {
        /// For what.
        resource: String,
    },
    /// The server did not ask as a vault asks.
    NotAVault,
}

impl Challenge {
    /// Reads the `WWW-Authenticate` headers of a 401.
    #[must_use]
    pub fn read<'a>(headers: impl Iterator<Item = &'a str>, vault: &VaultAddress) -> Self {
        let mut ours = false;
        for audience in headers.take(PARAMETERS).flat_map(audiences) {
            if !same(&audience, vault.resource()) {
                return Self::Other { resource: printable(&audience) };
            }
            ours = true;
        }
        if ours { Self::Ours } else { Self::NotAVault }
    }
}

/// What the token lacked, if a 401 says that: JSON, for whoever issues the next one.
///
/// It is handed on and not understood, to an issuer that is known already; what is no JSON or too
/// long for a request is not.
#[must_use]
pub fn claims<'a>(headers: impl Iterator<Item = &'a str>) -> Option<String> {
    let parameters: Vec<_> = headers.take(PARAMETERS).flat_map(parameters).collect();
    let value = |wanted: &str| {
        let mut named = parameters.iter().filter(|(name, _)| name == wanted);
        named.next().map(|(_, value)| value.as_str())
    };
    if value("error") != Some("insufficient_claims") {
        return None;
    }
    let text = value("claims")?.trim_end_matches('=').replace('-', "+").replace('_', "/");
    let json = String::from_utf8(STANDARD_NO_PAD.decode(text).ok()?).ok()?;
    json::object::<IgnoredAny>(json.as_bytes()).map(|_| json)
}

/// The audiences that one header's Bearer challenges name. What cannot be read names none.
fn audiences(header: &str) -> Vec<String> {
    let named = parameters(header).into_iter();
    let named = named.filter(|(name, _)| matches!(name.as_str(), "resource" | "scope"));
    named
        .flat_map(|(_, value)| {
            let each = value.split(' ').map(|one| one.strip_suffix("/.default").unwrap_or(one));
            each.map(ToOwned::to_owned).collect::<Vec<String>>()
        })
        .collect()
}

/// The parameters of one header's Bearer challenges, their names in lower case.
fn parameters(header: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if header.len() > LIMIT {
        return found;
    }
    let mut bearer = false;
    let mut rest = header;
    for _ in 0..PARAMETERS {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (name, after) = token(rest);
        if name.is_empty() {
            break;
        }
        let after = after.trim_start_matches([' ', '\t']);
        let Some(value) = after.strip_prefix('=') else {
            // A word that is not followed by `=` is a scheme.
            bearer = name.eq_ignore_ascii_case("bearer");
            rest = after;
            continue;
        };
        let Some((value, after)) = value_of(value.trim_start_matches([' ', '\t'])) else {
            break;
        };
        rest = after;
        if bearer {
            found.push((name.to_ascii_lowercase(), value));
        }
    }
    found
}

/// A word of RFC 9110, and what follows it.
fn token(text: &str) -> (&str, &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !plain(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or(("", text))
}

/// A value, quoted or not, and what follows it; `None` if its quotes never end.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end)?;
        return Some((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

/// Whole and exact, but for the case of the host and one slash at the end.
fn same(one: &str, other: &str) -> bool {
    let bare = |text: &str| text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    bare(one) == bare(other)
}

fn printable(text: &str) -> String {
    let clean = text.chars().filter(char::is_ascii_graphic);
    clean.take(100).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::ProptestConfig;
    use proptest::proptest;

    use super::*;

    fn read(headers: &[&str]) -> Challenge {
        let vault = VaultAddress::parse("my-vault", None, None).unwrap();
        Challenge::read(headers.iter().copied(), &vault)
    }

    const AUTHORITY: &str = "authorization=\"https://login.example/11111111\"";

    #[test]
    fn the_vaults_own_challenge_is_known_in_all_its_spellings() {
        for header in [
            "Bearer authorization=\"https://login.windows.net/1\", resource=\"https://vault.azure.net\"",
            "Bearer resource=\"https://vault.azure.net\", authorization=\"https://login.example/1\"",
            "bearer resource=https://vault.azure.net",
            "BEARER Resource = \"https://Vault.Azure.Net/\"",
            "Bearer scope=\"https://vault.azure.net/.default\"",
            "Basic realm=\"resource=x\", Bearer resource=\"https://vault.azure.net\"",
            "Negotiate, Bearer resource=\"https://vault.azure.net\", Basic resource=\"https://x.example\"",
            "Bearer note=\"a \\\" b, resource=c\", resource=\"https://vault.azure.net\"",
        ] {
            assert_eq!(read(&[header]), Challenge::Ours, "{header}");
        }
    }

    #[test]
    fn a_challenge_for_anything_else_is_another_wherever_it_stands() {
        for resource in [
            "https://management.azure.com",
            "https://graph.microsoft.com",
            "https://evil.example",
            "https://vault.azure.net.evil.example",
            "https://evilvault.azure.net",
            "https://azure.net",
            "https://net",
            "https://managedhsm.azure.net",
            "http://vault.azure.net",
            "https://vault.azure.net:8443",
            "https://vault.azure.net/x",
            "https://vault.azure.net@evil.example",
            "https://192.0.2.1",
            "vault.azure.net",
            "",
        ] {
            let other = Challenge::Other { resource: resource.to_owned() };
            let ours = "Bearer resource=\"https://vault.azure.net\"";
            let theirs = format!("Bearer {AUTHORITY}, resource=\"{resource}\"");
            assert_eq!(read(&[&theirs]), other);
            assert_eq!(read(&[ours, &theirs]), other);
            assert_eq!(read(&[&format!("{ours}, {theirs}")]), other);
            let scope = format!("Bearer scope=\"https://vault.azure.net/.default {resource}\"");
            assert_eq!(read(&[&scope]), other);
        }
    }

    #[test]
    fn a_host_that_asks_otherwise_is_no_vault() {
        for header in [
            "",
            "Basic realm=\"x\"",
            "Negotiate",
            "Bearer",
            "Bearer realm=\"\", error=\"insufficient_claims\"",
            "Bearer resource=\"https://vault.azure.net",
            "Bearer resource",
            "Basic resource=\"https://vault.azure.net\"",
            "\u{e4}\u{f6}",
            ",,,,",
        ] {
            assert_eq!(read(&[header]), Challenge::NotAVault, "{header}");
        }
        assert_eq!(read(&[]), Challenge::NotAVault);
        let huge = format!("Bearer x=\"{}\", resource=\"https://x.example\"", "y".repeat(LIMIT));
        assert_eq!(read(&[&huge]), Challenge::NotAVault);
    }

    fn lacked(headers: &[&str]) -> Option<String> {
        claims(headers.iter().copied())
    }

    const CLAIMS: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1726077595"}}}"#;

    fn insufficient(claims: &str) -> String {
        format!(
            r#"Bearer realm="", authorization_uri="https://login.example/common", error="insufficient_claims", claims="{claims}""#
        )
    }

    #[test]
    fn what_a_token_lacked_is_read_in_either_alphabet() {
        let padded = base64::engine::general_purpose::STANDARD.encode(CLAIMS);
        let bare = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(CLAIMS);
        for text in [padded, bare] {
            assert_eq!(lacked(&[&insufficient(&text)]).as_deref(), Some(CLAIMS));
        }
    }

    #[test]
    fn what_is_no_claim_is_not_handed_on() {
        let good = STANDARD_NO_PAD.encode(CLAIMS);
        for header in [
            insufficient(""),
            insufficient("!!"),
            insufficient(&STANDARD_NO_PAD.encode("no JSON")),
            insufficient(&STANDARD_NO_PAD.encode("[1]")),
            insufficient(&STANDARD_NO_PAD.encode(b"\xff{}")),
            insufficient(&good).replace("insufficient_claims", "invalid_token"),
            insufficient(&good).replace("Bearer", "Basic"),
            insufficient(&good)
                .replace("claims=\"", "claims=\"unterminated ")
                .replace(", error", ", x"),
            insufficient(&STANDARD_NO_PAD.encode(format!("{{\"x\":\"{}\"}}", "y".repeat(LIMIT)))),
        ] {
            assert_eq!(lacked(&[&header]), None, "{header}");
        }
        assert_eq!(lacked(&[]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_header_is_read_or_not(header: String, more in r#"(Bearer |resource=|"|\\|,| |https://vault.azure.net|x){0,12}"#) {
            let _ = read(&[&header, &more]);
            let _ = lacked(&[&header, &more]);
        }
    }
}
