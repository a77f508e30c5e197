//! Where the exact blobs of this node's images come from: a row for each compressed blob, by its digest.
//!
//! The node that imports an image finds the recipe of each blob. A blob without one is kept itself, by nodes that serve
//! blobs or are told to: as a layer whose name is the blob's digest. Other nodes get the recipes with the image's
//! documents, and such blobs as they get layers. Nothing vouches for a recipe that a peer sent, so a node rebuilds a
//! blob and compares its digest before it serves it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;

use lighter_engine::{DiskInput, Input, LayerBlob};
use lighter_image::{
    Hashes, ImageError, LayerDescriptor, LayerMedia, image_layers, parse_config, parse_manifest, scan_tar_with,
};
use lighter_recipe::{FindError, Form, Found, Recipe, correct, find};
use lighter_store::{Store, StoreError};
use lighter_types::{Bytes, DiffId, OciDigest};
use lighter_wire::{BlobSource, ImageRecipes, Message};

use super::ImagesError;
use super::blob_copy::Positioned;
use super::sink::IntoStore;
use crate::shared::{FileBase, Shared};

const PREFIX: &[u8] = b"recipe/";
/// The longest recipe: that of a layer of 20 GB, or one with corrections. A row of the store has a little more. A blob
/// with a longer recipe is kept itself.
const RECIPE_BYTES_MAX: usize = 63 << 10;

/// A tar has about so many times the bytes of its blob.
const TAR_OVER_BLOB: u64 = 4;

/// Whether the compressed blob of a layer is here as it is.
pub fn is_kept(store: &Store, layer: &LayerDescriptor) -> bool {
    !is_plain(layer) && store.card(&as_layer(&layer.blob.digest)).is_some()
}

/// Whether this node has what makes a layer's blob.
pub fn is_known(store: &Store, layer: &LayerDescriptor) -> bool {
    match source(store, layer) {
        BlobSource::Plain | BlobSource::Recipe(_) => true,
        BlobSource::Verbatim => is_kept(store, layer),
        BlobSource::Unknown => false,
    }
}

/// The source of a layer's blob.
pub fn source(store: &Store, layer: &LayerDescriptor) -> BlobSource {
    if is_plain(layer) {
        return BlobSource::Plain;
    }
    row(store, &layer.blob.digest).unwrap_or(BlobSource::Unknown)
}

/// The row of a blob. It says "unknown" of a blob that was kept and gave way (`kept_blobs`).
fn row(store: &Store, blob: &OciDigest) -> Option<BlobSource> {
    let row = store.state(&key(blob)).unwrap_or_else(|error| {
        tracing::error!(%error, %blob, "a recipe cannot be read");
        None
    });
    row.and_then(|row| ImageRecipes::decode(&row).ok()?.0.into_iter().next())
}

/// The recipes of an image, as peers get them; none if it has none that they lack.
pub fn of_image(store: &Store, layers: &[LayerDescriptor]) -> Option<Vec<u8>> {
    let sources: Vec<BlobSource> = layers.iter().map(|layer| source(store, layer)).collect();
    let is_trivial = sources.iter().all(|source| matches!(source, BlobSource::Plain | BlobSource::Unknown));
    if is_trivial { None } else { ImageRecipes(sources).encode().ok() }
}

/// Keeps the recipes that came with an image's documents, for blobs of which this node has none.
///
/// # Errors
/// If the store fails. Recipes that do not fit the image are left out.
pub fn keep(store: &Store, manifest: OciDigest, recipes: &[u8]) -> Result<(), ImagesError> {
    let Some(layers) = layers_of(store, manifest)? else { return Ok(()) };
    let Ok(ImageRecipes(sources)) = ImageRecipes::decode(recipes) else { return Ok(()) };
    if sources.len() != layers.len() {
        return Ok(());
    }
    for (layer, found) in layers.iter().zip(sources) {
        let is_fitting = match &found {
            BlobSource::Recipe(bytes) => is_for(bytes, layer),
            BlobSource::Verbatim => !is_plain(layer),
            BlobSource::Plain | BlobSource::Unknown => false,
        };
        if is_fitting && source(store, layer) == BlobSource::Unknown {
            put(store, &layer.blob.digest, found)?;
        }
    }
    Ok(())
}

/// Forgets a recipe that made another blob.
pub fn forget(store: &Store, blob: &OciDigest) {
    if let Err(error) = store.delete_state(&key(blob)) {
        tracing::error!(%error, %blob, "a wrong recipe stays in the store");
    }
}

