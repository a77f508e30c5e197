//! Opens an image: tells what the source is, finds the one image in it that is wanted, and checks its documents.

use std::io::Read;

use lighter_types::OciDigest;

use crate::docker;
use crate::error::ImageError;
use crate::files::Files;
use crate::layer::LayerReader;
use crate::layout;
use crate::limits::Limits;
use crate::manifest::{BlobDescriptor, LayerDescriptor};
use crate::media::LayerMedia;
use crate::platform::Platform;
use crate::scan::{ScanProgress, TarScan, scan};
use crate::sink::TarSink;

/// Which image of a source is wanted. By default: its only one, or the only one for this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// The name that the source gives it: `org.opencontainers.image.ref.name` or `io.containerd.image.name` of a
    /// layout, a RepoTag of a docker archive.
    pub ref_name: Option<String>,
    /// If given, an image for another platform is refused even where it is the only one.
    pub platform: Option<Platform>,
}

/// What a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// An OCI layout, as a folder or in an archive, also that of a `docker save` that wrote one.
    OciLayout,
    /// What `docker save` wrote before version 25, and `skopeo copy docker-archive:` writes: a `manifest.json` alone.
    DockerArchive,
}

/// An image's documents and what they say: checked against their digests, and the layers' count against each other.
/// The layers themselves have not been looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedImage {
    pub source_kind: SourceKind,
    /// A docker archive has no manifest: one is made then, the same for the same archive.
    pub manifest_digest: OciDigest,
    pub manifest_bytes: Vec<u8>,
    pub config_digest: OciDigest,
    pub config_bytes: Vec<u8>,
    /// Lowest first.
    pub layers: Vec<LayerDescriptor>,
    /// From the config, or else from the index.
    pub platform: Option<Platform>,
    /// What the source calls the image; not checked to be a reference.
    pub ref_name: Option<String>,
}

/// An image whose layers can be read.
pub struct OpenedImage<F> {
    files: F,
    image: ImportedImage,
    /// Where each layer's blob is: one for each of `image.layers`.
    paths: Vec<String>,
    limits: Limits,
}

/// Opens the image that `selector` wants. Reads the documents, each once and at most
/// [`crate::DOCUMENT_BYTES_MAX`] of it; of a docker archive whose layers are compressed, those too, for their digests.
///
/// # Errors
/// `Unsupported` for a source that is no image, or an image of another kind; `NoMatch` where it is not there, or not
/// the only one, with what is there; `Missing`, `Size`, `Digest`, `Json`, `Damaged`, `TooLarge`, `Read`.
pub fn open_image<F: Files>(mut files: F, selector: &Selector, limits: Limits) -> Result<OpenedImage<F>, ImageError> {
    let (image, paths) = match source_kind(&mut files)? {
        SourceKind::OciLayout => layout::open(&mut files, selector)?,
        SourceKind::DockerArchive => docker::open(&mut files, selector)?,
    };
    Ok(OpenedImage { files, image, paths, limits })
}

impl<F: Files> OpenedImage<F> {
    /// What the documents say.
    pub fn image(&self) -> &ImportedImage {
        &self.image
    }

