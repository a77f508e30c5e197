//! Blobs that are kept beside their tars because no recipe makes them: they give way before any layer does. The store
//! has to be told which they are. A blob that gave way is one that this node cannot make: its row says so in the place
//! of "kept" (written by the store in the same step), its image no longer names it, and no pull wants it. An import, or
//! a download from upstream, brings it back.

use std::collections::BTreeSet;

use lighter_image::LayerDescriptor;
use lighter_store::{LayerCopy, Store, StoreError};
use lighter_wire::{BlobSource, ImageRecipes, Message};

use super::recipes;

/// Tells the store which blobs of an image that was named may give way.
///
/// # Errors
/// If the store does not take it.
pub fn tell(store: &Store, layers: &[LayerDescriptor]) -> Result<(), StoreError> {
    let kept = layers.iter().filter(|layer| recipes::source(store, layer) == BlobSource::Verbatim);
    // A row of one word is far below the limit of the message.
    let Ok(gone) = ImageRecipes(vec![BlobSource::Unknown]).encode() else { return Ok(()) };
    let copies = kept.map(|layer| LayerCopy {
        copy: recipes::as_layer(&layer.blob.digest),
        of: layer.diff_id,
        gave_way: (recipes::key(&layer.blob.digest), gone.clone()),
    });
    store.add_copies(copies.collect())
}

/// Tells the store of the blobs of all images: the store forgets them with the process. Reads two small files for each
/// image.
pub fn tell_all(store: &Store) {
    let manifests: BTreeSet<_> = store.references().into_iter().map(|(_, image)| image.manifest).collect();
    for manifest in manifests {
        // The blobs of an image whose documents cannot be read stay.
        let Ok(Some(layers)) = recipes::layers_of(store, manifest) else { continue };
        if let Err(error) = tell(store, &layers) {
            tracing::warn!(%manifest, %error, "blobs that are kept beside their tars do not give way");
        }
    }
}
