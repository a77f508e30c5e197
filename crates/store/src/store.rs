//! [`Store`]: its options, its counts, room, removal, and the writing of rows. Each kind of item (layers, blobs,
//! patches, references, pins, node state) adds methods to [`Store`] in a file of its own.
//!
//! One lock guards the ledger, the picture of the store in memory. Hashing, copying and waiting for file data happen
//! outside the lock. A rename, its write to the index and its change of the ledger happen under the lock, so that every
//! item in the ledger has a row and a file.
//!
//! Invariants:
//! - A removal deletes rows before files, so that a crash leaves at most a file without a row.
//! - A failed write of a row leaves its file in `unindexed`: it counts against the budget until it is evicted.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lighter_types::{Bytes, DiffId, PatchId};

use crate::error::{Item, Result, StoreError};
use crate::folder::Folder;
use crate::index::{Batch, Column, Durability, Index};
use crate::ledger::Ledger;
use crate::releases::{Retention, Victims};
use crate::{GaveWay, UnixSeconds, rows};

/// The operator's settings.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The budget: the most bytes that layers, patches and blobs take together, finished or not. Default 20 GiB.
    pub bytes_max: Bytes,
    /// The bytes that stay free on the disk, because the index needs room to work. Default 64 MiB.
    pub disk_free_min: Bytes,
    /// Which releases give way when the store is full. By default none does.
    pub retention: Retention,
}

impl Default for Options {
    fn default() -> Self {
        let (bytes_max, disk_free_min) = (Bytes::GIB.times(20), Bytes::MIB.times(64));
        Self { bytes_max, disk_free_min, retention: Retention::ALL }
    }
}

/// A report of what opening the store found and repaired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Unfinished files that opening removed.
    pub leftovers_removed: u64,
    /// Downloads that can be resumed.
    pub partial_patches: u64,
    /// Files without a row, left by an interrupted commit. The store does not serve them and evicts them first.
    pub files_without_row: Vec<Item>,
    /// Rows without a file of the right length. The store does not serve them; fsck reports the damage.
    pub rows_without_file: Vec<Item>,
    /// References whose row was changed to match their file.
    pub references_settled: u64,
    /// Rows that could not be decoded. Only [`Store::open_repair`] opens a store that has some.
    pub rows_unreadable: u64,
    /// Folders that other users of the machine could enter until this opening, and their modes.
    pub was_exposed: Vec<(PathBuf, u32)>,
}

/// Counts and sizes of the items in the store. Sizes are lengths of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    pub layers: u64,
    pub layer_bytes: Bytes,
    /// Layers that the operator pinned, whether they are held or not.
    pub pinned_layers: u64,
    pub blobs: u64,
    pub blob_bytes: Bytes,
    /// Cached patches.
    pub patches: u64,
    pub patch_bytes: Bytes,
    /// Downloads that have begun.
    pub partial_patches: u64,
    /// The bytes that these downloads take now, reserved ones included.
    pub partial_patch_bytes: Bytes,
    pub images: u64,
    /// The bytes of the layers of the largest image.
    pub image_bytes_max: Bytes,
    /// The bytes that never give way: layers that are pinned or that an image which stays names, and all blobs.
    pub staying_bytes: Bytes,
    /// Files without a row.
    pub unindexed_files: u64,
    pub unindexed_bytes: Bytes,
    /// Bytes that open writers have reserved.
    pub reserved_bytes: Bytes,
    /// All bytes that count against the budget.
    pub used_bytes: Bytes,
    /// The budget.
    pub bytes_max: Bytes,
    /// Free bytes on the disk.
    pub disk_free_bytes: Bytes,
}

/// The layers, blobs, patches and references of one node, in one data folder. A clone is another handle. The store
/// keeps the folder locked until its last handle, reader and writer is dropped.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) folder: Folder,
    pub(crate) index: Arc<dyn Index>,
    pub(crate) options: Options,
    pub(crate) report: OpenReport,
    pub(crate) ledger: Mutex<Ledger>,
    /// The locked file; the lock ends when this is dropped.
    pub(crate) _lock: File,
}

impl Store {
    /// The report of opening this store.
    pub fn open_report(&self) -> &OpenReport {
        &self.inner.report
    }

    /// The current counts and sizes.
    ///
    /// # Errors
    /// `Io` when the file system does not report its free space.
    pub fn stats(&self) -> Result<StoreStats> {
        let disk_free_bytes = self.inner.folder.free()?;
        let ledger = self.inner.ledger();
        Ok(StoreStats {
            layers: ledger.layers.len() as u64,
            layer_bytes: ledger.layers.values().map(|layer| layer.file_bytes).sum(),
            pinned_layers: ledger.pins.len() as u64,
            blobs: ledger.blobs.len() as u64,
            blob_bytes: ledger.blobs.values().map(|blob| blob.bytes).sum(),
            patches: ledger.patches.len() as u64,
            patch_bytes: ledger.patches.values().map(|patch| patch.bytes).sum(),
            partial_patches: ledger.partials.len() as u64,
            partial_patch_bytes: ledger.partials.values().map(|partial| partial.reserved_bytes).sum(),
            images: ledger.images.len() as u64,
            image_bytes_max: ledger.image_bytes_max(),
            staying_bytes: ledger.staying_bytes(&self.inner.options.retention),
            unindexed_files: ledger.unindexed.len() as u64,
            unindexed_bytes: ledger.unindexed.values().copied().sum(),
            reserved_bytes: ledger.temporaries.values().copied().sum(),
            used_bytes: ledger.used(),
            bytes_max: self.inner.options.bytes_max,
            disk_free_bytes,
        })
    }

