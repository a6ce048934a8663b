//! The names of things in a vault, parsed at the edge and valid from there on.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

/// The name of a secret: 1 to 127 ASCII letters, digits and dashes, in the vault's own spelling.
///
/// Key Vault compares names without regard to case; the mount compares them exactly.
#[derive(Clone, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(Arc<str>);

impl SecretName {
    /// Takes a text as a name, or `None` if no secret can be called that.
    ///
    /// ```
    /// use akvfs::model::name::SecretName;
    ///
    /// assert_eq!(SecretName::parse("ftp-admin").unwrap().as_str(), "ftp-admin");
    /// assert!(SecretName::parse(".git").is_none());
    /// assert!(SecretName::parse("a_b").is_none());
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=127).contains(&text.len());
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (fits && plain).then(|| Self(text.into()))
    }

    /// The name as the vault spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for SecretName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", &*self.0)
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.as_str().to_owned()
    }
}

impl TryFrom<String> for SecretName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} cannot be the name of a secret"))
    }
}

/// A version of a secret: 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionId(u128);

impl VersionId {
    /// Takes a text as a version, or `None` if it is not 32 lower-case hexadecimal digits.
    ///
    /// ```
    /// use akvfs::model::name::VersionId;
    ///
    /// let text = "a6fa703cd4a049438a9069060a059419";
    /// assert_eq!(VersionId::parse(text).unwrap().to_string(), text);
    /// assert!(VersionId::parse("latest").is_none());
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let fits = text.len() == 32 && text.bytes().all(hex);
        fits.then(|| u128::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

impl fmt::Debug for VersionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for VersionId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| format!("{text:?} is no version of a secret"))
    }
}

impl From<VersionId> for String {
    fn from(version: VersionId) -> Self {
        version.to_string()
    }
}

impl TryFrom<String> for VersionId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_letters_digits_and_dashes_up_to_127() {
        for good in ["a", "A-1", "-", "--help", "ftpadmin", &"x".repeat(127)] {
            assert!(SecretName::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a.b",
            "a_b",
            "a/b",
            "a b",
            "a\0",
            "a\n",
            "\u{e9}",
            "*",
            &"x".repeat(128),
        ] {
            assert!(SecretName::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_version_is_32_lower_case_hex_digits() {
        for bad in [
            "",
            "a6fa703cd4a049438a9069060a05941",
            "A6FA703CD4A049438A9069060A059419",
            "+6fa703cd4a049438a9069060a059419",
        ] {
            assert!(VersionId::parse(bad).is_none(), "{bad:?}");
        }
        assert_eq!(VersionId::parse(&"0".repeat(32)).unwrap().to_string(), "0".repeat(32));
    }
}
