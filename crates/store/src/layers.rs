//! Layers: written once, checked against their DiffId, read under a lease.
//!
//! The commit order is DESIGN.md's: cap, reserve disk, write, length, sha256, sync, rename, sync the folder, index write
//! with sync. Only after that does anything show the layer.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use lighter_types::{Bytes, Card, DiffId};
use sha2::{Digest, Sha256};

use crate::error::{Item, Result, StoreError};
use crate::index::Column;
use crate::ledger::{HeldLayer, Ledger};
use crate::store::{Inner, ItemRows, Store};
use crate::temporary::Temporary;
use crate::{UnixSeconds, rows};

/// What a layer of unknown size reserves at a time, where there is room for that much.
const GROWTH: Bytes = Bytes(16 << 20);
/// The longest sketch that is kept; those of docs/PREDICTION.md have at most 1,227 bytes.
pub const SKETCH_BYTES_MAX: usize = 2 << 10;
/// Writes are gathered to this size.
const BUFFER_BYTES: usize = 256 << 10;

impl Store {
    /// A writer for a layer whose name and size are known. Room for all of it is reserved now, evicting for it.
    ///
    /// # Errors
    /// `BudgetFull`, `DiskFull`: nothing was evicted or written. `Io`, `Index`: this machine.
    pub fn create_layer(&self, diff_id: DiffId, tar_bytes: Bytes) -> Result<LayerWriter> {
        LayerWriter::create(&self.inner, tar_bytes, Some((diff_id, tar_bytes)))
    }

    /// A writer for a layer that is still to be named by its sha256. `expected_bytes` is reserved now; beyond it, room
    /// is reserved in steps of 16 MiB as the bytes come.
    ///
    /// # Errors
    /// As [`Self::create_layer`].
    pub fn create_layer_unnamed(&self, expected_bytes: Option<Bytes>) -> Result<LayerWriter> {
        LayerWriter::create(&self.inner, expected_bytes.unwrap_or_default(), None)
    }

    /// A held layer, protected from removal for as long as the reader lives; `None` if it is not held.
    ///
    /// # Errors
    /// `Damaged` when the file is gone or has another length: the layer is held no more. `Io`.
    pub fn open_layer(&self, diff_id: &DiffId) -> Result<Option<LayerReader>> {
        let item = Item::Layer(*diff_id);
        let mut ledger = self.inner.ledger();
        let Some(layer) = ledger.layers.get(diff_id) else { return Ok(None) };
        let card = layer.card;
        let Some(file) = self.inner.open_item(&mut ledger, &item, card.tar_bytes)? else {
            ledger.gone.insert(*diff_id);
            return Err(self.inner.damaged(&item, format!("it is not a file of {} bytes", card.tar_bytes.0)));
        };
        let lease = Lease::take(&self.inner, &mut ledger, item);
        Ok(Some(LayerReader { file, card, _lease: lease }))
    }

    /// The cards of all held layers, sorted by DiffId.
    pub fn cards(&self) -> Vec<Card> {
        self.inner.ledger().layers.values().map(|layer| layer.card).collect()
    }

    /// The card of a held layer.
    pub fn card(&self, diff_id: &DiffId) -> Option<Card> {
        self.inner.ledger().layers.get(diff_id).map(|layer| layer.card)
    }

    /// The sketch that is kept of a held layer; `None` also for one that was committed without.
    ///
    /// # Errors
    /// `Index`.
    pub fn sketch(&self, diff_id: &DiffId) -> Result<Option<Vec<u8>>> {
        if !self.inner.ledger().layers.contains_key(diff_id) {
            return Ok(None);
        }
        Ok(self.inner.index.get(Column::Sketches, diff_id.as_bytes())?)
    }

    /// Notes that a layer was used: the one used longest ago is evicted first. A power cut may undo the note.
    ///
    /// # Errors
    /// `NotHeld`; `Index`.
    pub fn touch(&self, diff_id: &DiffId, now: UnixSeconds) -> Result<()> {
        self.inner.touch(&mut self.inner.ledger(), &Item::Layer(*diff_id), now)
    }

