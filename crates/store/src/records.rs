//! The values that callers see: images, releases that gave way, and the keys of patches.

use lighter_types::{DiffId, ImageReference, OciDigest};

/// The image that a reference names. The store neither evicts nor removes its blobs and layers, unless the image gives
/// way (see [`crate::Retention`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The image manifest, a held blob.
    pub manifest: OciDigest,
    /// The image config, a held blob.
    pub config: OciDigest,
    /// The layers, lowest first, at most [`crate::IMAGE_LAYERS_MAX`].
    pub layers: Vec<DiffId>,
    /// The signed release that bound the reference to the manifest: at most [`crate::RELEASE_RECORD_BYTES_MAX`] bytes,
    /// which the store does not interpret. Empty if there was no release.
    pub release_record: Vec<u8>,
}

/// A release that gave way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GaveWay {
    pub reference: ImageReference,
    pub manifest: OciDigest,
}

/// A layer that has the content of another one in another form, as a compressed blob beside its tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerCopy {
    pub copy: DiffId,
    /// The layer with the same content.
    pub of: DiffId,
    /// The node state that is written when the copy gives way: key and value, as in [`crate::Store::put_state`].
    pub gave_way: (Vec<u8>, Vec<u8>),
}

/// The inputs of a patch. The encoder is deterministic, so they determine the patch's bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatchKey {
    /// The layer that the patch rebuilds.
    pub target: DiffId,
    /// The layers that the patch reads, in the order of its header; at most [`crate::PATCH_BASES_MAX`].
    pub bases: Vec<DiffId>,
    /// The encoder's settings as a number. The store does not interpret it.
    pub settings: u32,
}
