//! `[registry]`: where container runtimes on this host pull images from.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    pub listen: String,
    pub connections_max: usize,
    pub wait_s: u32,
    pub keep_blobs: bool,
}

impl Registry {
    /// Whether the node keeps and fetches compressed blobs that no recipe makes.
    pub fn keeps_blobs(&self) -> bool {
        self.keep_blobs || !self.listen.is_empty()
    }

    /// The first wrong key, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        super::check_range("registry.connections_max", self.connections_max as u64, 1, 1 << 16)?;
        super::check_range("registry.wait_s", self.wait_s.into(), 1, 86_400)?;
        let address: Option<SocketAddr> = self.listen.parse().ok();
        if self.listen.is_empty() || address.is_some_and(|address| address.ip().is_loopback()) {
            return Ok(());
        }
        let why = "must be a loopback address and a port, such as \"127.0.0.1:4480\": the registry has neither TLS nor \
                   users, so it serves this host alone";
        Err(("registry.listen", why.to_owned()))
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self { listen: String::new(), connections_max: 256, wait_s: 600, keep_blobs: false }
    }
}
