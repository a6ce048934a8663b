//! A secret's value, and what the vault says about it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::model::name::VersionId;

/// The bytes of a value or of a token: wiped when dropped, never printed, never serialised.
///
/// [`expose`](Self::expose) is the only way to the bytes.
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes bytes into custody.
    ///
    /// ```
    /// use akvfs::model::secret::SecretBytes;
    ///
    /// let value = SecretBytes::new(b"s3cret".to_vec());
    /// assert_eq!(format!("{value:?}"), "[6 bytes]");
    /// assert_eq!(value.expose(), b"s3cret");
    /// ```
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves. Whoever calls this answers for where they go.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.deref()
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "[{} bytes]", self.0.len())
    }
}

/// What the vault says of a version beside its value. Times are seconds since 1970, as the vault
/// gives them; they order versions and are shown, they never measure a window.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Version {
    /// Which version this is.
    pub id: VersionId,
    /// When the version was made.
    pub created: i64,
    /// When the version or its attributes last changed.
    pub updated: i64,
    /// From when on it is meant to be used (`nbf`), if the vault says so.
    pub not_before: Option<i64>,
    /// When it is meant to end (`exp`), if the vault says so.
    pub expires: Option<i64>,
    /// What else is said of it, which decides nothing.
    #[serde(default)]
    pub about: Arc<About>,
}

/// What the vault says of a version, and a person may want to know.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct About {
    /// What the value is said to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Its tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// A secret as the vault returns it: one version, whole.
#[derive(Debug)]
pub struct Secret {
    /// Which version, and when it was made.
    pub version: Version,
    /// The value, byte for byte.
    pub value: SecretBytes,
    /// What the vault's clock showed when it said so, in seconds since 1970.
    pub date: Option<i64>,
}
