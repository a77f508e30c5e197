//! The limits on images. An import refuses a size over its limit before it allocates memory or disk for it.

use lighter_types::Bytes;

/// The largest manifest, index or config. Registries must accept "at least 4 megabytes" and refuse more (OCI
/// distribution spec, "Pushing manifests").
pub const DOCUMENT_BYTES_MAX: Bytes = Bytes(4 << 20);
/// The most layers of an image. The specification has no limit; Linux's overlayfs stacks at most 500.
pub const LAYERS_MAX: usize = 512;
/// The deepest nesting of indexes. Real indexes nest one or two deep.
pub const INDEX_DEPTH_MAX: usize = 4;
/// The most manifests in all nested indexes together.
pub const INDEX_ENTRIES_MAX: usize = 10_000;
/// The most entries of an image archive, about 40 MiB of names. A layout of 500 layers has about 510 entries. An old
/// `docker save` archive has 3 for each layer.
pub const ARCHIVE_ENTRIES_MAX: usize = 262_144;

/// The caller's limits on layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest uncompressed layer. There is no limit to the ratio: zstd makes 100 MB of zeros 3 KB.
    pub tar_bytes_max: Bytes,
    /// The largest window of zstd. The node needs this memory for one layer at a time. Stock zstd accepts 128 MiB by
    /// default.
    pub zstd_window_bytes_max: Bytes,
}

impl Default for Limits {
    fn default() -> Self {
        Self { tar_bytes_max: Bytes::GIB.times(64), zstd_window_bytes_max: Bytes::MIB.times(128) }
    }
}
