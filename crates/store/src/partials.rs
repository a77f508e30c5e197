//! Patches that are arriving: written as they come, resumed after a restart at the last sync.
//!
//! What counts as arrived is what was synced: after a power cut, the tail of a file may be anything. The row says how
//! much that is, and the file is cut to it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use lighter_types::{Bytes, DiffId, PatchId};

use crate::error::{Holder, Item, Result, StoreError};
use crate::index::{Batch, Column};
use crate::ledger::{HeldPatch, Ledger, Partial};
use crate::patches::{PATCH_BASES_MAX, PatchKey, sha256_of_file};
use crate::store::{Inner, Store};
use crate::temporary::Temporary;
use crate::{UnixSeconds, rows};

/// A download that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialPatch {
    pub patch_id: PatchId,
    pub key: PatchKey,
    /// The patch's whole size. All of it is reserved.
    pub total_bytes: Bytes,
    /// What is on disk, from the beginning; [`Store::resume_patch`] goes on there.
    pub synced_bytes: Bytes,
}

impl Store {
    /// A writer for a patch that arrives. Room for all of it is reserved now. What had arrived of the same patch is
    /// thrown away: [`Self::resume_patch`] keeps it.
    ///
    /// # Errors
    /// `InUse` when a writer for it is open; `OverLimit` for too many bases; `BudgetFull`, `DiskFull`, `Io`, `Index`.
    pub fn create_patch(&self, key: PatchKey, patch_id: PatchId, total_bytes: Bytes) -> Result<PatchWriter> {
        check_key(&key)?;
        let inner = &self.inner;
        let path = inner.folder.partial_patch(&patch_id);
        let mut ledger = inner.ledger();
        discard(inner, &mut ledger, &patch_id)?;
        inner.make_room(&mut ledger, total_bytes)?;
        let partial = Partial { key: key.clone(), total_bytes, synced_bytes: Bytes::ZERO, is_open: true };
        ledger.partials.insert(patch_id, partial);
        let created = inner.folder.create(&path).and_then(|file| {
            inner.folder.allocate(&file, &path, total_bytes)?;
            let mut batch = Batch::default();
            batch.put(Column::Partials, patch_id.as_bytes(), rows::partial(&key, total_bytes, Bytes::ZERO));
            inner.write(&batch).map(|()| file)
        });
        if created.is_err() {
            ledger.partials.remove(&patch_id);
            if !inner.folder.steps.is_over() {
                // The first error is the one to tell; the file is a leftover at worst.
                let _ = inner.folder.remove(&path);
            }
        }
        let place = Place::Partial(PartialFile { inner: inner.clone(), file: created?, patch_id });
        Ok(PatchWriter { place, key, total_bytes, written: Bytes::ZERO })
    }

    /// A writer for a patch that is made here and gets its name at the end. It can grow to `bytes_max`, all of which is
    /// reserved now, and does not survive a restart.
    ///
    /// # Errors
    /// As [`Self::create_patch`].
    pub fn create_patch_unnamed(&self, key: PatchKey, bytes_max: Bytes) -> Result<PatchWriter> {
        check_key(&key)?;
        let place = Place::Temporary(Temporary::create(&self.inner, bytes_max)?);
        Ok(PatchWriter { place, key, total_bytes: bytes_max, written: Bytes::ZERO })
    }

    /// Goes on with a patch of which some has arrived; `None` if there is no such. [`PatchWriter::written`] tells where
    /// to go on, and [`PatchWriter::file`] has what is there.
    ///
    /// # Errors
    /// `InUse` when a writer for it is open; `DiskFull`, `Io`.
    pub fn resume_patch(&self, patch_id: &PatchId) -> Result<Option<PatchWriter>> {
        let inner = &self.inner;
        let mut ledger = inner.ledger();
        let Some(partial) = ledger.partials.get_mut(patch_id) else { return Ok(None) };
        if partial.is_open {
            return Err(StoreError::InUse { item: Item::Patch(*patch_id), by: Holder::Lease });
        }
        let path = inner.folder.partial_patch(patch_id);
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        let opened = opened.and_then(|file| file.set_len(partial.synced_bytes.0).map(|()| file));
        let file = opened.map_err(|error| inner.folder.failure("open", &path, error))?;
        inner.folder.allocate(&file, &path, partial.total_bytes)?;
        partial.is_open = true;
        let place = Place::Partial(PartialFile { inner: inner.clone(), file, patch_id: *patch_id });
        let (key, total_bytes, written) = (partial.key.clone(), partial.total_bytes, partial.synced_bytes);
        Ok(Some(PatchWriter { place, key, total_bytes, written }))
    }

