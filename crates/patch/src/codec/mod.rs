//! The codecs, each in its own file, and the one match that finds them.
//!
//! A codec turns one frame's range of the target into a payload and back. Encoders see our own layers. Decoders see
//! bytes from the network, whose blake3 is right and whose maker may lie: they append at most the frame's length,
//! allocate within their stated caps and never panic. A new codec is a number in [`CodecId`], a file here and an arm
//! in [`decode`].

mod section;
mod stored;
mod vcdiff;
mod zstd;

use std::io;
use std::ops::Range;

use lighter_types::Bytes;

use crate::delta::{self, Rebuilt};
use crate::{CodecId, ReadAt};

pub(crate) use self::stored::encode as encode_stored;
pub(crate) use self::vcdiff::{COPIES_MAX, Copies, Copy, decode_copies, encode as encode_vcdiff};
pub(crate) use self::zstd::{
    decode_behind as decode_zstd_behind, encode as encode_zstd, encode_behind as encode_zstd_behind,
    estimate as estimate_bytes,
};

/// Why a payload could not be decoded.
#[derive(Debug)]
pub(crate) enum CodecError {
    /// The payload is nonsense.
    Damaged(&'static str),
    /// A base could not be read: which of those given, where in it.
    Base { base: usize, offset: u64, source: io::Error },
    /// The target could not be read, when encoding.
    Target { source: io::Error },
    /// This machine has no memory for it.
    Memory { needed: Bytes },
    /// The codec's number is not known here.
    Unsupported,
}

impl From<&'static str> for CodecError {
    fn from(what: &'static str) -> Self {
        Self::Damaged(what)
    }
}

/// Decodes a payload into the target's bytes at `range`. `bases` are those of the patch from the frame's own on.
pub(crate) fn decode(
    codec: CodecId,
    payload: &[u8],
    range: Range<u64>,
    bases: &[&dyn ReadAt],
) -> Result<Rebuilt, CodecError> {
    if codec == CodecId::DELTA {
        return delta::decode(payload, range, bases);
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
