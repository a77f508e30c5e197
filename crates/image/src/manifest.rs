//! Manifest, config and index: JSON documents that are checked against their sha256.
//!
//! A node keeps and passes on the original bytes of a document. This module reads only the fields that lead to layers:
//! descriptors, DiffIds and platforms. Each function checks limits before it returns: the size of a document, the
//! number of layers, and the digests, which must be sha256. So a document cannot name a path.
//!
//! Sources: OCI image spec 1.1, "Content Descriptors", "Image Manifest", "Image Index", "Image Configuration"; Docker
//! image manifest version 2, schema 2. Depth of nesting is capped by serde_json (128).

use std::collections::BTreeMap;

use lighter_types::{Bytes, DiffId, OciDigest};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::error::ImageError;
use crate::limits::{DOCUMENT_BYTES_MAX, LAYERS_MAX};
use crate::media::{CONFIG_TYPES, LayerMedia, MANIFEST_TYPES};
use crate::platform::Platform;

/// A blob as a manifest describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobDescriptor {
    pub digest: OciDigest,
    pub media_type: String,
    /// The length of the blob.
    pub bytes: Bytes,
}

/// The content of a manifest: its config and its layers, lowest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub config: BlobDescriptor,
    /// At most [`LAYERS_MAX`] layers. Each has an accepted media type and no URL.
    pub layers: Vec<BlobDescriptor>,
    /// The annotations of the manifest itself.
    pub annotations: BTreeMap<String, String>,
}

/// The content of a config: its layers, lowest first, and its platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// At most [`LAYERS_MAX`].
    pub diff_ids: Vec<DiffId>,
    /// The platform of the image; absent if the config names no system.
    pub platform: Option<Platform>,
}

/// One layer of an image: its DiffId, and the blob that a registry serves for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerDescriptor {
    pub diff_id: DiffId,
    pub blob: BlobDescriptor,
}

/// Parses a manifest and checks its sha256 against `digest`.
///
/// # Errors
/// `TooLarge` beyond [`DOCUMENT_BYTES_MAX`] or [`LAYERS_MAX`], `Digest`, `Json`, and `Unsupported` for an index, a
/// manifest of schema 1, an artifact, a layer of another kind, or a layer with a URL.
pub fn parse_manifest(bytes: &[u8], digest: &OciDigest) -> Result<Manifest, ImageError> {
    let path = format!("manifest {digest}");
    check_document(&path, bytes, digest)?;
    let raw: RawManifest = parse(&path, "an image manifest", bytes)?;
    if raw.manifests.is_some() || raw.schema_version != 2 {
        let found = if raw.manifests.is_some() { "an index".into() } else { format!("schema {}", raw.schema_version) };
        return Err(ImageError::Unsupported { what: path, found, wanted: "an image manifest of schema version 2" });
    }
    if let Some(found) = raw.media_type.filter(|found| !MANIFEST_TYPES.contains(&found.as_str())) {
        return Err(ImageError::Unsupported { what: path, found, wanted: "an OCI or Docker image manifest" });
    }
    let (Some(config), Some(layers)) = (raw.config, raw.layers) else {
        return Err(ImageError::damaged(path, 0, "the manifest has no config or no layers"));
    };
    if layers.len() > LAYERS_MAX {
        return Err(ImageError::TooLarge { what: format!("number of layers in {path}"), limit: LAYERS_MAX as u64 });
    }
    let layers = layers.into_iter().map(|layer| layer.into_layer(&path)).collect::<Result<_, _>>()?;
    Ok(Manifest { config: config.into_blob(&path)?, layers, annotations: raw.annotations.unwrap_or_default() })
}

