//! Images between files and the store: import, export, and the facts about an image on disk. Workers' jobs: they block.
//!
//! An import commits the layers one by one, then the documents, then the name with a release that this node signs. The
//! engine hears of each layer when it is committed. A pull reads, keeps and commits the same documents: `read` finds
//! the layers, `keep` writes a document that a peer sent, `commit` gives the image its name.

mod answers;
mod folder;

use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::path::Path;

use lighter_engine::{BlobFailure, DiskInput, ImageRead, Input, LocalFailure, UnusableImage};
use lighter_image::{
    ArchiveFiles, DOCUMENT_BYTES_MAX, Files, ImageError, ImportedImage, LayerFormat, LayerMedia, Limits, OpenedImage,
    Selector, SourceKind, TarSink, image_layers, open_image, parse_config, parse_manifest,
};
use lighter_store::{Image, LayerWriter, Store, StoreError};
use lighter_types::{Bytes, Card, Cause, DiffId, ImageReference, OciDigest, ParseError};
use lighter_wire::{Message, Release, SignedRelease};

use crate::shared::{Shared, local_failure, unix_now};
pub use answers::{blob_answer, look_up, release_of};
use folder::{FolderFiles, FolderWriter};

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
    Image(#[from] ImageError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the image has no name in {path}")]
    NoName { path: String },
    #[error("the image's name in {path} cannot be used")]
    BadName { path: String, source: ParseError },
    #[error("there is no image {0} on this node")]
    Unknown(ImageReference),
    #[error("there is something at {0} already")]
    Exists(String),
    #[error("{0} of the image is not on this node")]
    Gone(String),
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

/// An image that was imported.
#[derive(Clone, Debug)]
pub struct Imported {
    pub reference: ImageReference,
    pub manifest: OciDigest,
    /// Every layer's card, and whether it was held before.
    pub layers: Vec<(Card, bool)>,
}

/// The files of an image.
pub type AnyFiles = Box<dyn Files + Send>;

/// Imports the image at `path` (a folder with an OCI layout, an OCI archive, a docker archive), signs a release of it
/// by this node, and tells the engine of each layer when it is committed. Committed layers stay if a later layer fails.
pub fn import(
    shared: &Shared,
    path: &Path,
    name: Option<ImageReference>,
    selector: &Selector,
    progress: &mut dyn FnMut(Step),
) -> Result<Imported, ImagesError> {
    let text = path.display().to_string();
    let mut opened = open_image(open_files(path)?, selector, Limits::default())
        .map_err(|source| ImagesError::Source { path: text.clone(), source })?;
    let image = opened.image().clone();
    let reference = match (name, &image.ref_name) {
        (Some(name), _) => name,
        (None, Some(name)) => name.parse().map_err(|source| ImagesError::BadName { path: text.clone(), source })?,
        (None, None) => return Err(ImagesError::NoName { path: text }),
    };
    let mut layers = Vec::new();
    for index in 0..image.layers.len() {
        let (card, held) = import_layer(shared, &mut opened, index, progress)?;
        layers.push((card, held));
    }
    let now = unix_now();
    shared.store.put_blob(&image.config_digest, &image.config_bytes, now)?;
    shared.store.put_blob(&image.manifest_digest, &image.manifest_bytes, now)?;
    let release =
        Release { reference: reference.clone(), manifest: image.manifest_digest, issued_s: newer(shared, &reference) };
    let record = shared.identity.sign(release);
    set_reference(&shared.store, &reference, &image, &record)?;
    Ok(Imported { reference, manifest: image.manifest_digest, layers })
}

fn import_layer(
    shared: &Shared,
    opened: &mut OpenedImage<AnyFiles>,
    index: usize,
    progress: &mut dyn FnMut(Step),
) -> Result<(Card, bool), ImagesError> {
    let layers = opened.image().layers.len();
    let layer = opened.image().layers[index].clone();
    if let Some(card) = shared.store.card(&layer.diff_id) {
        return Ok((card, true));
    }
    let mut writer = shared.store.create_layer_unnamed(None)?;
    let scan = opened.scan_layer(index, &mut IntoStore(&mut writer), &mut |scan| {
        progress(Step {
            layer: index,
            layers,
            tar_bytes: scan.tar_bytes,
            blob_bytes: layer.blob.bytes,
            blob_bytes_done: scan.blob_bytes,
        });
    });
    let scan = scan.map_err(store_error_within)?;
    writer.finish_sketched(scan.card, scan.sketch.to_bytes(), unix_now())?;
    shared.input_blocking(Input::Disk(DiskInput::LayerHeld { card: scan.card, sketch: Some(scan.sketch) }));
    Ok((scan.card, false))
}

/// A layer that is scanned on its way into the store.
struct IntoStore<'a>(&'a mut LayerWriter);

