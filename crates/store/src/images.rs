//! References: the images that names stand for on this node. A reference is a row of the index and a small file, so
//! that a lost index loses no reference. The file is written before the row. If the two differ after a crash, the file
//! is right.

use lighter_types::{Bytes, ImageReference};

use crate::error::{Holder, Item, Result, StoreError};
use crate::index::{Batch, Column};
use crate::ledger::Ledger;
use crate::limits::{IMAGE_LAYERS_MAX, RELEASE_RECORD_BYTES_MAX};
use crate::records::Image;
use crate::rows;
use crate::store::{Inner, Store};

impl Store {
    /// Sets the image of a reference, and replaces the previous one.
    ///
    /// # Errors
    /// `NotHeld` for a blob or layer that is not held; `OverLimit`; `DiskFull`, `Io`, `Index`: after a restart the
    /// reference names either the previous image or the new one.
    pub fn set_reference(&self, reference: &ImageReference, image: Image) -> Result<()> {
        let limits = [
            ("layers of an image", image.layers.len(), IMAGE_LAYERS_MAX),
            ("bytes of release record", image.release_record.len(), RELEASE_RECORD_BYTES_MAX),
        ];
        for (what, found, max) in limits {
            if found > max {
                return Err(StoreError::OverLimit { what, found: found as u64, max: max as u64 });
            }
        }
        let mut ledger = self.inner.ledger();
        let blobs = [image.manifest, image.config].map(Item::Blob).into_iter();
        for item in blobs.chain(image.layers.iter().copied().map(Item::Layer)) {
            if ledger.bytes(&item).is_none() {
                return Err(StoreError::NotHeld { item });
            }
        }
        let row = rows::image(reference, &image);
        self.inner.write_reference(&mut ledger, reference, &row)?;
        let mut batch = Batch::default();
        batch.put(Column::Images, reference.as_str().as_bytes(), row);
        self.inner.write(&batch)?;
        ledger.images.insert(reference.clone(), image);
        Ok(())
    }

    /// The image of a reference.
    pub fn reference(&self, reference: &ImageReference) -> Option<Image> {
        self.inner.ledger().images.get(reference).cloned()
    }

    /// All references and their images, sorted by reference.
    pub fn references(&self) -> Vec<(ImageReference, Image)> {
        self.inner.ledger().images.iter().map(|(reference, image)| (reference.clone(), image.clone())).collect()
    }

    /// Removes a reference. Its layers and blobs stay until they are evicted, collected or removed.
    ///
    /// # Errors
    /// `NotHeld`; `InUse` when the operator pinned the image; `Io`, `Index`: after a restart the reference is either
    /// unchanged or removed.
    pub fn remove_reference(&self, reference: &ImageReference) -> Result<()> {
        let mut ledger = self.inner.ledger();
        let item = Item::Image(reference.clone());
        if ledger.images.contains_key(reference) && ledger.image_pins.contains(reference) {
            return Err(StoreError::InUse { item, by: Holder::Pin });
        }
        match self.inner.remove_image(&mut ledger, reference)? {
            Some(_) => Ok(()),
            None => Err(StoreError::NotHeld { item }),
        }
    }
}

impl Inner {
    /// Writes the file of a reference whose row will be this one.
    pub(crate) fn write_reference(&self, ledger: &mut Ledger, reference: &ImageReference, row: &[u8]) -> Result<()> {
        let number = ledger.add_temporary(Bytes::ZERO);
        let path = self.path(&Item::Image(reference.clone()));
        let written = self.folder.write(&path, &rows::image_file(row), number);
        ledger.temporaries.remove(&number);
        written
    }

    /// Removes a reference, pinned or not: first its file, then its row. Returns its image; `None` if there is none.
    pub(crate) fn remove_image(&self, ledger: &mut Ledger, reference: &ImageReference) -> Result<Option<Image>> {
        if !ledger.images.contains_key(reference) {
            return Ok(None);
        }
        self.folder.remove_synced(&self.path(&Item::Image(reference.clone())))?;
        let mut batch = Batch::default();
        batch.delete(Column::Images, reference.as_str().as_bytes());
        self.write(&batch)?;
        Ok(ledger.images.remove(reference))
    }
}
