//! fsck: checks every file against its name, and rebuilds the index from the files.
//!
//! The check goes through the store in this order:
//!
//! 1. rows that opening could not decode;
//! 2. every file of a layer, blob or patch: its sha256 must be its name (for a patch: the sha256 of its row);
//! 3. rows without a file;
//! 4. files in `partial/` without an owner;
//! 5. references: row and file must agree, and the store must hold everything that an image names.
//!
//! A check changes nothing. A rebuild also repairs: it moves damaged and unknown files to `quarantine/`, deletes rows
//! without a file, and writes rows for intact files. The caller makes the cards of layers ([`MakeCard`]). A rebuild
//! deletes only leftovers and cached patches without a row. At its end it writes the schema row, so that
//! [`Store::open`] accepts the folder again.
//!
//! fsck runs beside other work: it hashes outside the lock and under a lease, and it does not repair open files.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use lighter_types::{Bytes, Card, DiffId, OciDigest, broken};

use crate::error::{Item, Result, StoreError};
use crate::folder::Found;
use crate::index::{Batch, Column};
use crate::layers::Lease;
use crate::ledger::{HeldBlob, HeldLayer, Ledger};
use crate::packed::Tar;
use crate::partials::is_leftover;
use crate::patches::sha256_of;
use crate::store::{Inner, ItemRows, Store, delete_rows};
use crate::{SKETCH_BYTES_MAX, UnixSeconds, rows};

mod report;

pub use report::{Damage, Finding, FsckProgress, FsckReport, Repair};

/// The facts of a layer that the index keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerFacts {
    pub card: Card,
    /// At most [`crate::SKETCH_BYTES_MAX`] bytes; a longer sketch is dropped.
    pub sketch: Option<Vec<u8>>,
}

/// Makes the card and the sketch of a layer from its DiffId and its tar. The store cannot compute them.
pub type MakeCard<'a> = dyn Fn(DiffId, &mut dyn Read) -> Result<LayerFacts, Box<dyn Error + Send + Sync>> + 'a;

/// Whether [`Store::fsck`] repairs.
pub enum FsckMode<'a> {
    /// Only reports damage.
    Check,
    /// Repairs the damage that it finds.
    Rebuild(&'a MakeCard<'a>),
}

impl Store {
    /// Checks every file, and repairs the damage if `mode` says so. Reads every file once. Making a card reads the
    /// layer a second time. `now` becomes the time of last use of items that get a new row.
    ///
    /// # Errors
    /// `Io`, `DiskFull`, `Index` when this machine fails. Damage is a finding of the report, not an error.
    pub fn fsck(
        &self,
        mode: FsckMode<'_>,
        now: UnixSeconds,
        progress: &mut dyn FnMut(FsckProgress<'_>),
    ) -> Result<FsckReport> {
        let mut fsck = Fsck { inner: &self.inner, mode, now, report: FsckReport::default() };
        fsck.check_unreadable_rows()?;
        fsck.check_items(progress)?;
        fsck.check_rows()?;
        fsck.check_partial()?;
        fsck.check_images()?;
        if let FsckMode::Rebuild(_) = fsck.mode {
            self.finish_repair()?;
        }
        Ok(fsck.report)
    }
}

struct Fsck<'a> {
    inner: &'a std::sync::Arc<Inner>,
    mode: FsckMode<'a>,
    now: UnixSeconds,
    report: FsckReport,
}

