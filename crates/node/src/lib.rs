//! A running node: configuration, identity, network, workers, and the admin API around the engine.
//!
//! [`Node::start`] opens everything that can fail and [`Node::run`] serves until it is told to stop. The engine
//! decides; this crate performs (see `driver`).

pub mod admin;
mod arrivals;
mod clock;
pub mod config;
mod damage;
mod defects;
mod driver;
mod encode_memory;
mod event;
mod faults;
mod flusher;
mod growing;
mod headers;
pub mod identity;
pub mod images;
mod kept_links;
mod kept_lists;
mod later;
mod links;
mod lists;
mod making;
mod metrics;
mod network;
mod part_layout;
mod peer_access;
mod predictions;
mod registry;
mod releases;
mod room;
mod scrub;
mod scrub_figures;
mod scrub_record;
mod shared;
mod shares;
mod site_downloads;
mod speed;
mod store_figures;
mod store_reading;
mod tails;
pub mod traffic;
mod transfer;
mod under_way;
mod views;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use libp2p::TransportError;
use lighter_api as api;
use lighter_engine::Engine;
use lighter_store::{Options, Retention, Store, StoreError};
use lighter_wire::Incarnation;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::encode_memory::EncodeMemory;

pub use clock::{UseClock, unix_now};
use config::{Config, ReleasesKept};
pub use defects::LogWriter;
use driver::{Driver, EVENTS_WAITING};
use identity::{Identity, IdentityError};
pub use network::NetworkError;
use scrub_figures::Scrub;
use shared::Shared;
pub use shared::{FileBase, OnDisk};
use traffic::Accountant;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error("cannot serve the admin API on {address}")]
    AdminPort {
        address: String,
        #[source]
        why: std::io::Error,
    },
    #[error("cannot serve the registry on {address}")]
    RegistryPort {
        address: String,
        #[source]
        why: std::io::Error,
    },
    #[error("cannot use the registry's certificate")]
    RegistryCertificate {
        #[source]
        why: std::io::Error,
    },
    #[error("cannot use registry.users_file")]
    RegistryUsers {
        #[source]
        why: lighter_registry::server::UsersError,
    },
    #[error("cannot serve the admin API on {}", path.display())]
    AdminSocket {
        path: PathBuf,
        #[source]
        why: std::io::Error,
    },
}

/// Why a node ended that nobody stopped. Each is a defect of this program.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the protocol for patches is registered twice")]
    Registered,
    #[error("the task that owns the engine panicked")]
    Panicked,
}

/// A node that has opened its data, its ports and its admin API.
pub struct Node {
    driver: Driver,
    admin: admin::Admin,
    registry: registry::Endpoint,
    shared: Arc<Shared>,
}

