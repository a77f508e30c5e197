//! The limits on images. An import refuses a size over its limit before it allocates memory or disk for it.

use lighter_types::Bytes;

/// The largest manifest, index or config. Registries must accept "at least 4 megabytes" and refuse more (OCI
/// distribution spec, "Pushing manifests").
pub const DOCUMENT_BYTES_MAX: Bytes = Bytes(4 << 20);
/// The most layers of an image. overlayfs, and so Docker, can mount 128.
pub const LAYERS_MAX: usize = 128;
/// The deepest nesting of indexes. Real indexes nest one or two deep.
pub const INDEX_DEPTH_MAX: usize = 4;
/// The most manifests in all nested indexes together.
pub const INDEX_ENTRIES_MAX: usize = 1000;
/// The most entries of an image archive. A layout of 128 layers has about 140 entries. An old `docker save` archive has
/// 3 for each layer.
pub const ARCHIVE_ENTRIES_MAX: usize = 65_536;

/// The size to which a layer may inflate for any size of its blob, because a file of zeros is no attack.
const TAR_BYTES_FREE: Bytes = Bytes(64 << 20);

/// The caller's limits on layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest uncompressed layer.
    pub tar_bytes_max: Bytes,
    /// The largest ratio of an uncompressed layer to its blob, beyond the first 64 MiB. DEFLATE cannot exceed 1032,
    /// which it reaches on zeros, so 1100 refuses no honest gzip layer. zstd has no such bound.
    pub inflation_max: u64,
    /// The largest window of zstd. The node needs this memory for one layer at a time. Stock zstd accepts 128 MiB by
    /// default.
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
