//! Where the exact blobs of this node's images come from: a row for each compressed blob, by its digest.
//!
//! The node that imports an image finds the recipe of each blob. A blob without one is kept itself, by nodes that serve
//! blobs or are told to: as a layer whose name is the blob's digest. Other nodes get the recipes with the image's
//! documents, and such blobs as they get layers. Nothing vouches for a recipe that a peer sent, so a node rebuilds a blob and compares its digest before it serves it.

use std::collections::BTreeSet;
use std::io;

use lighter_engine::{DiskInput, Input};
use lighter_image::{ImageError, LayerDescriptor, LayerMedia, image_layers, parse_config, parse_manifest};
use lighter_recipe::{FindError, Found, Recipe, find};
use lighter_store::{Spool, Store, StoreError};
use lighter_types::{Bytes, DiffId, OciDigest, ReadAt};
use lighter_wire::{BlobSource, ImageRecipes, Message};

use super::ImagesError;
use super::import::IntoStore;
use crate::shared::Shared;

const PREFIX: &[u8] = b"recipe/";
/// The longest row: the recipe of a layer of 20 GB, or one of many members. A blob with a longer recipe is kept itself.
const ROW_BYTES_MAX: usize = 64 << 10;

/// The source of a layer's blob.
pub fn source(store: &Store, layer: &LayerDescriptor) -> BlobSource {
    if is_plain(layer) {
        return BlobSource::Plain;
    }
    let row = store.state(&key(&layer.blob.digest)).unwrap_or_else(|error| {
        tracing::error!(%error, blob = %layer.blob.digest, "a recipe cannot be read");
        None
    });
    let read = row.and_then(|row| ImageRecipes::decode(&row).ok()?.0.into_iter().next());
    read.unwrap_or(BlobSource::Unknown)
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
            BlobSource::Recipe(bytes) => Recipe::from_bytes(bytes).is_ok_and(|(recipe, length)| {
                length == bytes.len() && recipe.blob == layer.blob.digest && recipe.blob_bytes == layer.blob.bytes.0
            }),
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

/// Forgets the recipes of blobs that no image of this node has. Returns how many there were.
///
/// # Errors
/// If the store fails.
pub fn sweep(store: &Store) -> Result<usize, StoreError> {
    let mut named = BTreeSet::new();
    for (_, image) in store.references() {
        if let Ok(Some(layers)) = layers_of(store, image.manifest) {
            named.extend(layers.iter().map(|layer| key(&layer.blob.digest)));
        }
    }
    let rows = store.states(PREFIX)?;
    let stale: Vec<_> = rows.into_iter().filter(|(key, _)| !named.contains(key)).map(|(key, _)| (key, None)).collect();
    let count = stale.len();
    store.change_states(stale)?;
    Ok(count)
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

/// Room for a layer's blob as it is read, if its recipe is to be found; none if this node has what makes the blob.
///
/// # Errors
/// If the store fails.
pub fn spool(shared: &Shared, layer: &LayerDescriptor) -> Result<Option<Spool>, StoreError> {
    let is_here = match source(&shared.store, layer) {
        BlobSource::Plain | BlobSource::Recipe(_) => true,
        BlobSource::Verbatim => shared.store.card(&as_layer(&layer.blob.digest)).is_some(),
        BlobSource::Unknown => false,
    };
    if is_here { Ok(None) } else { shared.store.create_spool().map(Some) }
}

/// Finds the recipe of a layer's blob, or keeps the blob if this node serves blobs. The blob has its digest.
pub fn make(
    shared: &Shared,
    blob: Spool,
    layer: &LayerDescriptor,
    progress: &mut dyn FnMut(Bytes),
) -> Result<(), ImagesError> {
    let blob = SpoolBlob(blob);
    let found = find(&blob, u64::MAX, &mut |done| progress(Bytes(done)));
    let source = match found {
        Ok(Found::Recipe(recipe)) if recipe.to_bytes().len() < ROW_BYTES_MAX - 64 => {
            BlobSource::Recipe(recipe.to_bytes())
        }
        Ok(Found::Recipe(_) | Found::Unknown(_))
        | Err(FindError::Damaged { .. } | FindError::Short { .. } | FindError::Window(_)) => {
            if !shared.config.registry.keeps_blobs() {
                return Ok(());
            }
            keep_blob(shared, &blob, layer)?;
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
fn keep_blob(shared: &Shared, blob: &SpoolBlob, layer: &LayerDescriptor) -> Result<(), ImagesError> {
    let mut writer = shared.store.create_layer(as_layer(&layer.blob.digest), layer.blob.bytes)?;
    let mut reader = Positioned { blob, at: 0 };
    let path = format!("blob {}", layer.blob.digest);
    let scan =
        lighter_image::scan_tar(&path, &mut reader, Some(layer.blob.bytes), &mut IntoStore(&mut writer), &mut |_| {})?;
    writer.finish_sketched(scan.card, scan.sketch.to_bytes(), shared.uses.now())?;
    shared.input_blocking(Input::Disk(DiskInput::LayerHeld { card: scan.card, sketch: Some(scan.sketch) }));
    Ok(())
}

fn put(store: &Store, blob: &OciDigest, source: BlobSource) -> Result<(), StoreError> {
    let row = ImageRecipes(vec![source]).encode();
    // A row is far below the limit of the message.
    row.map_or(Ok(()), |row| store.put_state(&key(blob), &row))
}

fn key(blob: &OciDigest) -> Vec<u8> {
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

/// A blob in a spool.
pub struct SpoolBlob(pub Spool);

impl ReadAt for SpoolBlob {
    fn len(&self) -> Bytes {
        self.0.bytes()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset).map_err(io::Error::other)
    }
}

/// A blob from its first byte to its last.
struct Positioned<'a> {
    blob: &'a SpoolBlob,
    at: u64,
}

impl io::Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.blob.len().0.saturating_sub(self.at);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.blob.read_exact_at(&mut buffer[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
