//! Blobs that are kept beside their tars. Those that a recipe makes again are no part of an image: they go when nobody
//! needs them ([`drop_unused`]), or when the store needs their room.
//!
//! Blobs that no recipe makes give way before any layer does. The store
//! has to be told which they are. A blob that gave way is one that this node cannot make: its row says so in the place
//! of "kept" (written by the store in the same step), its image no longer names it, and no pull wants it. An import, or
//! a download from upstream, brings it back.

use std::collections::BTreeSet;

use lighter_image::LayerDescriptor;
use lighter_store::{LayerCopy, Store, StoreError, UnixSeconds};
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

/// Removes the blobs that nobody used for a while, and that recipes make again of the tars that are here. They came in
/// the place of their layers. Reads two small files for each image.
///
/// # Errors
/// If the store fails.
pub fn drop_unused(store: &Store, unused_since: UnixSeconds) -> Result<(), StoreError> {
    let manifests: BTreeSet<_> = store.references().into_iter().map(|(_, image)| image.manifest).collect();
    for manifest in manifests {
        let layers = recipes::layers_of(store, manifest).ok().flatten().unwrap_or_default();
        for layer in layers.iter().filter(|layer| recipes::is_kept(store, layer)) {
            let blob = recipes::as_layer(&layer.blob.digest);
            let is_made_again = matches!(recipes::source(store, layer), BlobSource::Recipe(_));
            if is_made_again
                && store.card(&layer.diff_id).is_some()
                && store.remove_unused_layer(&blob, unused_since)?
            {
                tracing::debug!(blob = %layer.blob.digest, "a blob that a recipe makes again was not used any more");
            }
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use lighter_types::{Bytes, Card, DiffId};

    use super::*;

    /// Commits these bytes as a layer that was last used at this date.
    fn commit(store: &Store, bytes: &[u8], used: UnixSeconds) -> DiffId {
        let mut writer = store.create_layer_unnamed(None).unwrap();
        writer.append(bytes).unwrap();
        let (diff_id, count) = (writer.diff_id(), Bytes(bytes.len() as u64));
        writer.finish(Card { diff_id, tar_bytes: count, compressed_bytes: count, tlsh: None }, used).unwrap();
        diff_id
    }

    #[test]
    fn a_blob_that_a_recipe_makes_again_goes_when_nobody_used_it_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let (store, manifest, layer, recipe) = recipes::tests::store_with_image(folder.path());
        let blob = commit(&store, &recipes::tests::BLOB, UnixSeconds(1000));
        let is_here = || store.card(&blob).is_some();
        let drop_unused = |since| super::drop_unused(&store, UnixSeconds(since)).unwrap();
        assert_eq!(blob, recipes::as_layer(&layer.blob.digest));
        store.set_reference(&"demo/app:1".parse().unwrap(), recipes::tests::image(&store, manifest)).unwrap();
        drop_unused(2000);
        assert!(is_here(), "no recipe makes it");
        recipes::keep(&store, manifest, &ImageRecipes(vec![BlobSource::Recipe(recipe)]).encode().unwrap()).unwrap();
        drop_unused(2000);
        assert!(is_here(), "its tar is not here");
        assert_eq!(commit(&store, &recipes::tests::TAR, UnixSeconds(1000)), layer.diff_id);
        drop_unused(1000);
        assert!(is_here(), "it was used since");
        drop_unused(1001);
        assert!(!is_here() && store.card(&layer.diff_id).is_some());
        assert_eq!(store.take_gone_layers(), [blob]);
    }
}
