//! Layers: written once, checked against their DiffId, read under a lease.
//!
//! A [`LayerWriter`] reserves bytes within the budget and on the disk, takes the tar, and hashes it as it arrives. A
//! layer whose size only a peer claims reserves its bytes as they come (`claims`).
//! [`LayerWriter::finish`] checks length and sha256, syncs the file, renames it, syncs the folder, and writes the row
//! and the sketch in one synced batch. Only then is the layer held. A writer that is dropped earlier leaves nothing.
//!
//! A [`LayerReader`] holds a lease: the store neither evicts nor removes a layer while a reader of it lives. Only
//! [`Store::quarantine_layer`] moves the file of a leased layer, because its bytes are wrong anyway.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use lighter_types::{Bytes, Card, DiffId, ReadAt, Tlsh};
use sha2::{Digest, Sha256};

use crate::claims::Claim;
use crate::error::{Item, Result, StoreError};
use crate::index::{Batch, Column};
use crate::ledger::{HeldLayer, Ledger};
use crate::limits::SKETCH_BYTES_MAX;
use crate::packed::{PackedFile, Tar};
use crate::store::{Inner, ItemRows, Store};
use crate::temporary::Temporary;
use crate::{UnixSeconds, rows};

/// The size of the buffer between a writer and its file.
const BUFFER_BYTES: usize = 256 << 10;

impl Store {
    /// Creates a writer for a layer of known name and size. Reserves all its bytes now, and evicts items if needed.
    ///
    /// # Errors
    /// `BudgetFull`, `DiskFull`: nothing was evicted or written. `Io`, `Index`: this machine failed.
    pub fn create_layer(&self, diff_id: DiffId, tar_bytes: Bytes) -> Result<LayerWriter> {
        LayerWriter::create(&self.inner, tar_bytes, Some((diff_id, tar_bytes)))
    }

    /// Creates a writer for a layer whose size a peer claims. Reserves nothing before bytes are written.
    ///
    /// # Errors
    /// `Io`: this machine failed.
    pub fn create_layer_claimed(&self, diff_id: DiffId, claim: Claim) -> Result<LayerWriter> {
        let mut writer = LayerWriter::create(&self.inner, Bytes::ZERO, Some((diff_id, claim.tar_bytes)))?;
        writer.temporary.claim = Some(claim);
        Ok(writer)
    }

    /// Creates a writer for a layer of unknown name. Reserves `expected_bytes` now, and more bytes in steps of 16 MiB
    /// when the layer grows beyond them, or fewer where there is no room for a step.
    ///
    /// # Errors
    /// As [`Self::create_layer`].
    pub fn create_layer_unnamed(&self, expected_bytes: Option<Bytes>) -> Result<LayerWriter> {
        LayerWriter::create(&self.inner, expected_bytes.unwrap_or_default(), None)
    }

    /// Opens a held layer. The store does not remove it while the reader lives. `None` if the layer is not held.
    ///
    /// # Errors
    /// `Damaged` when the file is missing or has another length: the layer is no longer held. `Io`.
    pub fn open_layer(&self, diff_id: &DiffId) -> Result<Option<LayerReader>> {
        let item = Item::Layer(*diff_id);
        let mut ledger = self.inner.ledger();
        let Some(layer) = ledger.layers.get(diff_id) else { return Ok(None) };
        let (card, file_bytes, is_packed) = (layer.card, layer.file_bytes, layer.is_packed);
        let Some(file) = self.inner.open_item(&mut ledger, &item, file_bytes)? else {
            ledger.gone.insert(*diff_id);
            return Err(self.inner.damaged(&item, format!("a file of {} bytes was expected", file_bytes.0)));
        };
        let tar = match is_packed {
            true => PackedFile::open(file).map(Tar::Packed),
            false => Ok(Tar::Plain(file, card.tar_bytes)),
        };
        let tar = tar.map_err(|error| self.inner.damaged(&item, error.to_string()))?;
        let lease = Lease::take(&self.inner, &mut ledger, item);
        Ok(Some(LayerReader { tar, card, _lease: lease }))
    }

    /// Keeps a layer from eviction and removal for as long as the lease lives; `None` if it is not held.
    pub fn lease_layer(&self, diff_id: &DiffId) -> Option<Lease> {
        let mut ledger = self.inner.ledger();
        let is_held = ledger.layers.contains_key(diff_id);
        is_held.then(|| Lease::take(&self.inner, &mut ledger, Item::Layer(*diff_id)))
    }

    /// The cards of all held layers, sorted by DiffId.
    pub fn cards(&self) -> Vec<Card> {
        self.inner.ledger().layers.values().map(|layer| layer.card).collect()
    }

