//! Images of a node: list, show, import, export, pin, remove.
//!
//! An import and an export of a layout answer with lines of events, an archive with its bytes: its headers say before
//! the first byte what it is.

use lighter_types::{Bytes, DiffId, ImageReference, OciDigest, PeerId};
use serde::{Deserialize, Serialize};

use crate::{Problem, number, text};

/// A row of [`IMAGES`](crate::paths::IMAGES), and the answer of [`IMAGE`](crate::paths::IMAGE).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    #[serde(with = "text")]
    pub reference: ImageReference,
    #[serde(with = "text")]
    pub manifest: OciDigest,
    #[serde(with = "text")]
    pub config: OciDigest,
    #[serde(with = "text::list")]
    pub layers: Vec<DiffId>,
    #[serde(with = "number")]
    pub tar_bytes: Bytes,
    /// The signer of the release that bound the name, and when (seconds since 1970). Absent for an image that was
    /// pulled by digest.
    #[serde(default, with = "text::option")]
    pub publisher: Option<PeerId>,
    pub issued_s: Option<u64>,
    /// When the release ends (seconds since 1970), and the publishers that signed it beside the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_s: Option<u64>,
    #[serde(default, with = "text::list", skip_serializing_if = "Vec::is_empty")]
    pub cosigners: Vec<PeerId>,
    /// Whether the operator pinned it.
    #[serde(default)]
    pub pinned: bool,
    /// `os/architecture`; absent in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The blobs that the image's registry has for its layers, in their order; absent in a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<LayerBlob>,
    /// The index that the name stands for in its registry, if it stands for one; absent in a list.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    pub index: Option<OciDigest>,
    /// The artifacts that refer to the image and came with it: signatures, attestations; absent in a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<ImageArtifact>,
}

/// An artifact that refers to an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageArtifact {
    #[serde(with = "text")]
    pub manifest: OciDigest,
    /// Its kind as a media type, if it says so.
    pub kind: Option<String>,
    /// Its manifest and its blobs.
    #[serde(with = "number")]
    pub bytes: Bytes,
}

/// The blob of a layer, as the image's manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerBlob {
    #[serde(with = "text")]
    pub layer: DiffId,
    #[serde(with = "text")]
    pub blob: OciDigest,
    #[serde(with = "number")]
    pub bytes: Bytes,
    /// `the tar itself`, an encoder's class and level, `corrections`, `verbatim`, or `unknown`.
    pub made_by: String,
    /// `tar`, `blob`, or both: what of the layer is on this node's disk.
    pub kept: Vec<String>,
    /// The tar's form on disk, `tar` or `zstd`; absent if it is not here.
    pub at_rest: Option<String>,
}

/// The query of [`IMAGE`](crate::paths::IMAGE).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ReferenceQuery {
    #[serde(with = "text")]
    pub reference: ImageReference,
}

/// The body of [`IMAGES_IMPORT`](crate::paths::IMAGES_IMPORT). The answer is lines of [`ImportEvent`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRequest {
    /// Absolute, as the node sees it; or an image in a registry: `docker://HOST/REPOSITORY:TAG`, `...@sha256:...`.
    pub path: String,
    #[serde(default, with = "text::option")]
    pub name: Option<ImageReference>,
    /// `os/architecture` or `os/architecture/variant`.
    pub platform: Option<String>,
    /// Which of several images: its name in the source, its digest, or its place, counted from 1.
    #[serde(default)]
    pub from: Option<String>,
    /// Every image of the source, under the name that it has there. Not with `name` or `from`.
    #[serde(default)]
    pub all: bool,
    /// Plain HTTP to the registry. Only with one.
    #[serde(default)]
    pub insecure: bool,
    /// Sign no release: the image is held under the name of its digest, as if it had been pulled by that. Not with
    /// `name`.
    #[serde(default)]
    pub unsigned: bool,
    /// The release expires after so many seconds; absent: never. Not with `unsigned`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_s: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ImportEvent {
    Progress {
        /// The layer at work, from 0.
        layer: usize,
        layers: usize,
        #[serde(with = "number")]
        tar_bytes: Bytes,
        #[serde(with = "number")]
        blob_bytes: Bytes,
        #[serde(with = "number")]
        blob_bytes_done: Bytes,
    },
    /// An image is here.
    Done {
        #[serde(with = "text")]
        reference: ImageReference,
        #[serde(with = "text")]
        manifest: OciDigest,
        layers: Vec<ImportedLayer>,
        /// A line for each entry of the source that is no image, or cannot be read and was not wanted.
        passed_over: Vec<String>,
        /// The images of the source that are still to come.
        left: usize,
    },
    Failed {
        problem: Problem,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedLayer {
    #[serde(with = "text")]
    pub diff_id: DiffId,
    #[serde(with = "number")]
    pub tar_bytes: Bytes,
    #[serde(with = "number")]
    pub compressed_bytes: Bytes,
    pub held_before: bool,
}

/// The body of [`IMAGES_EXPORT`](crate::paths::IMAGES_EXPORT). The answer is lines of [`ExportEvent`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRequest {
    #[serde(with = "text")]
    pub reference: ImageReference,
    /// Absolute, as the node sees it: a new or empty folder.
    pub path: String,
    #[serde(default)]
    pub blobs: ExportBlobs,
}

/// The form of the layers in an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportBlobs {
    /// Exact if the node can make every blob, else plain.
    #[default]
    Auto,
    /// The blobs of the image's registry, under the digest of its manifest.
    Exact,
    /// Plain tars.
    Plain,
    /// gzip -6, in a layout alone.
    Gzip,
}

/// The body of [`IMAGES_ARCHIVE`](crate::paths::IMAGES_ARCHIVE). The answer is the archive, with its manifest, form and
/// length in the headers below. An answer that breaks off is no archive; the node's log says why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveRequest {
    #[serde(with = "text")]
    pub reference: ImageReference,
    pub format: ArchiveFormat,
    #[serde(default)]
    pub blobs: ExportBlobs,
}

/// The format of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveFormat {
    OciArchive,
    DockerArchive,
}

/// The digest of an archive's manifest.
pub const ARCHIVE_MANIFEST_HEADER: &str = "lighter-manifest";
/// The length of an archive.
pub const ARCHIVE_BYTES_HEADER: &str = "lighter-archive-bytes";
/// `true` if an archive has the blobs of the image's registry.
pub const ARCHIVE_EXACT_HEADER: &str = "lighter-exact";
/// Why an archive has not, if it was to be exact where that can be.
pub const ARCHIVE_WHY_HEADER: &str = "lighter-not-exact";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ExportEvent {
    Progress {
        /// Bytes of layers written, in the form of the export.
        #[serde(with = "number")]
        tar_bytes: Bytes,
    },
    Done {
        #[serde(with = "text")]
        manifest: OciDigest,
        /// Whether the blobs and the manifest are those of the image's registry.
        exact: bool,
        /// Why not, if they were to be exact where that can be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_exact: Option<String>,
    },
    Failed {
        problem: Problem,
    },
}

/// The body and the answer of [`IMAGES_REMOVE`](crate::paths::IMAGES_REMOVE).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveRequest {
    #[serde(with = "text")]
    pub reference: ImageReference,
}

/// The body and the answer of [`IMAGES_PIN`](crate::paths::IMAGES_PIN): keeps an image from giving way and from
/// removal, or takes that back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePinRequest {
    #[serde(with = "text")]
    pub reference: ImageReference,
    pub pinned: bool,
}
