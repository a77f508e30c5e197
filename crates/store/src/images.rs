//! References: which image a name means here. Each is a row of the index and a small file of its own, so that a lost
//! index loses no name. The file is written first: where the two differ after a crash, the file holds.

use lighter_types::{Bytes, DiffId, ImageReference, OciDigest};

use crate::error::{Item, Result, StoreError};
use crate::index::{Batch, Column};
use crate::rows;
use crate::store::Store;

/// The most layers of one image; other tools stop at 127.
pub const IMAGE_LAYERS_MAX: usize = 1024;
/// The longest release record.
pub const RELEASE_RECORD_BYTES_MAX: usize = 4 << 10;

/// What a reference names. Its blobs and layers are neither evicted nor removed while it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The image manifest, a held blob.
    pub manifest: OciDigest,
    /// The image config, a held blob.
    pub config: OciDigest,
    /// The layers, lowest first, at most [`IMAGE_LAYERS_MAX`].
    pub layers: Vec<DiffId>,
    /// The signed release record that bound the reference to the manifest, opaque here, at most
    /// [`RELEASE_RECORD_BYTES_MAX`]; empty if there was none.
    pub release_record: Vec<u8>,
}

impl Store {
    /// Makes a reference name an image, instead of what it named before.
    ///
    /// # Errors
    /// `NotHeld` for a blob or layer that is not held; `OverLimit`; `DiskFull`, `Io`, `Index`: after a restart it
    /// names either the one or the other.
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
        let number = ledger.temporary(Bytes::ZERO);
        let path = self.inner.path(&Item::Image(reference.clone()));
        let written = self.inner.folder.write(&path, &rows::image_file(&row), number);
        ledger.temporaries.remove(&number);
        written?;
        let mut batch = Batch::default();
        batch.put(Column::Images, reference.as_str().as_bytes(), row);
        self.inner.write(&batch)?;
        ledger.images.insert(reference.clone(), image);
        Ok(())
    }

    /// What a reference names.
    pub fn reference(&self, reference: &ImageReference) -> Option<Image> {
        self.inner.ledger().images.get(reference).cloned()
    }

    /// All references and what they name, sorted by reference.
    pub fn references(&self) -> Vec<(ImageReference, Image)> {
        self.inner.ledger().images.iter().map(|(reference, image)| (reference.clone(), image.clone())).collect()
    }

    /// Makes a reference name nothing. Its layers and blobs stay until they are evicted, collected or removed.
    ///
    /// # Errors
    /// `NotHeld`; `Io`, `Index`: after a restart it names what it named, or nothing.
    pub fn remove_reference(&self, reference: &ImageReference) -> Result<()> {
        let item = Item::Image(reference.clone());
        let mut ledger = self.inner.ledger();
        if !ledger.images.contains_key(reference) {
            return Err(StoreError::NotHeld { item });
        }
        self.inner.folder.remove_synced(&self.inner.path(&item))?;
        let mut batch = Batch::default();
        batch.delete(Column::Images, reference.as_str().as_bytes());
        self.inner.write(&batch)?;
        ledger.images.remove(reference);
        Ok(())
    }
}
