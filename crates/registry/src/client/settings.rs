//! Settings of upstream registries, by host.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::reference::{DOCKER_HUB, registry_name};

/// The host of Docker Hub's API.
const DOCKER_HUB_API: &str = "registry-1.docker.io";
/// The host that gives Docker Hub's tokens. Docker's documents name it (Registry authentication, "Token
/// authentication").
const DOCKER_HUB_TOKENS: &str = "auth.docker.io";

/// One host's settings. The default is HTTPS, the system's certificates, and no credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSettings {
    /// Plain HTTP instead of HTTPS.
    pub is_insecure: bool,
    /// A file of certificates (PEM) that are trusted for this host beside the system's.
    pub ca: Option<PathBuf>,
    /// Hosts that are asked before this one, in this order.
    pub mirrors: Vec<String>,
    /// The source of user name and password, if there is one.
    pub credentials: Option<Credentials>,
    /// Hosts beside this one that may get the credentials, to give a token for them.
    pub realm_hosts: Vec<String>,
}

/// Where a host's user name and password stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A file as docker's `config.json`.
    DockerConfig(PathBuf),
    /// A name, and a file with the password.
    Password { username: String, password_file: PathBuf },
}

/// Settings by host and port, as in references.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    hosts: BTreeMap<String, HostSettings>,
}

impl Settings {
    /// Settings by host and port, as in references.
    pub fn new(hosts: impl IntoIterator<Item = (String, HostSettings)>) -> Self {
        Self { hosts: hosts.into_iter().map(|(host, settings)| (key(&host), settings)).collect() }
    }

    /// The same, with plain HTTP for one more host.
    pub fn with_insecure(mut self, host: &str) -> Self {
        self.hosts.entry(key(host)).or_default().is_insecure = true;
        self
    }

    /// A host's settings; the default ones for a host that is not there.
    pub(crate) fn of(&self, host: &str) -> HostSettings {
        self.hosts.get(&key(host)).cloned().unwrap_or_default()
    }

    pub(crate) fn is_insecure(&self, host: &str) -> bool {
        self.hosts.get(&key(host)).is_some_and(|settings| settings.is_insecure)
    }
}

/// One spelling of a host: in lower case, and without the port of HTTPS.
fn key(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    registry_name(host.strip_suffix(":443").unwrap_or(&host)).to_owned()
}

impl HostSettings {
    /// Whether `realm` (host and port) may get the credentials of `host`.
    pub(crate) fn allows_realm(&self, host: &str, realm: &str) -> bool {
        key(realm) == key(host)
            || (registry_name(host) == DOCKER_HUB && realm == DOCKER_HUB_TOKENS)
            || self.realm_hosts.iter().any(|allowed| key(allowed) == key(realm))
    }
}

/// The host that serves a registry's API.
pub(crate) fn api_host(registry: &str) -> &str {
    if registry == DOCKER_HUB { DOCKER_HUB_API } else { registry }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hub_has_one_place_in_the_settings() {
        let given = HostSettings { realm_hosts: vec!["x.example".to_owned()], ..HostSettings::default() };
        let settings = Settings::new([("index.docker.io".to_owned(), given.clone())]);
        assert_eq!(settings.of("docker.io"), given);
        assert_eq!(settings.of("registry-1.docker.io"), given);
        assert_eq!(settings.of("r.example"), HostSettings::default());
        assert_eq!(api_host("docker.io"), "registry-1.docker.io");
    }

    #[test]
    fn plain_http_is_for_the_named_host_alone() {
        let settings = Settings::default().with_insecure("r.example:5000");
        assert!(settings.is_insecure("r.example:5000"));
        assert!(settings.is_insecure("R.Example:5000"));
        for other in ["r.example", "r.example:5001", "localhost", "127.0.0.1:5000"] {
            assert!(!settings.is_insecure(other), "{other}");
        }
    }

    #[test]
    fn credentials_go_to_the_host_itself_and_to_named_realms() {
        let settings = HostSettings { realm_hosts: vec!["auth.example:8443".to_owned()], ..HostSettings::default() };
        assert!(settings.allows_realm("r.example", "r.example"));
        assert!(settings.allows_realm("R.example:443", "r.example"));
        assert!(settings.allows_realm("r.example", "auth.example:8443"));
        assert!(settings.allows_realm("docker.io", "auth.docker.io"));
        for other in ["auth.example", "r.example:5001", "auth.docker.io", "evil.r.example", ""] {
            assert!(!settings.allows_realm("r.example", other), "{other}");
        }
    }
}