impl Node {
    /// Opens the data folder, the network and the admin API.
    ///
    /// # Errors
    /// Whatever of these cannot be had, and why; nothing is left behind.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        defects::survive_broken_invariants();
        let data_dir = config.data_dir.0.clone();
        let identity = Identity::open(&data_dir)?;
        let store = open_store(&config)?;
        let accountant = Accountant::new(config.network.upload_max, config.network.download_max);
        let links = links::Links::default();
        let mut swarm = network::swarm(&config, &identity, &accountant, &links)?;
        for address in &config.network.listen {
            network::check_free(address).map_err(|why| NetworkError::Listen { address: address.clone(), why })?;
            swarm.listen_on(address.clone()).map_err(|error| NetworkError::Listen {
                address: address.clone(),
                why: match error {
                    TransportError::Other(why) => why,
                    TransportError::MultiaddrNotSupported(_) => std::io::ErrorKind::Unsupported.into(),
                },
            })?;
        }
        let registry = registry::Endpoint::bind(&config).await?;
        let admin = admin::Admin::bind(&config).await?;
        let (events, waiting) = mpsc::channel(EVENTS_WAITING);
        let started = Instant::now();
        let uses = UseClock::of(&store);
        let releases = releases::Releases::open(&data_dir, &store, unix_now());
        let scrub = Scrub::of(&store, uses.now());
        let engine = engine(&config, &identity);
        let encode_memory = EncodeMemory::new(config.limits.encode_memory_max.0);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Arc::new(Shared {
            config,
            identity,
            store,
            accountant,
            links,
            lists: Default::default(),
            arrivals: Default::default(),
            growing: Default::default(),
            tails: Default::default(),
            site_downloads: Default::default(),
            registry_counts: Default::default(),
            views: Default::default(),
            payload_makers: Semaphore::new(cores),
            unpackers: Semaphore::new(cores),
            making: Default::default(),
            under_way: Default::default(),
            releases,
            faults: Default::default(),
            scrub,
            encode_memory,
            figures: Default::default(),
            events,
            started,
            uses,
        });
        store_reading::refresh(&shared).await;
        let driver = Driver::new(shared.clone(), engine, swarm, waiting);
        Ok(Self { driver, admin, registry, shared })
    }

    pub fn peer_id(&self) -> lighter_types::PeerId {
        self.shared.identity.peer_id()
    }

    /// Serves until `stop` is cancelled and everything is put away.
    ///
    /// # Errors
    /// If the driver ends before `stop` is cancelled. The admin API ends with it, so that no node answers that does
    /// nothing.
    pub async fn run(self, stop: CancellationToken) -> Result<(), RunError> {
        if let Some(trouble) = clock::trouble(unix_now(), &[]) {
            tracing::warn!("{trouble}");
        }
        let admin = self.admin.serve(self.shared.clone(), stop.clone());
        let registry = self.registry.serve(self.shared.clone(), self.shared.registry_counts.clone(), stop.clone());
        // A task of its own, so that connections' tasks wake it on their own thread: waking another one takes longer.
        let driver = tokio::spawn(self.driver.run(stop.clone()));
        let driver = async {
            let ended = driver.await;
            stop.cancel();
            ended.unwrap_or_else(|_| {
                defects::panicked("driver", "the node cannot go on without it".to_owned());
                Err(RunError::Panicked)
            })
        };
        let ((), (), ended) = tokio::join!(admin, registry, driver);
        tracing::info!("stopped");
        ended
    }
}

/// Opens the store that a configuration names.
///
/// # Errors
/// As [`Store::open`].
pub fn open_store(config: &Config) -> Result<Store, StoreError> {
    let retention = match config.store.releases_kept {
        ReleasesKept::All => Retention::ALL,
        ReleasesKept::Newest(count) => Retention::newest(count as usize, images::released_at),
    };
    let options = Options { bytes_max: config.store.bytes_max.0, retention, ..Options::default() };
    let store = Store::open(Path::new(&config.data_dir.0), options)?;
    let report = store.open_report();
    for (path, mode) in &report.was_exposed {
        let mode = format!("{mode:o}");
        tracing::warn!(folder = %path.display(), mode, "others could enter it: it is closed to them now");
    }
    if !report.rows_without_file.is_empty() || !report.files_without_row.is_empty() {
        tracing::warn!(
            rows_without_file = report.rows_without_file.len(),
            files_without_row = report.files_without_row.len(),
            "the store is not whole: files and index differ"
        );
    }
    Ok(store)
}

fn engine(config: &Config, identity: &Identity) -> Engine {
    let started_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_millis());
    let incarnation = Incarnation(u64::try_from(started_ms).unwrap_or(u64::MAX));
    let mut seed = [0; 8];
    seed.copy_from_slice(&identity.peer_id().as_bytes()[..8]);
    Engine::new(config.engine_settings(incarnation, u64::from_le_bytes(seed) ^ incarnation.0))
}

/// The store's figures as the admin API shows them.
pub fn store_status(store: &Store) -> api::StoreStatus {
    let stats = store.stats().unwrap_or_else(|error| {
        tracing::warn!(%error, "the disk does not tell how much is free");
        lighter_store::StoreStats::default()
    });
    api::StoreStatus {
        layers: stats.layers,
        layer_bytes: stats.layer_bytes,
        patches: stats.patches,
        patch_bytes: stats.patch_bytes,
        partial_patches: stats.partial_patches,
        blobs: stats.blobs,
        images: stats.images,
        image_bytes_max: stats.image_bytes_max,
        staying_bytes: stats.staying_bytes,
        used_bytes: stats.used_bytes,
        bytes_max: stats.bytes_max,
        disk_free_bytes: stats.disk_free_bytes,
    }
}

#[cfg(test)]
mod tests;
