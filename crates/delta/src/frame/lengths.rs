//! The lengths of a program's steps, before any is done.

use super::{LARGE_BYTES_MAX, MATERIAL_BYTES_MAX};
use crate::compressed::{Compression, lz4};
use crate::error::CodecError;
use crate::payload::{TIER_LZ4, TIER_XZ};
use crate::program::{Program, Step};

/// The flags of the tier that tell of the program's streams.
pub(super) fn stream_flags(program: &Program) -> u8 {
    let of_step = |step: &Step| match step {
        Step::Stream { compression: Compression::Xz, .. } => TIER_XZ,
        Step::Stream { compression: Compression::Lz4, .. } => TIER_LZ4,
        Step::Stream { compression: Compression::Deflate, .. }
        | Step::Copy { .. }
        | Step::Match { .. }
        | Step::New { .. }
        | Step::Raw { .. }
        | Step::Header { .. }
        | Step::NewHeader
        | Step::Trailer => 0,
    };
    program.steps.iter().map(of_step).fold(0, |flags, flag| flags | flag)
}

/// Most bytes of a frame with such streams that are not copied from a base, and most bytes of its inflated sources.
pub(super) fn material_bytes_max(stream_flags: u8) -> u64 {
    if stream_flags & TIER_LZ4 == 0 { MATERIAL_BYTES_MAX } else { LARGE_BYTES_MAX }
}

/// The room for the `material` bytes that [`check`] returned, and for the longest streams of LZ4 that they can become:
/// a buffer that grows is there twice while it moves.
pub(super) fn room(program: &Program, material: u64) -> usize {
    let of_step = |step: &Step| match step {
        Step::Stream { compression: Compression::Lz4, plain_bytes, .. } => lz4::block_bytes_max(*plain_bytes),
        Step::Stream { compression: Compression::Deflate | Compression::Xz, .. }
        | Step::Copy { .. }
        | Step::Match { .. }
        | Step::New { .. }
        | Step::Raw { .. }
        | Step::Header { .. }
        | Step::NewHeader
        | Step::Trailer => 0,
    };
    let bytes = program.steps.iter().map(of_step).fold(material, u64::saturating_add);
    bytes.min(3 * MATERIAL_BYTES_MAX) as usize
}

/// Checks the lengths of all steps before any is done. Returns how many bytes the steps make beside copies: at most
/// `bytes_max`.
pub(super) fn check(program: &Program, target_bytes: u64, bytes_max: u64) -> Result<u64, CodecError> {
    let (mut material, mut copied, mut plain_left) = (0u64, 0u64, 0u64);
    for step in &program.steps {
        let bytes = step.bytes();
        match step {
            Step::Stream { .. } if plain_left > 0 => return Err("a stream within another".into()),
            Step::Stream { plain_bytes, .. } => plain_left = *plain_bytes,
            Step::Trailer if plain_left > 0 => return Err("a trailer within a stream".into()),
            _ if plain_left > 0 => {
                plain_left = plain_left.checked_sub(bytes).ok_or("a step across the end of a stream")?;
                material = material.saturating_add(bytes);
            }
            Step::Copy { .. } => copied = copied.saturating_add(bytes),
            Step::Match { .. }
            | Step::New { .. }
            | Step::Raw { .. }
            | Step::Header { .. }
            | Step::NewHeader
            | Step::Trailer => material = material.saturating_add(bytes),
        }
    }
    if plain_left > 0 {
        return Err("a stream without its end".into());
    }
    if material > bytes_max {
        return Err("more decoded bytes than allowed".into());
    }
    if copied > target_bytes {
        return Err("more copied bytes than the range has".into());
    }
    Ok(material)
}
