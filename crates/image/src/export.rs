//! Writes an image as an OCI layout that other tools can read; `archive` writes it as one file.
//!
//! The layout has the original bytes of the config, so it has the same config digest and DiffIds. Layers are the blobs
//! of the image's registry, plain tars, or gzip; docs/IMAGES.md gives the reason. If all blobs are the same as in the
//! original image, the layout has the original manifest too, and the image's companions: the index above the manifest
//! and what refers to the image. Otherwise it has a new manifest with the original annotations.
//!
//! The export writes every file under a temporary name, checks it, and renames it. It writes `index.json` last, so an
//! interrupted export is not a layout.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use lighter_types::{Bytes, OciDigest};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::companions::Bundle;
use crate::error::ImageError;
use crate::imported::ImportedImage;
use crate::layout::{REF_NAME, blob_path};
use crate::manifest::{BlobDescriptor, LayerDescriptor, digest_of, parse_manifest};
use crate::media::{LayerMedia, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::platform::Platform;

mod archive;
pub use archive::{ArchiveFormat, ImageArchive};

/// The path of an unfinished file.
const PARTIAL_PATH: &str = "blobs/sha256/.partial";
/// The default level of gzip.
const GZIP_LEVEL: u32 = 6;

/// Creates the files of a layout. This crate makes the paths, which are relative and use `/`. The implementation
/// creates folders as needed.
pub trait LayoutWriter {
    /// Creates a file at `path`, and replaces an existing one. The file is complete after the writer was flushed and
    /// dropped.
    ///
    /// # Errors
    /// The machine cannot create the file.
    fn create(&mut self, path: &str) -> io::Result<Box<dyn Write + '_>>;

    /// Renames the file `from` to `to`, and replaces an existing one. The new name should survive a power cut when this
    /// returns.
    ///
    /// # Errors
    /// The machine cannot rename the file.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
}

/// The format of exported layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayerFormat {
    /// Plain tars. The digest of a blob is the DiffId.
    #[default]
    Plain,
    /// gzip -6. The blobs differ from those of the original image.
    Gzip,
    /// The blobs that the manifest names, byte by byte: the caller opens them in place of the tars.
    Exact,
}

/// Opens the tar of a layer, or its blob for [`LayerFormat::Exact`], given its index in the image (0 is the lowest) and
/// its descriptor.
pub type OpenLayer<'a> = dyn FnMut(usize, &LayerDescriptor) -> io::Result<Box<dyn Read>> + 'a;

/// The result of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedImage {
    /// The digest of the original manifest if all blobs are the same, else the digest of the new manifest.
    pub manifest_digest: OciDigest,
    /// Lowest first.
    pub layers: Vec<LayerDescriptor>,
}

/// Writes `image` as a layout, with its companions where it keeps the original manifest. Calls `progress` with the
/// bytes of tar written so far, over all layers. A layer that occurs twice in the image is read and written once.
///
/// # Errors
/// `Read` if a layer cannot be read, `Digest` if a tar does not match its DiffId, `Write`, and `Unsupported` for a name
/// that a layout may not have.
pub fn export_image(
    writer: &mut dyn LayoutWriter,
    image: &ImportedImage,
    companions: Option<&Bundle>,
    ref_name: &str,
    format: LayerFormat,
    open_layer: &mut OpenLayer<'_>,
    progress: &mut dyn FnMut(Bytes),
) -> Result<ExportedImage, ImageError> {
    check_ref_name(ref_name)?;
    write_blob(writer, &image.config_digest, &image.config_bytes)?;
    let mut layers: Vec<LayerDescriptor> = Vec::new();
    let mut tar_bytes = Bytes::ZERO;
    for (index, layer) in image.layers.iter().enumerate() {
        let written = match layers.iter().find(|written| written.diff_id == layer.diff_id) {
            Some(written) => written.clone(),
            None => {
                let path = format!("layer {}", layer.diff_id);
                let mut reader = open_layer(index, layer).map_err(|error| ImageError::read(&path, error))?;
                write_layer(writer, layer, format, &mut reader, &mut |bytes| {
                    tar_bytes += bytes;
                    progress(tar_bytes);
                })?
            }
        };
        layers.push(written);
    }
    let blobs: Vec<_> = layers.iter().map(|layer| layer.blob.clone()).collect();
    let Documents { manifest, index, beside } = Documents::new(image, companions, &blobs, ref_name)?;
    let manifest_digest = digest_of(&manifest);
    write_blob(writer, &manifest_digest, &manifest)?;
    for (digest, bytes) in beside {
        write_blob(writer, digest, bytes)?;
    }
    write_file(writer, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    write_file(writer, "index.json", &index)?;
    Ok(ExportedImage { manifest_digest, layers })
}

/// The documents of an exported layout, beside the config.
struct Documents<'a> {
    manifest: Vec<u8>,
    /// `index.json`.
    index: Vec<u8>,
    /// The companions: all documents and blobs.
    beside: Vec<(&'a OciDigest, &'a [u8])>,
}

