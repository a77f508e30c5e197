//! Opens an image: identifies the kind of source, finds the selected image in it, and checks the image's documents.
//!
//! A layer is read once: its tar goes to a sink, and its blob, as it is, to whoever keeps it. A layer that reaches its
//! end has the length and the digest of its descriptor.

use std::io::{self, Read};

use lighter_types::{Bytes, DiffId};
use sha2::{Digest, Sha256};

use crate::companions::{Bundle, Gathered, gather};
use crate::docker;
use crate::error::ImageError;
use crate::files::{Files, open_file, read_document};
use crate::imported::{ImportedImage, Selector, SourceKind};
use crate::layer::LayerReader;
use crate::layout;
use crate::limits::Limits;
use crate::manifest::{BlobDescriptor, check_document};
use crate::media::LayerMedia;
use crate::scan::{Hashes, ScanProgress, TarScan, TarSource, scan};
use crate::sink::TarSink;

/// An image whose layers can be read.
pub struct OpenedImage<F> {
    files: F,
    image: ImportedImage,
    /// The path of each layer's blob, in the order of `image.layers`.
    paths: Vec<String>,
    /// The document that the image's name stands for; none in a docker archive, which names no manifest.
    top: Option<BlobDescriptor>,
    limits: Limits,
}

/// Opens the selected image. Reads each document once, at most [`crate::DOCUMENT_BYTES_MAX`] of it. In a docker
/// archive, it also reads compressed layers, to compute their digests.
///
/// # Errors
/// `Unsupported` for a source that is no image, or an image of another kind; `NoMatch`, with a list of the images, when
/// no image or more than one matches; `Missing`, `Size`, `Digest`, `Json`, `Damaged`, `TooLarge`, `Read`.
pub fn open_image<F: Files>(mut files: F, selector: &Selector, limits: Limits) -> Result<OpenedImage<F>, ImageError> {
    let (image, paths, top) = match source_kind(&mut files)? {
        SourceKind::OciLayout => {
            let layout::Found { image, paths, top } = layout::open(&mut files, selector)?;
            (image, paths, Some(top))
        }
        SourceKind::DockerArchive => {
            let (image, paths) = docker::open(&mut files, selector)?;
            (image, paths, None)
        }
    };
    Ok(OpenedImage { files, image, paths, top, limits })
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

    /// The files that the image is read from.
    pub fn files(&self) -> &F {
        &self.files
    }

    /// As [`Self::files`].
    pub fn files_mut(&mut self) -> &mut F {
        &mut self.files
    }

    /// The same image, read from other files that hold the same.
    pub fn with_files<G: Files>(&self, files: G) -> OpenedImage<G> {
        let (image, paths, top, limits) = (self.image.clone(), self.paths.clone(), self.top.clone(), self.limits);
        OpenedImage { files, image, paths, top, limits }
    }

    /// The document that the image's name stands for in its source, its manifest or an index above it, and its bytes.
    ///
    /// # Errors
    /// `Missing`, `Read`, `Size`, `Digest`, `TooLarge`.
    pub fn read_top(&mut self) -> Result<Option<(BlobDescriptor, Vec<u8>)>, ImageError> {
        let Some(top) = self.top.clone() else { return Ok(None) };
        let path = layout::blob_path(&top.digest);
        let bytes = read_document(&mut self.files, &path, "the image")?;
        check_document(&format!("document {}", top.digest), &bytes, &top.digest)?;
        Ok(Some((top, bytes)))
    }

    /// Finds what the source has beside the image: the index, the other platforms' documents, and the artifacts that
    /// refer to any of these. At most [`crate::COMPANIONS_BYTES_MAX`] are read and held in memory. A thing that is
    /// damaged, too large or absent is left out, with a line in [`ImportedImage::passed_over`].
    ///
    /// # Errors
    /// `Read` if the source cannot be read or asked.
    pub fn gather_companions(&mut self) -> Result<Option<Bundle>, ImageError> {
        let Some(top) = &self.top else { return Ok(None) };
        let Gathered { bundle, passed_over } = gather(&mut self.files, &self.image, top)?;
        let lines = &mut self.image.passed_over;
        if let Some(bundle) = &bundle {
            // An artifact that comes along was no image, but is not passed over.
            let digest = |line: &str| line.split(' ').next().and_then(|word| word.parse().ok());
            lines.retain(|line| digest(line).is_none_or(|digest| !bundle.has(&digest)));
        }
        lines.extend(passed_over);
        Ok(bundle)
    }

    /// A reader of the tar of layer `index`; layer 0 is the lowest. A reader that reaches its end has checked the
    /// blob's length and sha256, but not the DiffId.
    ///
    /// # Errors
    /// `Missing` if the blob or the layer does not exist, `Size`, `Read`, `Damaged`.
    pub fn read_layer(&mut self, index: usize) -> Result<LayerReader<'_>, ImageError> {
        self.read_layer_keeping(index, None)
    }

    /// As [`Self::read_layer`]. Gives each part of the blob to `keep` too, as it is.
    fn read_layer_keeping<'a>(
        &'a mut self,
        index: usize,
        keep: Option<&'a mut Keep<'a>>,
    ) -> Result<LayerReader<'a>, ImageError> {
        let (Some(layer), Some(path)) = (self.image.layers.get(index), self.paths.get(index)) else {
            return Err(ImageError::Missing { path: format!("layer {index}"), named_by: "the caller".to_owned() });
        };
        let named_by = format!("manifest {}", self.image.manifest_digest);
        let BlobDescriptor { digest, media_type, bytes } = &layer.blob;
        let Some(media) = LayerMedia::from_media_type(media_type) else {
            let (what, found) = (format!("layer {digest}"), media_type.clone());
            return Err(ImageError::Unsupported { what, found, wanted: "a layer" });
        };
        let mut file = open_file(&mut self.files, path, &named_by)?;
        if let Some(keep) = keep {
            file.reader = Box::new(Keeping { reader: file.reader, keep });
        }
        // The blob of a plain tar is the tar itself. The check of the DiffId computes its sha256 already.
        let is_tar = media == LayerMedia::Plain && digest.as_bytes() == layer.diff_id.as_bytes();
        LayerReader::new(format!("layer {digest}"), file, media, *bytes, (!is_tar).then_some(*digest), &self.limits)
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
        self.scan_with(index, Hashes::All, None, sink, progress)
    }

    /// As [`Self::scan_layer`], without TLSH, which takes longer than the rest: it can be made once the layer is
    /// committed. Gives each part of the blob to `keep` too, as it is.
    ///
    /// # Errors
    /// As [`Self::scan_layer`]; `Read` with the error of `keep`.
    pub fn scan_layer_keeping<'a>(
        &'a mut self,
        index: usize,
        keep: Option<&'a mut Keep<'a>>,
        sink: &mut dyn TarSink,
        progress: &mut dyn FnMut(ScanProgress),
    ) -> Result<TarScan, ImageError> {
        self.scan_with(index, Hashes::Sketch, keep, sink, progress)
    }

    fn scan_with<'a>(
        &'a mut self,
        index: usize,
        hashes: Hashes,
        keep: Option<&'a mut Keep<'a>>,
        sink: &mut dyn TarSink,
        progress: &mut dyn FnMut(ScanProgress),
    ) -> Result<TarScan, ImageError> {
        let expected = self.image.layers.get(index).map(|layer| layer.diff_id);
        let mut reader = self.read_layer_keeping(index, keep)?;
        let path = reader.path().to_owned();
        let scanned = scan(&path, &mut reader, hashes, sink, progress)?;
        check_diff_id(index, &path, expected, scanned.card.diff_id)?;
        Ok(scanned)
    }

    /// As [`Self::scan_layer_keeping`] for a layer that the caller has: reads it once, and checks blob and DiffId.
    ///
    /// # Errors
    /// As [`Self::read_layer`]; `TooLarge`, `Digest`.
    pub fn check_layer<'a>(
        &'a mut self,
        index: usize,
        keep: Option<&'a mut Keep<'a>>,
        progress: &mut dyn FnMut(ScanProgress),
    ) -> Result<(), ImageError> {
        let expected = self.image.layers.get(index).map(|layer| layer.diff_id);
        let mut reader = self.read_layer_keeping(index, keep)?;
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

/// Takes a blob as it is read.
pub type Keep<'a> = dyn FnMut(&[u8]) -> io::Result<()> + Send + 'a;

/// A reader that gives what it reads to somebody else too.
struct Keeping<'a> {
    reader: Box<dyn Read + Send + 'a>,
    keep: &'a mut Keep<'a>,
}

impl Read for Keeping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        (self.keep)(&buffer[..count])?;
        Ok(count)
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
