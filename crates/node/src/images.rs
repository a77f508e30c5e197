//! Images between files and the store: import, export, and the facts about an image on disk. Workers' jobs: they block.
//!
//! An import commits the companions and the layers one by one, then the documents, then the name with a release that
//! this node signs. The engine hears of each layer when it is committed. A pull reads, keeps and commits the same
//! documents: `read` finds the layers, `keep` writes a document that a peer sent, `commit` gives the image its name.

mod answers;
mod blob_copy;
pub mod companions;
mod export;
mod folder;
mod import;
pub mod kept_blobs;
pub mod recipes;
mod signing;
mod sink;
mod source;
mod unpack;
pub mod upstream;
pub mod upstream_record;

use std::collections::BTreeMap;
use std::io;

use lighter_engine::{BlobFailure, ImageRead, LocalFailure, UnusableImage};
use lighter_image::{
    DOCUMENT_BYTES_MAX, Files, ImageError, ImportedImage, LayerDescriptor, LayerMedia, SourceKind, image_layers,
    parse_config, parse_manifest,
};
use lighter_registry::UpstreamError;
use lighter_store::{Image, Store, StoreError};
use lighter_types::{Bytes, Cause, DiffId, ImageReference, OciDigest, ParseError, PeerId};
use lighter_wire::{Documents, Message, SignedRelease};

use crate::shared::{Shared, local_failure};
pub use answers::{blob_answer, look_up, release_of, released_at};
pub use export::{Exported, ReadyArchive, export};
pub use import::{Imported, Naming, count, import};
pub use signing::{Unsigned, next_date, sign};
pub use source::{ImageSource, open_files};
pub use unpack::unpack;

/// Why an image could not be imported, exported or read.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    #[error("cannot open {path}")]
    Open { path: String, source: io::Error },
    #[error("{path} is neither a folder nor a file")]
    NoFile { path: String },
    #[error("{path}")]
    Source { path: String, source: ImageError },
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the image has no name in {path}")]
    NoName { path: String },
    #[error("the image's name in {path} is only a tag, {tag:?}")]
    OnlyTag { path: String, tag: String },
    #[error("the image has several names in {path}: {names}")]
    SeveralNames { path: String, names: String },
    #[error("the image's name in {path} cannot be used")]
    BadName { path: String, source: ParseError },
    #[error("there is no image {0} on this node")]
    Unknown(ImageReference),
    #[error("there is something at {0} already")]
    Exists(String),
    #[error("{0} of the image is not on this node")]
    Gone(String),
    #[error("the exact image cannot be made here: {0}")]
    NotExact(String),
    #[error("{publisher} signed the sizes of {signed} layers, and the image has {found}")]
    SizesDiffer { publisher: PeerId, signed: usize, found: usize },
}

/// The progress of an import or export.
#[derive(Clone, Copy, Debug, Default)]
pub struct Step {
    /// Layer at work, from 0, and how many there are.
    pub layer: usize,
    pub layers: usize,
    /// Bytes of tar done, in this layer or in an export.
    pub tar_bytes: Bytes,
    /// Bytes of the layer's blob, and how many of them were read; zero in an export.
    pub blob_bytes: Bytes,
    pub blob_bytes_done: Bytes,
}

/// The files of an image.
pub type AnyFiles = Box<dyn Files + Send>;

/// An image of this node as its documents describe it.
pub fn imported(store: &Store, reference: &ImageReference) -> Result<ImportedImage, ImagesError> {
    let image = store.reference(reference).ok_or_else(|| ImagesError::Unknown(reference.clone()))?;
    let manifest_bytes = document(store, &image.manifest)?;
    let manifest = parse_manifest(&manifest_bytes, &image.manifest)?;
    let config_bytes = document(store, &image.config)?;
    let config = parse_config(&config_bytes, &image.config)?;
    Ok(ImportedImage {
        source_kind: SourceKind::OciLayout,
        manifest_digest: image.manifest,
        layers: image_layers(&manifest, &config)?,
        manifest_bytes,
        config_digest: image.config,
        config_bytes,
        platform: config.platform,
        names: vec![reference.to_string()],
        passed_over: Vec::new(),
    })
}

/// A manifest or config of an image that should be here.
fn document(store: &Store, digest: &OciDigest) -> Result<Vec<u8>, ImagesError> {
    store.blob(digest)?.ok_or_else(|| ImagesError::Gone(digest.to_string()))
}

