//! `[registry]`: where container runtimes pull images from, and who may.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::policy::{POLICIES_MAX, Policy, full_name, policy_of};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    pub listen: String,
    pub connections_max: usize,
    pub wait_s: u32,
    pub keep_blobs: bool,
    pub users_file: PathBuf,
    pub tls_certificate: PathBuf,
    pub tls_key: PathBuf,
    pub policy: Vec<Policy>,
}

impl Registry {
    /// Whether the node keeps and fetches compressed blobs that no recipe makes.
    pub fn keeps_blobs(&self) -> bool {
        self.keep_blobs || !self.listen.is_empty()
    }

    /// The rules for a repository, whatever name of it is used.
    pub fn policy(&self, repository: &str) -> &Policy {
        policy_of(&self.policy, repository)
    }

    /// Whether a repository is open to those whom its policy admits. An image that was pulled by digest alone has a
    /// name that tells nothing of its repository: where there are rules for clients, a pattern must name it.
    pub fn is_open(&self, repository: &str) -> bool {
        let name = full_name(repository);
        if !name.starts_with("docker.io/sha256/") || !self.has_users() {
            return true;
        }
        let patterns = self.policy(repository).repositories.iter();
        patterns.filter(|pattern| pattern.is_specific()).any(|pattern| pattern.matches(&name))
    }

    pub fn has_users(&self) -> bool {
        !self.users_file.as_os_str().is_empty()
    }

    pub fn has_tls(&self) -> bool {
        !self.tls_certificate.as_os_str().is_empty()
    }

    /// The first wrong key, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        super::check_range("registry.connections_max", self.connections_max as u64, 1, 1 << 16)?;
        super::check_range("registry.wait_s", self.wait_s.into(), 1, 86_400)?;
        if self.has_tls() == self.tls_key.as_os_str().is_empty() {
            return Err(("registry.tls_certificate", "tls_certificate and tls_key belong together".to_owned()));
        }
        if self.policy.len() > POLICIES_MAX {
            return Err(("registry.policy", format!("must be {POLICIES_MAX} tables at most")));
        }
        for (index, policy) in self.policy.iter().enumerate() {
            let wrong = |why| ("registry.policy", format!("table {}: {why}", index + 1));
            policy.check(self.has_users()).map_err(wrong)?;
        }
        self.check_listen()
    }

    fn check_listen(&self) -> Result<(), (&'static str, String)> {
        if self.listen.is_empty() {
            return Ok(());
        }
        let wrong = |why: &str| Err(("registry.listen", why.to_owned()));
        let Ok(address) = self.listen.parse::<SocketAddr>() else {
            return wrong("must be an address and a port, such as \"127.0.0.1:4480\" (loopback)");
        };
        if address.ip().is_loopback() || self.has_tls() && self.has_users() {
            return Ok(());
        }
        wrong(
            "must be a loopback address and a port, such as \"127.0.0.1:4480\": for any other set tls_certificate, \
             tls_key and users_file, so that nobody reads images or passwords on the way",
        )
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            listen: String::new(),
            connections_max: 256,
            wait_s: 600,
            keep_blobs: false,
            users_file: PathBuf::new(),
            tls_certificate: PathBuf::new(),
            tls_key: PathBuf::new(),
            policy: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_digests_are_open_where_nobody_is_refused() {
        let mut registry = Registry::default();
        let digest = format!("sha256/{}", "0".repeat(64));
        assert!(registry.is_open(&digest));
        registry.users_file = "/users".into();
        registry.policy = vec![Policy { repositories: vec!["*".parse().unwrap()], ..Policy::default() }];
        assert!(!registry.is_open(&digest) && registry.is_open("shop/app"));
        registry.policy[0].repositories.push("sha256/*".parse().unwrap());
        assert!(registry.is_open(&digest));
    }
}
