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

use crate::CodecId;
use crate::base_cache::BaseCache;

pub(crate) use self::stored::encode as encode_stored;
pub(crate) use self::vcdiff::{COPIES_MAX, Copies, Copy, decode_copies, encode as encode_vcdiff};
pub(crate) use self::zstd::{encode as encode_zstd, estimate as estimate_bytes};

/// Why a payload could not be decoded.
#[derive(Debug)]
pub(crate) enum CodecError {
    /// The payload is nonsense.
    Damaged(&'static str),
    /// The base could not be read.
    Base { offset: u64, source: io::Error },
    /// The codec's number is not known here.
    Unsupported,
}

impl From<&'static str> for CodecError {
    fn from(what: &'static str) -> Self {
        Self::Damaged(what)
    }
}

/// Appends exactly `target_bytes` decoded bytes to `out`, which has the capacity for them.
pub(crate) fn decode(
    codec: CodecId,
    payload: &[u8],
    target_bytes: usize,
    base: Option<BaseCache<'_>>,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    match (codec, base) {
        (CodecId::STORED, _) => stored::decode(payload, target_bytes, out),
        (CodecId::ZSTD, _) => zstd::decode(payload, target_bytes, out),
        (CodecId::VCDIFF, Some(base)) => vcdiff::decode(payload, target_bytes, base, out),
        (CodecId::VCDIFF, None) => Err("no base".into()),
        _ => Err(CodecError::Unsupported),
    }
}
