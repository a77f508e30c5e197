//! Pins: layers and images that the operator wants to keep. A pin is a file under `pins/`: an empty one for a layer,
//! one with the reference's text for an image. It has no row, so that a lost index loses no pin.

use std::path::Path;

use lighter_types::{Bytes, DiffId, ImageReference};

use crate::error::{Item, Result, StoreError};
use crate::ledger::Ledger;
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
        self.write_pin(&mut ledger, &self.inner.folder.pin(diff_id), &[])?;
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

    /// Keeps an image from giving way and from [`Self::remove_reference`] until [`Self::unpin_image`], whatever image
    /// the reference names meanwhile. Pinning a pinned image changes nothing.
    ///
    /// # Errors
    /// `NotHeld`; `DiskFull`, `Io`.
    pub fn pin_image(&self, reference: &ImageReference) -> Result<()> {
        let mut ledger = self.inner.ledger();
        if !ledger.images.contains_key(reference) {
            return Err(StoreError::NotHeld { item: Item::Image(reference.clone()) });
        }
        if !ledger.image_pins.contains(reference) {
            let path = self.inner.folder.image_pin(reference);
            self.write_pin(&mut ledger, &path, reference.as_str().as_bytes())?;
            ledger.image_pins.insert(reference.clone());
        }
        Ok(())
    }

    /// Removes the pin of an image. An image without a pin is no error.
    ///
    /// # Errors
    /// `Io`.
    pub fn unpin_image(&self, reference: &ImageReference) -> Result<()> {
        let mut ledger = self.inner.ledger();
        self.inner.folder.remove_synced(&self.inner.folder.image_pin(reference))?;
        ledger.image_pins.remove(reference);
        Ok(())
    }

    /// Whether an image is pinned.
    pub fn is_image_pinned(&self, reference: &ImageReference) -> bool {
        self.inner.ledger().image_pins.contains(reference)
    }

    fn write_pin(&self, ledger: &mut Ledger, path: &Path, content: &[u8]) -> Result<()> {
        let number = ledger.add_temporary(Bytes::ZERO);
        let written = self.inner.folder.write(path, content, number);
        ledger.temporaries.remove(&number);
        written
    }
}
