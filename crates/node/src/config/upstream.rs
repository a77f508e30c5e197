//! `[upstream."HOST"]`: how registries are asked for images.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lighter_registry::{Credentials, HostSettings, Settings};
use serde::{Deserialize, Serialize};

/// The settings of one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamHost {
    pub insecure: bool,
    pub ca: PathBuf,
    pub mirrors: Vec<String>,
    pub auth_file: PathBuf,
    pub username: String,
    pub password_file: PathBuf,
    pub realm_hosts: Vec<String>,
}

impl UpstreamHost {
    /// The first contradiction: its key, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let has_password = !self.password_file.as_os_str().is_empty();
        if self.username.is_empty() == has_password {
            return Err(("username", "username and password_file belong together".to_owned()));
        }
        if has_password && !self.auth_file.as_os_str().is_empty() {
            return Err(("auth_file", "must be absent beside username and password_file".to_owned()));
        }
        if self.username.contains(':') {
            return Err(("username", "must have no colon (RFC 7617)".to_owned()));
        }
        for (key, hosts) in [("mirrors", &self.mirrors), ("realm_hosts", &self.realm_hosts)] {
            if let Some(wrong) = hosts.iter().find(|host| !is_host(host)) {
                return Err((
                    key,
                    format!("{wrong:?} must be a host and perhaps a port, such as \"registry.example:5000\""),
                ));
            }
        }
        Ok(())
    }

    fn settings(&self) -> HostSettings {
        let path = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
        let password = path(&self.password_file)
            .map(|password_file| Credentials::Password { username: self.username.clone(), password_file });
        HostSettings {
            is_insecure: self.insecure,
            ca: path(&self.ca),
            mirrors: self.mirrors.clone(),
            credentials: password.or_else(|| path(&self.auth_file).map(Credentials::DockerConfig)),
            realm_hosts: self.realm_hosts.clone(),
        }
    }
}

/// The settings of all hosts, as the client of registries takes them.
pub fn settings(hosts: &BTreeMap<String, UpstreamHost>) -> Settings {
    Settings::new(hosts.iter().map(|(host, upstream)| (host.clone(), upstream.settings())))
}

/// Whether a text is a host and perhaps a port: no scheme, no path, no user.
pub(super) fn is_host(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    !text.is_empty() && text.len() <= 255 && text.chars().all(is_part)
}
