//! Opening the store: take the lock, open the index, load the ledger, and repair the state that a crash left.
//!
//! A crash can stop any operation between two of its steps. Opening handles each such state without an operator:
//!
//! | found | action |
//! |---|---|
//! | a temporary file, or a partial patch without a row | remove it |
//! | a partial patch with a row | keep it for resuming at its last sync |
//! | a finished patch with a partial row | write the patch's row |
//! | a reference whose row and file differ | write the row to match the file |
//! | a file without a row | do not serve it, evict it first |
//! | a row without a file of its length | do not serve it, keep the row |
//!
//! [`Store::open`] refuses an index that is lost or damaged. [`Store::open_repair`] opens with the rows that can be
//! decoded, and changes nothing that [`Store::fsck`] may need. The index gets its schema row at the end of a rebuild,
//! so that [`Store::open`] refuses a rebuild that was interrupted.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use lighter_types::{Bytes, DiffId, ImageReference, PatchId};

use crate::error::{Item, Result};
use crate::folder::{Folder, Found};
use crate::index::{Batch, Column, Durability, Index, IndexError, MemoryIndex, RocksIndex, SCHEMA};
use crate::ledger::{HeldBlob, HeldLayer, HeldPatch, Ledger, Partial};
use crate::packed::Tar;
use crate::partials::is_leftover;
use crate::rows::{self, RowError};
use crate::steps::Steps;
use crate::store::{Inner, OpenReport, Options, Store};
use crate::{Image, PatchKey, UnixSeconds, layer_parts, patches};

const SCHEMA_KEY: &[u8] = b"schema";
/// The longest reference: 255 bytes of repository, a colon, 128 of tag.
const REFERENCE_BYTES_MAX: usize = 384;

/// How to treat an index that is lost or damaged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Refuse to open.
    Strict,
    /// Open with the rows that can be decoded, and keep everything that fsck may need.
    Repair,
}

type OpenIndex<'a> = &'a dyn Fn(&Path) -> Result<Arc<dyn Index>, IndexError>;

impl Store {
    /// Opens the store in a data folder, or creates an empty one. Repairs the state that a crash left.
    ///
    /// # Errors
    /// `FolderInUse`; `Io` when permissions or the disk refuse; `NewerSchema`; `Lost` or `Damaged` when the index has
    /// to be rebuilt with [`Self::open_repair`] and [`Self::fsck`].
    pub fn open(path: &Path, options: Options) -> Result<Self> {
        Self::open_as(path, options, &open_rocks, Steps::default(), Opening::Strict)
    }

    /// Opens the store even if its index is lost or damaged, with the rows that can be decoded. Moves an index that
    /// RocksDB cannot open to `quarantine/`. [`Self::open`] refuses the folder until [`Self::fsck`] has rebuilt the
    /// index.
    ///
    /// # Errors
    /// As [`Self::open`], except `Lost` and `Damaged`.
    pub fn open_repair(path: &Path, options: Options) -> Result<Self> {
        Self::open_as(path, options, &open_rocks, Steps::default(), Opening::Repair)
    }

    /// Opens the store with files in the given folder and an index in memory. The index is lost when the store is
    /// closed, so the folder must be empty.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_memory(path: &Path, options: Options) -> Result<Self> {
        Self::open_with(path, options, Arc::new(MemoryIndex::new()))
    }

    /// Opens the store with an index that the caller provides.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(path: &Path, options: Options, index: Arc<dyn Index>) -> Result<Self> {
        Self::open_as(path, options, &|_| Ok(index.clone()), Steps::default(), Opening::Strict)
    }

    pub(crate) fn open_as(
        path: &Path,
        options: Options,
        open_index: OpenIndex<'_>,
        steps: Steps,
        opening: Opening,
    ) -> Result<Self> {
        let folder = Folder::open(path, steps)?;
        let lock = folder.lock()?;
        let index = match open_index(&folder.index()) {
            Err(IndexError::Damaged { .. }) if opening == Opening::Repair => {
                folder.quarantine_index()?;
                open_index(&folder.index())?
            }
            index => index?,
        };
        let schema = check_schema(&folder, &*index)?;
        if opening == Opening::Strict {
            match schema {
                None => create_schema(&folder, &*index)?,
                Some(SCHEMA) => {}
                Some(_) => write_schema(&folder, &*index)?,
            }
        }
        let report = OpenReport { was_exposed: folder.was_exposed.clone(), ..OpenReport::default() };
        let unreadable = Vec::new();
        let mut loading = Loading { folder: &folder, index: &*index, opening, report, unreadable };
        let ledger = loading.load()?;
        let report = loading.report;
        let ledger = Mutex::new(ledger);
        Ok(Self { inner: Arc::new(Inner { folder, index, options, report, ledger, _lock: lock }) })
    }

    /// Marks the index as complete, after a repair.
    pub(crate) fn finish_repair(&self) -> Result<()> {
        self.inner.write(&schema_batch())
    }
}