/// The manifests and indexes that an index names, with the platforms that it gives them. Entries whose digests cannot
/// be used are left out.
///
/// # Errors
/// `TooLarge` beyond [`DOCUMENT_BYTES_MAX`], `Digest`, `Json`, `Unsupported` for a document that is no index.
pub fn parse_index(bytes: &[u8], digest: &OciDigest) -> Result<Vec<(BlobDescriptor, Option<Platform>)>, ImageError> {
    let path = format!("index {digest}");
    check_document(&path, bytes, digest)?;
    let raw: RawIndex = parse(&path, "an image index", bytes)?;
    let Some(entries) = raw.manifests else {
        let (what, found) = (path, "no list of manifests".to_owned());
        return Err(ImageError::Unsupported { what, found, wanted: "an image index" });
    };
    let read = entries.into_iter().filter_map(|mut entry| {
        let platform = entry.platform.take().map(Platform::from);
        Some((entry.into_blob(&path).ok()?, platform))
    });
    Ok(read.collect())
}

/// The kind of a manifest that is no image: a signature, an attestation, a chart. `None` for an image, and for bytes
/// that are no manifest; reading those says what is wrong.
pub(crate) fn artifact_kind(bytes: &[u8]) -> Option<String> {
    let manifest: RawManifest = serde_json::from_slice(bytes).ok()?;
    let (config, layers) = (manifest.config?, manifest.layers.unwrap_or_default());
    let is_image_config = config.media_type.is_empty() || CONFIG_TYPES.contains(&config.media_type.as_str());
    let kind = match layers.first() {
        _ if !is_image_config => config.media_type,
        // cosign gives a signature the config of an image.
        Some(first) if layers.iter().all(RawDescriptor::is_no_layer) => first.media_type.clone(),
        _ => return None,
    };
    Some(manifest.artifact_type.filter(|kind| !kind.is_empty()).unwrap_or(kind))
}

/// Parses a config and checks its sha256 against `digest`.
///
/// # Errors
/// `TooLarge` beyond [`DOCUMENT_BYTES_MAX`] or [`LAYERS_MAX`], `Digest`, `Json`, and `Unsupported` for a root file
/// system that does not consist of layers.
pub fn parse_config(bytes: &[u8], digest: &OciDigest) -> Result<Config, ImageError> {
    let path = format!("config {digest}");
    check_document(&path, bytes, digest)?;
    let raw: RawConfig = parse(&path, "an image config", bytes)?;
    if raw.rootfs.kind != "layers" {
        let found = raw.rootfs.kind;
        return Err(ImageError::Unsupported { what: format!("rootfs in {path}"), found, wanted: "layers" });
    }
    let diff_ids = raw.rootfs.diff_ids.unwrap_or_default();
    if diff_ids.len() > LAYERS_MAX {
        return Err(ImageError::TooLarge { what: format!("number of layers in {path}"), limit: LAYERS_MAX as u64 });
    }
    let diff_ids = diff_ids
        .iter()
        .map(|text| text.parse().map_err(|error| ImageError::damaged(&path, 0, format!("{error}"))))
        .collect::<Result<_, _>>()?;
    let platform = match (raw.os, raw.architecture) {
        (Some(os), Some(architecture)) if !os.is_empty() && !architecture.is_empty() => {
            Some(Platform { os, architecture, variant: raw.variant.filter(|variant| !variant.is_empty()) })
        }
        _ => None,
    };
    Ok(Config { diff_ids, platform })
}

/// The layers of an image, lowest first, from its manifest and its config.
///
/// # Errors
/// `Damaged` if the two name different numbers of layers.
pub fn image_layers(manifest: &Manifest, config: &Config) -> Result<Vec<LayerDescriptor>, ImageError> {
    let (blobs, diff_ids) = (manifest.layers.len(), config.diff_ids.len());
    if blobs != diff_ids {
        let problem = format!("it names {diff_ids} layers where its manifest names {blobs}");
        return Err(ImageError::damaged(format!("config {}", manifest.config.digest), 0, problem));
    }
    let pairs = manifest.layers.iter().zip(&config.diff_ids);
    Ok(pairs.map(|(blob, &diff_id)| LayerDescriptor { diff_id, blob: blob.clone() }).collect())
}

/// The digest of some bytes in a registry: their sha256.
pub(crate) fn digest_of(bytes: &[u8]) -> OciDigest {
    OciDigest::new(Sha256::digest(bytes).into())
}