    /// Removes a layer.
    ///
    /// # Errors
    /// `NotHeld`; `InUse` when it is leased, pinned or named by an image; `Io`, `Index`.
    pub fn remove_layer(&self, diff_id: &DiffId) -> Result<()> {
        let item = Item::Layer(*diff_id);
        let mut ledger = self.inner.ledger();
        if !ledger.layers.contains_key(diff_id) {
            return Err(StoreError::NotHeld { item });
        }
        if let Some(by) = ledger.layer_holder(diff_id) {
            return Err(StoreError::InUse { item, by });
        }
        let removed = self.inner.remove(&mut ledger, std::slice::from_ref(&item));
        ledger.gone.remove(diff_id);
        removed
    }

    /// Moves a layer whose file was found damaged to `quarantine/`, also when it is leased, pinned or named by an image:
    /// it is held no more, and can be committed again. Where the file is now; `None` if the layer is not held.
    ///
    /// # Errors
    /// `Index`: it is still held. `Io`: it is not, and its file takes room.
    pub fn set_layer_aside(&self, diff_id: &DiffId) -> Result<Option<PathBuf>> {
        let item = Item::Layer(*diff_id);
        let mut ledger = self.inner.ledger();
        let Some(bytes) = ledger.bytes(&item) else { return Ok(None) };
        self.inner.delete_row(&mut ledger, &item)?;
        ledger.unindexed.insert(item.clone(), bytes);
        let place = self.inner.folder.quarantine(&self.inner.path(&item))?;
        ledger.unindexed.remove(&item);
        Ok(Some(place))
    }
}

/// Takes the bytes of one layer. Dropped unfinished, it leaves nothing behind.
pub struct LayerWriter {
    /// First, so that its buffer is let go before the file is removed.
    buffer: BufWriter<File>,
    sha256: Sha256,
    written: Bytes,
    named: Option<(DiffId, Bytes)>,
    temporary: Temporary,
}

impl LayerWriter {
    fn create(inner: &Arc<Inner>, reserve: Bytes, named: Option<(DiffId, Bytes)>) -> Result<Self> {
        let temporary = Temporary::create(inner, reserve)?;
        let file = temporary.file.try_clone();
        let file = file.map_err(|error| inner.folder.failure("open", &temporary.path(), error))?;
        let buffer = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(Self { buffer, sha256: Sha256::new(), written: Bytes::ZERO, named, temporary })
    }

