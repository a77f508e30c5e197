//! Partial patches: downloads that are written as they arrive and resumed at their last sync.
//!
//! A power cut may leave anything in the part of a file that was not synced. So the row of a partial patch says how
//! many bytes were synced, and [`Store::resume_patch`] cuts the file to that length. [`PatchWriter::sync`] syncs the
//! file first and then writes the row.
//!
//! A whole layer that comes as it is has a file of its own kind (`layer_parts`).
//!
//! A patch from a peer is written to `partial/<PatchId>.patch` and survives a restart. Its size is the peer's claim,
//! so room is reserved as bytes come, and what is beyond the synced bytes is given back when the writer is dropped. A
//! patch that this node makes has no PatchId until it is complete, so it is written to a temporary file and does not
//! survive a restart; its whole size is reserved from the beginning. [`PatchWriter::finish`] moves either to the
//! cache: it syncs and renames the file, then writes the patch's row and deletes the partial's row in one batch.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lighter_types::{Bytes, DiffId, PatchId, broken};

use crate::claims::Room;
use crate::error::{Holder, Item, Result, StoreError};
use crate::folder::Folder;
use crate::index::{Batch, Column};
use crate::ledger::{HeldPatch, Ledger, Partial};
use crate::limits::PATCH_BASES_MAX;
use crate::patches::sha256_of_file;
use crate::records::PatchKey;
use crate::store::{Inner, Store};
use crate::temporary::Temporary;
use crate::{UnixSeconds, rows};

/// A download that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialPatch {
    pub patch_id: PatchId,
    pub key: PatchKey,
    /// The whole size of the patch, by its header.
    pub total_bytes: Bytes,
    /// The number of bytes on disk. [`Store::resume_patch`] continues after them.
    pub synced_bytes: Bytes,
}

impl Store {
    /// Creates a writer for a patch from a peer, of at most `total_bytes`. Reserves nothing before bytes are written.
    /// Discards an earlier download of the same patch; use [`Self::resume_patch`] to keep it.
    ///
    /// # Errors
    /// `InUse` when the patch has an open writer; `OverLimit` for too many bases; `DiskFull`, `Io`, `Index`.
    pub fn create_patch(&self, key: PatchKey, patch_id: PatchId, total_bytes: Bytes) -> Result<PatchWriter> {
        check_key(&key)?;
        let inner = &self.inner;
        let path = inner.folder.partial_patch(&patch_id);
        let mut ledger = inner.ledger();
        discard(inner, &mut ledger, &patch_id)?;
        let (synced_bytes, reserved_bytes) = (Bytes::ZERO, Bytes::ZERO);
        let partial = Partial { key: key.clone(), total_bytes, synced_bytes, reserved_bytes, is_open: true };
        ledger.partials.insert(patch_id, partial);
        let created = inner.folder.create(&path).and_then(|file| {
            let mut batch = Batch::default();
            batch.put(Column::Partials, patch_id.as_bytes(), rows::partial(&key, total_bytes, Bytes::ZERO));
            inner.write(&batch).map(|()| file)
        });
        if created.is_err() {
            ledger.partials.remove(&patch_id);
            if !inner.folder.steps.are_used_up() {
                // The first error is the one to report. If the file stays, the next open removes it.
                let _ = inner.folder.remove(&path);
            }
        }
        let reserved = Bytes::ZERO;
        let place = Place::Partial(PartialFile { inner: inner.clone(), file: created?, patch_id, reserved });
        Ok(PatchWriter { place, key, total_bytes, written: Bytes::ZERO })
    }

    /// Creates a writer for a patch that this node makes; the patch gets its id at the end. It can grow to `bytes_max`,
    /// all of which is reserved now, and does not survive a restart.
    ///
    /// # Errors
    /// As [`Self::create_patch`]; `BudgetFull`.
    pub fn create_patch_unnamed(&self, key: PatchKey, bytes_max: Bytes) -> Result<PatchWriter> {
        check_key(&key)?;
        let place = Place::Temporary(Temporary::create(&self.inner, bytes_max)?);
        Ok(PatchWriter { place, key, total_bytes: bytes_max, written: Bytes::ZERO })
    }

