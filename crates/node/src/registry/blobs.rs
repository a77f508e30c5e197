//! Exact blobs, ready to be served: rebuilt once, compared with their digest, and kept for a while.
//!
//! A blob is rebuilt when a client asks for it, or ahead: while its layer still comes (`ahead.rs`).
//! A rebuilt blob lies in a spool of the store, so it counts against `store.bytes_max` and is gone with the process.
//! One client that asks for a blob in ranges, or twenty that ask at once, cost one rebuild.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lighter_image::{BlobDescriptor, LayerDescriptor};
use lighter_recipe::{Rebuild, Recipe};
use lighter_registry::server::{BlobClass, Refusal};
use lighter_store::{Spool, StoreError, UnixSeconds};
use lighter_types::{Blame, Bytes, DiffId, OciDigest, ReadAt};
use lighter_wire::BlobSource;
use tokio::sync::Semaphore;

use crate::growing::GrowingLayer;
use crate::images::{kept_blobs, recipes};
use crate::shared::{FileBase, Shared};

/// A blob that nobody asked for so long is dropped; it can be made again.
const IDLE: Duration = Duration::from_secs(300);
/// A blob that came in the place of its layer goes when nobody asked for it so long. Other nodes may pull the same
/// image until then; later a recipe makes it.
const UNUSED_S: u64 = 3600;
/// All rebuilt blobs that nobody reads at the moment have at most so many bytes.
const BYTES_KEPT_MAX: Bytes = Bytes::GIB;
/// Threads of one rebuild at most, where there are as many cores.
const THREADS_MAX: usize = 8;
/// Rebuilds at a time.
const REBUILDS_MAX: usize = 2;
/// Rebuilds of layers that still come, beside those: most of the time they wait for bytes.
const AHEAD_MAX: usize = 4;

/// A blob, to be read by position.
pub type Reader = Arc<dyn ReadAt + Send + Sync>;

pub struct Blobs {
    shared: Arc<Shared>,
    rebuilds: Semaphore,
    ahead: Semaphore,
    made: Mutex<BTreeMap<OciDigest, Arc<Slot>>>,
}

/// A blob that is being made, or was.
#[derive(Default)]
struct Slot {
    blob: tokio::sync::Mutex<Option<Arc<SpoolBlob>>>,
    last_used: Mutex<Option<Instant>>,
}