fn open_rocks(path: &Path) -> Result<Arc<dyn Index>, IndexError> {
    Ok(Arc::new(RocksIndex::open(path)?))
}

fn schema_batch() -> Batch {
    let mut batch = Batch::default();
    batch.put(Column::Meta, SCHEMA_KEY, SCHEMA.to_le_bytes().to_vec());
    batch
}

/// The schema of the index: the current one or an earlier one. `None` if the index is new, or if its rebuild did not
/// finish.
fn check_schema(folder: &Folder, index: &dyn Index) -> Result<Option<u32>> {
    let path = folder.index();
    let Some(value) = index.get(Column::Meta, SCHEMA_KEY)? else { return Ok(None) };
    let Ok(value) = value.try_into() else {
        return Err(IndexError::Damaged { path, source: "the schema row is not a number of 4 bytes".into() }.into());
    };
    match u32::from_le_bytes(value) {
        found if found > SCHEMA => Err(IndexError::NewerSchema { path, found, supported: SCHEMA }.into()),
        found => Ok(Some(found)),
    }
}

/// Writes the schema row of a new index. Refuses if the folder already has files: then the index of those files is
/// lost, and a store with the new index would evict them.
fn create_schema(folder: &Folder, index: &dyn Index) -> Result<()> {
    let items = folder.items()?.iter().filter(|found| matches!(found, Found::Item(..))).count();
    let images = folder.list(&folder.root().join("references"))?.len();
    let files = (items + images) as u64;
    if files > 0 {
        return Err(IndexError::Lost { path: folder.index(), files }.into());
    }
    write_schema(folder, index)
}

fn write_schema(folder: &Folder, index: &dyn Index) -> Result<()> {
    folder.step_of_index()?;
    Ok(index.write(&schema_batch(), Durability::Synced)?)
}

/// Reads the index and the folder into a [`Ledger`].
struct Loading<'a> {
    folder: &'a Folder,
    index: &'a dyn Index,
    opening: Opening,
    report: OpenReport,
    unreadable: Vec<(Column, Vec<u8>)>,
}

