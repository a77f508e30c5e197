//! Checking every file against its name, and rebuilding the index from the files.
//!
//! Runs beside other work: hashing happens outside the lock and under a lease, and what is open is left alone. A check
//! changes nothing. A rebuild moves damaged files to `quarantine/` (nothing is deleted but leftovers and cached patches
//! that no row explains), deletes rows without a file, and writes rows for whole files, whose cards the caller makes.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use lighter_types::{Bytes, Card, DiffId, OciDigest};

use crate::error::{Item, Result, StoreError};
use crate::folder::Found;
use crate::index::{Batch, Column};
use crate::layers::Lease;
use crate::ledger::{HeldBlob, HeldLayer, Ledger};
use crate::open::is_leftover;
use crate::patches::sha256_of;
use crate::store::{Inner, ItemRows, Store, delete_rows};
use crate::{SKETCH_BYTES_MAX, UnixSeconds, rows};

mod report;

pub use report::{Damage, Finding, FsckProgress, FsckReport, Repair};

/// What is kept of a layer beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerFacts {
    pub card: Card,
    /// At most [`crate::SKETCH_BYTES_MAX`] bytes; a longer one is not kept.
    pub sketch: Option<Vec<u8>>,
}

/// Makes the card and the sketch of a layer out of its tar, given its name: the store knows nothing of either.
pub type MakeCard<'a> = dyn Fn(DiffId, &mut dyn Read) -> Result<LayerFacts, Box<dyn Error + Send + Sync>> + 'a;

/// Whether [`Store::fsck`] acts.
pub enum FsckMode<'a> {
    /// Changes nothing.
    Check,
    /// Puts right what it finds.
    Rebuild(&'a MakeCard<'a>),
}

impl Store {
    /// Checks every file, and puts right what is wrong if told to. Reads everything once; a card to be made reads its
    /// layer a second time. `now` becomes the time of last use of what is found anew.
    ///
    /// # Errors
    /// `Io`, `DiskFull`, `Index` when this machine fails; damage is no error but a finding.
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

    /// Rows that opening could not read. They go first: what they told may be written anew.
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