impl Blobs {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            rebuilds: Semaphore::new(REBUILDS_MAX),
            ahead: Semaphore::new(AHEAD_MAX),
            made: Mutex::default(),
        }
    }

    /// The exact blob of a layer: the blob itself if it is here, else made of the layer.
    pub async fn open(&self, layer: &LayerDescriptor) -> Result<(Reader, BlobClass), Refusal> {
        let digest = layer.blob.digest;
        let (shared, of) = (self.shared.clone(), layer.clone());
        let source = tokio::task::spawn_blocking(move || match recipes::is_kept(&shared.store, &of) {
            true => BlobSource::Verbatim,
            false => recipes::source(&shared.store, &of),
        });
        match source.await.map_err(|_| panicked())? {
            BlobSource::Plain => Ok((self.kept(layer.diff_id, digest).await?, BlobClass::Plain)),
            BlobSource::Verbatim => Ok((self.kept(recipes::as_layer(&digest), digest).await?, BlobClass::Verbatim)),
            BlobSource::Recipe(recipe) => Ok((self.rebuilt(layer, recipe).await?, BlobClass::Recipe)),
            BlobSource::Unknown => Err(Refusal::BlobUnknown(digest.to_string())),
        }
    }

    /// A blob that lies in the store under this name. The store checked its sha256 when it took it in.
    async fn kept(&self, name: DiffId, digest: OciDigest) -> Result<Reader, Refusal> {
        let shared = self.shared.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let opened = shared.store.open_layer(&name)?;
            // Without the date of this use, it goes sooner.
            let _ = shared.store.touch(&name, shared.uses.now());
            Ok::<_, StoreError>(opened)
        });
        let opened = opened.await;
        match opened.map_err(|_| panicked())?.map_err(|error| failed(&digest, &error))? {
            Some(reader) => {
                let blob = FileBase::new(reader).map_err(|error| failed(&digest, &error))?;
                Ok(Arc::new(blob))
            }
            None => Err(Refusal::BlobUnknown(digest.to_string())),
        }
    }

    async fn rebuilt(&self, layer: &LayerDescriptor, recipe: Vec<u8>) -> Result<Reader, Refusal> {
        let (shared, of) = (self.shared.clone(), layer.clone());
        let rebuilding = async {
            let rebuilt = tokio::task::spawn_blocking(move || rebuild(&shared, &of, &recipe)).await;
            rebuilt.map_err(|_| panicked()).flatten()
        };
        self.made(layer.blob.digest, rebuilding).await
    }

    /// Rebuilds the blob of a layer that still comes; whether it is there then, or somebody else makes it. If not, it
    /// is rebuilt when somebody asks.
    pub async fn rebuild_ahead(&self, layer: &LayerDescriptor, recipe: Vec<u8>, tar: GrowingLayer) -> bool {
        let Ok(_place) = self.ahead.try_acquire() else { return false };
        let digest = layer.blob.digest;
        let slot = self.lock().entry(digest).or_default().clone();
        let Ok(mut made) = slot.blob.try_lock() else { return true };
        if made.is_none() {
            let (shared, of) = (self.shared.clone(), layer.clone());
            let making = tokio::task::spawn_blocking(move || make(&shared, &of, &recipe, &tar));
            match making.await {
                Ok(Ok(blob)) => *made = Some(Arc::new(blob)),
                Ok(Err(Unmade::Machine(why) | Unmade::Recipe(why))) => {
                    tracing::debug!(blob = %digest, why, "a blob was not rebuilt ahead");
                }
                // A panic was logged and counted.
                Err(_) => {}
            }
            if made.is_none() {
                self.lock().remove(&digest);
                return false;
            }
            tracing::debug!(blob = %digest, "a blob was rebuilt while its layer came");
        }
        *slot.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        drop(made);
        self.drop_oldest();
        true
    }

    /// A blob that `downloading` brings, once for all that ask for it.
    pub async fn downloaded(
        &self,
        blob: &BlobDescriptor,
        downloading: impl Future<Output = Result<Spool, Refusal>>,
    ) -> Result<Reader, Refusal> {
        self.made(blob.digest, async { downloading.await.map(SpoolBlob) }).await
    }

    /// A blob that is made once, and kept for a while.
    async fn made(
        &self,
        digest: OciDigest,
        making: impl Future<Output = Result<SpoolBlob, Refusal>>,
    ) -> Result<Reader, Refusal> {
        let slot = self.lock().entry(digest).or_default().clone();
        let mut made = slot.blob.lock().await;
        if made.is_none() {
            let _place = self.rebuilds.acquire().await.map_err(|_| panicked())?;
            match making.await {
                Ok(blob) => *made = Some(Arc::new(blob)),
                Err(refusal) => {
                    self.lock().remove(&digest);
                    return Err(refusal);
                }
            }
        }
        *slot.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let blob = made.clone().ok_or_else(panicked)?;
        drop(made);
        self.drop_oldest();
        Ok(blob)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<OciDigest, Arc<Slot>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the blobs that were used longest ago, as long as all together are too large. Whoever reads one goes on.
    fn drop_oldest(&self) {
        let mut made = self.lock();
        let mut kept: Vec<(Instant, OciDigest, Bytes)> = made
            .iter()
            .filter_map(|(digest, slot)| {
                let bytes = slot.blob.try_lock().ok()?.as_ref()?.len();
                Some(((*slot.last_used.lock().unwrap_or_else(PoisonError::into_inner))?, *digest, bytes))
            })
            .collect();
        kept.sort_by_key(|(used, ..)| std::cmp::Reverse(*used));
        let mut sum = Bytes::ZERO;
        for (_, digest, bytes) in kept {
            sum += bytes;
            if sum > BYTES_KEPT_MAX {
                made.remove(&digest);
            }
        }
    }

    /// Removes the kept blobs that nobody needs any more ([`kept_blobs`]).
    async fn drop_unused(&self) {
        let shared = self.shared.clone();
        let dropped = tokio::task::spawn_blocking(move || {
            let unused_since = UnixSeconds(shared.uses.now().0.saturating_sub(UNUSED_S));
            kept_blobs::drop_unused(&shared.store, unused_since)
        });
        if let Ok(Err(error)) = dropped.await {
            tracing::warn!(%error, "blobs that nobody needs stay in the store");
        }
    }

    /// Drops blobs that nobody asked for in [`IDLE`], for as long as it is polled.
    pub async fn forget_idle(&self) {
        let mut ticks = tokio::time::interval(IDLE / 4);
        let mut looked = Instant::now();
        loop {
            ticks.tick().await;
            if looked.elapsed() >= IDLE && !self.shared.config.registry.keep_blobs {
                looked = Instant::now();
                self.drop_unused().await;
            }
            self.lock().retain(|_, slot| {
                let used = *slot.last_used.lock().unwrap_or_else(PoisonError::into_inner);
                used.is_none_or(|used| used.elapsed() < IDLE)
            });
        }
    }
}