    /// Takes more of the tar. After an error the writer is of no more use.
    ///
    /// # Errors
    /// `OverLimit` beyond the size that [`Store::create_layer`] was given; `BudgetFull` or `DiskFull` when a layer of
    /// unknown size grows too big; `Io`.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let after = self.written + Bytes(bytes.len() as u64);
        if let Some((_, max)) = self.named
            && after > max
        {
            return Err(StoreError::OverLimit { what: "bytes of layer", found: after.0, max: max.0 });
        }
        if after > self.temporary.reserved() {
            let missing = after - self.temporary.reserved();
            self.temporary.grow(missing.max(GROWTH)).or_else(|_| self.temporary.grow(missing))?;
        }
        let path = self.temporary.path();
        let failure = |error| self.temporary.inner.folder.failure_of("write", &path, error, Bytes(bytes.len() as u64));
        self.buffer.write_all(bytes).map_err(failure)?;
        self.sha256.update(bytes);
        self.written = after;
        Ok(())
    }

    /// Bytes taken so far.
    pub fn written(&self) -> Bytes {
        self.written
    }

    /// The file with all bytes taken so far, for reading by position.
    ///
    /// # Errors
    /// `Io`, `DiskFull`.
    pub fn file(&mut self) -> Result<&File> {
        let path = self.temporary.path();
        let flushed = self.buffer.flush();
        flushed.map_err(|error| self.temporary.inner.folder.failure("write", &path, error))?;
        Ok(&self.temporary.file)
    }

    /// Syncs what was taken so far, so that the commit has little left to sync.
    ///
    /// # Errors
    /// `Io`, `DiskFull`.
    pub fn sync(&mut self) -> Result<()> {
        let path = self.temporary.path();
        let synced = self.file()?.sync_all();
        synced.map_err(|error| self.temporary.inner.folder.failure("sync", &path, error))
    }

    /// The name of the bytes taken so far: their sha256.
    pub fn diff_id(&self) -> DiffId {
        DiffId::new(self.sha256.clone().finalize().into())
    }

    /// Commits the layer. When this returns, it is held, and survives a power cut. A layer that is held already keeps
    /// the card it has.
    ///
    /// # Errors
    /// `Mismatch` when the length or the sha256 are not those of the card, or of [`Store::create_layer`]: nothing is
    /// kept. `DiskFull`, `Io`, `Index`: it is not held.
    pub fn finish(self, card: Card, now: UnixSeconds) -> Result<()> {
        self.commit(card, None, now)
    }

    /// As [`Self::finish`], and keeps the layer's sketch beside its card: both are there after a crash, or neither.
    ///
    /// # Errors
    /// As [`Self::finish`], and `OverLimit` for a sketch over 2 KiB.
    pub fn finish_sketched(self, card: Card, sketch: Vec<u8>, now: UnixSeconds) -> Result<()> {
        if sketch.len() > SKETCH_BYTES_MAX {
            let (found, max) = (sketch.len() as u64, SKETCH_BYTES_MAX as u64);
            return Err(StoreError::OverLimit { what: "bytes of sketch", found, max });
        }
        self.commit(card, Some(sketch), now)
    }

    fn commit(mut self, card: Card, sketch: Option<Vec<u8>>, now: UnixSeconds) -> Result<()> {
        let mismatch = |what, expected: String, found: String| {
            Err(StoreError::Mismatch { item: Item::Layer(card.diff_id), what, expected, found })
        };
        let (named, named_bytes) = self.named.unwrap_or((card.diff_id, card.tar_bytes));
        if card.diff_id != named {
            return mismatch("the DiffId of the card", named.to_string(), card.diff_id.to_string());
        }
        for expected in [named_bytes, card.tar_bytes] {
            if self.written != expected {
                return mismatch("the length in bytes", expected.0.to_string(), self.written.0.to_string());
            }
        }
        let found = self.diff_id();
        if found != named {
            return mismatch("the sha256", named.to_string(), found.to_string());
        }
        let path = self.temporary.path();
        // Setting the length gives back what was reserved beyond it.
        let flushed = self.buffer.flush().and_then(|()| self.temporary.file.set_len(self.written.0));
        flushed.map_err(|error| self.temporary.inner.folder.failure("write", &path, error))?;
        let item = Item::Layer(card.diff_id);
        let rows = ItemRows { item: rows::layer(&card), sketch };
        self.temporary.commit(&item, card.tar_bytes, rows, now, |ledger| {
            ledger.gone.remove(&card.diff_id);
            ledger.layers.insert(card.diff_id, HeldLayer { card, last_used: now, leases: 0 });
        })
    }
}

/// A held layer's file and card. While it lives, the layer is neither evicted nor removed.
pub struct LayerReader {
    file: File,
    card: Card,
    _lease: Lease,
}

impl LayerReader {
    /// The tar. Read it by position (`FileExt::read_exact_at`): the cursor is shared by all who have this reader.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What is told of the layer; its `tar_bytes` is the file's length.
    pub fn card(&self) -> &Card {
        &self.card
    }
}

/// Keeps an item from being evicted and removed.
pub(crate) struct Lease {
    inner: Arc<Inner>,
    item: Item,
}

impl Lease {
    pub(crate) fn take(inner: &Arc<Inner>, ledger: &mut Ledger, item: Item) -> Self {
        if let Some(leases) = ledger.leases(&item) {
            *leases += 1;
        }
        Self { inner: inner.clone(), item }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(leases) = self.inner.ledger().leases(&self.item) {
            *leases = leases.saturating_sub(1);
        }
    }
}

impl Inner {
    /// Opens the file of a held item. If it is not there in its length, the item is held no more, and `None` returned.
    pub(crate) fn open_item(&self, ledger: &mut Ledger, item: &Item, bytes: Bytes) -> Result<Option<File>> {
        let path = self.path(item);
        let opened = match File::open(&path) {
            Ok(file) => file.metadata().map(|metadata| (metadata.len() == bytes.0).then_some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let file = opened.map_err(|error| self.folder.failure("open", &path, error))?;
        if file.is_none() {
            let left = std::fs::metadata(&path).map(|metadata| Bytes(metadata.len()));
            ledger.forget(item);
            ledger.rows_without_file.insert(item.clone());
            ledger.unindexed.extend(left.ok().map(|bytes| (item.clone(), bytes)));
        }
        Ok(file)
    }
}