    /// Every file where layers, blobs and patches are.
    fn check_items(&mut self, progress: &mut dyn FnMut(FsckProgress<'_>)) -> Result<()> {
        let found = self.inner.folder.items()?;
        let size = |found: &Found| match found {
            Found::Item(_, bytes) => *bytes,
            Found::Stranger(_) => Bytes::ZERO,
        };
        let (files, bytes) = (found.len() as u64, found.iter().map(size).sum());
        for (files_done, found) in (0..).zip(found) {
            let (item, length) = match found {
                Found::Item(item, length) => (item, length),
                Found::Stranger(path) => {
                    self.set_aside(path, Damage::Stranger)?;
                    continue;
                }
            };
            let path = self.inner.path(&item);
            progress(FsckProgress { path: &path, files_done, files, bytes_done: self.report.bytes, bytes });
            self.check_item(&item, &path)?;
            self.report.bytes += length;
            *match &item {
                Item::Layer(_) => &mut self.report.layers,
                Item::Blob(_) => &mut self.report.blobs,
                _ => &mut self.report.patches,
            } += 1;
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
        let Some(expected) = expected else { return self.remove_unexplained(item, path) };
        let found = match File::open(path).and_then(sha256_of) {
            Ok(found) => found,
            // It was evicted meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                drop(lease);
                return self.quarantine(item, path, Damage::Unreadable { why: error.to_string() });
            }
        };
        drop(lease);
        match (found == expected, is_held) {
            (true, true) => self.sketch(item, path),
            (true, false) => self.write_row(item, path),
            (false, _) => self.quarantine(item, path, Damage::WrongBytes { found: OciDigest::new(found).to_string() }),
        }
    }

    /// A patch without a row: its key is lost, so nobody can ask for it.
    fn remove_unexplained(&mut self, item: &Item, path: &Path) -> Result<()> {
        let mut repair = Repair::None;
        if self.rebuilds() {
            self.inner.remove(&mut self.inner.ledger(), std::slice::from_ref(item))?;
            repair = Repair::Removed;
        }
        self.find(path.to_owned(), Damage::NoRow, repair);
        Ok(())
    }

    /// A whole file without a row.
    fn write_row(&mut self, item: &Item, path: &Path) -> Result<()> {
        let length = std::fs::metadata(path).map(|metadata| Bytes(metadata.len()));
        let length = length.map_err(|error| self.inner.folder.failure("look at", path, error))?;
        let (rows, held) = match (&self.mode, item) {
            (FsckMode::Rebuild(make_card), Item::Layer(id)) => match facts(*make_card, *id, path, length) {
                Ok(LayerFacts { card, sketch }) => (ItemRows { item: rows::layer(&card), sketch }, Some(card)),
                Err(error) => return self.quarantine(item, path, Damage::Unreadable { why: error.to_string() }),
            },
            (FsckMode::Rebuild(_), _) => (rows::number(length.0).into(), None),
            (FsckMode::Check, _) => {
                self.find(path.to_owned(), Damage::NoRow, Repair::None);
                return Ok(());
            }
        };
        let mut ledger = self.inner.ledger();
        // A commit or a removal may have come first.
        if ledger.bytes(item).is_some() || !path.exists() {
            return Ok(());
        }
        self.inner.write_row(&mut ledger, item, length, rows, self.now)?;
        hold(&mut ledger, item, held, length, self.now);
        drop(ledger);
        self.find(path.to_owned(), Damage::NoRow, Repair::RowWritten);
        Ok(())
    }

    /// A layer whose card was written without a sketch gets one. That is no damage: such a layer works, and is planned
    /// for by its card alone.
    fn sketch(&mut self, item: &Item, path: &Path) -> Result<()> {
        let (FsckMode::Rebuild(make_card), Item::Layer(id)) = (&self.mode, item) else { return Ok(()) };
        if self.inner.index.get(Column::Sketches, id.as_bytes())?.is_some() {
            return Ok(());
        }
        let length = self.inner.ledger().bytes(item).unwrap_or_default();
        let made = facts(*make_card, *id, path, length).ok().and_then(|facts| facts.sketch);
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

    /// A file whose bytes are not those of its name, or cannot be had.
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

    fn set_aside(&mut self, path: PathBuf, damage: Damage) -> Result<()> {
        let repair = match self.mode {
            FsckMode::Check => Repair::None,
            FsckMode::Rebuild(_) => Repair::Quarantined(self.inner.folder.quarantine(&path)?),
        };
        self.find(path, damage, repair);
        Ok(())
    }

    /// Rows whose file is not there, or was not whole when the store was opened.
    fn check_rows(&mut self) -> Result<()> {
        let mut ledger = self.inner.ledger();
        let mut missing: Vec<Item> = ledger.rows_without_file.iter().cloned().collect();
        let held = ledger.layers.keys().copied().map(Item::Layer);
        let held = held.chain(ledger.blobs.keys().copied().map(Item::Blob));
        let held = held.chain(ledger.patches.keys().copied().map(Item::Patch));
        missing.extend(held);
        // A file of another length was found with the files.
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

    /// What is in `partial/` and nobody's.
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
            if !name.ends_with(".tmp") && !name.ends_with(".patch") {
                self.set_aside(path, Damage::Stranger)?;
            }
        }
        Ok(())
    }

    /// Every reference against its file, and what it names against what is held.
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
                // The file may be all that a lost index left.
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
                self.set_aside(path, damaged_reference())?;
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
    Damage::Unreadable { why: "it is no reference file, or is not whole".to_owned() }
}

fn facts(
    make: &MakeCard<'_>,
    id: DiffId,
    path: &Path,
    length: Bytes,
) -> Result<LayerFacts, Box<dyn Error + Send + Sync>> {
    let LayerFacts { card, sketch } = make(id, &mut File::open(path)?)?;
    if card.diff_id == id && card.tar_bytes == length {
        return Ok(LayerFacts { card, sketch: sketch.filter(|sketch| sketch.len() <= SKETCH_BYTES_MAX) });
    }
    let (what, expected, found) =
        ("the card", format!("{id}, {} bytes", length.0), format!("{}, {} bytes", card.diff_id, card.tar_bytes.0));
    Err(StoreError::Mismatch { item: Item::Layer(id), what, expected, found }.into())
}

fn hold(ledger: &mut Ledger, item: &Item, card: Option<Card>, bytes: Bytes, now: UnixSeconds) {
    match (item, card) {
        (Item::Layer(id), Some(card)) => {
            ledger.gone.remove(id);
            ledger.layers.insert(*id, HeldLayer { card, last_used: now, leases: 0 });
        }
        (Item::Blob(digest), _) => drop(ledger.blobs.insert(*digest, HeldBlob { bytes, last_used: now })),
        _ => {}
    }
}