impl Fsck<'_> {
    fn rebuilds(&self) -> bool {
        matches!(self.mode, FsckMode::Rebuild(_))
    }

    fn find(&mut self, path: PathBuf, damage: Damage, repair: Repair) {
        self.report.add(path, damage, repair);
    }

    /// Reports and deletes rows that opening could not decode. This comes first, because later steps may write the same
    /// rows again.
    fn check_unreadable_rows(&mut self) -> Result<()> {
        let mut ledger = self.inner.ledger();
        let mut batch = Batch::default();
        for (column, key) in &ledger.unreadable_rows {
            let why = format!("a row of column {}", column.name());
            let repair = if self.rebuilds() { Repair::RowDeleted } else { Repair::None };
            self.find(self.inner.folder.index(), Damage::Unreadable { why }, repair);
            batch.delete(*column, key);
        }
        if self.rebuilds() && !batch.changes().is_empty() {
            self.inner.write(&batch)?;
            ledger.unreadable_rows.clear();
        }
        Ok(())
    }

    /// Checks every file in the folders of layers, blobs and patches.
    fn check_items(&mut self, progress: &mut dyn FnMut(FsckProgress<'_>)) -> Result<()> {
        let found = self.inner.folder.items()?;
        let (files, bytes) = (found.len() as u64, found.iter().map(Found::bytes).sum());
        for (files_done, found) in (0..).zip(found) {
            let (item, length) = match found {
                Found::Item(item, length) => (item, length),
                Found::UnknownFile(path) => {
                    self.quarantine_unknown(path, Damage::UnknownFile)?;
                    continue;
                }
            };
            let path = self.inner.path(&item);
            progress(FsckProgress { path: &path, files_done, files, bytes_done: self.report.bytes, bytes });
            self.check_item(&item, &path)?;
            self.report.bytes += length;
            match &item {
                Item::Layer(_) => self.report.layers += 1,
                Item::Blob(_) => self.report.blobs += 1,
                Item::Patch(_) => self.report.patches += 1,
                Item::Image(_) => broken("a reference among the files of items"),
            }
        }
        Ok(())
    }

    fn check_item(&mut self, item: &Item, path: &Path) -> Result<()> {
        let mut ledger = self.inner.ledger();
        let is_held = ledger.bytes(item).is_some();
        let expected = match item {
            Item::Layer(id) => Some(*id.as_bytes()),
            Item::Blob(digest) => Some(*digest.as_bytes()),
            Item::Patch(id) => ledger.patches.get(id).map(|patch| patch.sha256),
            Item::Image(_) => None,
        };
        let lease = is_held.then(|| Lease::take(self.inner, &mut ledger, item.clone()));
        drop(ledger);
        let Some(expected) = expected else { return self.remove_patch_without_row(item, path) };
        let found = match sha256_of_item(item, path) {
            Ok(found) => found,
            // Another thread evicted the item.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                drop(lease);
                return self.quarantine(item, path, Damage::Unreadable { why: error.to_string() });
            }
        };
        drop(lease);
        match (found == expected, is_held) {
            (true, true) => self.add_missing_sketch(item, path),
            (true, false) => self.write_row(item, path),
            (false, _) => self.quarantine(item, path, Damage::WrongBytes { found: OciDigest::new(found).to_string() }),
        }
    }

    /// Removes a patch without a row. Its key is lost, so nobody can ask for the patch.
    fn remove_patch_without_row(&mut self, item: &Item, path: &Path) -> Result<()> {
        let mut repair = Repair::None;
        if self.rebuilds() {
            self.inner.remove(&mut self.inner.ledger(), std::slice::from_ref(item))?;
            repair = Repair::Removed;
        }
        self.find(path.to_owned(), Damage::NoRow, repair);
        Ok(())
    }

    /// Writes the row of an intact file that has none.
    fn write_row(&mut self, item: &Item, path: &Path) -> Result<()> {
        let length = std::fs::metadata(path).map(|metadata| Bytes(metadata.len()));
        let length = length.map_err(|error| self.inner.folder.failure("inspect", path, error))?;
        let (rows, held) = match (&self.mode, item) {
            (FsckMode::Rebuild(make_card), Item::Layer(id)) => match facts(*make_card, *id, path) {
                Ok(LayerFacts { card, sketch }) => {
                    (ItemRows { item: rows::layer(&card), sketch, partial: None }, Some(card))
                }
                Err(error) => return self.quarantine(item, path, Damage::Unreadable { why: error.to_string() }),
            },
            (FsckMode::Rebuild(_), _) => (rows::number(length.0).into(), None),
            (FsckMode::Check, _) => {
                self.find(path.to_owned(), Damage::NoRow, Repair::None);
                return Ok(());
            }
        };
        let mut ledger = self.inner.ledger();
        // Another thread may have committed or removed the item in the meantime.
        if ledger.bytes(item).is_some() || !path.exists() {
            return Ok(());
        }
        self.inner.write_row(&mut ledger, item, length, rows, self.now)?;
        hold(&mut ledger, item, held, (length, path), self.now);
        drop(ledger);
        self.find(path.to_owned(), Damage::NoRow, Repair::RowWritten);
        Ok(())
    }

    /// Makes the sketch of a layer that has none. A missing sketch is no damage: a node plans for such a layer by its
    /// card alone.
    fn add_missing_sketch(&mut self, item: &Item, path: &Path) -> Result<()> {
        let (FsckMode::Rebuild(make_card), Item::Layer(id)) = (&self.mode, item) else { return Ok(()) };
        if self.inner.index.get(Column::Sketches, id.as_bytes())?.is_some() {
            return Ok(());
        }
        let made = facts(*make_card, *id, path).ok().and_then(|facts| facts.sketch);
        let ledger = self.inner.ledger();
        if let Some(sketch) = made
            && ledger.bytes(item).is_some()
        {
            let mut batch = Batch::default();
            batch.put(Column::Sketches, id.as_bytes(), sketch);
            self.inner.write(&batch)?;
            self.report.sketches_made += 1;
        }
        Ok(())
    }

    /// Reports a file that cannot be read or has the wrong bytes, and moves it to `quarantine/` unless it is open.
    fn quarantine(&mut self, item: &Item, path: &Path, damage: Damage) -> Result<()> {
        let mut repair = Repair::None;
        if self.rebuilds() {
            let mut ledger = self.inner.ledger();
            let is_leased = ledger.leases(item).is_some_and(|leases| *leases > 0);
            if !is_leased && path.exists() {
                self.inner.delete_row(&mut ledger, item)?;
                repair = Repair::Quarantined(self.inner.folder.quarantine(path)?);
            }
        }
        self.find(path.to_owned(), damage, repair);
        Ok(())
    }

    /// Reports a file that the store did not create, and moves it to `quarantine/`.
    fn quarantine_unknown(&mut self, path: PathBuf, damage: Damage) -> Result<()> {
        let repair = match self.mode {
            FsckMode::Check => Repair::None,
            FsckMode::Rebuild(_) => Repair::Quarantined(self.inner.folder.quarantine(&path)?),
        };
        self.find(path, damage, repair);
        Ok(())
    }

    /// Reports and deletes rows whose file is missing.
    fn check_rows(&mut self) -> Result<()> {
        let mut ledger = self.inner.ledger();
        let mut missing: Vec<Item> = ledger.rows_without_file.iter().cloned().collect();
        let held = ledger.layers.keys().copied().map(Item::Layer);
        let held = held.chain(ledger.blobs.keys().copied().map(Item::Blob));
        let held = held.chain(ledger.patches.keys().copied().map(Item::Patch));
        missing.extend(held);
        // `check_items` has reported files of another length.
        missing.retain(|item| !self.inner.path(item).exists());
        for item in &missing {
            let mut repair = Repair::None;
            let is_leased = ledger.leases(item).is_some_and(|leases| *leases > 0);
            if self.rebuilds() && !is_leased {
                let mut batch = Batch::default();
                delete_rows(&mut batch, item);
                self.inner.write(&batch)?;
                if let Item::Layer(id) = item {
                    ledger.gone.insert(*id);
                }
                ledger.forget(item);
                repair = Repair::RowDeleted;
            }
            self.find(self.inner.path(item), Damage::NoFile, repair);
        }
        Ok(())
    }

    /// Reports files in `partial/` that have no owner. Removes leftovers and moves unknown files to `quarantine/`.
    fn check_partial(&mut self) -> Result<()> {
        let ledger = self.inner.ledger();
        for path in self.inner.folder.list(&self.inner.folder.partial())? {
            if is_leftover(&ledger, &path) {
                let mut repair = Repair::None;
                if self.rebuilds() {
                    self.inner.folder.remove(&path)?;
                    repair = Repair::Removed;
                }
                self.find(path, Damage::Leftover, repair);
                continue;
            }
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if ![".tmp", ".patch", ".header"].iter().any(|known| name.ends_with(known)) {
                self.quarantine_unknown(path, Damage::UnknownFile)?;
            }
        }
        Ok(())
    }

    /// Compares every reference with its file, and checks that the store holds the blobs and layers of every image.
    fn check_images(&mut self) -> Result<()> {
        let ledger = self.inner.ledger();
        let mut known = Vec::new();
        for (reference, image) in &ledger.images {
            self.report.images += 1;
            let path = self.inner.path(&Item::Image(reference.clone()));
            let row = rows::image(reference, image);
            let file = self.inner.folder.read(&path, rows::IMAGE_FILE_BYTES_MAX);
            if !matches!(file, Ok(Some(file)) if file == rows::image_file(&row)) {
                let damage = if path.exists() { damaged_reference() } else { Damage::NoFile };
                let repair = self.write_image(reference.as_str(), &path, row)?;
                self.find(path.clone(), damage, repair);
            } else if self.rebuilds() {
                // If the index was lost, the reference was loaded from its file and has no row yet.
                let mut batch = Batch::default();
                batch.put(Column::Images, reference.as_str().as_bytes(), row);
                self.inner.write(&batch)?;
            }
            let blobs = [image.manifest, image.config].map(Item::Blob).into_iter();
            for item in blobs.chain(image.layers.iter().copied().map(Item::Layer)) {
                if ledger.bytes(&item).is_none() {
                    self.find(path.clone(), Damage::NotHeld { item }, Repair::None);
                }
            }
            known.push(path);
        }
        for path in self.inner.folder.list(&self.inner.folder.root().join("references"))? {
            if !known.contains(&path) {
                self.quarantine_unknown(path, damaged_reference())?;
            }
        }
        Ok(())
    }

    fn write_image(&self, reference: &str, path: &Path, row: Vec<u8>) -> Result<Repair> {
        if !self.rebuilds() {
            return Ok(Repair::None);
        }
        self.inner.folder.write(path, &rows::image_file(&row), u64::MAX)?;
        let mut batch = Batch::default();
        batch.put(Column::Images, reference.as_bytes(), row);
        self.inner.write(&batch)?;
        Ok(Repair::FileWritten)
    }
}