    /// Resumes a download; `None` if there is none of this patch. [`PatchWriter::written`] is the offset of the next
    /// byte, and [`PatchWriter::file`] has the bytes before it.
    ///
    /// # Errors
    /// `InUse` when the patch has an open writer; `DiskFull`, `Io`.
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
        partial.is_open = true;
        let (key, total_bytes, written) = (partial.key.clone(), partial.total_bytes, partial.synced_bytes);
        let (patch_id, reserved) = (*patch_id, partial.reserved_bytes);
        let place = Place::Partial(PartialFile { inner: inner.clone(), file, patch_id, reserved });
        Ok(Some(PatchWriter { place, key, total_bytes, written }))
    }

    /// The downloads that have begun, sorted by id.
    pub fn partial_patches(&self) -> Vec<PartialPatch> {
        let ledger = self.inner.ledger();
        ledger.partials.iter().map(|(id, partial)| partial_patch(*id, partial)).collect()
    }

    /// The download for a target that has the most bytes on disk.
    pub fn partial_patch_for(&self, target: &DiffId) -> Option<PartialPatch> {
        let ledger = self.inner.ledger();
        let matching = ledger.partials.iter().filter(|(_, partial)| partial.key.target == *target);
        let most = matching.max_by_key(|(_, partial)| partial.synced_bytes);
        most.map(|(id, partial)| partial_patch(*id, partial))
    }

    /// Discards a download. A missing download is no error.
    ///
    /// # Errors
    /// `InUse` when the patch has an open writer; `Io`, `Index`.
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
    inner.folder.remove(&inner.folder.partial_patch(patch_id))?;
    let header = header_path(&inner.folder, patch_id);
    if header.exists() { inner.folder.remove(&header) } else { Ok(()) }
}

/// The header of a download that has the bytes of its layer alone.
pub(crate) fn header_path(folder: &Folder, patch_id: &PatchId) -> PathBuf {
    folder.partial_patch(patch_id).with_extension("header")
}

/// Whether the store created this file in `partial/` and no longer has an entry for it.
pub(crate) fn is_leftover(ledger: &Ledger, path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    if let Some(number) = name.strip_suffix(".tmp") {
        return number.parse().is_ok_and(|number: u64| !ledger.temporaries.contains_key(&number));
    }
    let patch = name.strip_suffix(".patch").or_else(|| name.strip_suffix(".header"));
    let patch = patch.and_then(|hex| PatchId::from_hex(hex).ok());
    patch.is_some_and(|id| !ledger.partials.contains_key(&id))
}

/// Writes one patch, front to back. If the writer is dropped before [`Self::finish`], a patch from a peer stays and can
/// be resumed at its last [`Self::sync`]; a patch of this node leaves nothing behind.
pub struct PatchWriter {
    place: Place,
    key: PatchKey,
    total_bytes: Bytes,
    written: Bytes,
}

enum Place {
    /// A patch from a peer.
    Partial(PartialFile),
    /// A patch that this node makes.
    Temporary(Temporary),
}

/// The open file of a patch from a peer. A patch has one writer at a time.
pub(crate) struct PartialFile {
    pub(crate) inner: Arc<Inner>,
    pub(crate) file: File,
    pub(crate) patch_id: PatchId,
    reserved: Bytes,
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        let mut ledger = self.inner.ledger();
        // A commit has removed the partial patch.
        let Some(partial) = ledger.partials.get_mut(&self.patch_id) else { return };
        if partial.is_open && !self.inner.folder.steps.are_used_up() {
            // Setting the length frees the disk blocks beyond it. A resume sets it again: a failure costs room only.
            let _ = self.file.set_len(partial.synced_bytes.0);
        }
        partial.is_open = false;
        partial.reserved_bytes = partial.synced_bytes;
    }
}

