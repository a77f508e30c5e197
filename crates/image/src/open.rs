//! Opens an image: identifies the kind of source, finds the selected image in it, and checks the image's documents.

use std::io::{self, Read};

use lighter_types::{Bytes, DiffId, OciDigest};
use sha2::{Digest, Sha256};

use crate::docker;
use crate::error::ImageError;
use crate::files::{Files, open_file};
use crate::imported::{ImportedImage, Selector, SourceKind};
use crate::layer::LayerReader;
use crate::layout;
use crate::limits::Limits;
use crate::manifest::BlobDescriptor;
use crate::media::LayerMedia;
use crate::scan::{ScanProgress, TarScan, TarSource, scan};
use crate::sink::TarSink;

/// An image whose layers can be read.
pub struct OpenedImage<F> {
    files: F,
    image: ImportedImage,
    /// The path of each layer's blob, in the order of `image.layers`.
    paths: Vec<String>,
    limits: Limits,
}

/// Opens the selected image. Reads each document once, at most [`crate::DOCUMENT_BYTES_MAX`] of it. In a docker
/// archive, it also reads compressed layers, to compute their digests.
///
/// # Errors
/// `Unsupported` for a source that is no image, or an image of another kind; `NoMatch`, with a list of the images, when
/// no image or more than one matches; `Missing`, `Size`, `Digest`, `Json`, `Damaged`, `TooLarge`, `Read`.
pub fn open_image<F: Files>(mut files: F, selector: &Selector, limits: Limits) -> Result<OpenedImage<F>, ImageError> {
    let (image, paths) = match source_kind(&mut files)? {
        SourceKind::OciLayout => layout::open(&mut files, selector)?,
        SourceKind::DockerArchive => docker::open(&mut files, selector)?,
    };
    Ok(OpenedImage { files, image, paths, limits })
}

/// The number of images in a source, of one platform or of several each. [`crate::Choice::Place`] selects one.
///
/// # Errors
/// As [`open_image`].
pub fn count_images(files: &mut dyn Files) -> Result<usize, ImageError> {
    match source_kind(files)? {
        SourceKind::OciLayout => layout::count(files),
        SourceKind::DockerArchive => docker::count(files),
    }
}

impl<F: Files> OpenedImage<F> {
    /// The image as its documents describe it.
    pub fn image(&self) -> &ImportedImage {
        &self.image
    }