impl TarSink for IntoStore<'_> {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.append(bytes).map_err(io::Error::other)
    }

    fn end(&mut self) -> io::Result<DiffId> {
        self.0.sync().map_err(io::Error::other)?;
        Ok(self.0.diff_id())
    }
}

/// A failure of the sink is the store's, and the store says more about it.
fn store_error_within(error: ImageError) -> ImagesError {
    match error {
        ImageError::Write { path, source } => match StoreError::from_io(source) {
            Ok(error) => error.into(),
            Err(source) => ImageError::Write { path, source }.into(),
        },
        error => error.into(),
    }
}

/// The moment of a new release: now, but after the release it replaces even if this machine's clock was set back.
fn newer(shared: &Shared, reference: &ImageReference) -> u64 {
    let last = release_of(&shared.store, reference).map_or(0, |release| release.release.issued_s);
    unix_now().0.max(last.saturating_add(1))
}

fn set_reference(
    store: &Store,
    reference: &ImageReference,
    image: &ImportedImage,
    record: &SignedRelease,
) -> Result<(), StoreError> {
    let image = Image {
        manifest: image.manifest_digest,
        config: image.config_digest,
        layers: image.layers.iter().map(|layer| layer.diff_id).collect(),
        // A release is at most 1 KiB by its message's limit; references are at most 384 bytes.
        release_record: record.encode().unwrap_or_default(),
    };
    store.set_reference(reference, image)
}

/// The files of the image at `path`: a folder with an OCI layout, or an archive.
///
/// # Errors
/// `Open`, `NoFile`, `Image`.
pub fn open_files(path: &Path) -> Result<AnyFiles, ImagesError> {
    let text = path.display().to_string();
    // Looked at before it is opened: opening a pipe waits for its writer.
    let metadata = std::fs::metadata(path).map_err(|source| open_error(path, source))?;
    if metadata.is_dir() {
        return Ok(Box::new(FolderFiles::new(path)));
    }
    if !metadata.is_file() {
        return Err(ImagesError::NoFile { path: text });
    }
    let file = File::open(path).map_err(|source| open_error(path, source))?;
    let mut file = BufReader::with_capacity(256 << 10, file);
    file.rewind().map_err(|source| open_error(path, source))?;
    Ok(Box::new(ArchiveFiles::open(&text, file)?))
}

fn open_error(path: &Path, source: io::Error) -> ImagesError {
    ImagesError::Open { path: path.display().to_string(), source }
}

/// Writes an image of this node as an OCI layout into the new folder `path`.
pub fn export(
    store: &Store,
    reference: &ImageReference,
    path: &Path,
    format: LayerFormat,
    progress: &mut dyn FnMut(Step),
) -> Result<OciDigest, ImagesError> {
    let image = imported(store, reference)?;
    let layers = image.layers.len();
    let text = path.display().to_string();
    match std::fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => return Err(ImagesError::Exists(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(ImagesError::Open { path: text, source }),
    }
    let mut writer = FolderWriter::new(path);
    let mut at = 0;
    let exported = lighter_image::export_image(
        &mut writer,
        &image,
        reference.as_str(),
        format,
        &mut |index, layer| {
            at = index;
            let reader = store.open_layer(&layer.diff_id).map_err(io::Error::other)?;
            let reader = reader.ok_or_else(|| io::Error::other("it is not held any more"))?;
            Ok(Box::new(folder::LayerStream::new(reader)))
        },
        &mut |tar_bytes| progress(Step { layers, tar_bytes, ..Step::default() }),
    )?;
    Ok(exported.manifest_digest)
}

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
        ref_name: Some(reference.to_string()),
    })
}

