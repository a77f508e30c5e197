//! The sizes of a header's parts in bytes; the table is in docs/PATCH.md.

use lighter_types::BASES_MAX;

use crate::limits::FRAMES_MAX;

/// Length of the part before the base table.
pub const FIXED_BYTES: usize = 64;
/// Length of a base's entry.
pub const BASE_BYTES: usize = 40;
/// Length of a frame's entry.
pub const FRAME_BYTES: usize = 42;
/// The number that stands for no base.
pub const NO_BASE: u8 = 0xff;

/// Longest header.
pub const HEADER_BYTES_MAX: usize = header_bytes(BASES_MAX, FRAMES_MAX);

/// Length of a header with so many bases and frames.
pub const fn header_bytes(bases: usize, frames: usize) -> usize {
    FIXED_BYTES + bases * BASE_BYTES + frames * FRAME_BYTES
}
