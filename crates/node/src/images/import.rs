//! Import: from a folder, an archive or a registry into the store, under a name that this node signs.
//!
//! Each layer is read once: inflated, hashed and written by one pass, and committed. A layer that is held is read all
//! the same, because the node signs what the image claims. Out of a registry it is not, if this node checked the same
//! claim for another image: the bytes would cross the network for nothing.

use std::collections::BTreeSet;
use std::fs::File;
use std::thread::{self, ScopedJoinHandle};

use lighter_engine::{DiskInput, Input};
use lighter_image::{
    Choice, Files, ImageError, ImportedImage, LAYERS_MAX, LayerDescriptor, Limits, OpenedImage, ScanProgress, Selector,
    open_image,
};
use lighter_store::{Image, Lease, StoreError};
use lighter_types::{Card, DiffId, ImageReference, OciDigest, ParseError};
use lighter_wire::{Message, RELEASE_LAYERS_MAX, SignedRelease};

use super::blob_copy::BlobCopy;
use super::signing::{Unsigned, sign};
use super::sink::IntoStore;
use super::source::ImageSource;
use super::{AnyFiles, ImagesError, Step, companions, documents_of, kept_blobs, name_of, recipes};
use crate::clock::unix_now;
use crate::later;
use crate::shared::{FileBase, Shared};

/// An image that was imported.
#[derive(Clone, Debug)]
pub struct Imported {
    pub reference: ImageReference,
    pub manifest: OciDigest,
    /// Every layer's card, and whether it was held before.
    pub layers: Vec<(Card, bool)>,
    /// A line for each entry of the source that is no image, or cannot be read and was not wanted.
    pub passed_over: Vec<String>,
}

/// The name that an import gives its image.
#[derive(Clone, Debug)]
pub enum Naming {
    /// This one, or that of the source, by a release that this node signs. It expires after so many seconds, or never.
    Release { name: Option<ImageReference>, lifetime_s: Option<u64> },
    /// That of a pull by digest. Nothing is signed, so nobody learns a name from it.
    Digest,
}

/// Imports the image at `source`, signs a release of it by this node if it gets a name, and tells the engine of each
/// layer when it is committed. Committed layers stay if a later layer fails.
pub fn import(
    shared: &Shared,
    source: &ImageSource,
    naming: Naming,
    selector: &Selector,
    progress: &mut dyn FnMut(Step),
) -> Result<Imported, ImagesError> {
    import_image(shared, source, naming, selector, progress).map_err(|error| source.failure_within(error))
}

fn import_image(
    shared: &Shared,
    source: &ImageSource,
    naming: Naming,
    selector: &Selector,
    progress: &mut dyn FnMut(Step),
) -> Result<Imported, ImagesError> {
    let name = match &naming {
        Naming::Release { name, .. } => name.as_ref(),
        Naming::Digest => None,
    };
    let mut opened = open_named(source, name, selector)?;
    let (reference, lifetime_s) = match naming {
        Naming::Release { name: Some(name), lifetime_s } => (name, Some(lifetime_s)),
        Naming::Release { name: None, lifetime_s } => {
            (name_in_source(&opened.image().names, source.to_string())?, Some(lifetime_s))
        }
        Naming::Digest => (name_of(opened.image().manifest_digest)?, None),
    };
    let beside_card = companions::import(shared, &mut opened)?;
    let beside = beside_card.map(|card| card.diff_id);
    let image = opened.image().clone();
    // Layers stay until the image names them.
    let _lease = beside.as_ref().map(|companions| shared.store.lease_layer(companions));
    let (layers, _leases) = import_layers(shared, &mut opened, &image, source.is_remote(), progress)?;
    let now = shared.uses.now();
    shared.store.put_blob(&image.config_digest, &image.config_bytes, now)?;
    shared.store.put_blob(&image.manifest_digest, &image.manifest_bytes, now)?;
    let manifest = image.manifest_digest;
    let record = lifetime_s.map(|lifetime_s| {
        let sizes = layers.iter().map(|(card, _)| card).chain(&beside_card).map(|card| card.tar_bytes);
        let (reference, tar_bytes) = (reference.clone(), sizes.collect());
        sign(shared, Unsigned { reference, manifest, companions: beside, tar_bytes, lifetime_s }, unix_now())
    });
    set_reference(shared, &reference, &image, beside, record.as_ref())?;
    if let Some(record) = &record {
        shared.see(record);
    }
    Ok(Imported { reference, manifest, layers, passed_over: image.passed_over })
}

