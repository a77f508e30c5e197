//! The companions of this node's images: the index, other platforms' documents and artifacts, as one layer each.
//!
//! An import makes the layer and names it in the release that it signs. From then on it is a layer like any other:
//! pulls bring it by patches, the store keeps it as long as the image names it, and peers get it from here. So no byte
//! in it is believed because a peer sent it: its sha256 is signed. For an image that came from upstream without a
//! release, this node makes the layer itself, and the image's record names it.

use lighter_engine::{DiskInput, Input};
use lighter_image::{Companions, Files, ImageError, OpenedImage, scan_tar};
use lighter_store::{LayerReader, Store, UnixSeconds};
use lighter_types::{Card, DiffId, ImageReference};
use lighter_wire::{Message, SignedRelease};

use super::sink::IntoStore;
use super::upstream_record::UpstreamRecord;
use super::{ImagesError, released_at};
use crate::shared::{FileBase, Shared};

/// Finds what an image's source has beside the image, and commits it as a layer; `None` if there is nothing.
///
/// # Errors
/// If the source cannot be read or asked, or the store fails.
pub fn import<F: Files>(shared: &Shared, opened: &mut OpenedImage<F>) -> Result<Option<Card>, ImagesError> {
    let Some(bundle) = opened.gather_companions()? else { return Ok(None) };
    let (layer, tar_bytes) = bundle.measure();
    if let Some(card) = shared.store.card(&layer) {
        return Ok(Some(card));
    }
    let mut writer = shared.store.create_layer(layer, tar_bytes)?;
    let path = "the image's companions";
    let sink = IntoStore::new(&mut writer).map_err(|source| ImageError::Write { path: path.to_owned(), source });
    let scan = scan_tar(path, &mut bundle.reader(), None, &mut sink?, &mut |_| {})?;
    writer.finish_sketched(scan.card, scan.sketch.to_bytes(), shared.uses.now())?;
    shared.input_blocking(Input::Disk(DiskInput::LayerHeld { card: scan.card, sketch: Some(scan.sketch) }));
    Ok(Some(scan.card))
}

/// The layer with an image's companions, as its release names it, or the record of an image from upstream.
pub fn of_record(release_record: &[u8]) -> Option<DiffId> {
    match SignedRelease::decode(release_record) {
        Ok(signed) => signed.release.companions,
        Err(_) => UpstreamRecord::read(release_record)?.beside?.companions,
    }
}

/// All that an image names: its layers, and its companions.
pub fn with(mut layers: Vec<DiffId>, companions: Option<DiffId>) -> Vec<DiffId> {
    layers.extend(companions.filter(|companions| !layers.contains(companions)));
    layers
}

/// The companions of an image, opened.
pub struct Opened {
    pub companions: Companions,
    pub bundle: FileBase<LayerReader>,
}

/// Opens the companions that are in this layer; `None` if the layer is not here.
///
/// # Errors
/// If the layer cannot be read, or is no bundle.
pub fn open(store: &Store, layer: DiffId) -> Result<Option<Opened>, ImagesError> {
    let Some(reader) = store.open_layer(&layer)? else { return Ok(None) };
    let path = layer.to_string();
    let bundle = FileBase::new(reader).map_err(|source| ImagesError::Open { path, source })?;
    Ok(Some(Opened { companions: Companions::open(&bundle)?, bundle }))
}

/// Opens the companions of an image, if it has any.
///
/// # Errors
/// As [`open`].
pub fn of_image(store: &Store, reference: &ImageReference) -> Result<Option<Opened>, ImagesError> {
    let layer = store.reference(reference).and_then(|image| of_record(&image.release_record));
    layer.map_or(Ok(None), |layer| open(store, layer))
}

/// A layer with the companions of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BesideLayer {
    pub layer: DiffId,
    /// A release names it; else upstream has what is in it.
    pub is_released: bool,
    /// When the release was issued, or upstream was asked.
    pub since: UnixSeconds,
}

/// The layers with the companions of all images of these repositories.
pub fn of_repositories(store: &Store, names: &[String]) -> Vec<BesideLayer> {
    let images = store.references().into_iter();
    let named = images.filter(|(reference, _)| names.iter().any(|name| name == reference.repository()));
    let layers = named.filter_map(|(_, image)| {
        let layer = of_record(&image.release_record)?;
        let beside = UpstreamRecord::read(&image.release_record).and_then(|record| record.beside);
        let since = beside.map(|beside| beside.gathered).or_else(|| released_at(&image.release_record));
        Some(BesideLayer { layer, is_released: beside.is_none(), since: since.unwrap_or(UnixSeconds(0)) })
    });
    layers.collect()
}
