//! The tar sizes that a publisher signed for the layers of an image.
//!
//! A release of version 3 names them in the order of the image's config, the companions last. A layer that is here
//! and has another size shows that the publisher was wrong about the image: then nobody can say which of the sizes
//! hold, and the image is not used.

use std::collections::BTreeMap;

use lighter_types::{Bytes, DiffId};
use lighter_wire::SignedRelease;

use crate::failure::UnusableImage;
use crate::holdings::Holdings;

/// The signed size of each layer of one image.
#[derive(Debug, Default)]
pub struct SignedSizes {
    /// At most the layers of a release and its companions.
    bytes: BTreeMap<DiffId, Bytes>,
}

impl SignedSizes {
    /// The sizes that a release names for these layers: those of the image in their order. Items behind them,
    /// such as a blob that is kept beside its layer, have no signed size. None are known of a release without sizes.
    ///
    /// # Errors
    /// If the release names more layers than there are, or two sizes for one layer.
    pub fn of(release: &SignedRelease, layers: &[DiffId]) -> Result<Self, UnusableImage> {
        let publisher = release.publisher;
        let signed = release.release.layers_bytes().unwrap_or_default();
        if signed.len() > layers.len() {
            return Err(UnusableImage::WrongCount { publisher, signed: signed.len(), found: layers.len() });
        }
        let mut sizes = Self::default();
        let companions = release.release.companions.zip(release.release.companions_bytes());
        for (layer, bytes) in layers.iter().copied().zip(signed.iter().copied()).chain(companions) {
            let before = sizes.bytes.insert(layer, bytes);
            if let Some(found) = before.filter(|before| *before != bytes) {
                return Err(UnusableImage::WrongSize { publisher, layer, signed: bytes, found });
            }
        }
        Ok(sizes)
    }

    /// The tar bytes that the publisher signed for a layer: no peer's word is needed for them.
    pub fn signed_bytes(&self, layer: DiffId) -> Option<Bytes> {
        self.bytes.get(&layer).copied()
    }

    /// Compares a layer that is held with what was signed.
    ///
    /// # Errors
    /// If its size is another.
    pub fn check(&self, layer: DiffId, holdings: &Holdings, release: &SignedRelease) -> Result<(), UnusableImage> {
        let (Some(signed), Some(card)) = (self.signed_bytes(layer), holdings.card(layer)) else { return Ok(()) };
        if card.tar_bytes == signed {
            return Ok(());
        }
        Err(UnusableImage::WrongSize { publisher: release.publisher, layer, signed, found: card.tar_bytes })
    }
}