impl<'a> Documents<'a> {
    /// Companions refer to the original manifest. They are left out beside a new one.
    fn new(
        image: &ImportedImage,
        companions: Option<&'a Bundle>,
        blobs: &[BlobDescriptor],
        name: &str,
    ) -> Result<Self, ImageError> {
        let manifest = manifest_of(image, blobs)?;
        let digest = digest_of(&manifest);
        let platform = image.platform.as_ref();
        if let Some(bundle) = companions.filter(|_| digest == image.manifest_digest) {
            let index = bundle.index_named(name, &digest, platform)?;
            let beside = bundle.objects().iter().map(|(digest, bytes)| (digest, bytes.as_slice()));
            return Ok(Self { manifest, index, beside: beside.collect() });
        }
        let media_type = media_type_of(&manifest);
        let descriptor = BlobDescriptor { digest, media_type, bytes: Bytes(manifest.len() as u64) };
        let index = index_json(&descriptor, platform, name);
        Ok(Self { manifest, index, beside: Vec::new() })
    }
}

/// The original manifest if the blobs are those that it names, else a new one with its annotations.
fn manifest_of(image: &ImportedImage, blobs: &[BlobDescriptor]) -> Result<Vec<u8>, ImageError> {
    let original = parse_manifest(&image.manifest_bytes, &image.manifest_digest)?;
    if blobs.iter().zip(&image.layers).all(|(new, old)| new.digest == old.blob.digest) {
        return Ok(image.manifest_bytes.clone());
    }
    let config = BlobDescriptor { media_type: OCI_CONFIG.to_owned(), ..original.config };
    Ok(manifest_json(&config, blobs, &original.annotations))
}

/// The blob that is a layer's tar.
fn plain_blob(layer: &LayerDescriptor, bytes: Bytes) -> BlobDescriptor {
    let digest = OciDigest::new(*layer.diff_id.as_bytes());
    BlobDescriptor { digest, media_type: LayerMedia::Plain.media_type().to_owned(), bytes }
}

/// The manifest of these blobs. The same arguments always give the same bytes.
pub(crate) fn manifest_json(
    config: &BlobDescriptor,
    layers: &[BlobDescriptor],
    annotations: &BTreeMap<String, String>,
) -> Vec<u8> {
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor_json(config),
        "layers": layers.iter().map(descriptor_json).collect::<Vec<_>>(),
    });
    if !annotations.is_empty() {
        manifest["annotations"] = json!(annotations);
    }
    manifest.to_string().into_bytes()
}

fn descriptor_json(blob: &BlobDescriptor) -> serde_json::Value {
    json!({ "mediaType": blob.media_type, "digest": blob.digest.to_string(), "size": blob.bytes.0 })
}

fn index_json(manifest: &BlobDescriptor, platform: Option<&Platform>, ref_name: &str) -> Vec<u8> {
    let mut descriptor = descriptor_json(manifest);
    descriptor["annotations"] = json!({ REF_NAME: ref_name });
    if let Some(platform) = platform {
        descriptor["platform"] = platform.to_json();
    }
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor] });
    index.to_string().into_bytes()
}

fn media_type_of(manifest: &[u8]) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_slice(manifest).ok();
    parsed.as_ref().and_then(|value| value["mediaType"].as_str()).unwrap_or(OCI_MANIFEST).to_owned()
}

/// Checks a name against the grammar of `org.opencontainers.image.ref.name` (OCI image spec, "Annotations").
fn check_ref_name(name: &str) -> Result<(), ImageError> {
    const SEPARATORS: [char; 7] = ['-', '.', '_', ':', '@', '/', '+'];
    let is_allowed = (1..=384).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || SEPARATORS.contains(&c))
        && !name.starts_with(SEPARATORS)
        && !name.ends_with(SEPARATORS);
    if is_allowed {
        return Ok(());
    }
    let found = name.chars().take(80).collect();
    Err(ImageError::Unsupported { what: "name of the exported image".to_owned(), found, wanted: "a reference" })
}

