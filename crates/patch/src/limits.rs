//! Limits of a patch: what its header can hold, and what one frame can.

/// Most frames of a patch: 64 GiB of incompressible target, or 1 TiB of a compressible one.
pub const FRAMES_MAX: usize = 1 << 16;
/// Longest payload of a frame. This is the most that a lost peer costs.
pub const FRAME_PAYLOAD_BYTES_MAX: u32 = lighter_delta::PAYLOAD_BYTES_MAX;
/// Longest range of the target that a frame of codecs 0 to 2 rebuilds. The range is held in memory.
pub const FRAME_TARGET_BYTES_MAX: u32 = 16 << 20;
/// Longest range of the target that a delta frame rebuilds. Its copies are not held in memory.
pub const DELTA_TARGET_BYTES_MAX: u32 = lighter_delta::TARGET_BYTES_MAX;
