//! Limits of a frame, which the container states too.

/// Longest payload of a frame.
pub const PAYLOAD_BYTES_MAX: u32 = 1 << 20;
/// Longest range of the target that a frame rebuilds. Copies are not held in memory, so it is long.
pub const TARGET_BYTES_MAX: u32 = 1 << 30;
