//! Whole layers that come as they are: a download whose file becomes the layer's.
//!
//! A patch may have the bytes of its layer as they stand there, behind a header. Its download then has these bytes
//! alone, from the layer's first one on, so that each byte is written once. The header lies beside it, in
//! `partial/<PatchId>.header`, and counts for nothing: it has 42 bytes for each MiB.
//!
//! [`LayerPartReader`] hashes the file as it reads it. [`PatchWriter::finish_layer`] takes the reader as the proof of
//! the layer's name, renames the file, and writes the layer's row in place of the download's in one batch. A crash
//! between the two leaves a layer without a row. The next open makes it a download again, one that is whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use lighter_types::{Bytes, Card, DiffId, PatchId};
use sha2::{Digest, Sha256};

use crate::error::{Item, Result, StoreError};
use crate::folder::Folder;
use crate::ledger::HeldLayer;
use crate::limits::SKETCH_BYTES_MAX;
use crate::partials::{PatchWriter, discard, header_path};
use crate::records::PatchKey;
use crate::store::{ItemRows, Store};
use crate::{UnixSeconds, rows};

/// The longest header of a patch: docs/PATCH.md has the bounds on frames and bases.
const HEADER_BYTES_MAX: usize = 64 << 20;

impl Store {
    /// Creates a writer for a layer that comes as it is, by a patch with this header. It takes the bytes of the layer
    /// alone. [`Self::resume_patch`] resumes it, and everything else is as for [`Self::create_patch`].
    ///
    /// # Errors
    /// As [`Self::create_patch`].
    pub fn create_layer_part(
        &self,
        key: PatchKey,
        patch_id: PatchId,
        header: &[u8],
        tar_bytes: Bytes,
    ) -> Result<PatchWriter> {
        self.discard_patch(&patch_id)?;
        let path = header_path(&self.inner.folder, &patch_id);
        let written = self.inner.folder.write_synced(&path, header);
        let created = written.and_then(|()| self.create_patch(key, patch_id, tar_bytes));
        if created.is_err() && !self.inner.folder.steps.are_used_up() {
            // The first error is the one to report. If the file stays, the next open removes it.
            let _ = self.inner.folder.remove(&path);
        }
        created
    }

    /// The header of a download that has the bytes of its layer alone; `None` for any other download.
    ///
    /// # Errors
    /// `Io`, `Damaged`.
    pub fn layer_part_header(&self, patch_id: &PatchId) -> Result<Option<Vec<u8>>> {
        self.inner.folder.read(&header_path(&self.inner.folder, patch_id), HEADER_BYTES_MAX)
    }
}

/// Reads the bytes of a layer from its download, front to back, and hashes them.
pub struct LayerPartReader {
    file: File,
    sha256: Sha256,
    bytes: Bytes,
}

impl LayerPartReader {
    /// Reads from the first byte on.
    pub fn new(file: File) -> Self {
        Self { file, sha256: Sha256::new(), bytes: Bytes::ZERO }
    }

    /// Fills `buffer` with the next bytes.
    ///
    /// # Errors
    /// If the disk fails, or the file has fewer bytes.
    pub fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, self.bytes.0)?;
        self.sha256.update(&*buffer);
        self.bytes += Bytes(buffer.len() as u64);
        Ok(())
    }

    /// The bytes that were read.
    pub fn bytes(&self) -> Bytes {
        self.bytes
    }

    /// The sha256 of the bytes that were read.
    fn diff_id(&self) -> DiffId {
        DiffId::new(self.sha256.clone().finalize().into())
    }
}

impl PatchWriter {
    /// Commits the download as its layer, which `read` has read. When this returns, the layer is held and survives a
    /// power cut. A layer that was already held keeps its card.
    ///
    /// # Errors
    /// `Mismatch` when length or sha256 differ from the card, or the layer from the patch's target; `OverLimit` for a
    /// sketch over 2 KiB; `DiskFull`, `Io`, `Index`. The layer is not held, and the download stays.
    pub fn finish_layer(mut self, read: &LayerPartReader, card: Card, sketch: Vec<u8>, now: UnixSeconds) -> Result<()> {
        if sketch.len() > SKETCH_BYTES_MAX {
            let (found, max) = (sketch.len() as u64, SKETCH_BYTES_MAX as u64);
            return Err(StoreError::OverLimit { what: "bytes of sketch", found, max });
        }
        self.check_layer(read, &card)?;
        self.sync()?;
        let Some(partial) = self.into_partial() else {
            let (what, found) = ("the kind of patch", "a patch of this node".to_owned());
            let (item, expected) = (Item::Layer(card.diff_id), "a download".to_owned());
            return Err(StoreError::Mismatch { item, what, expected, found });
        };
        let (inner, patch_id) = (partial.inner.clone(), partial.patch_id);
        let (item, path) = (Item::Layer(card.diff_id), inner.folder.partial_patch(&patch_id));
        // Setting the length frees the disk blocks that were allocated beyond it.
        let set = partial.file.set_len(card.tar_bytes.0);
        set.map_err(|error| inner.folder.failure("write", &path, error))?;
        let mut ledger = inner.ledger();
        if ledger.bytes(&item).is_some() {
            if let Some(partial) = ledger.partials.get_mut(&patch_id) {
                partial.is_open = false;
            }
            discard(&inner, &mut ledger, &patch_id)?;
            return inner.touch(&mut ledger, &item, now);
        }
        inner.rename_item(&mut ledger, &path, &item, card.tar_bytes)?;
        ledger.partials.remove(&patch_id);
        let rows = ItemRows { item: rows::layer(&card), sketch: Some(sketch), partial: Some(patch_id) };
        inner.write_row(&mut ledger, &item, card.tar_bytes, rows, now)?;
        ledger.gone.remove(&card.diff_id);
        ledger.layers.insert(card.diff_id, HeldLayer::plain(card, now));
        drop(ledger);
        // If it stays, the next open removes it.
        inner.folder.remove(&header_path(&inner.folder, &patch_id))
    }

    fn check_layer(&self, read: &LayerPartReader, card: &Card) -> Result<()> {
        let checks = [
            ("the DiffId of the card", self.key().target.to_string(), card.diff_id.to_string()),
            ("the length in bytes", card.tar_bytes.0.to_string(), self.written().0.to_string()),
            ("the length in bytes", card.tar_bytes.0.to_string(), read.bytes.0.to_string()),
            ("the sha256", card.diff_id.to_string(), read.diff_id().to_string()),
        ];
        for (what, expected, found) in checks {
            if found != expected {
                return Err(StoreError::Mismatch { item: Item::Layer(card.diff_id), what, expected, found });
            }
        }
        Ok(())
    }
}

/// After a crash between rename and row, a layer without a row came by this download. Makes it the download again,
/// because its card and its sketch are not known here. Returns the length of the file; `None` if there is none.
pub(crate) fn take_back(
    folder: &Folder,
    (id, target): (&PatchId, &DiffId),
    bytes: Bytes,
    files: &mut BTreeMap<Item, Bytes>,
) -> Result<Option<Bytes>> {
    let item = Item::Layer(*target);
    if !header_path(folder, id).exists() || files.get(&item) != Some(&bytes) || folder.packed(target).exists() {
        return Ok(None);
    }
    folder.rename(&folder.tar(target), &folder.partial_patch(id))?;
    files.remove(&item);
    Ok(Some(bytes))
}