/// Forgets the recipes of blobs that no manifest on disk names; an image on its way has its manifest there before its
/// recipes. Returns how many there were.
///
/// # Errors
/// If the store fails.
pub fn sweep(store: &Store) -> Result<usize, StoreError> {
    let mut named = BTreeSet::new();
    for (document, _) in store.blobs() {
        // Most documents are configs.
        if let Ok(Some(layers)) = layers_of(store, document) {
            named.extend(layers.iter().map(|layer| key(&layer.blob.digest)));
        }
    }
    let rows = store.states(PREFIX)?;
    let stale: Vec<_> = rows.into_iter().filter(|(key, _)| !named.contains(key)).map(|(key, _)| (key, None)).collect();
    let count = stale.len();
    store.change_states(stale)?;
    Ok(count)
}

/// The blobs of those layers that may come as their blobs, to a node that serves blobs and has room for both.
pub fn instead(shared: &Shared, layers: &[LayerDescriptor]) -> BTreeMap<DiffId, LayerBlob> {
    if !shared.config.registry.keeps_blobs() {
        return BTreeMap::new();
    }
    let missing = layers.iter().filter(|layer| !is_plain(layer) && shared.store.card(&layer.diff_id).is_none());
    let blobs: BTreeMap<DiffId, LayerBlob> = missing
        .map(|layer| (layer.diff_id, LayerBlob { name: as_layer(&layer.blob.digest), bytes: layer.blob.bytes }))
        .collect();
    let needed = blobs.values().map(|blob| blob.bytes.times(1 + TAR_OVER_BLOB)).sum();
    // Nothing gives way to a blob that can be made of the tar.
    match shared.store.has_room_left(needed) {
        Ok(true) => blobs,
        Ok(false) | Err(_) => BTreeMap::new(),
    }
}

/// All that this node fetches for an image: its layers, and the blobs that no recipe makes, if it serves blobs.
pub fn wanted(shared: &Shared, layers: &[LayerDescriptor]) -> Vec<DiffId> {
    if shared.config.registry.keeps_blobs() {
        with_kept_blobs(&shared.store, layers)
    } else {
        layers.iter().map(|layer| layer.diff_id).collect()
    }
}

/// An image's layers, and the blobs that no recipe makes.
pub fn with_kept_blobs(store: &Store, layers: &[LayerDescriptor]) -> Vec<DiffId> {
    let kept = layers.iter().filter(|layer| source(store, layer) == BlobSource::Verbatim);
    let kept: Vec<DiffId> = kept.map(|layer| as_layer(&layer.blob.digest)).collect();
    let mut seen = BTreeSet::new();
    let own = layers.iter().map(|layer| layer.diff_id);
    // Two layers of an image may be the same. A blob is kept once.
    own.chain(kept.into_iter().filter(|id| seen.insert(*id))).collect()
}

/// The name under which a blob is kept that no recipe makes.
pub fn as_layer(blob: &OciDigest) -> DiffId {
    DiffId::new(*blob.as_bytes())
}

/// Finds the recipe of a layer's blob. A node that serves blobs keeps the blob too, if no recipe makes
/// it; one that is told to keep blobs, if there is room. The blob has its digest.
pub fn make(
    shared: &Shared,
    blob: &FileBase<File>,
    layer: &LayerDescriptor,
    progress: &mut dyn FnMut(Bytes),
) -> Result<(), ImagesError> {
    let mut progress = |done| progress(Bytes(done));
    let found = match find(blob, u64::MAX, &mut progress) {
        Ok(Found::Recipe(recipe)) => Ok(Some((recipe, Vec::new()))),
        Ok(Found::Unknown(_)) => correct(blob, &mut progress),
        Err(error) => Err(error),
    };
    let found = found.map(|found| found.map(|(recipe, body)| [recipe.to_bytes(), body].concat()));
    let source = match found {
        Ok(Some(recipe)) if recipe.len() <= RECIPE_BYTES_MAX => {
            // For nodes that have no base. It is no part of the image, and goes before any layer that is.
            if shared.config.registry.keep_blobs && shared.store.has_room_left(layer.blob.bytes)? {
                keep_blob(shared, blob, layer)?;
            }
            BlobSource::Recipe(recipe)
        }
        Ok(_) | Err(FindError::Damaged { .. } | FindError::Short { .. } | FindError::Window(_)) => {
            if !shared.config.registry.keeps_blobs() {
                return Ok(());
            }
            keep_blob(shared, blob, layer)?;
            BlobSource::Verbatim
        }
        Err(error) => {
            let (path, source) = (format!("blob {}", layer.blob.digest), io::Error::other(error));
            return Err(ImageError::Read { path, source }.into());
        }
    };
    put(&shared.store, &layer.blob.digest, source)?;
    Ok(())
}