impl Loading<'_> {
    fn load(&mut self) -> Result<Ledger> {
        let mut ledger = Ledger::default();
        let found = self.folder.items()?.into_iter();
        let mut files: BTreeMap<Item, Bytes> = found
            .filter_map(|found| match found {
                Found::Item(item, bytes) => Some((item, bytes)),
                Found::UnknownFile(_) => None,
            })
            .collect();
        self.load_layers(&mut ledger, &mut files)?;
        self.load_blobs(&mut ledger, &mut files)?;
        self.load_patches(&mut ledger, &mut files)?;
        self.load_partials(&mut ledger, &mut files)?;
        self.load_uses(&mut ledger)?;
        self.load_images(&mut ledger)?;
        self.load_pins(&mut ledger)?;
        ledger.unindexed = files;
        ledger.unreadable_rows = std::mem::take(&mut self.unreadable);
        if self.opening == Opening::Strict {
            self.remove_leftovers(&ledger)?;
        }
        self.report.files_without_row = ledger.unindexed.keys().cloned().collect();
        self.report.rows_without_file = ledger.rows_without_file.iter().cloned().collect();
        self.report.partial_patches = ledger.partials.len() as u64;
        Ok(ledger)
    }

    /// Decodes the rows of a column. A row that cannot be decoded is damage: strict opening fails at it.
    fn rows<R>(&mut self, column: Column, read: impl Fn(&[u8], &[u8]) -> Result<R, RowError>) -> Result<Vec<R>> {
        let mut good = Vec::new();
        let mut unreadable = Vec::new();
        let mut first = None;
        self.index.scan(column, &[], &mut |key, value| match read(key, value) {
            Ok(row) => good.push(row),
            Err(error) => {
                unreadable.push((column, key.to_vec()));
                first.get_or_insert(error);
            }
        })?;
        self.report.rows_unreadable += unreadable.len() as u64;
        self.unreadable.extend(unreadable);
        if let Some(error) = first
            && self.opening == Opening::Strict
        {
            let source = format!("a row of column {}: {error}", column.name()).into();
            return Err(IndexError::Damaged { path: self.folder.index(), source }.into());
        }
        Ok(good)
    }

    fn load_layers(&mut self, ledger: &mut Ledger, files: &mut BTreeMap<Item, Bytes>) -> Result<()> {
        for card in self.rows(Column::Layers, rows::read_layer)? {
            let item = Item::Layer(card.diff_id);
            if !self.folder.packed(&card.diff_id).exists() {
                if claim_file(ledger, files, item, card.tar_bytes) {
                    ledger.layers.insert(card.diff_id, HeldLayer::plain(card, UnixSeconds(0)));
                }
                continue;
            }
            let packed = Tar::open(&self.folder.path(&item));
            let is_whole = packed.is_ok_and(|packed| packed.bytes() == card.tar_bytes);
            match files.get(&item).copied().filter(|_| is_whole) {
                Some(bytes) => {
                    files.remove(&item);
                    ledger.layers.insert(card.diff_id, HeldLayer::packed(card, bytes, UnixSeconds(0)));
                    // Packing was interrupted before it removed the tar.
                    if self.opening == Opening::Strict && self.folder.tar(&card.diff_id).exists() {
                        self.folder.remove(&self.folder.tar(&card.diff_id))?;
                        self.report.leftovers_removed += 1;
                    }
                }
                None => drop(ledger.rows_without_file.insert(item)),
            }
        }
        Ok(())
    }

    fn load_blobs(&mut self, ledger: &mut Ledger, files: &mut BTreeMap<Item, Bytes>) -> Result<()> {
        for (digest, bytes) in self.rows(Column::Blobs, rows::read_blob)? {
            if claim_file(ledger, files, Item::Blob(digest), bytes) {
                ledger.blobs.insert(digest, HeldBlob { bytes, last_used: UnixSeconds(0) });
            }
        }
        Ok(())
    }

    fn load_patches(&mut self, ledger: &mut Ledger, files: &mut BTreeMap<Item, Bytes>) -> Result<()> {
        for (id, key, bytes, sha256) in self.rows(Column::Patches, rows::read_patch)? {
            if claim_file(ledger, files, Item::Patch(id), bytes) {
                let patch = HeldPatch { key, bytes, sha256, last_used: UnixSeconds(0), leases: 0 };
                ledger.patches.insert(id, patch);
            }
        }
        Ok(())
    }

    /// Loads the downloads that have begun. A crash between rename and row leaves a finished file with a partial row:
    /// its patch row is written here, because downloading it again could cost a whole layer. A row without any file is
    /// deleted.
    fn load_partials(&mut self, ledger: &mut Ledger, files: &mut BTreeMap<Item, Bytes>) -> Result<()> {
        for (id, key, total_bytes, synced_bytes) in self.rows(Column::Partials, rows::read_partial)? {
            let length = std::fs::metadata(self.folder.partial_patch(&id)).map(|file| Bytes(file.len()));
            let length = match length {
                Err(_) if synced_bytes == total_bytes && self.opening == Opening::Strict => {
                    layer_parts::take_back(self.folder, (&id, &key.target), total_bytes, files)?
                }
                length => length.ok(),
            };
            if length.is_some_and(|length| length >= synced_bytes) {
                let reserved_bytes = synced_bytes;
                let partial = Partial { key, total_bytes, synced_bytes, reserved_bytes, is_open: false };
                ledger.partials.insert(id, partial);
                continue;
            }
            let mut batch = Batch::default();
            batch.delete(Column::Partials, id.as_bytes());
            if files.get(&Item::Patch(id)) == Some(&total_bytes) {
                let patch = self.adopt(&id, key, total_bytes)?;
                batch.put(Column::Patches, id.as_bytes(), rows::patch(&patch.key, patch.bytes, patch.sha256));
                ledger.patches.insert(id, patch);
                files.remove(&Item::Patch(id));
            }
            if self.opening == Opening::Strict {
                self.write(&batch)?;
            }
        }
        Ok(())
    }

    fn adopt(&self, id: &PatchId, key: PatchKey, bytes: Bytes) -> Result<HeldPatch> {
        let sha256 = patches::sha256_of_file(self.folder, &self.folder.path(&Item::Patch(*id)))?;
        Ok(HeldPatch { key, bytes, sha256, last_used: UnixSeconds(0), leases: 0 })
    }

    fn load_uses(&mut self, ledger: &mut Ledger) -> Result<()> {
        for (item, last_used) in self.rows(Column::Uses, rows::read_use)? {
            // The row of an item that is no longer held has no effect. The next removal of the item deletes the row.
            let _ = ledger.set_last_used(&item, last_used);
        }
        Ok(())
    }

    /// Loads references. If row and file differ, the file is the newer, because it is written first. If the file cannot
    /// be read, the row stays in force.
    fn load_images(&mut self, ledger: &mut Ledger) -> Result<()> {
        let mut rows: BTreeMap<ImageReference, Image> =
            self.rows(Column::Images, |_, value| rows::read_image(value))?.into_iter().collect();
        let mut batch = Batch::default();
        for path in self.folder.list(&self.folder.root().join("references"))? {
            let Ok(Some(file)) = self.folder.read(&path, rows::IMAGE_FILE_BYTES_MAX) else { continue };
            let Ok((reference, image)) = rows::read_image_file(&file).and_then(rows::read_image) else { continue };
            if self.folder.path(&Item::Image(reference.clone())) != path {
                continue;
            }
            if rows.get(&reference) != Some(&image) {
                batch.put(Column::Images, reference.as_str().as_bytes(), rows::image(&reference, &image));
                rows.insert(reference, image);
            }
        }
        rows.retain(|reference, _| {
            let has_file = self.folder.path(&Item::Image(reference.clone())).exists();
            if !has_file {
                batch.delete(Column::Images, reference.as_str().as_bytes());
            }
            has_file
        });
        self.report.references_settled = batch.changes().len() as u64;
        if self.report.references_settled > 0 && self.opening == Opening::Strict {
            self.write(&batch)?;
        }
        ledger.images = rows;
        Ok(())
    }

    /// Loads the pins. The name of an image's pin is a hash; its content is the reference.
    fn load_pins(&self, ledger: &mut Ledger) -> Result<()> {
        for path in self.folder.list(&self.folder.root().join("pins"))? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Ok(layer) = DiffId::from_hex(name) {
                ledger.pins.insert(layer);
            } else if let Ok(Some(content)) = self.folder.read(&path, REFERENCE_BYTES_MAX)
                && let Some(reference) = std::str::from_utf8(&content).ok().and_then(|text| text.parse().ok())
                && self.folder.image_pin(&reference) == path
            {
                ledger.image_pins.insert(reference);
            }
        }
        Ok(())
    }

    /// Removes the files that a crash left in `partial/`: temporary files, and patches without a row.
    fn remove_leftovers(&mut self, ledger: &Ledger) -> Result<()> {
        for path in self.folder.list(&self.folder.partial())? {
            if is_leftover(ledger, &path) {
                self.folder.remove(&path)?;
                self.report.leftovers_removed += 1;
            }
        }
        Ok(())
    }

    fn write(&self, batch: &Batch) -> Result<()> {
        self.folder.step_of_index()?;
        Ok(self.index.write(batch, Durability::Synced)?)
    }
}

/// Whether the item of a row has a file of the row's length. Removes that file from `files`, or enters the item in
/// `rows_without_file`.
fn claim_file(ledger: &mut Ledger, files: &mut BTreeMap<Item, Bytes>, item: Item, bytes: Bytes) -> bool {
    if files.get(&item) == Some(&bytes) {
        files.remove(&item);
        return true;
    }
    ledger.rows_without_file.insert(item);
    false
}
