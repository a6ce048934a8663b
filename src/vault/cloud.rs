//! The clouds of Azure that are known here: where their vaults are, for whom tokens that open them
//! are, and who issues those.

/// A cloud.
#[derive(Debug, Eq, PartialEq)]
pub struct Cloud {
    /// What it is called in messages.
    pub name: &'static str,
    /// The domain that its vaults are in.
    pub(crate) suffix: &'static str,
    /// The audience of the tokens that open them.
    pub(crate) resource: &'static str,
    /// Who issues those tokens.
    pub(crate) authority: &'static str,
    /// Other hosts of the same issuer.
    aliases: &'static [&'static str],
    /// How a machine's metadata spell it.
    environment: &'static str,
}

/// Where a name alone is.
pub(crate) const PUBLIC: Cloud = Cloud {
    name: "the public cloud",
    suffix: "vault.azure.net",
    resource: "https://vault.azure.net",
    authority: "https://login.microsoftonline.com",
    aliases: &["login.windows.net", "login.microsoft.com", "sts.windows.net"],
    environment: "AzurePublicCloud",
};

const CLOUDS: [Cloud; 4] = [
    PUBLIC,
    Cloud {
        name: "the US Government's cloud",
        suffix: "vault.usgovcloudapi.net",
        resource: "https://vault.usgovcloudapi.net",
        authority: "https://login.microsoftonline.us",
        aliases: &["login.usgovcloudapi.net"],
        environment: "AzureUSGovernmentCloud",
    },
    Cloud {
        name: "China's cloud",
        suffix: "vault.azure.cn",
        resource: "https://vault.azure.cn",
        authority: "https://login.chinacloudapi.cn",
        aliases: &["login.partner.microsoftonline.cn"],
        environment: "AzureChinaCloud",
    },
    Cloud {
        name: "Germany's cloud",
        suffix: "vault.microsoftazure.de",
        resource: "https://vault.microsoftazure.de",
        authority: "https://login.microsoftonline.de",
        aliases: &[],
        environment: "AzureGermanCloud",
    },
];

impl Cloud {
    /// The cloud of a vault's host, and what the vault is called there.
    pub(crate) fn of_vault(host: &str) -> Option<(&'static Self, &str)> {
        CLOUDS.iter().find_map(|cloud| under(host, cloud.suffix).map(|name| (cloud, name)))
    }

    /// The cloud of an issuer of tokens: `https://HOST`, in lower case and without a slash.
    pub(crate) fn of_authority(origin: &str) -> Option<&'static Self> {
        let host = origin.strip_prefix("https://")?;
        let is = |cloud: &&Self| cloud.authority == origin || cloud.aliases.contains(&host);
        CLOUDS.iter().find(is)
    }

    /// The cloud that a machine says it is in.
    #[must_use]
    pub fn of_environment(name: &str) -> Option<&'static Self> {
        CLOUDS.iter().find(|cloud| cloud.environment == name)
    }
}

/// What stands before `.suffix`, if that is how the host ends.
pub(crate) fn under<'a>(host: &'a str, suffix: &str) -> Option<&'a str> {
    host.strip_suffix(suffix)?.strip_suffix('.')
}