/// Why a blob was not made.
enum Unmade {
    Machine(String),
    /// The recipe is not for this blob, or makes another one.
    Recipe(String),
}

/// Makes the blob of a layer that is here. A recipe that makes another blob is forgotten.
fn rebuild(shared: &Shared, layer: &LayerDescriptor, recipe: &[u8]) -> Result<SpoolBlob, Refusal> {
    let digest = layer.blob.digest;
    let opened = shared.store.open_layer(&layer.diff_id).map_err(|error| failed(&digest, &error))?;
    let tar = opened.ok_or_else(|| Refusal::BlobUnknown(digest.to_string()))?;
    let tar = FileBase::new(tar).map_err(|error| failed(&digest, &error))?;
    make(shared, layer, recipe, &tar).map_err(|unmade| match unmade {
        Unmade::Machine(error) => refused(&digest, error),
        Unmade::Recipe(error) => {
            tracing::warn!(blob = %digest, error, "a recipe does not make its blob");
            recipes::forget(&shared.store, &digest);
            Refusal::BlobUnknown(digest.to_string())
        }
    })
}

/// Makes a blob of its tar and compares it with its digest.
fn make(shared: &Shared, layer: &LayerDescriptor, recipe: &[u8], tar: &dyn ReadAt) -> Result<SpoolBlob, Unmade> {
    let wrong = |error: &dyn std::error::Error| Unmade::Recipe(lighter_types::error_chain(error));
    let (read, head_bytes) = Recipe::from_bytes(recipe).map_err(|error| wrong(&error))?;
    let (recipe, body) = (read, recipe[head_bytes..].to_vec());
    if recipe.blob != layer.blob.digest || recipe.blob_bytes != layer.blob.bytes.0 {
        return Err(Unmade::Recipe("it is a recipe for another blob".to_owned()));
    }
    // A client waits for it.
    let _under_way = shared.under_way.begin();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let spool = shared.store.create_spool();
    let mut spool = IntoSpool(spool.map_err(|error| Unmade::Machine(lighter_types::error_chain(&error)))?);
    let rebuild = Rebuild::new(&recipe, &body, tar).map_err(|error| wrong(&error))?;
    match rebuild.whole(threads, &mut spool) {
        Ok(()) => Ok(SpoolBlob(spool.0)),
        Err(error) if error.blame() == Blame::Machine => Err(Unmade::Machine(lighter_types::error_chain(&error))),
        Err(error) => Err(wrong(&error)),
    }
}

/// A blob in a spool.
struct SpoolBlob(Spool);

impl ReadAt for SpoolBlob {
    fn len(&self) -> Bytes {
        self.0.bytes()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset).map_err(io::Error::other)
    }
}

struct IntoSpool(Spool);

impl Write for IntoSpool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failed(digest: &OciDigest, error: &dyn std::error::Error) -> Refusal {
    refused(digest, lighter_types::error_chain(error))
}

fn refused(digest: &OciDigest, error: String) -> Refusal {
    tracing::error!(blob = %digest, error, "a blob cannot be served");
    Refusal::Failed(format!("this node cannot read or make the blob: {error}"))
}

fn panicked() -> Refusal {
    Refusal::Failed("a worker of this node panicked".to_owned())
}
