//! Where a vault is, and for whom the tokens are that open it.
//!
//! Both are settled here, from what a person typed, and nothing that a server says later changes
//! them: the audience of a token is a constant of the vault's cloud.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::Serialize;
use url::Url;

use crate::model::name::SecretName;
use crate::model::name::VersionId;
use crate::vault::cloud::Cloud;
use crate::vault::cloud::PUBLIC;
use crate::vault::cloud::under;

/// One vault: its host, and the audience and authority of its tokens.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct VaultAddress {
    host: String,
    /// None is 443.
    port: Option<u16>,
    resource: String,
    authority: String,
}

/// One secret, or one version of it, by its URL as the portal shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecretAddress {
    /// The vault.
    pub vault: VaultAddress,
    /// The secret.
    pub name: SecretName,
    /// The version, if the URL names one.
    pub version: Option<VersionId>,
}

/// Why a text is no address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AddressError {
    what: String,
    why: Cow<'static, str>,
    hint: Option<String>,
}

/// What a private endpoint's name ends in, in whichever cloud. The names behind it are aliases
/// that no certificate holds.
const PRIVATE_LINK: [&str; 3] = [
    "privatelink.vaultcore.azure.net",
    "privatelink.vaultcore.usgovcloudapi.net",
    "privatelink.vaultcore.azure.cn",
];

impl VaultAddress {
    /// Takes what a person typed: a vault's name, its host, or its URL. `resource` and
    /// `authority` are for a host outside the known clouds, and then both are needed.
    pub fn parse(
        text: &str,
        resource: Option<&str>,
        authority: Option<&str>,
    ) -> Result<Self, AddressError> {
        if is_vault_name(text) {
            let host = format!("{}.{}", text.to_ascii_lowercase(), PUBLIC.suffix);
            return Self::on(text, host, None, resource, authority);
        }
        let url = parse_url(text)?;
        if let Some(path) = path_of(&url) {
            return Err(AddressError::new(
                text,
                "this is the address of something in a vault, not of a vault",
                Some(match url.host_str() {
                    Some(host) if path.starts_with("/secrets") => {
                        format!("type {}", short(host))
                    }
                    _ => "leave out what follows the host".to_owned(),
                }),
            ));
        }
        Self::of_url(text, &url, resource, authority)
    }

    /// The vault that a tag or another secret names. It is a name and nothing else: whoever may
    /// write there chooses among the vaults of one cloud, and never a host.
    pub fn named(text: &str, cloud: &Cloud) -> Result<Self, AddressError> {
        if !is_vault_name(text) {
            let why = "this is no vault's name alone";
            return Err(AddressError::new(text, why, Some(NAME_RULE.to_owned())));
        }
        Ok(Self {
            host: format!("{}.{}", text.to_ascii_lowercase(), cloud.suffix),
            port: None,
            resource: cloud.resource.to_owned(),
            authority: cloud.authority.to_owned(),
        })
    }

