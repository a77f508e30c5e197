//! zstd in two forms. A frame (RFC 8878) by itself, with its content size and without checksum and dictionary. And the
//! blocks of new bytes behind a prefix: of a frame whose content is the prefix and then the bytes, only the blocks of
//! the bytes.
//!
//! The C library encodes layers of this machine; ruzstd decodes. A decoder refuses a window over [`WINDOW_BYTES_MAX`]
//! before it allocates anything for it.

use std::io::{self, Cursor, Read};

use ruzstd::decoding::StreamingDecoder;
use zstd::zstd_safe::{self, CParameter};

use crate::error::CodecError;

/// Largest window that a decoder accepts.
pub const WINDOW_BYTES_MAX: u64 = 16 << 20;

/// 2^23 = 8 MiB: zstd's own choice at level 19, and a decoder's recommended minimum (RFC 8878, section 3.1.1.1.2).
const WINDOW_LOG_MAX: u32 = 23;

/// Compresses `target` as one frame.
///
/// # Errors
/// The library refuses its input.
pub fn encode(target: &[u8], level: u8) -> io::Result<Vec<u8>> {
    compress(target, level).map_err(|code| io::Error::other(zstd_safe::get_error_name(code)))
}

/// About how many bytes `bytes` compress to, by the fastest level. For choices that a wrong estimate only makes worse.
pub fn estimate(bytes: &[u8]) -> usize {
    compress(bytes, 1).map_or(bytes.len(), |compressed| compressed.len().min(bytes.len()))
}

/// Compresses `bytes` as the blocks that follow `prefix` in a frame.
///
/// # Errors
/// The library refuses its input.
pub fn encode_behind(prefix: &[u8], bytes: &[u8], level: u8) -> io::Result<Vec<u8>> {
    let mut frame =
        compress_behind(prefix, bytes, level).map_err(|code| io::Error::other(zstd_safe::get_error_name(code)))?;
    frame.drain(..OWN_HEADER_BYTES);
    Ok(frame)
}

/// Decodes the blocks of `bytes` bytes behind `prefix`, and appends the bytes. The decoder is given a frame whose first
/// blocks are stored (section 3.1.1.2) and hold the prefix.
///
/// # Errors
/// Damaged blocks, or blocks of another length.
pub fn decode_behind(prefix: &[u8], blocks: &[u8], bytes: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let content = u32::try_from(prefix.len() + bytes).map_err(|_| "more new bytes than allowed")?;
    let mut header = MAGIC.to_vec();
    header.push(CONTENT_SIZE_OF_FOUR_BYTES | SINGLE_SEGMENT);
    header.extend(content.to_le_bytes());
    let mut front: Box<dyn Read> = Box::new(Cursor::new(header));
    for part in prefix.chunks(STORED_BLOCK_BYTES) {
        let [low, middle, high, _] = ((part.len() as u32) << 3).to_le_bytes();
        front = Box::new(front.chain(Cursor::new([low, middle, high])).chain(part));
    }
    decode_part(front, blocks, prefix.len(), bytes, out)
}

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bits of a frame's descriptor (section 3.1.1.1.1).
const SINGLE_SEGMENT: u8 = 1 << 5;
const CONTENT_SIZE_OF_FOUR_BYTES: u8 = 2 << 6;
/// The encoder's header before the blocks, without the content's size: magic, descriptor, window.
const OWN_HEADER_BYTES: usize = 6;
/// Within any block's maximum (section 3.1.1.2.4), as the window is the whole frame.
const STORED_BLOCK_BYTES: usize = 128 << 10;

fn compress_behind(prefix: &[u8], bytes: &[u8], level: u8) -> Result<Vec<u8>, zstd_safe::ErrorCode> {
    let mut context = context(level)?;
    context.set_parameter(CParameter::ContentSizeFlag(false))?;
    context.ref_prefix(prefix)?;
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()));
    context.compress2(&mut out, bytes)?;
    Ok(out)
}

fn compress(target: &[u8], level: u8) -> Result<Vec<u8>, zstd_safe::ErrorCode> {
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(target.len()));
    context(level)?.compress2(&mut out, target)?;
    Ok(out)
}

fn context<'a>(level: u8) -> Result<zstd_safe::CCtx<'a>, zstd_safe::ErrorCode> {
    let mut context = zstd_safe::CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(level.into()))?;
    // Levels from 20 on would take a larger window.
    if level >= 20 {
        context.set_parameter(CParameter::WindowLog(WINDOW_LOG_MAX))?;
    }
    Ok(context)
}

/// Decodes one frame of `target_bytes` bytes, and appends them.
///
/// # Errors
/// A damaged frame, a frame of another length, bytes behind the frame.
pub fn decode(payload: &[u8], target_bytes: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    decode_part(io::empty(), payload, 0, target_bytes, out)
}

/// Decodes a frame of `before` and then `target_bytes` bytes, and appends the second part. `front` and `payload`
/// together are the frame.
fn decode_part(
    front: impl Read,
    mut payload: &[u8],
    before: usize,
    target_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    let start = out.len();
    let window_max = WINDOW_BYTES_MAX;
    let mut decoder = StreamingDecoder::new_with_max_window_size(front.chain(&mut payload), window_max)
        .map_err(|_| "a zstd frame that does not begin as one, or with too large a window")?;
    let damaged = |_| "a damaged zstd frame";
    io::copy(&mut decoder.by_ref().take(before as u64), &mut io::sink()).map_err(damaged)?;
    decoder.by_ref().take(target_bytes as u64).read_to_end(out).map_err(damaged)?;
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