    /// The downloads that have begun, sorted by name.
    pub fn partial_patches(&self) -> Vec<PartialPatch> {
        let ledger = self.inner.ledger();
        ledger.partials.iter().map(|(id, partial)| partial_patch(*id, partial)).collect()
    }

    /// The download for a target of which most has arrived.
    pub fn partial_patch_for(&self, target: &DiffId) -> Option<PartialPatch> {
        let ledger = self.inner.ledger();
        let matching = ledger.partials.iter().filter(|(_, partial)| partial.key.target == *target);
        let most = matching.max_by_key(|(_, partial)| partial.synced_bytes);
        most.map(|(id, partial)| partial_patch(*id, partial))
    }

    /// Throws a download away; one that is not there is no error.
    ///
    /// # Errors
    /// `InUse` when its writer is open; `Io`, `Index`.
    pub fn discard_patch(&self, patch_id: &PatchId) -> Result<()> {
        discard(&self.inner, &mut self.inner.ledger(), patch_id)
    }
}

fn partial_patch(patch_id: PatchId, partial: &Partial) -> PartialPatch {
    let Partial { key, total_bytes, synced_bytes, .. } = partial;
    PartialPatch { patch_id, key: key.clone(), total_bytes: *total_bytes, synced_bytes: *synced_bytes }
}

fn check_key(key: &PatchKey) -> Result<()> {
    if key.bases.len() <= PATCH_BASES_MAX {
        return Ok(());
    }
    let (found, max) = (key.bases.len() as u64, PATCH_BASES_MAX as u64);
    Err(StoreError::OverLimit { what: "bases of a patch", found, max })
}

/// Removes a partial patch: first its row, then its file.
pub(crate) fn discard(inner: &Inner, ledger: &mut Ledger, patch_id: &PatchId) -> Result<()> {
    let Some(partial) = ledger.partials.get(patch_id) else { return Ok(()) };
    if partial.is_open {
        return Err(StoreError::InUse { item: Item::Patch(*patch_id), by: Holder::Lease });
    }
    let mut batch = Batch::default();
    batch.delete(Column::Partials, patch_id.as_bytes());
    inner.write(&batch)?;
    ledger.partials.remove(patch_id);
    inner.folder.remove(&inner.folder.partial_patch(patch_id))
}

/// Takes the bytes of one patch in order. Dropped unfinished, a patch with a name stays, to be resumed at its last
/// [`Self::sync`]; one without leaves nothing behind.
pub struct PatchWriter {
    place: Place,
    key: PatchKey,
    total_bytes: Bytes,
    written: Bytes,
}

enum Place {
    Partial(PartialFile),
    Temporary(Temporary),
}

/// The open file of a patch with a name. One writer at a time.
struct PartialFile {
    inner: Arc<Inner>,
    file: File,
    patch_id: PatchId,
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if let Some(partial) = self.inner.ledger().partials.get_mut(&self.patch_id) {
            partial.is_open = false;
        }
    }
}

