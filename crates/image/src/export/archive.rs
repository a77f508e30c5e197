//! Writes an image as one archive, to a stream: an OCI archive (a tar of a layout), or a docker archive as `docker
//! load`, `podman load` and skopeo read it.
//!
//! A tar names the length of an entry before its content, so every length is known before the first byte: a layer is
//! the tar as its card says, or the blob as its manifest says. Each layer is read once, and its sha256 is compared when
//! it is written. A wrong one ends the export with an error; the caller must not take what was written for an archive.
//! The same image gives the same bytes.

use std::io::{Read, Write};

use lighter_types::{Bytes, OciDigest};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Documents, LayerFormat, OpenLayer, check_ref_name, plain_blob, write_error, wrong_blob};
use crate::companions::Bundle;
use crate::error::ImageError;
use crate::imported::ImportedImage;
use crate::layout::blob_path;
use crate::manifest::{BlobDescriptor, LayerDescriptor, digest_of};

const BLOCK: usize = 512;
/// The mode of every entry.
const MODE: &[u8; 8] = b"0000644\0";

/// The format of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveFormat {
    Oci,
    /// Its layers are plain tars. It has no manifest of a registry.
    Docker,
}

/// An image as the entries of an archive, ready to be written.
#[derive(Clone, Debug)]
pub struct ImageArchive {
    entries: Vec<Entry>,
    /// The digest of the manifest in an OCI archive; of the image's own one for a docker archive.
    pub manifest_digest: OciDigest,
}

#[derive(Clone, Debug)]
struct Entry {
    path: String,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Document(Vec<u8>),
    /// The layer with this index, as a blob.
    Layer {
        index: usize,
        layer: LayerDescriptor,
        blob: BlobDescriptor,
    },
}

impl ImageArchive {
    /// The archive of an image; an OCI archive has its companions where it keeps the original manifest. `tar_bytes` are
    /// the lengths of its layers' tars, in their order. A layer that occurs twice in the image is written once.
    ///
    /// # Errors
    /// `Unsupported` for a name that an archive may not have, and for a form whose lengths are not known (`Gzip`) or
    /// that the format does not have (`Exact` in a docker archive).
    pub fn new(
        image: &ImportedImage,
        companions: Option<&Bundle>,
        name: &str,
        archive: ArchiveFormat,
        format: LayerFormat,
        tar_bytes: &[Bytes],
    ) -> Result<Self, ImageError> {
        check_ref_name(name)?;
        let blobs: Vec<BlobDescriptor> = match (archive, format) {
            (ArchiveFormat::Oci, LayerFormat::Exact) => image.layers.iter().map(|layer| layer.blob.clone()).collect(),
            (ArchiveFormat::Oci | ArchiveFormat::Docker, LayerFormat::Plain) => {
                image.layers.iter().zip(tar_bytes).map(|(layer, bytes)| plain_blob(layer, *bytes)).collect()
            }
            (ArchiveFormat::Docker, LayerFormat::Exact) | (_, LayerFormat::Gzip) => {
                let what = "form of layers in this archive".to_owned();
                return Err(ImageError::Unsupported { what, found: format!("{format:?}"), wanted: "plain tars" });
            }
        };
        match archive {
            ArchiveFormat::Oci => Self::oci(image, companions, name, &blobs),
            ArchiveFormat::Docker => Ok(Self::docker(image, name, &blobs)),
        }
    }