    /// The latest use of anything that is held; 0 without one. The caller's clock may have been set back since.
    pub fn last_use(&self) -> UnixSeconds {
        self.inner.ledger().last_use()
    }

    /// Checks that `needed` more bytes would find room if everything gave way that may. Changes nothing: the caller
    /// asks before it begins something that takes its room piece by piece.
    ///
    /// # Errors
    /// `BudgetFull`, `DiskFull`; `Io` when the file system does not report its free space.
    pub fn check_room(&self, needed: Bytes) -> Result<()> {
        self.inner.plan_room(&self.inner.ledger(), needed, &self.inner.options.retention).map(drop)
    }

    /// Whether `needed` more bytes find room with nothing giving way.
    ///
    /// # Errors
    /// `Io` when the file system does not report its free space.
    pub fn has_room_left(&self, needed: Bytes) -> Result<bool> {
        Ok(!self.inner.is_short_of(&self.inner.ledger(), needed)?)
    }

    /// Layers that the store stopped holding since the last call, apart from those that the caller removed by name:
    /// evicted for room, collected by [`Store::gc`], or found damaged. Sorted. The node must stop announcing them.
    pub fn take_gone_layers(&self) -> Vec<DiffId> {
        std::mem::take(&mut self.inner.ledger().gone).into_iter().collect()
    }

    /// The releases that gave way since the last call, in this order.
    pub fn take_gave_way(&self) -> Vec<GaveWay> {
        std::mem::take(&mut self.inner.ledger().gave_way)
    }
}

impl Inner {
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Each change of the ledger is complete in itself, so a panic in another thread leaves a usable ledger.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes to the index so that it survives a power cut.
    pub(crate) fn write(&self, batch: &Batch) -> Result<()> {
        self.write_index(batch, Durability::Synced)
    }

    fn write_index(&self, batch: &Batch, durability: Durability) -> Result<()> {
        self.folder.step_of_index()?;
        Ok(self.index.write(batch, durability)?)
    }

    /// Sets an item's time of last use. A power cut may lose the new time.
    pub(crate) fn touch(&self, ledger: &mut Ledger, item: &Item, now: UnixSeconds) -> Result<()> {
        ledger.set_last_used(item, now)?;
        let mut batch = Batch::default();
        put_use(&mut batch, item, now);
        self.write_index(&batch, Durability::Lazy)
    }

    /// Makes room for `needed` more bytes within the budget and on the disk, and evicts items if needed. The caller
    /// must enter the bytes in the ledger before it releases the lock.
    ///
    /// # Errors
    /// `BudgetFull` or `DiskFull`: nothing was evicted. The errors of [`Self::remove`].
    pub(crate) fn make_room(&self, ledger: &mut Ledger, needed: Bytes, retention: &Retention) -> Result<()> {
        let Victims { releases, items } = self.plan_room(ledger, needed, retention)?;
        for reference in &releases {
            if let Some(image) = self.remove_image(ledger, reference)? {
                ledger.gave_way.push(GaveWay { reference: reference.clone(), manifest: image.manifest });
            }
        }
        if items.is_empty() { Ok(()) } else { self.remove(ledger, &items) }
    }

    /// Whether something would have to give way for so many more bytes.
    pub(crate) fn is_short_of(&self, ledger: &Ledger, more: Bytes) -> Result<bool> {
        let needed_on_disk = more + self.options.disk_free_min;
        Ok(ledger.used() + more > self.options.bytes_max || needed_on_disk > self.folder.free()?)
    }

    /// The items to evict for `needed` more bytes.
    fn plan_room(&self, ledger: &Ledger, needed: Bytes, retention: &Retention) -> Result<Victims> {
        let budget = self.options.bytes_max;
        let used = ledger.used();
        let over_budget = used + needed - budget;
        let free = self.folder.free()?;
        let short_of_disk = needed + self.options.disk_free_min - free;
        let wanted = over_budget.max(short_of_disk);
        if wanted == Bytes::ZERO || needed == Bytes::ZERO {
            return Ok(Victims::default());
        }
        ledger.victims(wanted, retention).map_err(|reachable| {
            if over_budget > reachable {
                let available = budget + reachable - used;
                return StoreError::BudgetFull { needed, available, budget };
            }
            let free = free - self.options.disk_free_min;
            StoreError::DiskFull { path: self.folder.root().to_owned(), needed, free }
        })
    }

