//! The companions of an image: what its registry has beside the manifest, config and layers of one platform.
//!
//! They are the index above the manifest, the manifests and configs of the other platforms, and the artifacts that
//! refer to any of these: signatures, attestations, bills of materials. [`gather`](gather::gather) finds them in a
//! source.
//! [`Bundle`] is the tar that holds them: an OCI layout without the image itself. It travels as a layer does, under the
//! sha256 of its bytes, which a publisher signs. [`Companions`] reads it.
//!
//! ```text
//! index.json          the first entry is the top document: what the image's tag stands for
//!                     the others are artifacts; a tag of theirs is their `org.opencontainers.image.ref.name`
//! blobs/sha256/...    documents and blobs, by digest. The image's own manifest and config are not among them
//! ```
//!
//! The same companions always make the same tar. Everything has a limit of this crate's own, below.

mod bundle;
mod gather;
mod read;
#[cfg(test)]
mod tests;

use lighter_types::Bytes;

pub use bundle::{Bundle, BundleReader};
pub(crate) use gather::gather;
pub use read::{Artifact, CompanionSlice, Companions};

/// The most bytes of one artifact: its manifest and its blobs. Bills of materials of large images have a few MB.
pub const ARTIFACT_BYTES_MAX: Bytes = Bytes(16 << 20);
/// The most bytes of all documents and blobs. They are in memory during an import.
pub const COMPANIONS_BYTES_MAX: Bytes = Bytes(32 << 20);
/// The most documents and blobs. An image for ten platforms with attestations has about 70.
pub const COMPANIONS_MAX: usize = 1024;
/// The most bytes of a bundle: each object has a header and less than a block of padding; `index.json` is a document.
pub const BUNDLE_BYTES_MAX: Bytes =
    Bytes(COMPANIONS_BYTES_MAX.0 + crate::DOCUMENT_BYTES_MAX.0 + (COMPANIONS_MAX as u64 + 4) * 1024);
/// The most manifests of which a source is asked what refers to them. Each is up to five questions to a registry.
const SUBJECTS_MAX: usize = 64;
/// The most entries of a layout's `index.json` that are looked at as possible artifacts.
const ENTRIES_MAX: usize = 1024;
/// The most documents and blobs that a source is asked for, those included that it does not have.
const READS_MAX: usize = 4096;
/// The most lines about what is left out.
const LINES_MAX: usize = 256;
/// The deepest nesting of an artifact that is an index.
const ARTIFACT_DEPTH_MAX: usize = 2;

/// The companions of an image, as its source has them.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// Absent if the image has none.
    pub(crate) bundle: Option<Bundle>,
    /// A line for each artifact that is left out, with the reason.
    pub(crate) passed_over: Vec<String>,
}
