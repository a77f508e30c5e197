//! The client of upstream registries.
//!
//! [`Upstream`] has the settings of hosts, the idle connections and the tokens. [`Upstream::open`] asks for a manifest
//! or an index and gives the image's files to the import. A request goes through `attempts` (mirrors, waits),
//! `exchange` (challenges, redirects) and `connect` (TCP, TLS). Everything that a registry sends has a limit of ours:
//! headers, challenges, documents, blobs by their descriptors, waits, redirects, tokens.

mod artifacts;
mod ask;
mod attempts;
mod authorize;
mod challenge;
mod connect;
mod content_range;
mod credentials;
mod download;
mod error;
mod exchange;
mod files;
mod manifests;
mod reference;
mod referring;
mod retry_after;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use artifacts::Artifact;
use ask::Source;
use authorize::Authorizations;
use connect::Connections;
pub use connect::{Dial, Dialling, Stream, TcpDial};
pub use credentials::CredentialsError;
pub use error::{Failure, UpstreamError};
pub use files::{BlobSource, RegistryFiles};
pub use reference::{ReferenceError, UpstreamReference};
pub use settings::{Credentials, HostSettings, Settings};

/// A client of registries.
pub struct Upstream {
    settings: Settings,
    connections: Arc<Connections>,
    authorizations: Authorizations,
    /// Mirrors that failed, and until when they are not asked. As many as the settings name.
    away: Mutex<BTreeMap<String, Instant>>,
    random: AtomicU64,
    /// Ends whatever waits for a registry.
    stop: CancellationToken,
}

impl Upstream {
    /// A client that opens its connections by `dial`. `seed` spreads the waits between attempts. `stop` ends all reads.
    pub fn new(settings: Settings, dial: Arc<dyn Dial>, seed: u64, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            connections: Arc::new(Connections::new(dial, settings.clone())),
            settings,
            authorizations: Authorizations::default(),
            away: Mutex::default(),
            random: AtomicU64::new(seed),
            stop,
        })
    }

    /// The sources of a registry's images: its mirrors that are there, then the registry itself.
    fn sources(&self, registry: &str) -> Vec<Source> {
        let now = Instant::now();
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.retain(|_, until| *until > now);
        let mirrors = self.settings.of(registry).mirrors.into_iter().filter(|mirror| !away.contains_key(mirror));
        let mirror_of = Some(registry.to_owned());
        let mirrors = mirrors.map(|host| Source { host, mirror_of: mirror_of.clone() });
        mirrors.chain([Source { host: registry.to_owned(), mirror_of: None }]).collect()
    }

    fn set_away(&self, mirror: &str, now: Instant) {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).insert(mirror.to_owned(), now + attempts::AWAY);
    }

    /// The next number of a sequence that the seed decides (splitmix64; Steele, Lea, Flood 2014, figure 17).
    fn random(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut number = self.random.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }
}