    /// The card of a held layer.
    pub fn card(&self, diff_id: &DiffId) -> Option<Card> {
        self.inner.ledger().layers.get(diff_id).map(|layer| layer.card)
    }

    /// The sketch of a held layer. `None` if the layer is not held or was committed without a sketch.
    ///
    /// # Errors
    /// `Index`.
    pub fn sketch(&self, diff_id: &DiffId) -> Result<Option<Vec<u8>>> {
        if !self.inner.ledger().layers.contains_key(diff_id) {
            return Ok(None);
        }
        Ok(self.inner.index.get(Column::Sketches, diff_id.as_bytes())?)
    }

    /// Drops the sketches of held layers that the caller cannot read. [`Store::fsck`] makes them anew.
    ///
    /// # Errors
    /// `Index`; `DiskFull`.
    pub fn drop_sketches(&self, is_unreadable: &dyn Fn(&[u8]) -> bool) -> Result<()> {
        let ledger = self.inner.ledger();
        let mut batch = Batch::default();
        for diff_id in ledger.layers.keys() {
            let sketch = self.inner.index.get(Column::Sketches, diff_id.as_bytes())?;
            if sketch.is_some_and(|sketch| is_unreadable(&sketch)) {
                batch.delete(Column::Sketches, diff_id.as_bytes());
            }
        }
        if batch.changes().is_empty() { Ok(()) } else { self.inner.write(&batch) }
    }

    /// Adds the TLSH digest of a layer that was committed without one, and returns its card. A layer that has a digest
    /// keeps it. `None` if the layer is not held.
    ///
    /// # Errors
    /// `Index`, `DiskFull`.
    pub fn add_tlsh(&self, diff_id: &DiffId, tlsh: Tlsh) -> Result<Option<Card>> {
        let mut ledger = self.inner.ledger();
        let Some(held) = ledger.layers.get_mut(diff_id) else { return Ok(None) };
        let card = Card { tlsh: held.card.tlsh.or(Some(tlsh)), ..held.card };
        let mut batch = Batch::default();
        batch.put(Column::Layers, diff_id.as_bytes(), rows::layer(&card));
        self.inner.write(&batch)?;
        held.card = card;
        Ok(Some(card))
    }

    /// Sets the time of last use of a layer. The store evicts the least recently used layer first. A power cut may lose
    /// the new time.
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

    /// Removes a layer that was not used since a given time, unless it is leased, pinned or named by an image. Whether
    /// it did; [`Self::take_gone_layers`] tells of it.
    ///
    /// # Errors
    /// `Io`, `Index`.
    pub fn remove_unused_layer(&self, diff_id: &DiffId, unused_since: UnixSeconds) -> Result<bool> {
        let mut ledger = self.inner.ledger();
        let is_unused = ledger.layers.get(diff_id).is_some_and(|layer| layer.last_used < unused_since);
        if !is_unused || ledger.layer_holder(diff_id).is_some() {
            return Ok(false);
        }
        self.inner.remove(&mut ledger, &[Item::Layer(*diff_id)])?;
        Ok(true)
    }

    /// Moves a damaged layer to `quarantine/`, even if it is leased, pinned or named by an image. The layer is no
    /// longer held and can be committed again. Returns the new path of the file, or `None` if the layer is not held.
    ///
    /// # Errors
    /// `Index`: the layer is still held. `Io`: the layer is not held, but its file still takes room.
    pub fn quarantine_layer(&self, diff_id: &DiffId) -> Result<Option<PathBuf>> {
        self.inner.set_aside(&mut self.inner.ledger(), &Item::Layer(*diff_id))
    }
}

/// Writes one layer. A writer that is dropped before [`Self::finish`] leaves nothing behind.
pub struct LayerWriter {
    /// The first field, so that it is dropped and flushed before `temporary` removes the file.
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

