//! The caps of what one row of the index or one file holds.

/// The longest sketch that the store keeps. A sketch has at most 1,227 bytes (docs/PREDICTION.md).
pub const SKETCH_BYTES_MAX: usize = 2 << 10;
/// The longest key of the node's state.
pub const STATE_KEY_BYTES_MAX: usize = 256;
/// The longest value of the node's state.
pub const STATE_BYTES_MAX: usize = 64 << 10;
/// The most layers of one image. Other tools allow 127.
pub const IMAGE_LAYERS_MAX: usize = 1024;
/// The longest release record.
pub const RELEASE_RECORD_BYTES_MAX: usize = 8 << 10;
/// The most bases of a cached patch.
pub const PATCH_BASES_MAX: usize = 64;
