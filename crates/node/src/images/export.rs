//! Export: from the store into a folder, or as an archive into a stream.
//!
//! An image has the blobs of its registry in the export where this node can make every one of them, by what `recipes`
//! knows of it; then its manifest is the registry's too. Otherwise its layers are plain tars under a manifest of their
//! own. With the registry's manifest go the image's companions. A rebuilt blob lies in a spool of the store, one at a
//! time, until it is copied.

use std::io::{self, Read, Write};
use std::path::Path;

use lighter_api::ExportBlobs;
use lighter_image::{ArchiveFormat, Bundle, ImageArchive, ImportedImage, LayerDescriptor, LayerFormat};
use lighter_recipe::{Rebuild, Recipe};
use lighter_store::{Lease, Spool, Store};
use lighter_types::{Bytes, DiffId, ImageReference, OciDigest, error_chain};
use lighter_wire::BlobSource;

use super::folder::{FolderWriter, LayerStream};
use super::{ImagesError, Step, companions, imported, recipes};
use crate::shared::FileBase;

/// Threads of a rebuild.
const THREADS: usize = 2;

/// An image that was exported, or is about to be.
#[derive(Clone, Debug)]
pub struct Exported {
    pub manifest: OciDigest,
    /// Whether blobs and manifest are those of the image's registry.
    pub exact: bool,
    /// Why not, if they were to be where that can be.
    pub not_exact: Option<String>,
}