/// Keeps a blob as a layer whose name is the blob's digest.
fn keep_blob(shared: &Shared, blob: &FileBase<File>, layer: &LayerDescriptor) -> Result<(), ImagesError> {
    let mut writer = shared.store.create_layer(as_layer(&layer.blob.digest), layer.blob.bytes)?;
    let mut reader = Positioned { blob, at: 0 };
    let path = format!("blob {}", layer.blob.digest);
    let mut sink = IntoStore::new(&mut writer).map_err(|source| ImageError::Write { path: path.clone(), source })?;
    // A blob is like nothing else.
    let scan = scan_tar_with(Hashes::None, &path, &mut reader, Some(layer.blob.bytes), &mut sink)?;
    writer.finish_sketched(scan.card, scan.sketch.to_bytes(), shared.uses.now())?;
    shared.input_blocking(Input::Disk(DiskInput::LayerHeld { card: scan.card, sketch: Some(scan.sketch) }));
    Ok(())
}

/// Whether these are the bytes of a recipe for a layer's blob.
fn is_for(bytes: &[u8], layer: &LayerDescriptor) -> bool {
    let is_short = bytes.len() <= RECIPE_BYTES_MAX;
    is_short
        && Recipe::from_bytes(bytes).is_ok_and(|(recipe, _)| {
            let is_kept = matches!(recipe.form, Form::Verbatim);
            recipe.blob == layer.blob.digest && recipe.blob_bytes == layer.blob.bytes.0 && !is_kept
        })
}

/// A few words for what makes a layer's blob. A kept blob that gave way is still one that nothing makes.
pub fn made_by(store: &Store, layer: &LayerDescriptor) -> String {
    match source(store, layer) {
        BlobSource::Plain => "the tar itself".to_owned(),
        BlobSource::Verbatim => "verbatim".to_owned(),
        BlobSource::Unknown if row(store, &layer.blob.digest).is_some() => "verbatim".to_owned(),
        BlobSource::Unknown => "unknown".to_owned(),
        BlobSource::Recipe(bytes) => match Recipe::from_bytes(&bytes).map(|(recipe, _)| recipe.form) {
            Ok(Form::Encoded(encoded)) => encoded.encoder.to_string(),
            Ok(Form::Corrected(_)) => "corrections".to_owned(),
            Ok(Form::Verbatim) | Err(_) => "unknown".to_owned(),
        },
    }
}

fn put(store: &Store, blob: &OciDigest, source: BlobSource) -> Result<(), StoreError> {
    let row = ImageRecipes(vec![source]).encode();
    // A row is far below the limit of the message.
    row.map_or(Ok(()), |row| store.put_state(&key(blob), &row))
}

/// The key of a blob's row.
pub fn key(blob: &OciDigest) -> Vec<u8> {
    [PREFIX, blob.as_bytes()].concat()
}

fn is_plain(layer: &LayerDescriptor) -> bool {
    layer.blob.digest.as_bytes() == layer.diff_id.as_bytes()
        && LayerMedia::from_media_type(&layer.blob.media_type) == Some(LayerMedia::Plain)
}

/// The layers of the image with this manifest, if its documents are here.
pub fn layers_of(store: &Store, manifest: OciDigest) -> Result<Option<Vec<LayerDescriptor>>, ImagesError> {
    let Some(bytes) = store.blob(&manifest)? else { return Ok(None) };
    let parsed = parse_manifest(&bytes, &manifest)?;
    let Some(bytes) = store.blob(&parsed.config.digest)? else { return Ok(None) };
    let config = parse_config(&bytes, &parsed.config.digest)?;
    Ok(Some(image_layers(&parsed, &config)?))
}

#[cfg(test)]
pub mod tests {
    use lighter_store::{Options, UnixSeconds};
    use serde_json::json;
    use sha2::{Digest, Sha256};

    use super::*;

    fn digest(bytes: &[u8]) -> OciDigest {
        OciDigest::new(Sha256::digest(bytes).into())
    }

    pub const TAR: [u8; 4096] = [7; 4096];
    /// `gzip -n -6` of it.
    pub const BLOB: [u8; 39] = [
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0xed, 0xc1, 0x31, 0x0d, 0x00, 0x00, 0x00, 0xc3,
        0xa0, 0xb3, 0xfe, 0x1d, 0xcf, 0xc7, 0x02, 0x14, 0x00, 0x00, 0x00, 0xf0, 0x6e, 0x57, 0xb6, 0xd6, 0x5b, 0x00,
        0x10, 0x00, 0x00,
    ];

    /// The row of the image, which names no layer yet.
    pub fn image(store: &Store, manifest: OciDigest) -> lighter_store::Image {
        let config = parse_manifest(&store.blob(&manifest).unwrap().unwrap(), &manifest).unwrap().config.digest;
        lighter_store::Image { manifest, config, layers: Vec::new(), release_record: Vec::new() }
    }

