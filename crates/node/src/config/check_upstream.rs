//! Checks of `[upstream."HOST"]` that name the section.

use super::Config;
use super::layers::part;
use super::upstream::is_host;

impl Config {
    /// Checks the settings of registries. Returns key and reason of the first wrong one.
    pub(super) fn check_upstream(&self) -> Result<(), (String, String)> {
        for (host, settings) in &self.upstream {
            let section = format!("upstream.{}", part(host));
            if !is_host(host) {
                let what = "must be a host and perhaps a port, such as \"registry.example:5000\"".to_owned();
                return Err((section, what));
            }
            settings.check().map_err(|(key, what)| (format!("{section}.{key}"), what))?;
        }
        Ok(())
    }
}
