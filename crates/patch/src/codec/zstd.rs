//! Codec 1: one zstd frame (RFC 8878) with its content size, without checksum and dictionary.
//!
//! Encoded by the C library (our own data), decoded by ruzstd. The window is at most the cap of a frame, and is
//! checked before anything is allocated for it.

use std::io::{self, Read};

use ruzstd::decoding::StreamingDecoder;
use zstd::zstd_safe::{self, CParameter};

use super::CodecError;
use crate::FRAME_TARGET_BYTES_MAX;

/// 2^23 = 8 MiB: zstd's own choice at level 19, and a decoder's recommended minimum (RFC 8878, section 3.1.1.1.2).
const WINDOW_LOG_MAX: u32 = 23;

pub(crate) fn encode(target: &[u8], level: u8) -> io::Result<Vec<u8>> {
    compress(target, level).map_err(|code| io::Error::other(zstd_safe::get_error_name(code)))
}

/// About what `bytes` compress to, quickly: for choosing where to cut, where a failure only cuts worse.
pub(crate) fn estimate(bytes: &[u8]) -> usize {
    compress(bytes, 1).map_or(bytes.len(), |compressed| compressed.len().min(bytes.len()))
}

fn compress(target: &[u8], level: u8) -> Result<Vec<u8>, zstd_safe::ErrorCode> {
    let mut context = zstd_safe::CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(level.into()))?;
    // A smaller window than the level's own only where the level would go above the cap: 20 and up.
    if level >= 20 {
        context.set_parameter(CParameter::WindowLog(WINDOW_LOG_MAX))?;
    }
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(target.len()));
    context.compress2(&mut out, target)?;
    Ok(out)
}

pub(crate) fn decode(mut payload: &[u8], target_bytes: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    let window_max = u64::from(FRAME_TARGET_BYTES_MAX);
    let mut decoder = StreamingDecoder::new_with_max_window_size(&mut payload, window_max)
        .map_err(|_| "a zstd frame that does not begin as one, or with too large a window")?;
    decoder.by_ref().take(target_bytes as u64).read_to_end(out).map_err(|_| "a damaged zstd frame")?;
    if out.len() - start != target_bytes {
        return Err("a zstd frame shorter than its range of the target".into());
    }
    match decoder.read(&mut [0]) {
        Ok(0) => {}
        Ok(_) => return Err("a zstd frame longer than its range of the target".into()),
        Err(_) => return Err("a damaged zstd frame".into()),
    }
    if !payload.is_empty() {
        return Err("bytes after the zstd frame".into());
    }
    Ok(())
}