    /// The cloud that it is in, if that is a known one.
    #[must_use]
    pub fn cloud(&self) -> Option<&'static Cloud> {
        Cloud::of_vault(&self.host).map(|(cloud, _)| cloud)
    }

    /// Compares the vault with an authority that the environment names in the variable `variable`.
    pub fn agrees_with(&self, variable: &str, authority: &str) -> Result<(), AddressError> {
        let named = origin(variable, authority)?;
        let same = match self.cloud() {
            Some(cloud) => return agree(&self.host, cloud, variable, &named),
            None => named == self.authority,
        };
        if same {
            return Ok(());
        }
        Err(AddressError::new(
            &format!("{variable}={named}"),
            format!("the authority given for {} is {}", self.host, self.authority),
            Some(format!("unset {variable}, or give authority={named}")),
        ))
    }

    /// The host, in lower case.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(443)
    }

    /// The audience of the tokens that open this vault.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Who issues those tokens.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether a URL lies at this vault: https, the same host, the same port, nobody's name in it.
    #[must_use]
    pub fn is_origin_of(&self, url: &Url) -> bool {
        url.scheme() == "https"
            && url.host_str() == Some(&self.host)
            && url.port_or_known_default() == Some(self.port())
            && url.username().is_empty()
            && url.password().is_none()
    }

    fn of_url(
        text: &str,
        url: &Url,
        resource: Option<&str>,
        authority: Option<&str>,
    ) -> Result<Self, AddressError> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let private = PRIVATE_LINK.iter().find_map(|suffix| under(&host, suffix));
        if let Some(name) = private {
            return Err(AddressError::new(
                text,
                "no certificate is for a private endpoint's name",
                Some(format!("type {name}; DNS leads it to the private endpoint")),
            ));
        }
        Self::on(text, host, url.port(), resource, authority)
    }

    fn on(
        text: &str,
        host: String,
        port: Option<u16>,
        resource: Option<&str>,
        authority: Option<&str>,
    ) -> Result<Self, AddressError> {
        let known = Cloud::of_vault(&host);
        let error = |why, hint| Err(AddressError::new(text, why, hint));
        let (resource, authority) = match (known, resource, authority) {
            (Some((_, name)), _, _) if !is_vault_name(name) => {
                return error("no vault can be called that", Some(NAME_RULE.to_owned()));
            }
            (Some((cloud, _)), None, authority) => {
                if let Some(authority) = authority {
                    agree(&host, cloud, "authority", &origin("authority", authority)?)?;
                }
                (cloud.resource.to_owned(), cloud.authority.to_owned())
            }
            (Some(_), Some(_), _) => {
                let hint = "leave out resource= and authority=".to_owned();
                return error("its cloud decides for whom its tokens are", Some(hint));
            }
            (None, Some(resource), Some(authority)) => {
                (origin("resource", resource)?, origin("authority", authority)?)
            }
            (None, _, _) => {
                let hint = "give both resource= and authority=, or type the vault's name alone";
                return error("its host is in no known cloud", Some(hint.to_owned()));
            }
        };
        Ok(Self { host, port, resource, authority })
    }
}

impl SecretAddress {
    /// Takes a secret's URL: `https://VAULT/secrets/NAME` or `https://VAULT/secrets/NAME/VERSION`.
    pub fn parse(
        text: &str,
        resource: Option<&str>,
        authority: Option<&str>,
    ) -> Result<Self, AddressError> {
        let url = parse_url(text)?;
        let hint = || Some("a secret's address is https://VAULT/secrets/NAME".to_owned());
        let error = |why| AddressError::new(text, why, hint());
        let path = url.path().strip_prefix("/secrets/");
        let path = path.ok_or_else(|| error("this is no secret's address"))?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let (name, version) = match path.split_once('/') {
            Some((name, version)) => (name, Some(version)),
            None => (path, None),
        };
        let name = SecretName::parse(name).ok_or_else(|| error("no secret can be called that"))?;
        let version = match version {
            None => None,
            Some(version) => Some(
                VersionId::parse(version)
                    .ok_or_else(|| error("a version is 32 lower-case hexadecimal digits"))?,
            ),
        };
        let vault = VaultAddress::of_url(text, &url, resource, authority)?;
        Ok(Self { vault, name, version })
    }
}

const NAME_RULE: &str = "a vault's name is 3 to 24 letters, digits and single dashes, a letter \
                         first and no dash last";

fn is_vault_name(text: &str) -> bool {
    (3..=24).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.ends_with('-')
        && !text.contains("--")
}

/// A URL of which only scheme, host, port and path are there. A host alone is taken as https.
fn parse_url(text: &str) -> Result<Url, AddressError> {
    let error =
        |why, hint: Option<&str>| Err(AddressError::new(text, why, hint.map(ToOwned::to_owned)));
    // The URL parser drops tabs and newlines, maps letters of other scripts and takes a backslash
    // for a slash: what it would repair is refused here, so that what was typed is what is asked.
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain || text.contains('\\') || !text.contains(['.', ':']) {
        return error("this is no vault", Some(NAME_RULE));
    }
    let parsed = if text.contains("://") {
        Url::parse(text)
    } else {
        Url::parse(&format!("https://{text}"))
    };
    let Ok(url) = parsed else {
        return error("this is no vault", Some(NAME_RULE));
    };
    if url.scheme() != "https" {
        return error("a vault is asked over https only", Some("https://HOST"));
    }
    // `https://vault@elsewhere` leads elsewhere, whatever it looks like.
    if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
        return error("no user goes into a vault's address", None);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return error("neither ? nor # goes into a vault's address", None);
    }
    if url.host_str().is_none_or(|host| host.ends_with('.')) {
        return error("no host is called that", Some(NAME_RULE));
    }
    Ok(url)
}