fn write_layer(
    writer: &mut dyn LayoutWriter,
    layer: &LayerDescriptor,
    format: LayerFormat,
    reader: &mut dyn Read,
    progress: &mut dyn FnMut(Bytes),
) -> Result<LayerDescriptor, ImageError> {
    let path = format!("layer {}", layer.diff_id);
    let file = writer.create(PARTIAL_PATH).map_err(|source| write_error(&path, source))?;
    let mut blob = HashingWriter { writer: file, sha256: Sha256::new(), bytes: 0 };
    let mut tar = Sha256::new();
    let (media, blob) = match format {
        LayerFormat::Plain => {
            copy(&path, reader, &mut blob, &mut tar, progress)?;
            (LayerMedia::Plain, blob)
        }
        LayerFormat::Gzip => {
            let mut encoder = GzEncoder::new(blob, Compression::new(GZIP_LEVEL));
            copy(&path, reader, &mut encoder, &mut tar, progress)?;
            (LayerMedia::Gzip, encoder.finish().map_err(|source| write_error(&path, source))?)
        }
        LayerFormat::Exact => {
            copy(&path, reader, &mut blob, &mut tar, progress)?;
            let (found, _) = blob.finish().map_err(|source| write_error(&path, source))?;
            if found != layer.blob.digest {
                return Err(wrong_blob(&layer.blob.digest, &found));
            }
            writer.rename(PARTIAL_PATH, &blob_path(&found)).map_err(|source| write_error(&path, source))?;
            return Ok(layer.clone());
        }
    };
    let (digest, bytes) = blob.finish().map_err(|source| write_error(&path, source))?;
    let found: [u8; 32] = tar.finalize().into();
    if found != *layer.diff_id.as_bytes() {
        let (expected, found) = (layer.diff_id.to_string(), OciDigest::new(found).to_string());
        return Err(ImageError::Digest { what: "sha256 of the layer to export".to_owned(), expected, found });
    }
    writer.rename(PARTIAL_PATH, &blob_path(&digest)).map_err(|source| write_error(&path, source))?;
    let blob = BlobDescriptor { digest, media_type: media.media_type().to_owned(), bytes };
    Ok(LayerDescriptor { diff_id: layer.diff_id, blob })
}

fn wrong_blob(expected: &OciDigest, found: &OciDigest) -> ImageError {
    let (expected, found) = (expected.to_string(), found.to_string());
    ImageError::Digest { what: "sha256 of the blob to export".to_owned(), expected, found }
}

fn copy(
    path: &str,
    reader: &mut dyn Read,
    writer: &mut dyn Write,
    tar: &mut Sha256,
    progress: &mut dyn FnMut(Bytes),
) -> Result<(), ImageError> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                tar.update(&buffer[..count]);
                let written = writer.write_all(&buffer[..count]);
                written.map_err(|source| write_error(path, source))?;
                progress(Bytes(count as u64));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ImageError::read(path, error)),
        }
    }
}

fn write_blob(writer: &mut dyn LayoutWriter, digest: &OciDigest, bytes: &[u8]) -> Result<(), ImageError> {
    write_file(writer, &blob_path(digest), bytes)
}

fn write_file(writer: &mut dyn LayoutWriter, path: &str, bytes: &[u8]) -> Result<(), ImageError> {
    put_file(writer, path, bytes).map_err(|source| write_error(path, source))
}

fn put_file(writer: &mut dyn LayoutWriter, path: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = writer.create(PARTIAL_PATH)?;
    file.write_all(bytes)?;
    file.flush()?;
    drop(file);
    writer.rename(PARTIAL_PATH, path)
}

fn write_error(path: &str, source: io::Error) -> ImageError {
    ImageError::Write { path: path.to_owned(), source }
}

struct HashingWriter<'a> {
    writer: Box<dyn Write + 'a>,
    sha256: Sha256,
    bytes: u64,
}

impl HashingWriter<'_> {
    fn finish(mut self) -> io::Result<(OciDigest, Bytes)> {
        self.writer.flush()?;
        Ok((OciDigest::new(self.sha256.finalize().into()), Bytes(self.bytes)))
    }
}

impl Write for HashingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.writer.write(bytes)?;
        self.sha256.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests;
