//! What a vault is asked: the URLs, and the one link that a vault may hand out.

use std::fmt;

use url::Url;

use crate::model::name::SecretName;
use crate::model::name::VersionId;
use crate::vault::address::VaultAddress;

/// The newest version that every cloud speaks.
const API_VERSION: &str = "7.4";

/// The most that the service puts on a page.
const PAGE: &str = "25";

/// Longer links than this are nobody's.
const LINK: usize = 8 * 1024;

/// Where the next page of a list is: a link of the vault's own, at the vault, to its secrets.
///
/// The vault's token goes wherever it points, so there is no way to one but
/// [`parse`](Self::parse).
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct NextLink(Url);

impl NextLink {
    /// Takes a link as it stands in a page of the list of this vault, or `None` if it leads
    /// anywhere else.
    #[must_use]
    pub fn parse(text: &str, vault: &VaultAddress) -> Option<Self> {
        let plain = text.len() <= LINK && text.bytes().all(|byte| byte.is_ascii_graphic());
        let url = plain.then(|| Url::parse(text).ok()).flatten()?;
        let ours = vault.is_origin_of(&url)
            && url.path() == "/secrets"
            && url.query().is_some()
            && url.fragment().is_none()
            && !text.contains(['@', '\\']);
        ours.then_some(Self(url))
    }

    /// The link, as the vault gave it.
    pub(crate) const fn url(&self) -> &Url {
        &self.0
    }
}

/// The token in it spells a secret's name, so it is not printed.
impl fmt::Debug for NextLink {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("[next page]")
    }
}

/// Where a secret is, or one version of it.
pub(crate) fn secret(
    vault: &VaultAddress,
    name: &SecretName,
    version: Option<VersionId>,
) -> Option<Url> {
    let version = version.map_or_else(String::new, |version| format!("/{version}"));
    at(vault, &format!("/secrets/{name}{version}"), &[])
}

/// Where the list of secrets begins.
pub(crate) fn first_page(vault: &VaultAddress) -> Option<Url> {
    at(vault, "/secrets", &[("maxresults", PAGE)])
}

/// `None` does not happen: an address that parsed makes a URL.
fn at(vault: &VaultAddress, path: &str, more: &[(&str, &str)]) -> Option<Url> {
    let origin = format!("https://{}:{}{path}", vault.host(), vault.port());
    let mut url = Url::parse(&origin).ok()?;
    url.query_pairs_mut().append_pair("api-version", API_VERSION).extend_pairs(more);
    Some(url)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::ProptestConfig;
    use proptest::proptest;

    use super::*;

    fn vault() -> VaultAddress {
        VaultAddress::parse("my-vault", None, None).unwrap()
    }

    #[test]
    fn requests_are_spelled_as_the_service_documents_them() {
        let name = SecretName::parse("Db-1").unwrap();
        let version = VersionId::parse(&"0a".repeat(16));
        let origin = "https://my-vault.vault.azure.net";
        assert_eq!(
            secret(&vault(), &name, None).unwrap().as_str(),
            format!("{origin}/secrets/Db-1?api-version=7.4")
        );
        assert_eq!(
            secret(&vault(), &name, version).unwrap().as_str(),
            format!("{origin}/secrets/Db-1/{}?api-version=7.4", "0a".repeat(16))
        );
        assert_eq!(
            first_page(&vault()).unwrap().as_str(),
            format!("{origin}/secrets?api-version=7.4&maxresults=25")
        );
    }

    #[test]
    fn the_services_own_link_is_followed_as_it_stands() {
        for query in [
            "api-version=7.4&$skiptoken=eyJOZXh0TWFya2VyIjoiMiE_-A&maxresults=25",
            "api-version=7.0&%24skiptoken=eyJ",
        ] {
            for origin in [
                "https://my-vault.vault.azure.net:443",
                "https://my-vault.vault.azure.net",
                "https://MY-VAULT.vault.azure.net:443",
            ] {
                let link = NextLink::parse(&format!("{origin}/secrets?{query}"), &vault());
                let link = link.unwrap();
                assert_eq!(link.url().query(), Some(query));
                assert_eq!(link.url().host_str(), Some("my-vault.vault.azure.net"));
                assert!(!format!("{link:?}").contains("eyJ"));
            }
        }
    }

    #[test]
    fn a_link_to_anywhere_else_is_none() {
        for link in [
            "",
            "/secrets?x",
            "secrets?x",
            "//my-vault.vault.azure.net/secrets?x",
            "http://my-vault.vault.azure.net/secrets?x",
            "http://my-vault.vault.azure.net:443/secrets?x",
            "https://my-vault.vault.azure.net:8443/secrets?x",
            "https://my-vault.vault.azure.net:80/secrets?x",
            "https://other.vault.azure.net/secrets?x",
            "https://evil.example/secrets?x",
            "https://my-vault.vault.azure.net.evil.example/secrets?x",
            "https://my-vault.vault.azure.net@evil.example/secrets?x",
            "https://me@my-vault.vault.azure.net/secrets?x",
            "https://me:pw@my-vault.vault.azure.net/secrets?x",
            "https://evil.example\\@my-vault.vault.azure.net/secrets?x",
            "https://my-vault.vault.azure.net./secrets?x",
            "https://my-vault.vault.azure.net/secrets",
            "https://my-vault.vault.azure.net/keys?x",
            "https://my-vault.vault.azure.net/secrets/?x",
            "https://my-vault.vault.azure.net/secrets/a?x",
            "https://my-vault.vault.azure.net/../secrets2?x",
            "https://my-vault.vault.azure.net/secrets?x#y",
            "https://my-vault.vault.azure.net/secrets?x y",
            " https://my-vault.vault.azure.net/secrets?x",
            "https://my-vault.vault.azure.net/secrets?x\n",
        ] {
            assert!(NextLink::parse(link, &vault()).is_none(), "{link:?}");
        }
        let long = format!("https://my-vault.vault.azure.net/secrets?{}", "x".repeat(LINK));
        assert!(NextLink::parse(&long, &vault()).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_token_never_follows_a_link_out_of_the_vault(
            link in r"(https?:)?[/\\]{0,3}([a-z.:@%0-9\[\]]{0,6}@)?(my-vault|evil)?(\.vault\.azure\.net)?[a-z.:@/\\?#%0-9-]{0,12}(/secrets)?(\?[a-z]{0,3})?"
        ) {
            if let Some(link) = NextLink::parse(&link, &vault()) {
                let url = link.url();
                assert_eq!(url.scheme(), "https");
                assert_eq!(url.host_str(), Some("my-vault.vault.azure.net"));
                assert_eq!(url.port_or_known_default(), Some(443));
                assert_eq!((url.username(), url.path()), ("", "/secrets"));
            }
        }

        #[test]
        fn any_text_is_a_link_or_none(text: String) {
            let _ = NextLink::parse(&text, &vault());
        }
    }
}