/// Checks the size and the sha256 of a document.
///
/// # Errors
/// `TooLarge`, `Digest`.
pub(crate) fn check_document(path: &str, bytes: &[u8], digest: &OciDigest) -> Result<(), ImageError> {
    if bytes.len() as u64 > DOCUMENT_BYTES_MAX.0 {
        return Err(ImageError::TooLarge { what: path.to_owned(), limit: DOCUMENT_BYTES_MAX.0 });
    }
    check_digest(path, bytes, digest)
}

/// Checks the sha256 of some bytes.
///
/// # Errors
/// `Digest`.
pub(crate) fn check_digest(path: &str, bytes: &[u8], digest: &OciDigest) -> Result<(), ImageError> {
    let found = digest_of(bytes);
    if found != *digest {
        let what = format!("sha256 of {path}");
        return Err(ImageError::Digest { what, expected: digest.to_string(), found: found.to_string() });
    }
    Ok(())
}

pub(crate) fn parse<T: DeserializeOwned>(path: &str, wanted: &'static str, bytes: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|source| ImageError::Json { path: path.to_owned(), wanted, source })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    schema_version: u32,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    /// Only an index has this field. It identifies an index with a wrong media type.
    manifests: Option<serde::de::IgnoredAny>,
    annotations: Option<BTreeMap<String, String>>,
}

/// An image index, or the `index.json` of a layout.
#[derive(Deserialize)]
pub(crate) struct RawIndex {
    /// Go writes an empty list as null.
    pub(crate) manifests: Option<Vec<RawDescriptor>>,
}

/// A descriptor whose digest is not checked yet.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RawDescriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    pub(crate) platform: Option<RawPlatform>,
    #[serde(default)]
    urls: Option<Vec<String>>,
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct RawPlatform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

#[derive(Deserialize)]
struct RawConfig {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    rootfs: RawRootfs,
}

#[derive(Deserialize)]
struct RawRootfs {
    #[serde(rename = "type")]
    kind: String,
    diff_ids: Option<Vec<String>>,
}

impl RawDescriptor {
    /// Whether this is something else than a layer, of a kind that we accept or refuse.
    fn is_no_layer(&self) -> bool {
        !self.media_type.is_empty() && !self.media_type.contains("tar")
    }

    /// # Errors
    /// `Unsupported` for a digest of another algorithm, `Damaged` for what is no digest, as in `sha256:../../x`.
    pub(crate) fn into_blob(self, named_in: &str) -> Result<BlobDescriptor, ImageError> {
        match self.digest.parse() {
            Ok(digest) => Ok(BlobDescriptor { digest, media_type: self.media_type, bytes: Bytes(self.size) }),
            Err(error) => match self.digest.split_once(':') {
                Some((algorithm @ ("sha384" | "sha512" | "blake3"), _)) => Err(ImageError::Unsupported {
                    what: format!("a digest in {named_in}"),
                    found: algorithm.to_owned(),
                    wanted: "sha256",
                }),
                _ => Err(ImageError::damaged(named_in, 0, format!("{error}"))),
            },
        }
    }

    fn into_layer(self, named_in: &str) -> Result<BlobDescriptor, ImageError> {
        let what = format!("layer {} in {named_in}", self.digest);
        if LayerMedia::from_media_type(&self.media_type).is_none() {
            let wanted = "an OCI or Docker layer: tar, tar+gzip or tar+zstd";
            return Err(ImageError::Unsupported { what, found: format!("{:?}", self.media_type), wanted });
        }
        if let Some(url) = self.urls.iter().flatten().next() {
            let found = format!("the url {url:?}");
            return Err(ImageError::Unsupported { what, found, wanted: "a layer in the image itself" });
        }
        self.into_blob(named_in)
    }
}

impl From<RawPlatform> for Platform {
    fn from(raw: RawPlatform) -> Self {
        let variant = raw.variant.filter(|variant| !variant.is_empty());
        Self { os: raw.os, architecture: raw.architecture, variant }
    }
}

#[cfg(test)]
mod tests;