/// Writes an image of this node as an OCI layout into the new folder `path`.
///
/// # Errors
/// `Exists`, `Unknown`, `NotExact`, and what an export may fail with.
pub fn export(
    store: &Store,
    reference: &ImageReference,
    path: &Path,
    blobs: ExportBlobs,
    progress: &mut dyn FnMut(Step),
) -> Result<Exported, ImagesError> {
    let image = imported(store, reference)?;
    let form = Form::of(store, &image, blobs)?;
    let layers = image.layers.len();
    let text = path.display().to_string();
    match std::fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => return Err(ImagesError::Exists(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(ImagesError::Open { path: text, source }),
    }
    let _leases = leases(store, reference, &image);
    let beside = beside(store, reference, &image)?;
    let mut writer = FolderWriter::new(path);
    let exported = lighter_image::export_image(
        &mut writer,
        &image,
        beside.as_ref(),
        reference.as_str(),
        form.format,
        &mut |_, layer| open(store, layer, form.format),
        &mut |tar_bytes| progress(Step { layers, tar_bytes, ..Step::default() }),
    )?;
    Ok(form.exported(exported.manifest_digest, image.manifest_digest))
}

/// An image of this node as an archive that is ready to be written.
pub struct ReadyArchive {
    archive: ImageArchive,
    format: LayerFormat,
    pub exported: Exported,
    /// The image may give way to a pull meanwhile, unless it is in use.
    _leases: Vec<Option<Lease>>,
}

impl ReadyArchive {
    /// # Errors
    /// `Unknown`, `NotExact`, and documents that cannot be read. A layer that is not held is found here, before the
    /// first byte.
    pub fn new(
        store: &Store,
        reference: &ImageReference,
        archive: ArchiveFormat,
        blobs: ExportBlobs,
    ) -> Result<Self, ImagesError> {
        let image = imported(store, reference)?;
        let leases = leases(store, reference, &image);
        let form = match (archive, blobs) {
            // Its layers are plain tars, by its format.
            (ArchiveFormat::Docker, ExportBlobs::Auto) => Form { format: LayerFormat::Plain, why: None },
            (ArchiveFormat::Docker | ArchiveFormat::Oci, blobs) => Form::of(store, &image, blobs)?,
        };
        let cards = image.layers.iter().map(|layer| match (form.format, store.card(&layer.diff_id)) {
            (_, Some(card)) => Ok(card.tar_bytes),
            // Its blob is here.
            (LayerFormat::Exact, None) => Ok(Bytes::ZERO),
            (LayerFormat::Plain | LayerFormat::Gzip, None) => Err(ImagesError::Gone(layer.diff_id.to_string())),
        });
        let tar_bytes: Vec<Bytes> = cards.collect::<Result<_, _>>()?;
        let format = form.format;
        let has_manifest = archive == ArchiveFormat::Oci;
        let beside = if has_manifest { beside(store, reference, &image)? } else { None };
        let archive = ImageArchive::new(&image, beside.as_ref(), reference.as_str(), archive, format, &tar_bytes)?;
        let exported = form.exported(archive.manifest_digest, image.manifest_digest);
        let exported = Exported { exact: exported.exact && has_manifest, ..exported };
        Ok(Self { archive, format, exported, _leases: leases })
    }

    pub fn bytes(&self) -> Bytes {
        self.archive.bytes()
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// Those of the store and of `writer`, and a layer that is not what the image names.
    pub fn write(&self, store: &Store, writer: &mut dyn Write) -> Result<(), ImagesError> {
        let mut open_layer = |_: usize, layer: &LayerDescriptor| open(store, layer, self.format);
        Ok(self.archive.write(writer, &mut open_layer, &mut |_| {})?)
    }
}

/// The form of an export's layers, and why it is not the exact one.
struct Form {
    format: LayerFormat,
    why: Option<String>,
}

impl Form {
    fn of(store: &Store, image: &ImportedImage, blobs: ExportBlobs) -> Result<Self, ImagesError> {
        let format = match blobs {
            ExportBlobs::Plain => LayerFormat::Plain,
            ExportBlobs::Gzip => LayerFormat::Gzip,
            ExportBlobs::Auto | ExportBlobs::Exact => LayerFormat::Exact,
        };
        if format != LayerFormat::Exact {
            return Ok(Self { format, why: None });
        }
        let why = image.layers.iter().find_map(|layer| obstacle(store, layer));
        match (why, blobs) {
            (None, _) => Ok(Self { format, why: None }),
            (Some(why), ExportBlobs::Exact) => Err(ImagesError::NotExact(why)),
            (why, ExportBlobs::Auto | ExportBlobs::Plain | ExportBlobs::Gzip) => {
                Ok(Self { format: LayerFormat::Plain, why })
            }
        }
    }

    fn exported(self, manifest: OciDigest, original: OciDigest) -> Exported {
        // Plain layers are exact where the registry has them plain.
        Exported { manifest, exact: manifest == original && self.format != LayerFormat::Gzip, not_exact: self.why }
    }
}

/// Why this node cannot make the exact blob of a layer.
fn obstacle(store: &Store, layer: &LayerDescriptor) -> Option<String> {
    let blob = &layer.blob.digest;
    let is_held = |name| store.card(name).is_some();
    match recipes::source(store, layer) {
        BlobSource::Plain | BlobSource::Recipe(_) => {
            (!is_held(&layer.diff_id)).then(|| format!("layer {} is not held", layer.diff_id))
        }
        BlobSource::Verbatim => {
            (!is_held(&recipes::as_layer(blob))).then(|| format!("blob {blob} has no recipe and is not kept here"))
        }
        BlobSource::Unknown => Some(format!("blob {blob} has no recipe")),
    }
}

/// Keeps an image's layers, blobs and companions from giving way.
fn leases(store: &Store, reference: &ImageReference, image: &ImportedImage) -> Vec<Option<Lease>> {
    let names = image.layers.iter().flat_map(|layer| [layer.diff_id, recipes::as_layer(&layer.blob.digest)]);
    names.chain(beside_layer(store, reference)).map(|name| store.lease_layer(&name)).collect()
}

fn beside_layer(store: &Store, reference: &ImageReference) -> Option<DiffId> {
    store.reference(reference).and_then(|image| companions::of_record(&image.release_record))
}

/// The image's companions: the index above its manifest, and what refers to it.
fn beside(store: &Store, reference: &ImageReference, image: &ImportedImage) -> Result<Option<Bundle>, ImagesError> {
    let Some(layer) = beside_layer(store, reference) else { return Ok(None) };
    let reader = store.open_layer(&layer)?.ok_or_else(|| ImagesError::Gone(layer.to_string()))?;
    let tar = FileBase::new(reader).map_err(|source| ImagesError::Open { path: layer.to_string(), source })?;
    Ok(Some(Bundle::read(&tar, &image.manifest_digest)?))
}

/// Opens what an export has of a layer.
fn open(store: &Store, layer: &LayerDescriptor, format: LayerFormat) -> io::Result<Box<dyn Read>> {
    let held = |name| -> io::Result<LayerStream> {
        let reader = store.open_layer(name).map_err(io::Error::other)?;
        let reader = reader.ok_or_else(|| io::Error::other("it is not held any more"))?;
        Ok(LayerStream::new(reader))
    };
    match format {
        LayerFormat::Plain | LayerFormat::Gzip => Ok(Box::new(held(&layer.diff_id)?)),
        LayerFormat::Exact => match recipes::source(store, layer) {
            BlobSource::Plain => Ok(Box::new(held(&layer.diff_id)?)),
            BlobSource::Verbatim => Ok(Box::new(held(&recipes::as_layer(&layer.blob.digest))?)),
            BlobSource::Recipe(recipe) => rebuilt(store, layer, &recipe),
            BlobSource::Unknown => Err(io::Error::other("its blob has no recipe any more")),
        },
    }
}

/// Rebuilds a blob into a spool. A recipe that makes another blob is forgotten, as it is where blobs are served.
fn rebuilt(store: &Store, layer: &LayerDescriptor, recipe: &[u8]) -> io::Result<Box<dyn Read>> {
    let blob = layer.blob.digest;
    let wrong = |error: &dyn std::error::Error| {
        recipes::forget(store, &blob);
        let error = error_chain(error);
        io::Error::other(format!("its recipe does not make its blob: {error}; export it with plain layers"))
    };
    let (read, head_bytes) = Recipe::from_bytes(recipe).map_err(|error| wrong(&error))?;
    let opened = store.open_layer(&layer.diff_id).map_err(io::Error::other)?;
    let tar = FileBase::new(opened.ok_or_else(|| io::Error::other("it is not held any more"))?)?;
    let mut spool = SpoolWriter(store.create_spool().map_err(io::Error::other)?);
    let body = recipe[head_bytes..].to_vec();
    let rebuild = Rebuild::new(&read, &body, &tar).map_err(|error| wrong(&error))?;
    match rebuild.whole(THREADS, &mut spool) {
        Ok(()) => Ok(Box::new(SpoolReader { spool: spool.0, at: 0 })),
        Err(error) if error.blame() == lighter_types::Blame::Machine => Err(io::Error::other(error)),
        Err(error) => Err(wrong(&error)),
    }
}

struct SpoolWriter(Spool);

impl Write for SpoolWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A rebuilt blob from its first byte to its last.
struct SpoolReader {
    spool: Spool,
    at: u64,
}

impl Read for SpoolReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.spool.bytes().0.saturating_sub(self.at);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.spool.read_exact_at(&mut buffer[..count], self.at).map_err(io::Error::other)?;
        self.at += count as u64;
        Ok(count)
    }
}