    /// Reads the tar of layer `index`, lowest first. A reader that reaches its end has checked the blob's length and
    /// sha256, not the DiffId.
    ///
    /// # Errors
    /// `Missing` if its blob is not there or there is no such layer, `Size`, `Read`, `Damaged`.
    pub fn read_layer(&mut self, index: usize) -> Result<LayerReader<'_>, ImageError> {
        let (Some(layer), Some(path)) = (self.image.layers.get(index), self.paths.get(index)) else {
            return Err(ImageError::Missing { path: format!("layer {index}"), named_by: "the caller".to_owned() });
        };
        let named_by = format!("manifest {}", self.image.manifest_digest);
        let BlobDescriptor { digest, media_type, bytes } = &layer.blob;
        let Some(media) = LayerMedia::from_media_type(media_type) else {
            let (what, found) = (format!("layer {digest}"), media_type.clone());
            return Err(ImageError::Unsupported { what, found, wanted: "a layer" });
        };
        let file = open_file(&mut self.files, path, &named_by)?;
        // A plain tar's blob is the tar: its sha256 is computed once, for the DiffId.
        let is_tar = media == LayerMedia::Plain && digest.as_bytes() == layer.diff_id.as_bytes();
        LayerReader::new(format!("layer {digest}"), file, media, *bytes, (!is_tar).then_some(*digest), &self.limits)
    }

    /// Reads layer `index` once, writes its tar to `sink`, checks blob and DiffId, and tells what it is. `progress` is
    /// called every 256 KiB of tar. Uses two threads and about 5 MiB, zstd's window apart.
    ///
    /// # Errors
    /// As [`Self::read_layer`], `TooLarge`, `Digest`, and `Write` if the sink fails. What the sink was given by then is
    /// not to be kept.
    pub fn scan_layer(
        &mut self,
        index: usize,
        sink: &mut dyn TarSink,
        progress: &mut dyn FnMut(ScanProgress),
    ) -> Result<TarScan, ImageError> {
        let expected = self.image.layers.get(index).map(|layer| layer.diff_id);
        let mut reader = self.read_layer(index)?;
        let path = reader.path().to_owned();
        let scanned = scan(&path, &mut reader, sink, progress)?;
        match expected {
            Some(expected) if expected != scanned.card.diff_id => Err(ImageError::Digest {
                what: format!("sha256 of the tar in {path} (diff_id {index} of the config)"),
                expected: expected.to_string(),
                found: scanned.card.diff_id.to_string(),
            }),
            _ => Ok(scanned),
        }
    }
}

fn source_kind(files: &mut dyn Files) -> Result<SourceKind, ImageError> {
    let mut has = |path: &str| match files.open(path) {
        Ok(file) => Ok(file.is_some()),
        Err(error) => Err(ImageError::read(path, error)),
    };
    if has("index.json")? {
        return Ok(SourceKind::OciLayout);
    }
    if has("manifest.json")? {
        return Ok(SourceKind::DockerArchive);
    }
    let found = if has("oci-layout")? {
        "an OCI layout without its index.json"
    } else if has("config.json")? {
        "a runtime bundle (config.json)"
    } else if has("repositories")? {
        "a docker archive of before version 1.10 (repositories)"
    } else {
        "neither index.json nor manifest.json"
    };
    let wanted = "an OCI layout, an OCI archive or a docker save archive";
    Err(ImageError::Unsupported { what: "image source".to_owned(), found: found.to_owned(), wanted })
}

/// Opens a file that must be there.
pub(crate) fn open_file<'a>(
    files: &'a mut dyn Files,
    path: &str,
    named_by: &str,
) -> Result<crate::files::OpenFile<'a>, ImageError> {
    match files.open(path) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(ImageError::Missing { path: path.to_owned(), named_by: named_by.to_owned() }),
        Err(error) => Err(ImageError::read(path, error)),
    }
}

/// Reads a document that must be there, whole.
pub(crate) fn read_document(files: &mut dyn Files, path: &str, named_by: &str) -> Result<Vec<u8>, ImageError> {
    let limit = crate::limits::DOCUMENT_BYTES_MAX.0;
    let file = open_file(files, path, named_by)?;
    if file.bytes > limit {
        return Err(ImageError::TooLarge { what: path.to_owned(), limit });
    }
    let mut bytes = Vec::new();
    file.reader.take(limit).read_to_end(&mut bytes).map_err(|error| ImageError::read(path, error))?;
    if bytes.len() as u64 != file.bytes {
        let (expected, found) = (file.bytes, bytes.len() as u64);
        return Err(ImageError::Size { what: path.to_owned(), expected, found });
    }
    Ok(bytes)
}