// A release has room for the layers of every image that can be imported.
const _: () = assert!(LAYERS_MAX <= RELEASE_LAYERS_MAX);

/// A layer's card, and whether it was held before.
type ImportedLayer = (Card, bool);

/// Imports the layers, each under a lease. The recipe of a layer's blob is found while the next layer is read.
fn import_layers(
    shared: &Shared,
    opened: &mut OpenedImage<AnyFiles>,
    image: &ImportedImage,
    is_remote: bool,
    progress: &mut dyn FnMut(Step),
) -> Result<(Vec<ImportedLayer>, Vec<Option<Lease>>), ImagesError> {
    let _under_way = (!is_remote).then(|| shared.under_way.begin());
    let checked = if is_remote { checked_before(shared) } else { BTreeSet::new() };
    let (mut layers, mut leases) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        let mut finding: Option<Finding<'_>> = None;
        for (index, layer) in image.layers.iter().enumerate() {
            let (card, held, copy) = match shared.store.card(&layer.diff_id) {
                Some(card) if checked.contains(&claim(layer)) => (card, true, None),
                _ => import_layer(shared, opened, index, progress)?,
            };
            leases.push(shared.store.lease_layer(&card.diff_id));
            layers.push((card, held));
            // One recipe at a time: a finder takes a core.
            leases.extend(finding.take().map(|finding| finding.end(shared)).transpose()?);
            let Some(blob) = copy else {
                leases.push(shared.store.lease_layer(&recipes::as_layer(&layer.blob.digest)));
                continue;
            };
            if index + 1 < image.layers.len() {
                let thread = scope.spawn(move || recipes::make(shared, &blob, layer, &mut |_| {}));
                finding = Some(Finding { layer, thread });
                continue;
            }
            let (tar_bytes, blob_bytes, layers) = (card.tar_bytes, layer.blob.bytes, image.layers.len());
            recipes::make(shared, &blob, layer, &mut |blob_bytes_done| {
                progress(Step { layer: index, layers, tar_bytes, blob_bytes, blob_bytes_done });
            })?;
            leases.push(shared.store.lease_layer(&recipes::as_layer(&layer.blob.digest)));
        }
        leases.extend(finding.take().map(|finding| finding.end(shared)).transpose()?);
        Ok::<_, ImagesError>(())
    })?;
    Ok((layers, leases))
}

/// A recipe that is being found.
struct Finding<'scope> {
    layer: &'scope LayerDescriptor,
    thread: ScopedJoinHandle<'scope, Result<(), ImagesError>>,
}

impl Finding<'_> {
    /// Waits for the recipe, and leases the blob if that is kept itself.
    fn end(self, shared: &Shared) -> Result<Option<Lease>, ImagesError> {
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(shared.store.lease_layer(&recipes::as_layer(&self.layer.blob.digest)))
    }
}

/// The claim of an image about a layer: its blob, and the tar within.
fn claim(layer: &LayerDescriptor) -> (OciDigest, DiffId) {
    (layer.blob.digest, layer.diff_id)
}

/// The claims that this node checked when it imported the images that it signed. They need not cross the network again.
fn checked_before(shared: &Shared) -> BTreeSet<(OciDigest, DiffId)> {
    let own = shared.identity.peer_id();
    let is_own =
        |image: &Image| SignedRelease::decode(&image.release_record).is_ok_and(|release| release.publisher == own);
    let images = shared.store.references().into_iter().filter(|(_, image)| is_own(image));
    let layers = images.filter_map(|(_, image)| documents_of(&shared.store, image.manifest).ok());
    layers.flatten().map(|layer| claim(&layer)).collect()
}

/// Opens the selected image; of several, without a choice, the one whose name in the source is `name`.
fn open_named(
    source: &ImageSource,
    name: Option<&ImageReference>,
    selector: &Selector,
) -> Result<OpenedImage<AnyFiles>, ImagesError> {
    let open = |selector: &Selector| {
        open_image(source.open(selector)?, selector, Limits::default())
            .map_err(|error| ImagesError::Source { path: source.to_string(), source: error })
    };
    let (None, Some(name), false) = (&selector.from, name, source.is_remote()) else { return open(selector) };
    let named = Selector { from: Some(Choice::Name(name.to_string())), platform: selector.platform.clone() };
    match open(&named) {
        Err(ImagesError::Source { source: ImageError::NoMatch { .. }, .. }) => open(selector),
        opened => opened,
    }
}