    /// Appends bytes to the tar. After an error, drop the writer.
    ///
    /// # Errors
    /// `OverLimit` beyond the size given to [`Store::create_layer`]; `BudgetFull` or `DiskFull` when a layer of unknown
    /// or claimed size grows too large; `Io`.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let after = self.written + Bytes(bytes.len() as u64);
        if let Some((_, max)) = self.named
            && after > max
        {
            return Err(StoreError::OverLimit { what: "bytes of layer", found: after.0, max: max.0 });
        }
        if after > self.temporary.reserved() {
            self.temporary.grow(after - self.temporary.reserved())?;
        }
        let path = self.temporary.path();
        self.buffer.write_all(bytes).map_err(|error| {
            self.temporary.inner.folder.failure_of("write", &path, error, Bytes(bytes.len() as u64))
        })?;
        self.sha256.update(bytes);
        self.written = after;
        Ok(())
    }

    /// The number of bytes appended so far.
    pub fn written(&self) -> Bytes {
        self.written
    }

    /// The file with all bytes appended so far, for reading by position.
    ///
    /// # Errors
    /// `Io`, `DiskFull`.
    pub fn file(&mut self) -> Result<&File> {
        let path = self.temporary.path();
        let flushed = self.buffer.flush();
        flushed.map_err(|error| self.temporary.inner.folder.failure("write", &path, error))?;
        Ok(&self.temporary.file)
    }

    /// Syncs the bytes appended so far, so that the commit has little left to sync.
    ///
    /// # Errors
    /// `Io`, `DiskFull`.
    pub fn sync(&mut self) -> Result<()> {
        let path = self.temporary.path();
        let synced = self.file()?.sync_all();
        synced.map_err(|error| self.temporary.inner.folder.failure("sync", &path, error))
    }

    /// The DiffId of the bytes appended so far: their sha256.
    pub fn diff_id(&self) -> DiffId {
        DiffId::new(self.sha256.clone().finalize().into())
    }

    /// Commits the layer. When this returns, the layer is held and survives a power cut. A layer that was already held
    /// keeps its card.
    ///
    /// # Errors
    /// `Mismatch` when length or sha256 differ from the card or from [`Store::create_layer`]: nothing is kept.
    /// `DiskFull`, `Io`, `Index`: the layer is not held.
    pub fn finish(self, card: Card, now: UnixSeconds) -> Result<()> {
        self.commit(card, None, now)
    }

    /// As [`Self::finish`], and stores the layer's sketch in the same batch as its card: a crash keeps both or neither.
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
        self.check(&card)?;
        let path = self.temporary.path();
        // Setting the length frees the disk blocks that were allocated beyond it.
        let flushed = self.buffer.flush().and_then(|()| self.temporary.file.set_len(self.written.0));
        flushed.map_err(|error| self.temporary.inner.folder.failure("write", &path, error))?;
        let item = Item::Layer(card.diff_id);
        let rows = ItemRows { item: rows::layer(&card), sketch, partial: None };
        self.temporary.commit(&item, card.tar_bytes, rows, now, |ledger| {
            ledger.gone.remove(&card.diff_id);
            ledger.layers.insert(card.diff_id, HeldLayer::plain(card, now));
        })
    }

    /// Compares DiffId, length and sha256 with the card and with the layer that the writer was created for.
    fn check(&self, card: &Card) -> Result<()> {
        let (diff_id, tar_bytes) = self.named.unwrap_or((card.diff_id, card.tar_bytes));
        let (written, sha256) = (self.written.0.to_string(), self.diff_id().to_string());
        let checks = [
            ("the DiffId of the card", diff_id.to_string(), card.diff_id.to_string()),
            ("the length in bytes", tar_bytes.0.to_string(), written.clone()),
            ("the length in bytes", card.tar_bytes.0.to_string(), written),
            ("the sha256", diff_id.to_string(), sha256),
        ];
        for (what, expected, found) in checks {
            if found != expected {
                return Err(StoreError::Mismatch { item: Item::Layer(card.diff_id), what, expected, found });
            }
        }
        Ok(())
    }
}

/// The tar and the card of a held layer, whether it is packed or not. The store neither evicts nor removes the layer
/// while this lives.
pub struct LayerReader {
    tar: Tar,
    card: Card,
    _lease: Lease,
}

impl LayerReader {
    /// Whether the tar is compressed on disk.
    pub fn is_packed(&self) -> bool {
        matches!(self.tar, Tar::Packed(_))
    }

    /// The layer's card. Its `tar_bytes` is the length of the tar.
    pub fn card(&self) -> &Card {
        &self.card
    }
}

impl ReadAt for LayerReader {
    fn len(&self) -> Bytes {
        self.card.tar_bytes
    }

    /// # Errors
    /// `InvalidData` for a packed tar that is damaged there, besides those of any file.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.tar.read_exact_at(buffer, offset)
    }
}

/// Protects an item from eviction and removal until it is dropped. Only layers and patches count their leases.
pub struct Lease {
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
        // Quarantine may have removed the item, and a new commit may have added it again, with no leases.
        if let Some(leases) = self.inner.ledger().leases(&self.item) {
            *leases = leases.saturating_sub(1);
        }
    }
}

impl Inner {
    /// Opens the file of a held item. If the file is missing or has another length, the item is no longer held and this
    /// returns `None`.
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