/// A manifest or config of an image that should be here.
fn document(store: &Store, digest: &OciDigest) -> Result<Vec<u8>, ImagesError> {
    store.blob(digest)?.ok_or_else(|| ImagesError::Gone(digest.to_string()))
}

/// Reads from disk which layers the image with this manifest has.
pub fn read(store: &Store, manifest_digest: OciDigest) -> ImageRead {
    match read_layers(store, manifest_digest) {
        Ok(read) => read,
        Err(ImagesError::Image(error)) => ImageRead::Unusable(unusable(error)),
        Err(error) => ImageRead::Local(local(error)),
    }
}

fn read_layers(store: &Store, manifest_digest: OciDigest) -> Result<ImageRead, ImagesError> {
    let Some(bytes) = store.blob(&manifest_digest)? else { return Ok(missing(manifest_digest)) };
    let manifest = parse_manifest(&bytes, &manifest_digest)?;
    let Some(bytes) = store.blob(&manifest.config.digest)? else { return Ok(missing(manifest.config.digest)) };
    let config = parse_config(&bytes, &manifest.config.digest)?;
    let layers = image_layers(&manifest, &config)?;
    Ok(ImageRead::Layers(layers.into_iter().map(|layer| layer.diff_id).collect()))
}

fn missing(digest: OciDigest) -> ImageRead {
    ImageRead::Missing { digest, bytes_max: u32::try_from(DOCUMENT_BYTES_MAX.0).unwrap_or(u32::MAX) }
}

/// The length of the blob that a registry would serve for a layer of the image with this manifest, if that blob is
/// compressed. Reads two small files.
pub fn compressed_bytes(store: &Store, manifest_digest: OciDigest, layer: DiffId) -> Option<Bytes> {
    let manifest = parse_manifest(&store.blob(&manifest_digest).ok()??, &manifest_digest).ok()?;
    let config = parse_config(&store.blob(&manifest.config.digest).ok()??, &manifest.config.digest).ok()?;
    let layers = image_layers(&manifest, &config).ok()?;
    let blob = &layers.iter().find(|candidate| candidate.diff_id == layer)?.blob;
    let media = LayerMedia::from_media_type(&blob.media_type)?;
    (media != LayerMedia::Plain).then_some(blob.bytes)
}

/// Keeps a blob that a peer sent, and the config that came with a manifest.
pub fn keep(store: &Store, digest: OciDigest, bytes: &[u8], config: Option<&[u8]>) -> Result<(), BlobFailure> {
    put_blob(store, &digest, bytes)?;
    // A manifest that is wrong is found when the image is read.
    match (parse_manifest(bytes, &digest), config) {
        (Ok(manifest), Some(config)) => put_blob(store, &manifest.config.digest, config),
        _ => Ok(()),
    }
}

fn put_blob(store: &Store, digest: &OciDigest, bytes: &[u8]) -> Result<(), BlobFailure> {
    match store.put_blob(digest, bytes, unix_now()) {
        Ok(()) => Ok(()),
        Err(StoreError::Mismatch { .. }) => Err(BlobFailure::WrongDigest),
        Err(error) => Err(BlobFailure::Local(local_failure(error))),
    }
}

/// Gives an image whose layers are all held its name: the release's, or for a pull by digest the digest's.
pub fn commit(store: &Store, manifest: OciDigest, release: Option<&SignedRelease>) -> Result<(), LocalFailure> {
    name_image(store, manifest, release).map_err(local)
}

fn name_image(store: &Store, manifest: OciDigest, release: Option<&SignedRelease>) -> Result<(), ImagesError> {
    let parsed = parse_manifest(&document(store, &manifest)?, &manifest)?;
    let config_bytes = document(store, &parsed.config.digest)?;
    let layers = image_layers(&parsed, &parse_config(&config_bytes, &parsed.config.digest)?)?;
    let reference = match release {
        Some(release) => release.release.reference.clone(),
        None => name_of(manifest)?,
    };
    let image = Image {
        manifest,
        config: parsed.config.digest,
        layers: layers.iter().map(|layer| layer.diff_id).collect(),
        release_record: release.and_then(|release| release.encode().ok()).unwrap_or_default(),
    };
    Ok(store.set_reference(&reference, image)?)
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
