//! Which of a machine's identities to be.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::Serialize;

/// Which identity to be, as a person chose it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Choice {
    /// The only one, or the machine's own; once taken, it is kept.
    Auto,
    /// The machine's own.
    System,
    /// The one with this client id.
    ClientId(Guid),
    /// The one with this object id.
    ObjectId(Guid),
    /// The one with this resource id.
    ResourceId(String),
}

/// A GUID, in lower case.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Guid(String);

/// Why a text chooses no identity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChoiceError {
    what: String,
    why: &'static str,
    hint: Option<&'static str>,
}

impl Choice {
    /// Takes `auto`, `system`, `client-id:GUID`, `object-id:GUID` or `resource-id:ID`.
    pub fn parse(text: &str) -> Result<Self, ChoiceError> {
        let error = |why, hint| ChoiceError::new(&format!("identity={text}"), why, hint);
        let guid = |id: &str| Guid::parse(id).ok_or_else(|| error("this is no GUID", Some(GUID)));
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            None if text == "system" => Ok(Self::System),
            Some(("client-id", id)) => guid(id).map(Self::ClientId),
            Some(("object-id", id)) => guid(id).map(Self::ObjectId),
            Some(("resource-id", id)) if is_identity(id) => Ok(Self::ResourceId(id.to_owned())),
            Some(("resource-id", _)) => {
                Err(error("this is no user-assigned identity's resource id", Some(ARM)))
            }
            _ => Err(error("there is no such choice", Some(CHOICES))),
        }
    }

    /// The identity that a variable of the environment names by its client id.
    pub(crate) fn named_by(variable: &str, id: &str) -> Result<Self, ChoiceError> {
        let what = format!("{variable}={id}");
        let no_guid = || ChoiceError::new(&what, "this is no GUID", Some(UNSET));
        Guid::parse(id).map(Self::ClientId).ok_or_else(no_guid)
    }
}

const GUID: &str = "a GUID is 8-4-4-4-12 hexadecimal digits";
const UNSET: &str = "unset the variable, or set it to the client id of an identity of this machine";
const CHOICES: &str = "identity= takes auto, system, client-id:GUID, object-id:GUID, resource-id:ID, workload, \
     service-principal, azure-cli or from:VAULT/SECRET";
const ARM: &str = "it is /subscriptions/GUID/resourceGroups/NAME/providers/\
                   Microsoft.ManagedIdentity/userAssignedIdentities/NAME";

fn is_identity(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.()".contains(&byte);
    let words: Vec<&str> = id.split('/').collect();
    let ["", subscriptions, subscription, groups, group, providers, provider, kind, name] =
        words.as_slice()
    else {
        return false;
    };
    let is = |word: &str, wanted: &str| word.eq_ignore_ascii_case(wanted);
    is(subscriptions, "subscriptions")
        && Guid::parse(subscription).is_some()
        && is(groups, "resourceGroups")
        && is(providers, "providers")
        && is(provider, "Microsoft.ManagedIdentity")
        && is(kind, "userAssignedIdentities")
        && [group, name]
            .iter()
            .all(|word| (1..=128).contains(&word.len()) && word.bytes().all(plain))
}

impl Guid {
    /// Takes a text as a GUID, or `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lengths = text.split('-').map(str::len);
        let shape = [8, 4, 4, 4, 12];
        let fits = shape.iter().all(|&length| lengths.next() == Some(length))
            && lengths.next().is_none()
            && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
        fits.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The GUID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ChoiceError {
    pub(crate) fn new(what: &str, why: &'static str, hint: Option<&'static str>) -> Self {
        Self { what: what.chars().take(200).collect(), why, hint }
    }

    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        self.hint
    }
}

impl fmt::Display for ChoiceError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {}", self.what, self.why)
    }
}

impl std::error::Error for ChoiceError {}

impl fmt::Display for Choice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => out.write_str("auto"),
            Self::System => out.write_str("system"),
            Self::ClientId(id) => write!(out, "client-id:{}", id.0),
            Self::ObjectId(id) => write!(out, "object-id:{}", id.0),
            Self::ResourceId(id) => write!(out, "resource-id:{id}"),
        }
    }
}

impl FromStr for Choice {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        Self::parse(text)
    }
}

impl From<Choice> for String {
    fn from(choice: Choice) -> Self {
        choice.to_string()
    }
}

impl TryFrom<String> for Choice {
    type Error = ChoiceError;

    fn try_from(text: String) -> Result<Self, ChoiceError> {
        Self::parse(&text)
    }
}

impl From<Guid> for String {
    fn from(guid: Guid) -> Self {
        guid.0
    }
}

impl TryFrom<String> for Guid {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        Self::parse(&text).ok_or("this is no GUID")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0F0E0d0c-1111-2222-3333-444455556666";

    fn arm(name: &str) -> String {
        format!(
            "/subscriptions/{ID}/resourcegroups/My_Group.1/providers/\
             microsoft.managedidentity/userAssignedIdentities/{name}"
        )
    }

    #[test]
    fn every_choice_is_written_as_it_is_read() {
        let resource = format!("resource-id:{}", arm("web-1"));
        for (text, back) in [
            ("auto", "auto"),
            ("system", "system"),
            (
                "client-id:0F0E0d0c-1111-2222-3333-444455556666",
                "client-id:0f0e0d0c-1111-2222-3333-444455556666",
            ),
            (
                "object-id:0f0e0d0c-1111-2222-3333-444455556666",
                "object-id:0f0e0d0c-1111-2222-3333-444455556666",
            ),
            (&resource, &resource),
        ] {
            let choice = Choice::parse(text).unwrap();
            assert_eq!(choice.to_string(), back);
            let json = serde_json::to_string(&choice).unwrap();
            assert_eq!(serde_json::from_str::<Choice>(&json).unwrap(), choice);
        }
    }

    #[test]
    fn what_chooses_nobody_is_refused_and_named() {
        for bad in [
            "",
            "Auto",
            "user",
            "client-id",
            "client-id:",
            "client-id:web-1",
            "client-id: 0f0e0d0c-1111-2222-3333-444455556666",
            "client-id:0f0e0d0c11112222333344445555666 6",
            "client-id:{0f0e0d0c-1111-2222-3333-444455556666}",
            "object-id:0f0e0d0c-1111-2222-3333-44445555666g",
            "object-id:0f0e0d0c-1111-2222-3333-444455556666-7",
            "resource-id:web-1",
            "resource-id:/subscriptions/x",
            &format!("resource-id:{}", arm("")),
            &format!("resource-id:{}", arm("a&client_id=b")),
            &format!("resource-id:{}", arm("a/b")),
            "auto:x",
            "0f0e0d0c-1111-2222-3333-444455556666",
        ] {
            let error = Choice::parse(bad).expect_err(bad);
            assert!(error.to_string().contains(&format!("identity={bad}")), "{error}");
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn a_variable_names_somebody_by_guid() {
        let named = Choice::parse(&format!("client-id:{ID}")).unwrap();
        assert_eq!(Choice::named_by("AZURE_CLIENT_ID", ID), Ok(named));
        let error = Choice::named_by("AZURE_CLIENT_ID", "my-identity").unwrap_err();
        assert!(error.to_string().contains("AZURE_CLIENT_ID=my-identity"));
        assert!(error.hint().is_some());
    }
}