impl PatchWriter {
    /// Takes more of the patch.
    ///
    /// # Errors
    /// `OverLimit` beyond the patch's size; `DiskFull`, `Io`.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let length = Bytes(bytes.len() as u64);
        let after = self.written + length;
        if after > self.total_bytes {
            return Err(StoreError::OverLimit { what: "bytes of patch", found: after.0, max: self.total_bytes.0 });
        }
        let written = self.file().write_all_at(bytes, self.written.0);
        written.map_err(|error| self.inner().folder.failure_of("write", &self.path(), error, length))?;
        self.written = after;
        Ok(())
    }

    /// Makes what was taken so far survive a power cut. Costs two waits for the disk.
    ///
    /// # Errors
    /// `DiskFull`, `Io`, `Index`.
    pub fn sync(&mut self) -> Result<()> {
        let Place::Partial(PartialFile { inner, file, patch_id }) = &self.place else { return Ok(()) };
        inner.folder.sync(file, &self.path())?;
        let mut batch = Batch::default();
        let row = rows::partial(&self.key, self.total_bytes, self.written);
        batch.put(Column::Partials, patch_id.as_bytes(), row);
        let mut ledger = inner.ledger();
        inner.write(&batch)?;
        if let Some(partial) = ledger.partials.get_mut(patch_id) {
            partial.synced_bytes = self.written;
        }
        Ok(())
    }

    /// Bytes taken so far, those before a resume included.
    pub fn written(&self) -> Bytes {
        self.written
    }

    /// The patch's size: exact with a name, at most without.
    pub fn total_bytes(&self) -> Bytes {
        self.total_bytes
    }

    /// What it turns into what.
    pub fn key(&self) -> &PatchKey {
        &self.key
    }

    /// The file, to read what has arrived by position.
    pub fn file(&self) -> &File {
        match &self.place {
            Place::Partial(partial) => &partial.file,
            Place::Temporary(temporary) => &temporary.file,
        }
    }

    /// Commits the patch to the cache; `patch_id` is its name, which the caller has checked. When this returns, it
    /// survives a power cut. A patch that is cached already stays as it is.
    ///
    /// # Errors
    /// `Mismatch` when the name is not the one it was created with, or bytes are missing; `DiskFull`, `Io`, `Index`: a
    /// patch with a name can still be resumed, or is finished by the next open.
    pub fn finish(mut self, patch_id: PatchId, now: UnixSeconds) -> Result<()> {
        let item = Item::Patch(patch_id);
        if let Place::Partial(PartialFile { patch_id: named, .. }) = &self.place {
            let mismatch =
                |what, expected, found| Err(StoreError::Mismatch { item: item.clone(), what, expected, found });
            if *named != patch_id {
                return mismatch("the name", named.to_string(), patch_id.to_string());
            }
            if self.written != self.total_bytes {
                let (expected, found) = (self.total_bytes.0.to_string(), self.written.0.to_string());
                return mismatch("the length in bytes", expected, found);
            }
        }
        // Setting the length gives back what was reserved beyond it.
        let set = self.file().set_len(self.written.0);
        set.map_err(|error| self.inner().folder.failure("write", &self.path(), error))?;
        let sha256 = sha256_of_file(&self.inner().folder, &self.path())?;
        let (bytes, row) = (self.written, rows::patch(&self.key, self.written, sha256));
        let patch = HeldPatch { key: self.key.clone(), bytes, sha256, last_used: now, leases: 0 };
        let hold = |ledger: &mut Ledger| drop(ledger.patches.insert(patch_id, patch));
        self.sync()?;
        match self.place {
            Place::Temporary(temporary) => temporary.commit(&item, bytes, row, now, hold),
            Place::Partial(partial) => partial.commit(&item, bytes, row, now, hold),
        }
    }

    fn inner(&self) -> &Arc<Inner> {
        match &self.place {
            Place::Partial(partial) => &partial.inner,
            Place::Temporary(temporary) => &temporary.inner,
        }
    }

    fn path(&self) -> PathBuf {
        match &self.place {
            Place::Partial(partial) => partial.inner.folder.partial_patch(&partial.patch_id),
            Place::Temporary(temporary) => temporary.path(),
        }
    }
}

impl PartialFile {
    /// As [`Temporary::commit`]; the file is synced. The patch's row and the end of the partial's are one write.
    fn commit(
        self,
        item: &Item,
        bytes: Bytes,
        row: Vec<u8>,
        now: UnixSeconds,
        hold: impl FnOnce(&mut Ledger),
    ) -> Result<()> {
        let mut ledger = self.inner.ledger();
        if ledger.patches.contains_key(&self.patch_id) {
            if let Some(partial) = ledger.partials.get_mut(&self.patch_id) {
                partial.is_open = false;
            }
            discard(&self.inner, &mut ledger, &self.patch_id)?;
            return self.inner.touch(&mut ledger, item, now);
        }
        let path = self.inner.folder.partial_patch(&self.patch_id);
        self.inner.rename_item(&mut ledger, &path, item, bytes)?;
        ledger.partials.remove(&self.patch_id);
        self.inner.write_row(&mut ledger, item, bytes, row.into(), now)?;
        hold(&mut ledger);
        Ok(())
    }
}
