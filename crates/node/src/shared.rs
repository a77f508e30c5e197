//! The state that all tasks of a node share, and the small adapters between the rooms.
//!
//! Nothing here knows of the tasks: each kind of state has a module of its own, which they import too.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use lighter_engine::{Input, LocalFailure};
use lighter_registry::server::Counts;
use lighter_store::{LayerReader, Store, StoreError};
use lighter_types::{Bytes, Cause, Moment, ReadAt};
use lighter_wire::{SignedHandover, SignedRelease};
use tokio::sync::{Semaphore, mpsc};

use crate::arrivals::Arrivals;
use crate::clock::{UseClock, unix_now};
use crate::config::Config;
use crate::encode_memory::EncodeMemory;
use crate::event::Event;
use crate::faults::Faults;
use crate::growing::Growing;
use crate::identity::Identity;
use crate::links::Links;
use crate::lists::Lists;
use crate::making::Making;
use crate::releases::{Due, ReleaseError, Releases};
use crate::scrub_figures::Scrub;
use crate::site_downloads::SiteDownloads;
use crate::store_figures::LastFigures;
use crate::tails::Tails;
use crate::traffic::Accountant;
use crate::under_way::UnderWay;
use crate::views::Views;

/// One for each node; every task has an `Arc` of it.
pub struct Shared {
    pub config: Config,
    pub identity: Identity,
    pub store: Store,
    pub accountant: Accountant,
    pub links: Links,
    pub lists: Lists,
    pub arrivals: Arrivals,
    pub growing: Growing,
    pub tails: Tails,
    pub site_downloads: Arc<SiteDownloads>,
    /// The counts of the registry endpoint.
    pub registry_counts: Counts,
    pub views: Views,
    /// Permits to make payloads of whole layers: one for each core.
    pub payload_makers: Semaphore,
    /// Permits to unpack layers out of their blobs: one for each core.
    pub unpackers: Semaphore,
    pub making: Making,
    pub under_way: UnderWay,
    pub releases: Releases,
    pub faults: Faults,
    pub scrub: Scrub,
    pub encode_memory: EncodeMemory,
    /// The store as the driver and the admin API see it.
    pub figures: LastFigures,
    /// Into the task that owns the engine.
    pub events: mpsc::Sender<Event>,
    pub started: Instant,
    /// Dates the uses of what is in the store.
    pub uses: UseClock,
}

impl Shared {
    /// The engine's clock: milliseconds since the node started.
    pub fn now(&self) -> Moment {
        Moment(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Whether a release counts here and now.
    ///
    /// # Errors
    /// Why it does not.
    pub fn judge(&self, release: &SignedRelease) -> Result<(), ReleaseError> {
        self.releases.judge(&self.config, self.identity.peer_id(), unix_now(), release)
    }

    /// Remembers a release that this node signed or took in. Blocks if it is the newest of its name.
    pub fn see(&self, release: &SignedRelease) {
        if self.releases.see(release, unix_now()) {
            self.releases.keep(&release.release.reference);
        }
    }

    /// Obeys a handover from now on, and says whether it was written. Blocks if it is not on disk.
    ///
    /// # Errors
    /// As [`Releases::obey`].
    pub fn obey(&self, signed: &SignedHandover) -> Result<io::Result<()>, ReleaseError> {
        self.releases.obey(&self.config, self.identity.peer_id(), unix_now(), signed)?;
        Ok(self.releases.settle(&Due::handover(signed)))
    }

    /// A number that differs between nodes.
    pub fn seed(&self) -> u64 {
        let id = self.identity.peer_id();
        id.as_bytes().iter().fold(0, |seed: u64, byte| seed.rotate_left(8) ^ u64::from(*byte))
    }

    /// Gives the engine an input; waits while it has many. Nothing happens if the node has stopped.
    pub async fn input(&self, input: impl Into<Input>) {
        // The receiver is gone only when the node is.
        let _ = self.events.send(Event::Input(input.into())).await;
    }

    /// [`Self::input`] from a worker thread.
    pub fn input_blocking(&self, input: impl Into<Input>) {
        let _ = self.events.blocking_send(Event::Input(input.into()));
    }

    /// Gives the engine an input that may be left out if it is busy, such as progress.
    pub fn input_if_idle(&self, input: impl Into<Input>) {
        let _ = self.events.try_send(Event::Input(input.into()));
    }
}

/// A file that patches read by position, and its length.
pub struct FileBase<F> {
    file: F,
    bytes: Bytes,
}

/// Something on disk that is read by position: a file, or a layer in whatever form it has at rest.
pub trait OnDisk: Send + Sync {
    /// # Errors
    /// If the disk does not tell.
    fn bytes(&self) -> io::Result<Bytes>;

    /// # Errors
    /// As [`ReadAt::read_exact_at`].
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl OnDisk for File {
    fn bytes(&self) -> io::Result<Bytes> {
        Ok(Bytes(self.metadata()?.len()))
    }

    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

impl OnDisk for &File {
    fn bytes(&self) -> io::Result<Bytes> {
        (**self).bytes()
    }

    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).fill(buffer, offset)
    }
}

impl OnDisk for LayerReader {
    fn bytes(&self) -> io::Result<Bytes> {
        Ok(self.len())
    }

    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }
}

impl<F: OnDisk> FileBase<F> {
    /// A file as long as it is now.
    ///
    /// # Errors
    /// If the file does not tell its length.
    pub fn new(file: F) -> io::Result<Self> {
        let bytes = file.bytes()?;
        Ok(Self { file, bytes })
    }

    /// A file that is being written, and has so many bytes.
    pub fn up_to(file: F, bytes: Bytes) -> Self {
        Self { file, bytes }
    }
}

impl<F: OnDisk> ReadAt for FileBase<F> {
    fn len(&self) -> Bytes {
        self.bytes
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.fill(buffer, offset)
    }
}

/// The store's failure as the engine and the operator see it.
pub fn local_failure(error: StoreError) -> LocalFailure {
    match error {
        StoreError::DiskFull { path, needed, free } => LocalFailure::DiskFull { path, needed, free },
        StoreError::BudgetFull { needed, available, budget } => LocalFailure::BudgetFull { needed, available, budget },
        error => LocalFailure::Failed(Cause::new(error)),
    }
}
