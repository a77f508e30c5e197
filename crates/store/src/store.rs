//! The store itself: its options, what it counts, room and removal. The kinds of items have files of their own, which
//! add to [`Store`].
//!
//! One lock guards the ledger. Hashing, copying and waiting for file data happen outside it; renaming, the index write
//! and the ledger's change happen together inside it, so that what is served always has a row and a file.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lighter_types::{Bytes, DiffId};

use crate::error::{Item, Result, StoreError};
use crate::folder::Folder;
use crate::index::{Batch, Column, Durability, Index};
use crate::ledger::Ledger;
use crate::{UnixSeconds, rows};

/// What the operator sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The budget: the most that layers, patches and blobs take together, finished or not. Default 20 GiB.
    pub bytes_max: Bytes,
    /// What stays free on the disk: the index needs some to go on. Default 64 MiB.
    pub disk_free_min: Bytes,
}

impl Default for Options {
    fn default() -> Self {
        Self { bytes_max: Bytes::GIB.times(20), disk_free_min: Bytes::MIB.times(64) }
    }
}

/// What opening the store found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Unfinished files that were removed.
    pub leftovers_removed: u64,
    /// Downloads that can be resumed.
    pub partial_patches: u64,
    /// Files without a row, left by a commit that was cut off. They are not served, and are evicted first.
    pub files_without_row: Vec<Item>,
    /// Rows without a whole file. They are not served; fsck tells more.
    pub rows_without_file: Vec<Item>,
    /// References that were finished, or undone, as their files say.
    pub references_settled: u64,
    /// Rows that could not be read. Only [`Store::open_repair`] goes on with such.
    pub rows_unreadable: u64,
}

/// How much the store holds. Sizes are those of the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    pub layers: u64,
    pub layer_bytes: Bytes,
    /// Layers that the operator pinned, held or not.
    pub pinned_layers: u64,
    pub blobs: u64,
    pub blob_bytes: Bytes,
    /// Cached patches.
    pub patches: u64,
    pub patch_bytes: Bytes,
    /// Downloads that have begun, with the size they will have.
    pub partial_patches: u64,
    pub partial_patch_bytes: Bytes,
    pub images: u64,
    /// Files of a commit that was cut off.
    pub unindexed_files: u64,
    pub unindexed_bytes: Bytes,
    /// Reserved by writers that are open.
    pub reserved_bytes: Bytes,
    /// Everything above that counts against the budget.
    pub used_bytes: Bytes,
    /// The budget.
    pub bytes_max: Bytes,
    /// Free on the disk, for all of its users.
    pub disk_free_bytes: Bytes,
}

/// The layers, blobs, patches and references of one node, in one data folder. A clone is another handle; the folder's
/// lock ends with the last handle, reader and writer.
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
    /// Held for as long as the store is open.
    pub(crate) _lock: File,
}

impl Store {
    /// What opening found.
    pub fn open_report(&self) -> &OpenReport {
        &self.inner.report
    }

    /// Counts and sizes, now.
    ///
    /// # Errors
    /// `Io` when the disk does not tell how much is free.
    pub fn stats(&self) -> Result<StoreStats> {
        let disk_free_bytes = self.inner.folder.free()?;
        let ledger = self.inner.ledger();
        Ok(StoreStats {
            layers: ledger.layers.len() as u64,
            layer_bytes: ledger.layers.values().map(|layer| layer.card.tar_bytes).sum(),
            pinned_layers: ledger.pins.len() as u64,
            blobs: ledger.blobs.len() as u64,
            blob_bytes: ledger.blobs.values().map(|blob| blob.bytes).sum(),
            patches: ledger.patches.len() as u64,
            patch_bytes: ledger.patches.values().map(|patch| patch.bytes).sum(),
            partial_patches: ledger.partials.len() as u64,
            partial_patch_bytes: ledger.partials.values().map(|partial| partial.total_bytes).sum(),
            images: ledger.images.len() as u64,
            unindexed_files: ledger.unindexed.len() as u64,
            unindexed_bytes: ledger.unindexed.values().copied().sum(),
            reserved_bytes: ledger.temporaries.values().copied().sum(),
            used_bytes: ledger.used(),
            bytes_max: self.inner.options.bytes_max,
            disk_free_bytes,
        })
    }

