//! What an image may cost us before it is refused. Hostile sizes are refused before anything is allocated for them.

use lighter_types::Bytes;

/// The largest manifest, index or config that is read: registries refuse more (OCI distribution spec, "Pushing
/// manifests": "at least 4 megabytes" must be taken).
pub const DOCUMENT_BYTES_MAX: Bytes = Bytes(4 << 20);
/// The most layers of an image: overlayfs mounts, and so Docker, take 128.
pub const LAYERS_MAX: usize = 128;
/// The deepest nesting of indexes. Real ones are one or two deep.
pub const INDEX_DEPTH_MAX: usize = 4;
/// The most manifests that all nested indexes together may list.
pub const INDEX_ENTRIES_MAX: usize = 1000;
/// The most entries of an image archive: a layout of 128 layers has about 140, old `docker save` 3 per layer.
pub const ARCHIVE_ENTRIES_MAX: usize = 65_536;

/// A layer may always inflate to this much, whatever its blob's size: a file of zeros is no attack.
const TAR_BYTES_FREE: Bytes = Bytes(64 << 20);

/// The caller's limits on layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest uncompressed layer.
    pub tar_bytes_max: Bytes,
    /// How many times its blob an uncompressed layer may be, beyond a first 64 MiB. DEFLATE reaches 1032 on zeros and
    /// cannot exceed it, so that 1100 refuses no honest gzip layer; zstd has no such bound.
    pub inflation_max: u64,
    /// The largest zstd window, which is memory of ours for one layer at a time. Stock zstd takes 128 MiB unasked.
    pub zstd_window_bytes_max: Bytes,
}

impl Default for Limits {
    fn default() -> Self {
        Self { tar_bytes_max: Bytes::GIB.times(64), inflation_max: 1100, zstd_window_bytes_max: Bytes::MIB.times(128) }
    }
}

impl Limits {
    /// The most bytes that a blob of this size may inflate to.
    pub(crate) fn tar_bytes_of(&self, blob: Bytes) -> Bytes {
        (blob.times(self.inflation_max) + TAR_BYTES_FREE).min(self.tar_bytes_max)
    }
}