/// The number of images at `source`.
///
/// # Errors
/// As [`import`].
pub fn count(source: &ImageSource) -> Result<usize, ImagesError> {
    let counted = lighter_image::count_images(&mut source.open(&Selector::default())?);
    counted.map_err(|error| ImagesError::Source { path: source.to_string(), source: error })
}

/// The name that the source gives its image. It must be the only one, and have a repository: a name that was guessed
/// would be signed.
fn name_in_source(names: &[String], path: String) -> Result<ImageReference, ImagesError> {
    let full = names.iter().filter(|name| name.contains(['/', ':'])).map(|name| name.parse::<ImageReference>());
    let full: Result<BTreeSet<ImageReference>, ParseError> = full.collect();
    let full = full.map_err(|source| ImagesError::BadName { path: path.clone(), source })?;
    let listed: Vec<&str> = full.iter().map(ImageReference::as_str).collect();
    match (listed.len(), names.first()) {
        (0, None) => Err(ImagesError::NoName { path }),
        (0, Some(tag)) => Err(ImagesError::OnlyTag { path, tag: tag.clone() }),
        (1, _) => full.into_iter().next().ok_or(ImagesError::NoName { path }),
        _ => Err(ImagesError::SeveralNames { path, names: listed.join(", ") }),
    }
}

/// Brings one layer of an image, or checks what the image claims of it if it is held: its card, whether it was held
/// before, and a copy of the blob if its recipe is not known.
pub(super) fn import_layer<F: Files>(
    shared: &Shared,
    opened: &mut OpenedImage<F>,
    index: usize,
    progress: &mut dyn FnMut(Step),
) -> Result<(Card, bool, Option<FileBase<File>>), ImagesError> {
    let layers = opened.image().layers.len();
    let layer = opened.image().layers[index].clone();
    let mut progress = |scan: ScanProgress| {
        progress(Step {
            layer: index,
            layers,
            tar_bytes: scan.tar_bytes,
            blob_bytes: layer.blob.bytes,
            blob_bytes_done: scan.blob_bytes,
        });
    };
    let is_known = recipes::is_known(&shared.store, &layer);
    let mut copy = if is_known { BlobCopy::NONE } else { BlobCopy::create(shared)? };
    let mut append = |bytes: &[u8]| {
        copy.append(bytes);
        Ok(())
    };
    let (card, held) = if let Some(card) = shared.store.card(&layer.diff_id) {
        // This node signs what the image claims, so it checks that, whatever it holds.
        opened.check_layer(index, Some(&mut append), &mut progress).map_err(store_error_within)?;
        (card, true)
    } else {
        let mut writer = shared.store.create_layer_unnamed(None)?;
        let mut sink = IntoStore::new(&mut writer).map_err(local)?;
        let scan = opened.scan_layer_keeping(index, Some(&mut append), &mut sink, &mut progress);
        let scan = scan.map_err(store_error_within)?;
        later::note(&shared.store, scan.card.diff_id)?;
        writer.finish_sketched(scan.card, scan.sketch.to_bytes(), shared.uses.now())?;
        shared.input_blocking(Input::Disk(DiskInput::LayerHeld { card: scan.card, sketch: Some(scan.sketch) }));
        (scan.card, false)
    };
    Ok((card, held, copy.finish()))
}

/// The error of a layer's file that is not open yet.
pub(super) fn local(source: std::io::Error) -> ImagesError {
    ImageError::Write { path: "a new layer".to_owned(), source }.into()
}

/// A failure of the sink is the store's, and the store says more about it.
pub(super) fn store_error_within(error: ImageError) -> ImagesError {
    match error {
        ImageError::Write { path, source } => match StoreError::from_io(source) {
            Ok(error) => error.into(),
            Err(source) => ImageError::Write { path, source }.into(),
        },
        error => error.into(),
    }
}

fn set_reference(
    shared: &Shared,
    reference: &ImageReference,
    image: &ImportedImage,
    companions: Option<DiffId>,
    record: Option<&SignedRelease>,
) -> Result<(), StoreError> {
    let named = Image {
        manifest: image.manifest_digest,
        config: image.config_digest,
        layers: companions::with(recipes::wanted(shared, &image.layers), companions),
        // A release is at most 6 KiB by its message's limit; references are at most 384 bytes.
        release_record: record.and_then(|record| record.encode().ok()).unwrap_or_default(),
    };
    shared.store.set_reference(reference, named)?;
    kept_blobs::tell(&shared.store, &image.layers)
}