impl PatchWriter {
    /// Appends bytes to the patch.
    ///
    /// # Errors
    /// `OverLimit` beyond the patch's size; `BudgetFull`, `DiskFull`, `Io`.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let length = Bytes(bytes.len() as u64);
        let after = self.written + length;
        if after > self.total_bytes {
            return Err(StoreError::OverLimit { what: "bytes of patch", found: after.0, max: self.total_bytes.0 });
        }
        if let Place::Partial(partial) = &mut self.place {
            partial.reserve(after, self.total_bytes)?;
        }
        let written = self.file().write_all_at(bytes, self.written.0);
        written.map_err(|error| self.inner().folder.failure_of("write", &self.path(), error, length))?;
        self.written = after;
        Ok(())
    }

    /// Makes the bytes appended so far survive a power cut. Waits for the disk twice: for the file and for the index;
    /// not at all if nothing was appended since the last call.
    ///
    /// # Errors
    /// `DiskFull`, `Io`, `Index`.
    pub fn sync(&mut self) -> Result<()> {
        let Place::Partial(PartialFile { inner, file, patch_id, .. }) = &self.place else { return Ok(()) };
        if inner.ledger().partials.get(patch_id).is_some_and(|partial| partial.synced_bytes == self.written) {
            return Ok(());
        }
        inner.folder.sync(file, &self.path())?;
        let mut batch = Batch::default();
        let row = rows::partial(&self.key, self.total_bytes, self.written);
        batch.put(Column::Partials, patch_id.as_bytes(), row);
        let mut ledger = inner.ledger();
        inner.write(&batch)?;
        match ledger.partials.get_mut(patch_id) {
            Some(partial) => partial.synced_bytes = self.written,
            None => broken("a patch writer without its partial patch"),
        }
        Ok(())
    }

    /// The number of bytes so far, including those before a resume.
    pub fn written(&self) -> Bytes {
        self.written
    }

    /// The exact size of a patch from a peer; the largest allowed size of a patch that this node makes.
    pub fn total_bytes(&self) -> Bytes {
        self.total_bytes
    }

    /// The target, bases and settings of the patch.
    pub fn key(&self) -> &PatchKey {
        &self.key
    }

    /// The file with the bytes so far, for reading by position.
    pub fn file(&self) -> &File {
        match &self.place {
            Place::Partial(partial) => &partial.file,
            Place::Temporary(temporary) => &temporary.file,
        }
    }

    /// Commits the patch to the cache under `patch_id`, which the caller has checked. When this returns, the patch
    /// survives a power cut. A patch that is already cached stays unchanged.
    ///
    /// # Errors
    /// `Mismatch` when `patch_id` is not the id that the writer was created with, or bytes are missing; `DiskFull`,
    /// `Io`, `Index`: a patch from a peer can still be resumed, or the next open completes its commit.
    pub fn finish(mut self, patch_id: PatchId, now: UnixSeconds) -> Result<()> {
        let item = Item::Patch(patch_id);
        if let Place::Partial(PartialFile { patch_id: expected, .. }) = &self.place {
            let checks = [
                ("the PatchId", expected.to_string(), patch_id.to_string()),
                ("the length in bytes", self.total_bytes.0.to_string(), self.written.0.to_string()),
            ];
            for (what, expected, found) in checks {
                if found != expected {
                    return Err(StoreError::Mismatch { item, what, expected, found });
                }
            }
        }
        // Setting the length frees the disk blocks that were allocated beyond it.
        let set = self.file().set_len(self.written.0);
        set.map_err(|error| self.inner().folder.failure("write", &self.path(), error))?;
        let sha256 = sha256_of_file(&self.inner().folder, &self.path())?;
        let (bytes, row) = (self.written, rows::patch(&self.key, self.written, sha256));
        let patch = HeldPatch { key: self.key.clone(), bytes, sha256, last_used: now, leases: 0 };
        self.sync()?;
        match self.place {
            Place::Temporary(temporary) => temporary.commit(&item, bytes, row, now, |ledger| {
                ledger.patches.insert(patch_id, patch);
            }),
            Place::Partial(partial) => partial.commit(&item, bytes, row, now, |ledger| {
                ledger.patches.insert(patch_id, patch);
            }),
        }
    }

    /// The open file of a patch from a peer; `None` for a patch of this node.
    pub(crate) fn into_partial(self) -> Option<PartialFile> {
        match self.place {
            Place::Partial(partial) => Some(partial),
            Place::Temporary(_) => None,
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
    /// Reserves room for the bytes before `end`, of a patch of at most `total`.
    fn reserve(&mut self, end: Bytes, total: Bytes) -> Result<()> {
        if end <= self.reserved {
            return Ok(());
        }
        let inner = &self.inner;
        let (missing, rest) = (end - self.reserved, total - self.reserved);
        let mut ledger = inner.ledger();
        let more = inner.make_room_to_grow(&mut ledger, (missing, rest), Room::Made)?;
        self.reserved += more;
        match ledger.partials.get_mut(&self.patch_id) {
            Some(partial) => partial.reserved_bytes = self.reserved,
            None => broken("a patch writer without its partial patch"),
        }
        drop(ledger);
        inner.folder.allocate(&self.file, &inner.folder.partial_patch(&self.patch_id), self.reserved)
    }

    /// As [`Temporary::commit`], for a file that is already synced. One batch writes the patch's row and deletes the
    /// partial's row.
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
            match ledger.partials.get_mut(&self.patch_id) {
                Some(partial) => partial.is_open = false,
                None => broken("a patch writer without its partial patch"),
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