/// Reads from disk which layers the image with this manifest has, and checks that they find room.
pub fn read_for_pull(shared: &Shared, manifest_digest: OciDigest) -> ImageRead {
    let read = read(shared, manifest_digest);
    match read {
        ImageRead::Layers { .. } => match check_room(&shared.store, manifest_digest) {
            Ok(()) => read,
            Err(error) => ImageRead::Local(local(error)),
        },
        ImageRead::Missing { .. } | ImageRead::Unusable(_) | ImageRead::Local(_) => read,
    }
}

/// Nothing gives way to a pull that must fail. A tar has at least about the bytes of its blob, which the manifest
/// names. Reservations may be for the same layers.
fn check_room(store: &Store, manifest_digest: OciDigest) -> Result<(), ImagesError> {
    let layers = documents_of(store, manifest_digest)?;
    let missing = layers.into_iter().filter(|layer| store.card(&layer.diff_id).is_none());
    let stats = store.stats()?;
    let needed = missing.map(|layer| layer.blob.bytes).sum::<Bytes>();
    Ok(store.check_room(needed - stats.reserved_bytes - stats.partial_patch_bytes)?)
}

/// Reads from disk which layers the image with this manifest has.
pub fn read(shared: &Shared, manifest_digest: OciDigest) -> ImageRead {
    match read_layers(shared, manifest_digest) {
        Ok(read) => read,
        Err(ImagesError::Image(error)) => ImageRead::Unusable(unusable(error)),
        Err(error) => ImageRead::Local(local(error)),
    }
}

fn read_layers(shared: &Shared, manifest_digest: OciDigest) -> Result<ImageRead, ImagesError> {
    let store = &shared.store;
    let Some(bytes) = store.blob(&manifest_digest)? else { return Ok(missing(manifest_digest)) };
    let manifest = parse_manifest(&bytes, &manifest_digest)?;
    let Some(bytes) = store.blob(&manifest.config.digest)? else { return Ok(missing(manifest.config.digest)) };
    let config = parse_config(&bytes, &manifest.config.digest)?;
    let layers = image_layers(&manifest, &config)?;
    let (sizes, blobs) = (sizes_of(&layers), recipes::instead(shared, &layers));
    Ok(ImageRead::Layers { layers: recipes::wanted(shared, &layers), sizes, blobs })
}

/// The bytes of the layers whose size the manifest names: those that are not compressed, and blobs that are kept as
/// they are.
fn sizes_of(layers: &[LayerDescriptor]) -> BTreeMap<DiffId, Bytes> {
    let mut sizes = BTreeMap::new();
    for LayerDescriptor { diff_id, blob, .. } in layers {
        sizes.insert(recipes::as_layer(&blob.digest), blob.bytes);
        if LayerMedia::from_media_type(&blob.media_type) == Some(LayerMedia::Plain) {
            sizes.insert(*diff_id, blob.bytes);
        }
    }
    sizes
}

fn missing(digest: OciDigest) -> ImageRead {
    ImageRead::Missing { digest, bytes_max: u32::try_from(DOCUMENT_BYTES_MAX.0).unwrap_or(u32::MAX) }
}

/// The layers of the image with this manifest, by its documents.
fn documents_of(store: &Store, manifest_digest: OciDigest) -> Result<Vec<LayerDescriptor>, ImagesError> {
    let manifest = parse_manifest(&document(store, &manifest_digest)?, &manifest_digest)?;
    let config = parse_config(&document(store, &manifest.config.digest)?, &manifest.config.digest)?;
    Ok(image_layers(&manifest, &config)?)
}

/// The layers of the image with this manifest, in their order.
///
/// # Errors
/// If a document is not here, or cannot be used.
pub fn diff_ids(store: &Store, manifest: OciDigest) -> Result<Vec<DiffId>, ImagesError> {
    Ok(documents_of(store, manifest)?.into_iter().map(|layer| layer.diff_id).collect())
}

/// The length of the blob that a registry would serve for a layer of the image with this manifest, if that blob is
/// compressed. Reads two small files.
pub fn compressed_bytes(store: &Store, manifest_digest: OciDigest, layer: DiffId) -> Option<Bytes> {
    let layers = documents_of(store, manifest_digest).ok()?;
    let blob = &layers.iter().find(|candidate| candidate.diff_id == layer)?.blob;
    let media = LayerMedia::from_media_type(&blob.media_type)?;
    (media != LayerMedia::Plain).then_some(blob.bytes)
}

