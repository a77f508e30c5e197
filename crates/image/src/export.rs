//! Writes an image as an OCI layout that other tools read: the same config bytes, so the same config digest and
//! DiffIds. Layers are plain tars unless gzip is asked for; docs/IMAGES.md says why.
//!
//! Every file is written under a name that no reader looks for and renamed when it is whole and checked, `index.json`
//! last: an export that was cut short is no layout.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use lighter_types::{Bytes, OciDigest};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::error::ImageError;
use crate::imported::ImportedImage;
use crate::layout::{REF_NAME, blob_path};
use crate::manifest::{BlobDescriptor, LayerDescriptor, digest_of, parse_manifest};
use crate::media::{LayerMedia, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::platform::Platform;

/// Where a file is until it is whole.
const PARTIAL_PATH: &str = "blobs/sha256/.partial";
/// gzip's own default.
const GZIP_LEVEL: u32 = 6;

/// Makes the files of a layout. Paths are relative, written by this crate, and use `/`; folders are made as needed.
pub trait LayoutWriter {
    /// A new file at `path`, replacing what is there. It is whole once the writer has been flushed and dropped.
    ///
    /// # Errors
    /// The machine cannot.
    fn create(&mut self, path: &str) -> io::Result<Box<dyn Write + '_>>;

    /// Gives the file at `from` the name `to`, replacing what is there; should be durable when it returns.
    ///
    /// # Errors
    /// The machine cannot.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
}

/// How layers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayerFormat {
    /// As they are: nothing to compress, and the blob's digest is the DiffId.
    #[default]
    Plain,
    /// gzip -6. The blobs are not those of the original image.
    Gzip,
}

/// Gives the tar of a layer: its place in the image, lowest first, and what it is.
pub type OpenLayer<'a> = dyn FnMut(usize, &LayerDescriptor) -> io::Result<Box<dyn Read>> + 'a;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedImage {
    /// The original manifest's if the blobs came out the same, else that of a new one.
    pub manifest_digest: OciDigest,
    /// Lowest first.
    pub layers: Vec<LayerDescriptor>,
}

/// Writes `image` as a layout. `open_layer` gives the tar of layer `index`; `progress` is given the bytes of tar
/// written so far, over all layers. A layer that the image has twice is read and written once.
///
/// # Errors
/// `Read` if a layer cannot be read, `Digest` if it is not the one that the config names, `Write`, and `Unsupported`
/// for a name that no layout may give an image.
pub fn export_image(
    writer: &mut dyn LayoutWriter,
    image: &ImportedImage,
    ref_name: &str,
    format: LayerFormat,
    open_layer: &mut OpenLayer<'_>,
    progress: &mut dyn FnMut(Bytes),
) -> Result<ExportedImage, ImageError> {
    check_ref_name(ref_name)?;
    let original = parse_manifest(&image.manifest_bytes, &image.manifest_digest)?;
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
    let is_same = layers.iter().zip(&image.layers).all(|(new, old)| new.blob.digest == old.blob.digest);
    let (media_type, manifest_bytes) = if is_same {
        (media_type_of(&image.manifest_bytes), image.manifest_bytes.clone())
    } else {
        let config = BlobDescriptor { media_type: OCI_CONFIG.to_owned(), ..original.config };
        let blobs: Vec<_> = layers.iter().map(|layer| layer.blob.clone()).collect();
        (OCI_MANIFEST.to_owned(), manifest_json(&config, &blobs, &original.annotations))
    };
    let manifest_digest = digest_of(&manifest_bytes);
    write_blob(writer, &manifest_digest, &manifest_bytes)?;
    write_file(writer, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let manifest = BlobDescriptor { digest: manifest_digest, media_type, bytes: Bytes(manifest_bytes.len() as u64) };
    write_file(writer, "index.json", &index_json(&manifest, image.platform.as_ref(), ref_name))?;
    Ok(ExportedImage { manifest_digest, layers })
}

/// The manifest of these blobs: the same bytes for the same arguments.
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
    if let Some(Platform { os, architecture, variant }) = platform {
        descriptor["platform"] = json!({ "os": os, "architecture": architecture });
        if let Some(variant) = variant {
            descriptor["platform"]["variant"] = json!(variant);
        }
    }
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor] });
    index.to_string().into_bytes()
}

fn media_type_of(manifest: &[u8]) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_slice(manifest).ok();
    parsed.as_ref().and_then(|value| value["mediaType"].as_str()).unwrap_or(OCI_MANIFEST).to_owned()
}

/// OCI image spec, "Annotations", grammar of `org.opencontainers.image.ref.name`.
fn check_ref_name(name: &str) -> Result<(), ImageError> {
    let is_separator = |c: u8| b"-._:@/+".contains(&c);
    let good = (1..=384).contains(&name.len())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || is_separator(c))
        && !name.bytes().next().is_some_and(is_separator)
        && !name.bytes().last().is_some_and(is_separator);
    if good {
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
    let failed = |source| ImageError::Write { path: path.clone(), source };
    let file = writer.create(PARTIAL_PATH).map_err(failed)?;
    let blob = HashingWriter { writer: file, sha256: Sha256::new(), bytes: 0 };
    let mut tar = Sha256::new();
    let (media, blob) = match format {
        LayerFormat::Plain => {
            let mut blob = blob;
            copy(&path, reader, &mut blob, &mut tar, progress)?;
            (LayerMedia::Plain, blob)
        }
        LayerFormat::Gzip => {
            let mut encoder = GzEncoder::new(blob, Compression::new(GZIP_LEVEL));
            copy(&path, reader, &mut encoder, &mut tar, progress)?;
            (LayerMedia::Gzip, encoder.finish().map_err(failed)?)
        }
    };
    let (digest, bytes) = blob.finish().map_err(failed)?;
    let found: [u8; 32] = tar.finalize().into();
    if found != *layer.diff_id.as_bytes() {
        let (expected, found) = (layer.diff_id.to_string(), OciDigest::new(found).to_string());
        return Err(ImageError::Digest { what: "sha256 of the layer to export".to_owned(), expected, found });
    }
    writer.rename(PARTIAL_PATH, &blob_path(&digest)).map_err(failed)?;
    let blob = BlobDescriptor { digest, media_type: media.media_type().to_owned(), bytes };
    Ok(LayerDescriptor { diff_id: layer.diff_id, blob })
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
                written.map_err(|source| ImageError::Write { path: path.to_owned(), source })?;
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
    let failed = |source| ImageError::Write { path: path.to_owned(), source };
    let mut file = writer.create(PARTIAL_PATH).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.flush()).map_err(failed)?;
    drop(file);
    writer.rename(PARTIAL_PATH, path).map_err(failed)
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
