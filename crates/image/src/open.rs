//! Opens an image: tells what the source is, finds the one image in it that is wanted, and checks its documents.

use crate::docker;
use crate::error::ImageError;
use crate::files::{Files, open_file};
use crate::imported::{ImportedImage, Selector, SourceKind};
use crate::layer::LayerReader;
use crate::layout;
use crate::limits::Limits;
use crate::manifest::BlobDescriptor;
use crate::media::LayerMedia;
use crate::scan::{ScanProgress, TarScan, scan};
use crate::sink::TarSink;

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