    /// A reader of the tar of layer `index`; layer 0 is the lowest. A reader that reaches its end has checked the
    /// blob's length and sha256, but not the DiffId.
    ///
    /// # Errors
    /// `Missing` if the blob or the layer does not exist, `Size`, `Read`, `Damaged`.
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
        // The blob of a plain tar is the tar itself. The check of the DiffId computes its sha256 already.
        let is_tar = media == LayerMedia::Plain && digest.as_bytes() == layer.diff_id.as_bytes();
        LayerReader::new(format!("layer {digest}"), file, media, *bytes, (!is_tar).then_some(*digest), &self.limits)
    }

    /// Reads the blob of layer `index` as it is, and gives its bytes to `take` in order. Checks its length and its sha256.
    ///
    /// # Errors
    /// As [`Self::read_layer`]; `Digest`; `Write` if `take` fails.
    pub fn copy_blob(&mut self, index: usize, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), ImageError> {
        let (Some(layer), Some(path)) = (self.image.layers.get(index), self.paths.get(index)) else {
            return Err(ImageError::Missing { path: format!("layer {index}"), named_by: "the caller".to_owned() });
        };
        let BlobDescriptor { digest, bytes, .. } = &layer.blob;
        let named_by = format!("manifest {}", self.image.manifest_digest);
        let mut file = open_file(&mut self.files, path, &named_by)?;
        let (mut hasher, mut buffer, mut found) = (Sha256::new(), vec![0; 256 << 10], 0u64);
        loop {
            let count = file.reader.read(&mut buffer).map_err(|error| ImageError::read(path, error))?;
            found += count as u64;
            if count == 0 || found > bytes.0 {
                break;
            }
            hasher.update(&buffer[..count]);
            take(&buffer[..count]).map_err(|source| ImageError::Write { path: path.clone(), source })?;
        }
        if found != bytes.0 {
            return Err(ImageError::Size { what: format!("layer {digest}"), expected: bytes.0, found });
        }
        let sha256 = OciDigest::new(hasher.finalize().into());
        if sha256 != *digest {
            let (expected, found) = (digest.to_string(), sha256.to_string());
            return Err(ImageError::Digest { what: format!("sha256 of layer {digest}"), expected, found });
        }
        Ok(())
    }

    /// Reads layer `index` once, writes its tar to `sink`, and checks blob and DiffId. Calls `progress` every 256 KiB
    /// of tar. Uses two threads and about 5 MiB of memory, plus the window of zstd.
    ///
    /// # Errors
    /// As [`Self::read_layer`]; `TooLarge`, `Digest`; `Write` if the sink fails. After an error, the caller must
    /// discard the bytes in the sink.
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
        check_diff_id(index, &path, expected, scanned.card.diff_id)?;
        Ok(scanned)
    }

    /// As [`Self::scan_layer`] for a layer that the caller has: reads it once, and checks blob and DiffId.
    ///
    /// # Errors
    /// As [`Self::read_layer`]; `TooLarge`, `Digest`.
    pub fn check_layer(&mut self, index: usize, progress: &mut dyn FnMut(ScanProgress)) -> Result<(), ImageError> {
        let expected = self.image.layers.get(index).map(|layer| layer.diff_id);
        let mut reader = self.read_layer(index)?;
        let path = reader.path().to_owned();
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        let mut tar_bytes = 0;
        loop {
            let count = reader.read(&mut buffer).map_err(|error| ImageError::read(&path, error))?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            tar_bytes += count as u64;
            progress(ScanProgress { blob_bytes: reader.blob_bytes_read(), tar_bytes: Bytes(tar_bytes) });
        }
        check_diff_id(index, &path, expected, DiffId::new(hasher.finalize().into()))
    }
}

/// Why a layer whose tar has another sha256 than its DiffId is refused.
fn check_diff_id(index: usize, path: &str, expected: Option<DiffId>, found: DiffId) -> Result<(), ImageError> {
    match expected {
        Some(expected) if expected != found => Err(ImageError::Digest {
            what: format!("sha256 of the tar in {path} (diff_id {index} of the config)"),
            expected: expected.to_string(),
            found: found.to_string(),
        }),
        _ => Ok(()),
    }
}

fn has_file(files: &mut dyn Files, path: &str) -> Result<bool, ImageError> {
    match files.open(path) {
        Ok(file) => Ok(file.is_some()),
        Err(error) => Err(ImageError::read(path, error)),
    }
}

fn source_kind(files: &mut dyn Files) -> Result<SourceKind, ImageError> {
    if has_file(files, "index.json")? {
        return Ok(SourceKind::OciLayout);
    }
    // skopeo writes the version of its `dir:` folders, whose manifest.json is one image's manifest.
    let is_dir = has_file(files, "version")? && !has_file(files, "repositories")?;
    if has_file(files, "manifest.json")? && !is_dir {
        return Ok(SourceKind::DockerArchive);
    }
    let found = if is_dir {
        "a folder of skopeo's dir: transport (copy it with `skopeo copy dir:FOLDER oci:LAYOUT:NAME`)"
    } else if has_file(files, "oci-layout")? {
        "an OCI layout without its index.json"
    } else if has_file(files, "config.json")? {
        "a runtime bundle (config.json)"
    } else if has_file(files, "repositories")? {
        "a docker archive of before version 1.10 (repositories)"
    } else {
        "neither index.json nor manifest.json"
    };
    let wanted = "an OCI layout, an OCI archive or a docker save archive";
    Err(ImageError::Unsupported { what: "image source".to_owned(), found: found.to_owned(), wanted })
}
