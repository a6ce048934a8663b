//! A tenant of Entra: a GUID, or one of its domains.

use serde::Deserialize;
use serde::Serialize;

/// A tenant, as it stands in an address.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tenant(String);

impl Tenant {
    /// Takes a tenant's GUID or domain; `None` for what could lead elsewhere in an address.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        let fits = (1..=253).contains(&text.len()) && text.bytes().all(plain);
        let is_path = text.starts_with('.') || text.ends_with('.') || text.contains("..");
        (fits && !is_path).then(|| Self(text.to_owned()))
    }

    /// The tenant.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Tenant> for String {
    fn from(tenant: Tenant) -> Self {
        tenant.0
    }
}

impl TryFrom<String> for Tenant {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        Self::parse(&text).ok_or("this is no tenant")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_one_word_of_an_address() {
        for good in ["7e4a0000-0000-4000-8000-000000000001", "contoso.onmicrosoft.com", "common"] {
            assert_eq!(Tenant::parse(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(254);
        for bad in
            ["", ".", "..", "a/b", "../x", "a..b", "a?b", "a#b", "a b", "a%2f", "@a", "a:1", &long]
        {
            assert!(Tenant::parse(bad).is_none(), "{bad:?}");
        }
    }
}
