//! The codecs, each in its own file, and the one match that finds them.
//!
//! A codec turns one frame's range of the target into a payload and back. Encoders see our own layers. Decoders see
//! bytes from the network, whose blake3 is right and whose maker may lie: they append at most the frame's length,
//! allocate within their stated caps and never panic. A new codec is a number in [`CodecId`], a file here and an arm
//! in [`decode`].

mod section;
mod stored;
mod vcdiff;

use std::ops::Range;

use lighter_delta::{CodecError, Rebuilt, zstd};
use lighter_types::{Bytes, ReadAt};

use crate::CodecId;

pub(crate) use self::stored::encode as encode_stored;
pub(crate) use self::vcdiff::{COPIES_MAX, Copies, decode_copies, encode as encode_vcdiff};

/// Decodes a payload into the target's bytes at `range`. `bases` are those of the patch from the frame's own on.
pub(crate) fn decode(
    codec: CodecId,
    payload: &[u8],
    range: Range<u64>,
    bases: &[&dyn ReadAt],
) -> Result<Rebuilt, CodecError> {
    if codec == CodecId::DELTA {
        return lighter_delta::decode(payload, range, bases);
    }
    let target_bytes = (range.end - range.start) as usize;
    let mut out = Vec::new();
    let needed = Bytes(target_bytes as u64);
    out.try_reserve_exact(target_bytes).map_err(|_| CodecError::Memory { needed })?;
    match (codec, bases.first()) {
        (CodecId::STORED, _) => stored::decode(payload, target_bytes, &mut out),
        (CodecId::ZSTD, _) => zstd::decode(payload, target_bytes, &mut out),
        (CodecId::VCDIFF, Some(base)) => vcdiff::decode(payload, target_bytes, *base, &mut out),
        (CodecId::VCDIFF, None) => Err("no base".into()),
        _ => Err(CodecError::Unsupported),
    }?;
    Ok(Rebuilt::of(out))
}
