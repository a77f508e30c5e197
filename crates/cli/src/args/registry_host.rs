//! The name of a registry as runtimes write it into their configurations.

use std::fmt;
use std::str::FromStr;

/// Docker Hub, as image names have it.
pub const DOCKER_HUB: &str = "docker.io";
/// All registries, as k3s writes it.
const ALL: &str = "*";

/// A registry's host, perhaps with a port; or all registries. It has no character that needs care in a path, in TOML,
/// JSON or YAML.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RegistryHost(String);

impl RegistryHost {
    pub fn all() -> Self {
        Self(ALL.to_owned())
    }

    pub fn docker_hub() -> Self {
        Self(DOCKER_HUB.to_owned())
    }

    pub fn is_all(&self) -> bool {
        self.0 == ALL
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The place where the registry's API is: Docker Hub's is elsewhere.
    pub fn server(&self) -> String {
        let host = if self.0 == DOCKER_HUB { "registry-1.docker.io" } else { &self.0 };
        format!("https://{host}")
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no registry.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no registry: give a host such as registry.example or registry.example:5000")]
pub struct RegistryHostError(String);

impl FromStr for RegistryHost {
    type Err = RegistryHostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || RegistryHostError(text.chars().take(80).collect());
        let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        let is_label = |label: &str| {
            !label.is_empty()
                && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let is_host = text.len() <= 255 && host.split('.').all(is_label);
        let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        // As everywhere: a name without a dot or a port is the first part of a repository.
        let is_registry = host.contains('.') || port.is_some() || host == "localhost";
        if is_host && is_port && is_registry { Ok(Self(text.to_owned())) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_other_texts() {
        for host in ["docker.io", "registry.example:5000", "localhost", "node:5000", "10.0.0.1"] {
            assert_eq!(host.parse::<RegistryHost>().unwrap().as_str(), host);
        }
        let wrong = [
            "",
            "*",
            "_default",
            "nginx",
            "a/b.c",
            "A.example",
            "a..b",
            "a.b:x",
            "a.b:0",
            "../x.y",
            "-a.b",
            "a.b:70000",
        ];
        for text in wrong {
            assert!(text.parse::<RegistryHost>().is_err(), "{text}");
        }
        assert_eq!(RegistryHost::docker_hub().server(), "https://registry-1.docker.io");
    }
}