fn path_of(url: &Url) -> Option<&str> {
    Some(url.path()).filter(|path| !path.is_empty() && *path != "/")
}

/// Whether an authority is of the cloud that a vault is in.
fn agree(host: &str, cloud: &Cloud, option: &str, named: &str) -> Result<(), AddressError> {
    let why = match Cloud::of_authority(named) {
        Some(other) if other == cloud => return Ok(()),
        Some(other) => format!("this is {}, and {host} is in {}", other.name, cloud.name),
        None => format!("this is of no known cloud, and {host} is in {}", cloud.name),
    };
    let hint = match option {
        "authority" => "leave out authority=: the vault's cloud decides it".to_owned(),
        variable => format!("unset {variable}: the vault's cloud decides it"),
    };
    Err(AddressError::new(&format!("{option}={named}"), why, Some(hint)))
}

/// What to type for a host: a public vault's name, or the host.
fn short(host: &str) -> &str {
    under(host, PUBLIC.suffix).unwrap_or(host)
}

/// An `https://HOST` without a slash at its end, which the service would not take for the same.
fn origin(option: &str, text: &str) -> Result<String, AddressError> {
    let what = format!("{option}={text}");
    let Ok(url) = parse_url(text) else {
        return Err(AddressError::new(&what, "this is no https:// URL", None));
    };
    if path_of(&url).is_some() || !text.starts_with("https://") {
        return Err(AddressError::new(&what, "this is not https:// and a host alone", None));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

impl AddressError {
    fn new(what: &str, why: impl Into<Cow<'static, str>>, hint: Option<String>) -> Self {
        Self { what: what.chars().take(200).collect(), why: why.into(), hint }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {}", self.what, self.why)
    }
}

impl std::error::Error for AddressError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::ProptestConfig;
    use proptest::proptest;

    use super::*;

    fn plain(text: &str) -> Result<VaultAddress, AddressError> {
        VaultAddress::parse(text, None, None)
    }

    #[test]
    fn a_name_a_host_and_a_url_are_the_same_vault() {
        let vault = plain("my-vault").unwrap();
        assert_eq!(vault.host(), "my-vault.vault.azure.net");
        assert_eq!(vault.port(), 443);
        assert_eq!(vault.resource(), "https://vault.azure.net");
        assert_eq!(vault.authority(), "https://login.microsoftonline.com");
        for same in [
            "My-Vault",
            "my-vault.vault.azure.net",
            "MY-VAULT.vault.azure.NET",
            "https://my-vault.vault.azure.net",
            "https://my-vault.vault.azure.net/",
            "https://my-vault.vault.azure.net:443/",
            "my-vault.vault.azure.net:443",
        ] {
            assert_eq!(plain(same).unwrap(), vault, "{same}");
        }
    }

    #[test]
    fn the_host_decides_the_cloud() {
        for (host, resource) in [
            ("v1x.vault.usgovcloudapi.net", "https://vault.usgovcloudapi.net"),
            ("v1x.vault.azure.cn", "https://vault.azure.cn"),
            ("v1x.vault.microsoftazure.de", "https://vault.microsoftazure.de"),
        ] {
            assert_eq!(plain(host).unwrap().resource(), resource);
            let both =
                VaultAddress::parse(host, Some("https://a.example"), Some("https://b.example"));
            assert!(both.is_err(), "{host}");
            assert!(VaultAddress::parse(host, Some("https://a.example"), None).is_err());
        }
    }

    #[test]
    fn an_authority_of_another_cloud_is_an_error_that_names_both() {
        let vault = plain("v1x.vault.azure.cn").unwrap();
        assert_eq!(vault.authority(), "https://login.chinacloudapi.cn");
        for same in [
            "https://login.chinacloudapi.cn",
            "https://login.chinacloudapi.cn/",
            "https://LOGIN.chinacloudapi.cn:443/",
            "https://login.partner.microsoftonline.cn/",
        ] {
            vault.agrees_with("AZURE_AUTHORITY_HOST", same).unwrap();
            let given = VaultAddress::parse("v1x.vault.azure.cn", None, Some(same));
            assert_eq!(given.unwrap(), vault, "{same}");
        }
        for (other, named) in [
            ("https://login.microsoftonline.com/", "the public cloud"),
            ("https://login.windows.net", "the public cloud"),
            ("https://login.microsoftonline.us", "the US Government's cloud"),
            ("https://login.chinacloudapi.cn.evil.example", "no known cloud"),
            ("https://evil.example", "no known cloud"),
        ] {
            let given = VaultAddress::parse("v1x.vault.azure.cn", None, Some(other));
            let by_variable = vault.agrees_with("AZURE_AUTHORITY_HOST", other);
            for (error, option) in
                [(given.unwrap_err(), "authority="), (by_variable.unwrap_err(), "AUTHORITY_HOST=")]
            {
                let said = error.to_string();
                for part in [named, "v1x.vault.azure.cn is in China's cloud", option] {
                    assert!(said.contains(part), "{said}");
                }
                assert!(error.hint().is_some());
            }
        }
        for bad in ["http://login.chinacloudapi.cn", "login.chinacloudapi.cn", "https://a/b", "x"] {
            assert!(vault.agrees_with("AZURE_AUTHORITY_HOST", bad).is_err(), "{bad}");
        }
        let own = VaultAddress::parse(
            "kv.stack.example",
            Some("https://vault.stack.example"),
            Some("https://login.stack.example"),
        );
        let own = own.unwrap();
        own.agrees_with("AZURE_AUTHORITY_HOST", "https://login.stack.example/").unwrap();
        let other = own.agrees_with("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com");
        assert!(other.unwrap_err().to_string().contains("https://login.stack.example"));
    }

    #[test]
    fn a_vault_that_a_tag_names_is_a_name_in_one_cloud() {
        let china = Cloud::of_environment("AzureChinaCloud").unwrap();
        let vault = VaultAddress::named("My-Vault", china).unwrap();
        assert_eq!(vault, plain("my-vault.vault.azure.cn").unwrap());
        for bad in [
            "",
            "my-vault.vault.azure.cn",
            "https://my-vault",
            "my-vault/secrets",
            "my-vault:443",
            "me@my-vault",
            "my-vault\n",
            " my-vault",
            "my-vault#",
            "my-vault?",
            "my_vault",
            "..",
            "tag:vault",
        ] {
            assert!(VaultAddress::named(bad, china).is_err(), "{bad:?}");
        }
        assert!(Cloud::of_environment("AzureCloud").is_none());
    }

    #[test]
    fn a_host_outside_the_clouds_needs_resource_and_authority() {
        let (resource, authority) = ("https://vault.stack.example", "https://login.stack.example");
        for host in
            ["https://localhost:8443", "localhost:8443", "127.0.0.1:8443", "kv.stack.example"]
        {
            let vault = VaultAddress::parse(host, Some(resource), Some(authority)).unwrap();
            assert_eq!((vault.resource(), vault.authority()), (resource, authority));
            assert!(VaultAddress::parse(host, Some(resource), None).is_err());
            assert!(VaultAddress::parse(host, None, Some(authority)).is_err());
            let hint = plain(host).unwrap_err();
            assert!(hint.hint().unwrap().contains("resource="));
        }
        let slash =
            VaultAddress::parse("kv.stack.example", Some("https://r.example/"), Some(authority));
        assert_eq!(slash.unwrap().resource(), "https://r.example");
        for bad in
            ["http://r.example", "r.example", "https://r.example/x", "https://r.example?x", ""]
        {
            let result = VaultAddress::parse("kv.stack.example", Some(bad), Some(authority));
            assert!(result.unwrap_err().to_string().contains("resource="), "{bad}");
        }
    }

    #[test]
    fn what_is_no_vault_is_refused_and_named() {
        for bad in [
            "",
            "ab",
            "1vault",
            "-vault",
            "vault-",
            "my--vault",
            "my_vault",
            "a-name-of-twenty-five-char",
            "my vault",
            " my-vault",
            "my-vault\n",
            "m\u{fc}ller",
            "\u{43c}y-vault.vault.azure.net",
            "http://my-vault.vault.azure.net",
            "ftp://my-vault.vault.azure.net",
            "file:///etc/passwd",
            "https://",
            "https://my-vault.vault.azure.net:99999",
            "https://me@my-vault.vault.azure.net",
            "https://me:pw@my-vault.vault.azure.net",
            "https://@my-vault.vault.azure.net",
            "https://my-vault.vault.azure.net/?x=1",
            "https://my-vault.vault.azure.net/#x",
            "https://my-vault.vault.azure.net\\@evil.example",
            "my-vault.vault.azure.net.",
            "vault.azure.net",
            ".vault.azure.net",
            "a.b.vault.azure.net",
            "ab.vault.azure.net",
            "my-vault.vault.azure.net.evil.example",
            "evilvault.azure.net",
            "..",
            "/mnt/vault",
        ] {
            let error = plain(bad).expect_err(bad);
            assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
        }
    }

    #[test]
    fn a_private_endpoints_name_gets_the_name_to_type_instead() {
        for host in [
            "myvault.privatelink.vaultcore.azure.net",
            "https://MyVault.privatelink.vaultcore.azure.net/",
        ] {
            let error = plain(host).unwrap_err();
            assert!(error.hint().unwrap().starts_with("type myvault;"), "{error}");
        }
    }

    #[test]
    fn a_secrets_address_is_taken_by_get_and_explained_by_mount() {
        let version = "0123456789abcdef0123456789abcdef";
        let url = format!("https://my-vault.vault.azure.net/secrets/Db-1/{version}");
        let secret = SecretAddress::parse(&url, None, None).unwrap();
        assert_eq!(secret.vault, plain("my-vault").unwrap());
        assert_eq!(secret.name.as_str(), "Db-1");
        assert_eq!(secret.version.unwrap().to_string(), version);
        assert_eq!(plain(&url).unwrap_err().hint(), Some("type my-vault"));
        let newest = "https://my-vault.vault.azure.net/secrets/Db-1/";
        assert_eq!(SecretAddress::parse(newest, None, None).unwrap().version, None);
        for bad in [
            "my-vault",
            "https://my-vault.vault.azure.net/",
            "https://my-vault.vault.azure.net/secrets",
            "https://my-vault.vault.azure.net/secrets/",
            "https://my-vault.vault.azure.net/secrets/a_b",
            "https://my-vault.vault.azure.net/secrets/a%2fb",
            "https://my-vault.vault.azure.net/secrets/a/latest",
            "https://my-vault.vault.azure.net/secrets/a/b/c",
            "https://my-vault.vault.azure.net/keys/a",
            "http://my-vault.vault.azure.net/secrets/a",
            "https://evil.example/secrets/a",
        ] {
            assert!(SecretAddress::parse(bad, None, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_url_with_somebodys_name_in_it_is_not_the_vaults() {
        let vault = plain("my-vault").unwrap();
        let ours = |url: &str| vault.is_origin_of(&Url::parse(url).unwrap());
        assert!(ours("https://my-vault.vault.azure.net:443/secrets"));
        assert!(!ours("https://me@my-vault.vault.azure.net/secrets"));
        assert!(!ours("https://:pw@my-vault.vault.azure.net/secrets"));
        assert!(!ours("http://my-vault.vault.azure.net:443/secrets"));
    }

    #[test]
    fn an_address_survives_being_written_down() {
        let vault = VaultAddress::parse(
            "localhost:8443",
            Some("https://r.example"),
            Some("https://a.example"),
        )
        .unwrap();
        let text = serde_json::to_string(&vault).unwrap();
        assert_eq!(serde_json::from_str::<VaultAddress>(&text).unwrap(), vault);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_parses_without_options_is_in_a_known_cloud(text in r"(https://)?[a-zA-Z0-9.:@/\\?#%_ -]{0,20}(\.vault\.azure\.(net|cn))?[a-z0-9.:@/\\?#% -]{0,8}") {
            if let Ok(vault) = plain(&text) {
                let known = Cloud::of_vault(vault.host()).map(|(_, name)| name);
                assert!(is_vault_name(known.unwrap()), "{text:?}");
            }
        }

        #[test]
        fn any_text_is_taken_or_refused(text: String) {
            let _ = plain(&text);
            let _ = SecretAddress::parse(&text, Some(&text), Some(&text));
        }
    }
}