/// How the blob of a layer is compressed, and its bytes, by the first of these manifests that has the layer. Reads two
/// small files for each manifest.
pub fn blob_of(store: &Store, manifests: &[OciDigest], layer: DiffId) -> Option<(LayerMedia, Bytes)> {
    let layers = manifests.iter().filter_map(|manifest| documents_of(store, *manifest).ok()).flatten();
    let blob = layers.into_iter().find(|candidate| candidate.diff_id == layer)?.blob;
    Some((LayerMedia::from_media_type(&blob.media_type)?, blob.bytes))
}

/// Whether a layer is the blob of another one, of an image with one of these manifests. Reads some small files.
pub fn is_blob(store: &Store, manifests: &[OciDigest], layer: DiffId) -> bool {
    manifests
        .iter()
        .filter_map(|manifest| documents_of(store, *manifest).ok())
        .flatten()
        .any(|described| recipes::as_layer(&described.blob.digest) == layer && described.diff_id != layer)
}

/// Keeps a blob that a peer sent, and the config and the recipes that came with a manifest.
pub fn keep(shared: &Shared, digest: OciDigest, documents: &Documents) -> Result<(), BlobFailure> {
    let Documents { manifest: bytes, config, recipes } = documents;
    put_blob(shared, &digest, bytes)?;
    // A manifest that is wrong is found when the image is read.
    let (Ok(manifest), Some(config)) = (parse_manifest(bytes, &digest), config) else { return Ok(()) };
    put_blob(shared, &manifest.config.digest, config)?;
    let Some(recipes) = recipes else { return Ok(()) };
    match recipes::keep(&shared.store, digest, recipes) {
        // An image that cannot be used is found when it is read.
        Ok(()) | Err(ImagesError::Image(_)) => Ok(()),
        Err(error) => Err(BlobFailure::Local(local(error))),
    }
}

fn put_blob(shared: &Shared, digest: &OciDigest, bytes: &[u8]) -> Result<(), BlobFailure> {
    match shared.store.put_blob(digest, bytes, shared.uses.now()) {
        Ok(()) => Ok(()),
        Err(StoreError::Mismatch { .. }) => Err(BlobFailure::WrongDigest),
        Err(error) => Err(BlobFailure::Local(local_failure(error))),
    }
}

/// Gives an image whose layers are all held its name: the release's, or for a pull by digest the digest's.
pub fn commit(shared: &Shared, manifest: OciDigest, release: Option<&SignedRelease>) -> Result<(), LocalFailure> {
    name_image(shared, manifest, release).map_err(local)
}

fn name_image(shared: &Shared, manifest: OciDigest, release: Option<&SignedRelease>) -> Result<(), ImagesError> {
    let store = &shared.store;
    let parsed = parse_manifest(&document(store, &manifest)?, &manifest)?;
    let config_bytes = document(store, &parsed.config.digest)?;
    let layers = image_layers(&parsed, &parse_config(&config_bytes, &parsed.config.digest)?)?;
    if let Some(release) = release
        && let Some(signed) = release.release.layers_bytes().filter(|signed| signed.len() != layers.len())
    {
        let publisher = release.publisher;
        return Err(ImagesError::SizesDiffer { publisher, signed: signed.len(), found: layers.len() });
    }
    let reference = match release {
        Some(release) => release.release.reference.clone(),
        None => name_of(manifest)?,
    };
    let image = Image {
        manifest,
        config: parsed.config.digest,
        layers: companions::with(
            recipes::wanted(shared, &layers),
            release.and_then(|release| release.release.companions),
        ),
        release_record: release.and_then(|release| release.encode().ok()).unwrap_or_default(),
    };
    store.set_reference(&reference, image)?;
    Ok(kept_blobs::tell(store, &layers)?)
}

fn local(error: ImagesError) -> LocalFailure {
    match error {
        ImagesError::Store(error) => local_failure(error),
        error => LocalFailure::Failed(Cause::new(error)),
    }
}

fn unusable(error: ImageError) -> UnusableImage {
    match error {
        ImageError::Unsupported { .. } | ImageError::TooLarge { .. } => UnusableImage::Unsupported(Cause::new(error)),
        error => UnusableImage::Damaged(Cause::new(error)),
    }
}

/// The name that an image pulled by digest has here: `sha256/<digest>:latest`.
fn name_of(manifest: OciDigest) -> Result<ImageReference, ImagesError> {
    let text = format!("sha256/{}", manifest.to_hex());
    text.parse().map_err(|source| ImagesError::BadName { path: text.clone(), source })
}

/// The layers of an image, if it is here.
pub fn layers_of(store: &Store, reference: &ImageReference) -> Option<Vec<DiffId>> {
    store.reference(reference).map(|image| image.layers)
}
