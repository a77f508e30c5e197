//! The lengths of a program's steps, before any is done.

use super::MATERIAL_BYTES_MAX;
use crate::compressed::Compression;
use crate::error::CodecError;
use crate::program::{Program, Step};

/// Whether the program has streams of xz.
pub(super) fn has_xz(program: &Program) -> bool {
    program.steps.iter().any(|step| matches!(step, Step::Stream { compression: Compression::Xz, .. }))
}

/// Checks the lengths of all steps before any is done. Returns how many bytes the steps make beside copies.
pub(super) fn check(program: &Program, target_bytes: u64) -> Result<u64, CodecError> {
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
    if material > MATERIAL_BYTES_MAX {
        return Err("more decoded bytes than allowed".into());
    }
    if copied > target_bytes {
        return Err("more copied bytes than the range has".into());
    }
    Ok(material)
}