    /// A store with the documents of an image of one gzip layer: its manifest, its layer, and the recipe of its blob.
    pub fn store_with_image(folder: &std::path::Path) -> (Store, OciDigest, LayerDescriptor, Vec<u8>) {
        let store = Store::open(folder, Options::default()).unwrap();
        let (tar, blob) = (TAR, BLOB.to_vec());
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": [digest(&tar).to_string()] },
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest(&config).to_string(), "size": config.len(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": digest(&blob).to_string(), "size": blob.len(),
            }],
        });
        let manifest = manifest.to_string().into_bytes();
        for document in [&config, &manifest] {
            store.put_blob(&digest(document), document, UnixSeconds(1)).unwrap();
        }
        let layer = layers_of(&store, digest(&manifest)).unwrap().unwrap().remove(0);
        let Found::Recipe(recipe) = find(&blob, u64::MAX, &mut |_| {}).unwrap() else { panic!("no recipe") };
        (store, digest(&manifest), layer, recipe.to_bytes())
    }

    fn encoded(sources: &[BlobSource]) -> Vec<u8> {
        ImageRecipes(sources.to_vec()).encode().unwrap()
    }

    #[test]
    fn recipes_that_fit_an_image_are_kept_until_its_manifest_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (store, manifest, layer, recipe) = store_with_image(folder.path());
        let known = BlobSource::Recipe(recipe);
        keep(&store, manifest, &encoded(std::slice::from_ref(&known))).unwrap();
        assert_eq!(source(&store, &layer), known);
        assert_eq!(of_image(&store, std::slice::from_ref(&layer)), Some(encoded(std::slice::from_ref(&known))));
        // A later word of a peer does not replace it.
        keep(&store, manifest, &encoded(&[BlobSource::Verbatim])).unwrap();
        assert_eq!(source(&store, &layer), known);
        assert_eq!(sweep(&store).unwrap(), 0);
        store.remove_blob(&manifest).unwrap();
        assert_eq!(sweep(&store).unwrap(), 1);
        assert_eq!(source(&store, &layer), BlobSource::Unknown);
    }

    #[test]
    fn recipes_that_do_not_fit_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let (store, manifest, layer, recipe) = store_with_image(folder.path());
        let mut of_another_blob = recipe.clone();
        let place = recipe.windows(32).position(|bytes| bytes == layer.blob.digest.as_bytes()).unwrap();
        of_another_blob[place] ^= 1;
        let too_long = [recipe.clone(), vec![0; RECIPE_BYTES_MAX]].concat();
        for sources in [
            vec![BlobSource::Recipe(of_another_blob)],
            vec![BlobSource::Recipe(too_long)],
            vec![BlobSource::Recipe(vec![7; 40])],
            vec![BlobSource::Recipe(recipe.clone()), BlobSource::Plain],
            vec![BlobSource::Plain],
            Vec::new(),
        ] {
            keep(&store, manifest, &encoded(&sources)).unwrap();
            assert_eq!(source(&store, &layer), BlobSource::Unknown, "{sources:?}");
        }
        keep(&store, manifest, b"no recipes").unwrap();
        assert_eq!(source(&store, &layer), BlobSource::Unknown);
    }

    #[test]
    fn a_blob_without_a_recipe_is_wanted_as_a_layer_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (store, manifest, layer, _) = store_with_image(folder.path());
        keep(&store, manifest, &encoded(&[BlobSource::Verbatim])).unwrap();
        let twice = [layer.clone(), layer.clone()];
        assert_eq!(with_kept_blobs(&store, &twice), [layer.diff_id, layer.diff_id, as_layer(&layer.blob.digest)]);
        forget(&store, &layer.blob.digest);
        assert_eq!(with_kept_blobs(&store, &twice), [layer.diff_id; 2]);
    }

    /// The store writes this row when the blob gives way.
    #[test]
    fn a_blob_that_gave_way_is_neither_wanted_nor_promised_and_still_nothing_makes_it() {
        let folder = tempfile::tempdir().unwrap();
        let (store, manifest, layer, _) = store_with_image(folder.path());
        assert_eq!(made_by(&store, &layer), "unknown");
        keep(&store, manifest, &encoded(&[BlobSource::Verbatim])).unwrap();
        store.put_state(&key(&layer.blob.digest), &encoded(&[BlobSource::Unknown])).unwrap();
        let layers = std::slice::from_ref(&layer);
        assert_eq!((source(&store, &layer), of_image(&store, layers)), (BlobSource::Unknown, None));
        assert_eq!(with_kept_blobs(&store, layers), [layer.diff_id]);
        assert_eq!(made_by(&store, &layer), "verbatim");
        assert_eq!(sweep(&store).unwrap(), 0);
        store.remove_blob(&manifest).unwrap();
        assert_eq!(sweep(&store).unwrap(), 1);
    }
}
