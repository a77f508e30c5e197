//! A temporary file: an unfinished file with its reserved bytes. It ends with a commit or is removed when dropped.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use lighter_types::{Bytes, DiffId};

use crate::UnixSeconds;
use crate::claims::{Claim, GROWTH, Room};
use crate::error::{Item, Result};
use crate::ledger::Ledger;
use crate::releases::Retention;
use crate::store::{Inner, ItemRows};

/// An unfinished file in `partial/`. If it is dropped without [`Self::commit`], the file and its reservation are
/// removed.
pub(crate) struct Temporary {
    pub(crate) inner: Arc<Inner>,
    pub(crate) file: File,
    /// The size as a peer claims it, of a file that grows by that.
    pub(crate) claim: Option<Claim>,
    number: u64,
    reserved: Bytes,
}

impl Temporary {
    /// Reserves bytes within the budget and on the disk, evicts items if needed, and creates the file.
    pub(crate) fn create(inner: &Arc<Inner>, bytes: Bytes) -> Result<Self> {
        let mut ledger = inner.ledger();
        inner.make_room(&mut ledger, bytes, &inner.options.retention)?;
        let number = ledger.add_temporary(bytes);
        let created = inner.folder.create(&inner.folder.temporary(number));
        if created.is_err() {
            ledger.temporaries.remove(&number);
        }
        let temporary = Self { inner: inner.clone(), file: created?, claim: None, number, reserved: bytes };
        drop(ledger);
        inner.folder.allocate(&temporary.file, &temporary.path(), bytes)?;
        Ok(temporary)
    }

    /// Reserves the bytes that are missing: a whole step where that takes no release, else just these. A claim takes a
    /// step only where nothing gives way.
    pub(crate) fn grow(&mut self, missing: Bytes) -> Result<()> {
        let retention = self.inner.options.retention;
        let Some(claim) = self.claim else {
            return self.reserve(missing.max(GROWTH), &Retention::ALL).or_else(|_| self.reserve(missing, &retention));
        };
        let room = if self.reserved + missing <= claim.displacing_max { Room::Made } else { Room::Free };
        let rest = claim.tar_bytes - self.reserved;
        let mut ledger = self.inner.ledger();
        self.reserved += self.inner.make_room_to_grow(&mut ledger, (missing, rest), room)?;
        ledger.temporaries.insert(self.number, self.reserved);
        drop(ledger);
        self.inner.folder.allocate(&self.file, &self.path(), self.reserved)
    }

    fn reserve(&mut self, more: Bytes, retention: &Retention) -> Result<()> {
        let mut ledger = self.inner.ledger();
        self.inner.make_room(&mut ledger, more, retention)?;
        self.reserved += more;
        ledger.temporaries.insert(self.number, self.reserved);
        drop(ledger);
        self.inner.folder.allocate(&self.file, &self.path(), self.reserved)
    }

    /// Reserves more bytes only where nothing has to give way for them. Returns whether it did.
    pub(crate) fn grow_if_free(&mut self, missing: Bytes) -> Result<bool> {
        let inner = self.inner.clone();
        let more = missing.max(GROWTH);
        let mut ledger = inner.ledger();
        if inner.is_short_of(&ledger, more)? {
            return Ok(false);
        }
        self.reserved += more;
        ledger.temporaries.insert(self.number, self.reserved);
        Ok(true)
    }

    /// Syncs the file and gives it the name of a packed layer, in place of the layer's tar. `Ok(false)` if the layer is
    /// not held as a tar any more.
    pub(crate) fn replace_tar(&self, id: &DiffId, file_bytes: Bytes) -> Result<bool> {
        let Inner { folder, .. } = &*self.inner;
        folder.sync(&self.file, &self.path())?;
        let mut ledger = self.inner.ledger();
        let Some(held) = ledger.layers.get_mut(id).filter(|held| !held.is_packed) else { return Ok(false) };
        let packed = folder.packed(id);
        if let Err(error) = folder.rename(&self.path(), &packed) {
            // The tar is still the layer's file.
            if !folder.steps.are_used_up() {
                folder.remove(&packed)?;
            }
            return Err(error);
        }
        (held.is_packed, held.file_bytes) = (true, file_bytes);
        ledger.temporaries.remove(&self.number);
        // Readers of the tar keep it open. If it stays, the next open removes it.
        folder.remove(&folder.tar(id))?;
        Ok(true)
    }

    pub(crate) fn reserved(&self) -> Bytes {
        self.reserved
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.inner.folder.temporary(self.number)
    }

    /// Commits the file as an item: syncs it, renames it, syncs the folder, writes the row and syncs the index. Calls
    /// `hold` last, which adds the item to the ledger. The caller has checked the bytes. An item that is already held
    /// stays unchanged.
    pub(crate) fn commit(
        self,
        item: &Item,
        bytes: Bytes,
        rows: impl Into<ItemRows>,
        now: UnixSeconds,
        hold: impl FnOnce(&mut Ledger),
    ) -> Result<()> {
        self.inner.folder.sync(&self.file, &self.path())?;
        let mut ledger = self.inner.ledger();
        if ledger.bytes(item).is_some() {
            return self.inner.touch(&mut ledger, item, now);
        }
        self.inner.rename_item(&mut ledger, &self.path(), item, bytes)?;
        ledger.temporaries.remove(&self.number);
        self.inner.write_row(&mut ledger, item, bytes, rows.into(), now)?;
        hold(&mut ledger);
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.inner.folder.steps.are_used_up() {
            // A drop cannot report an error. If the file stays, the next open removes it.
            let _ = self.inner.folder.remove(&self.path());
        }
        self.inner.ledger().temporaries.remove(&self.number);
    }
}

impl Inner {
    /// Renames a synced file to the name of its item. If syncing the folder fails after the rename, the file is entered
    /// in `unindexed`.
    pub(crate) fn rename_item(
        &self,
        ledger: &mut Ledger,
        from: &std::path::Path,
        item: &Item,
        bytes: Bytes,
    ) -> Result<()> {
        if let Item::Layer(id) = item
            && self.folder.packed(id).exists()
        {
            // Without a row: what is committed now takes its place.
            self.folder.remove(&self.folder.packed(id))?;
        }
        let to = self.path(item);
        let renamed = self.folder.rename(from, &to);
        if renamed.is_err() && to.exists() {
            ledger.unindexed.insert(item.clone(), bytes);
        }
        renamed
    }
}