    /// Removes items: first all their rows, then their files. Enters removed layers in `gone`. A copy of another layer
    /// loses its name in images (`copies`).
    pub(crate) fn remove(&self, ledger: &mut Ledger, items: &[Item]) -> Result<()> {
        let mut batch = Batch::default();
        let renounced = self.renounce(ledger, items, &mut batch)?;
        for item in items {
            delete_rows(&mut batch, item);
        }
        self.write(&batch)?;
        renounced.enter(ledger);
        // Without their rows the items are no longer held. Until a file is removed, it still takes room.
        for item in items {
            let bytes = ledger.bytes(item).or_else(|| ledger.unindexed.get(item).copied());
            if let Item::Layer(id) = item
                && ledger.layers.contains_key(id)
            {
                ledger.gone.insert(*id);
            }
            ledger.forget(item);
            ledger.unindexed.insert(item.clone(), bytes.unwrap_or_default());
        }
        for item in items {
            self.folder.remove_item(item)?;
            ledger.unindexed.remove(item);
        }
        Ok(())
    }

    /// Writes the rows of a file that was just renamed to its final name. If the write fails, the file is entered in
    /// `unindexed`.
    ///
    /// The item may have an old row that lost its file and has other values. The same batch deletes that row first.
    pub(crate) fn write_row(
        &self,
        ledger: &mut Ledger,
        item: &Item,
        bytes: Bytes,
        rows: ItemRows,
        now: UnixSeconds,
    ) -> Result<()> {
        let mut batch = Batch::default();
        let (column, key) = row_key(item);
        if ledger.rows_without_file.contains(item) {
            delete_rows(&mut batch, item);
        }
        if let Some(sketch) = rows.sketch {
            batch.put(Column::Sketches, &key, sketch);
        }
        batch.put(column, &key, rows.item);
        put_use(&mut batch, item, now);
        if let Item::Patch(id) = item {
            batch.delete(Column::Partials, id.as_bytes());
        }
        if let Some(id) = rows.partial {
            batch.delete(Column::Partials, id.as_bytes());
        }
        let written = self.write(&batch);
        match written {
            Ok(()) => {
                ledger.unindexed.remove(item);
                ledger.rows_without_file.remove(item);
            }
            Err(_) => drop(ledger.unindexed.insert(item.clone(), bytes)),
        }
        written
    }

    /// Deletes an item's rows, so that it is no longer held; its file stays. Enters a layer in `gone`.
    pub(crate) fn delete_row(&self, ledger: &mut Ledger, item: &Item) -> Result<()> {
        let mut batch = Batch::default();
        delete_rows(&mut batch, item);
        self.write(&batch)?;
        if let Item::Layer(id) = item
            && ledger.layers.contains_key(id)
        {
            ledger.gone.insert(*id);
        }
        ledger.forget(item);
        Ok(())
    }

    /// Moves the file of a damaged item to `quarantine/`; the item is no longer held. Returns the new path, or `None`
    /// if the item is not held.
    ///
    /// # Errors
    /// `Index`: the item is still held. `Io`: the item is not held, but its file still takes room.
    pub(crate) fn set_aside(&self, ledger: &mut Ledger, item: &Item) -> Result<Option<PathBuf>> {
        let Some(bytes) = ledger.bytes(item) else { return Ok(None) };
        self.delete_row(ledger, item)?;
        ledger.unindexed.insert(item.clone(), bytes);
        let place = self.folder.quarantine(&self.path(item))?;
        ledger.unindexed.remove(item);
        Ok(Some(place))
    }

    /// The error for a damaged file of an item.
    pub(crate) fn damaged(&self, item: &Item, why: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: self.path(item), why: why.into() }
    }

    pub(crate) fn path(&self, item: &Item) -> PathBuf {
        self.folder.path(item)
    }
}

/// The rows to write for a committed item.
pub(crate) struct ItemRows {
    pub(crate) item: Vec<u8>,
    /// The sketch of a layer; `None` for other items.
    pub(crate) sketch: Option<Vec<u8>>,
    /// The download that became the item: its row goes.
    pub(crate) partial: Option<PatchId>,
}

impl From<Vec<u8>> for ItemRows {
    fn from(item: Vec<u8>) -> Self {
        Self { item, sketch: None, partial: None }
    }
}

/// The column and key of an item's row.
pub(crate) fn row_key(item: &Item) -> (Column, Vec<u8>) {
    match item {
        Item::Layer(id) => (Column::Layers, id.as_bytes().to_vec()),
        Item::Blob(digest) => (Column::Blobs, digest.as_bytes().to_vec()),
        Item::Patch(id) => (Column::Patches, id.as_bytes().to_vec()),
        Item::Image(reference) => (Column::Images, reference.as_str().as_bytes().to_vec()),
    }
}

pub(crate) fn delete_rows(batch: &mut Batch, item: &Item) {
    let (column, key) = row_key(item);
    batch.delete(column, &key);
    if let Item::Layer(_) = item {
        batch.delete(Column::Sketches, &key);
    }
    if let Some(key) = rows::use_key(item) {
        batch.delete(Column::Uses, &key);
    }
}

pub(crate) fn put_use(batch: &mut Batch, item: &Item, now: UnixSeconds) {
    if let Some(key) = rows::use_key(item) {
        batch.put(Column::Uses, &key, rows::number(now.0));
    }
}
