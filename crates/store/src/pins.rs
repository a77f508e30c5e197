//! Pins: layers that the operator wants to keep. A pin is an empty file under `pins/`. It has no row, so that a lost
//! index loses no pin.

use lighter_types::{Bytes, DiffId};

use crate::error::{Item, Result, StoreError};
use crate::store::Store;

impl Store {
    /// Keeps a held layer from eviction and removal until [`Self::unpin`]. Pinning a pinned layer changes nothing.
    ///
    /// # Errors
    /// `NotHeld`; `DiskFull`, `Io`.
    pub fn pin(&self, diff_id: &DiffId) -> Result<()> {
        let mut ledger = self.inner.ledger();
        if !ledger.layers.contains_key(diff_id) {
            return Err(StoreError::NotHeld { item: Item::Layer(*diff_id) });
        }
        if ledger.pins.contains(diff_id) {
            return Ok(());
        }
        let number = ledger.add_temporary(Bytes::ZERO);
        let written = self.inner.folder.write(&self.inner.folder.pin(diff_id), &[], number);
        ledger.temporaries.remove(&number);
        written?;
        ledger.pins.insert(*diff_id);
        Ok(())
    }

    /// Removes the pin of a layer. A layer without a pin is no error.
    ///
    /// # Errors
    /// `Io`.
    pub fn unpin(&self, diff_id: &DiffId) -> Result<()> {
        let mut ledger = self.inner.ledger();
        self.inner.folder.remove_synced(&self.inner.folder.pin(diff_id))?;
        ledger.pins.remove(diff_id);
        Ok(())
    }

    /// The pinned layers, sorted.
    pub fn pins(&self) -> Vec<DiffId> {
        self.inner.ledger().pins.iter().copied().collect()
    }
}