    /// Layers that went since the last call without the caller naming each: evicted for room, collected by
    /// [`Store::gc`], or found damaged by [`Store::fsck`]. Sorted. What is advertised must follow.
    pub fn take_gone_layers(&self) -> Vec<DiffId> {
        std::mem::take(&mut self.inner.ledger().gone).into_iter().collect()
    }
}

impl Inner {
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // A panic elsewhere leaves the ledger as it was between two of its changes, each of which is complete.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes to the index so that it survives a power cut.
    pub(crate) fn write(&self, batch: &Batch) -> Result<()> {
        self.write_index(batch, Durability::Synced)
    }

    fn write_index(&self, batch: &Batch, durability: Durability) -> Result<()> {
        let failure = |source| StoreError::Io { action: "write the index", path: self.folder.index(), source };
        self.folder.steps.take().map_err(failure)?;
        Ok(self.index.write(batch, durability)?)
    }

    /// Notes that an item was used. The note may be lost in a power cut.
    pub(crate) fn touch(&self, ledger: &mut Ledger, item: &Item, now: UnixSeconds) -> Result<()> {
        ledger.set_last_used(item, now)?;
        let mut batch = Batch::default();
        put_use(&mut batch, item, now);
        self.write_index(&batch, Durability::Lazy)
    }

    /// Makes sure that `needed` more bytes are within the budget and on the disk, evicting for it. The caller notes
    /// the bytes in the ledger before it gives up the lock.
    ///
    /// # Errors
    /// `BudgetFull` or `DiskFull`, with nothing evicted; those of removal.
    pub(crate) fn make_room(&self, ledger: &mut Ledger, needed: Bytes) -> Result<()> {
        let budget = self.options.bytes_max;
        let used = ledger.used();
        let over_budget = used + needed - budget;
        let free = self.folder.free()?;
        let short_of_disk = needed + self.options.disk_free_min - free;
        let wanted = over_budget.max(short_of_disk);
        if wanted == Bytes::ZERO || needed == Bytes::ZERO {
            return Ok(());
        }
        match ledger.victims(wanted) {
            Ok(victims) => self.remove(ledger, &victims),
            Err(reachable) if over_budget > reachable => {
                let available = budget + reachable - used;
                Err(StoreError::BudgetFull { needed, available, budget })
            }
            Err(_) => Err(StoreError::DiskFull { path: self.folder.root().to_owned(), needed, free }),
        }
    }

    /// Removes items for good: first all their rows, then their files. Layers are noted as gone.
    pub(crate) fn remove(&self, ledger: &mut Ledger, items: &[Item]) -> Result<()> {
        let mut batch = Batch::default();
        for item in items {
            delete_rows(&mut batch, item);
        }
        self.write(&batch)?;
        // The rows are gone, so nothing of these is held any more. Should a file stay, it still takes room.
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
            self.folder.remove(&self.path(item))?;
            ledger.unindexed.remove(item);
        }
        Ok(())
    }

    /// Writes the row of a file that has just got its name. Should that fail, the file is known as one without a row.
    ///
    /// A row that was left without its file may have told something else: it goes in the same batch.
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

    /// Holds an item no more, whatever becomes of its file. A layer is noted as gone.
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

    /// The path of an item's file, for messages.
    pub(crate) fn damaged(&self, item: &Item, why: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: self.path(item), why: why.into() }
    }

    pub(crate) fn path(&self, item: &Item) -> PathBuf {
        self.folder.path(item)
    }
}

/// The rows of an item that was committed.
pub(crate) struct ItemRows {
    pub(crate) item: Vec<u8>,
    /// Of layers alone.
    pub(crate) sketch: Option<Vec<u8>>,
}

impl From<Vec<u8>> for ItemRows {
    fn from(item: Vec<u8>) -> Self {
        Self { item, sketch: None }
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