fn damaged_reference() -> Damage {
    Damage::Unreadable { why: "not an intact reference file".to_owned() }
}

/// The sha256 that an item's file is checked by; of a layer, that of its tar.
fn sha256_of_item(item: &Item, path: &Path) -> io::Result<[u8; 32]> {
    match item {
        Item::Layer(_) => sha256_of(Tar::open(path)?.stream()),
        Item::Blob(_) | Item::Patch(_) | Item::Image(_) => sha256_of(File::open(path)?),
    }
}

/// Makes the facts of a layer, and checks the card against id and length.
fn facts(make: &MakeCard<'_>, id: DiffId, path: &Path) -> Result<LayerFacts, Box<dyn Error + Send + Sync>> {
    let tar = Tar::open(path)?;
    let length = tar.bytes();
    let LayerFacts { card, sketch } = make(id, &mut tar.stream())?;
    if card.diff_id == id && card.tar_bytes == length {
        return Ok(LayerFacts { card, sketch: sketch.filter(|sketch| sketch.len() <= SKETCH_BYTES_MAX) });
    }
    let (what, expected, found) =
        ("the card", format!("{id}, {} bytes", length.0), format!("{}, {} bytes", card.diff_id, card.tar_bytes.0));
    Err(StoreError::Mismatch { item: Item::Layer(id), what, expected, found }.into())
}

/// Adds a layer or a blob with a new row to the ledger.
fn hold(ledger: &mut Ledger, item: &Item, card: Option<Card>, (bytes, path): (Bytes, &Path), now: UnixSeconds) {
    match (item, card) {
        (Item::Layer(id), Some(card)) => {
            ledger.gone.remove(id);
            let is_packed = path.extension().is_some();
            let layer = if is_packed { HeldLayer::packed(card, bytes, now) } else { HeldLayer::plain(card, now) };
            ledger.layers.insert(*id, layer);
        }
        (Item::Blob(digest), _) => drop(ledger.blobs.insert(*digest, HeldBlob { bytes, last_used: now })),
        (Item::Layer(_), None) => broken("a rebuilt layer without its card"),
        (Item::Patch(_) | Item::Image(_), _) => broken("a rebuilt row of a patch or a reference"),
    }
}