    fn oci(
        image: &ImportedImage,
        companions: Option<&Bundle>,
        name: &str,
        blobs: &[BlobDescriptor],
    ) -> Result<Self, ImageError> {
        let Documents { manifest, index, beside } = Documents::new(image, companions, blobs, name)?;
        let manifest_digest = digest_of(&manifest);
        let mut entries = vec![
            Entry::document("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
            Entry::document("index.json", &index),
            Entry::document(&blob_path(&manifest_digest), &manifest),
            Entry::document(&blob_path(&image.config_digest), &image.config_bytes),
        ];
        entries.extend(beside.iter().map(|(digest, bytes)| Entry::document(&blob_path(digest), bytes)));
        push_layers(&mut entries, image, blobs, |blob| blob_path(&blob.digest));
        Ok(Self { entries, manifest_digest })
    }

    fn docker(image: &ImportedImage, name: &str, blobs: &[BlobDescriptor]) -> Self {
        let path = |blob: &BlobDescriptor| format!("{}.tar", blob.digest.to_hex());
        let config = format!("{}.json", image.config_digest.to_hex());
        let layers: Vec<String> = blobs.iter().map(path).collect();
        let manifest = json!([{ "Config": config, "RepoTags": [name], "Layers": layers }]).to_string();
        let mut entries =
            vec![Entry::document("manifest.json", manifest.as_bytes()), Entry::document(&config, &image.config_bytes)];
        push_layers(&mut entries, image, blobs, path);
        Self { entries, manifest_digest: image.manifest_digest }
    }

    /// The length of the whole archive.
    pub fn bytes(&self) -> Bytes {
        let entries = self.entries.iter().map(|entry| BLOCK as u64 + padded(entry.bytes()));
        Bytes(entries.sum::<u64>() + 2 * BLOCK as u64)
    }

    /// Writes the archive. Calls `progress` with the bytes of layers written so far.
    ///
    /// # Errors
    /// `Read` if a layer cannot be read, `Digest` if it is not what the image names, `Write`.
    pub fn write(
        &self,
        writer: &mut dyn Write,
        open_layer: &mut OpenLayer<'_>,
        progress: &mut dyn FnMut(Bytes),
    ) -> Result<(), ImageError> {
        let mut done = Bytes::ZERO;
        for entry in &self.entries {
            let path = &entry.path;
            let unwritable = |source| write_error(path, source);
            writer.write_all(&header(path, entry.bytes())).map_err(unwritable)?;
            match &entry.content {
                Content::Document(bytes) => writer.write_all(bytes).map_err(unwritable)?,
                Content::Layer { index, layer, blob } => {
                    let mut reader = open_layer(*index, layer).map_err(|error| ImageError::read(path, error))?;
                    write_blob(writer, path, blob, &mut reader, &mut |bytes| {
                        done += bytes;
                        progress(done);
                    })?;
                }
            }
            let padding = padded(entry.bytes()) - entry.bytes();
            writer.write_all(&[0; BLOCK][..usize::try_from(padding).unwrap_or(0)]).map_err(unwritable)?;
        }
        writer.write_all(&[0; 2 * BLOCK]).and_then(|()| writer.flush()).map_err(|source| write_error("archive", source))
    }
}

impl Entry {
    fn document(path: &str, bytes: &[u8]) -> Self {
        Self { path: path.to_owned(), content: Content::Document(bytes.to_vec()) }
    }

    fn bytes(&self) -> u64 {
        match &self.content {
            Content::Document(bytes) => bytes.len() as u64,
            Content::Layer { blob, .. } => blob.bytes.0,
        }
    }
}

fn push_layers(
    entries: &mut Vec<Entry>,
    image: &ImportedImage,
    blobs: &[BlobDescriptor],
    path: impl Fn(&BlobDescriptor) -> String,
) {
    for (index, (layer, blob)) in image.layers.iter().zip(blobs).enumerate() {
        let path = path(blob);
        if entries.iter().all(|entry| entry.path != path) {
            let (layer, blob) = (layer.clone(), blob.clone());
            entries.push(Entry { path, content: Content::Layer { index, layer, blob } });
        }
    }
}

/// Copies a blob whose length and digest are known.
fn write_blob(
    writer: &mut dyn Write,
    path: &str,
    blob: &BlobDescriptor,
    reader: &mut dyn Read,
    progress: &mut dyn FnMut(Bytes),
) -> Result<(), ImageError> {
    let mut buffer = vec![0; 256 << 10];
    let mut sha256 = Sha256::new();
    let mut left = blob.bytes.0;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = match reader.read(&mut buffer[..wanted]) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ImageError::read(path, error)),
        };
        sha256.update(&buffer[..count]);
        writer.write_all(&buffer[..count]).map_err(|source| write_error(path, source))?;
        left -= count as u64;
        progress(Bytes(count as u64));
    }
    let found = OciDigest::new(sha256.finalize().into());
    if left == 0 && found == blob.digest { Ok(()) } else { Err(wrong_blob(&blob.digest, &found)) }
}

fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK as u64)
}

/// The header of a file (POSIX.1-1988 ustar). A length that has no octal place is written in base 256, as GNU tar does.
fn header(path: &str, bytes: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    // Paths are made here: at most 77 bytes.
    let name = &path.as_bytes()[..path.len().min(100)];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(MODE);
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    if bytes < 1 << 33 {
        block[124..136].copy_from_slice(format!("{bytes:011o}\0").as_bytes());
    } else {
        block[124] = 0x80;
        block[128..136].copy_from_slice(&bytes.to_be_bytes());
    }
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests;
