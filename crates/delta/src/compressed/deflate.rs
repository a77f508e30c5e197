//! Deflate streams: decompressed into content and corrections, and recompressed to exactly the same bytes.
//!
//! preflate-rs finds the encoder and the level that made a stream, predicts each token from that, and keeps its wrong
//! predictions as corrections: next to nothing for zlib, GNU gzip and pigz (docs/decisions/0010-delta-codec.md). The
//! version is pinned: only the code that made corrections can read them.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use flate2::read::DeflateDecoder;
use preflate_rs::{PreflateConfig, preflate_whole_deflate_stream, recreate_whole_deflate_stream};

use super::stream::{CORRECTIONS_BYTES_MAX, Compression, Decompressed};

/// Longest chain of candidates that preflate-rs follows for each token: the same as zlib's best level.
const CHAIN_LENGTH_MAX: u32 = 4096;

/// Decompresses the deflate stream that `deflated` begins with. `None` if its content is longer than `plain_bytes_max`,
/// if the corrections are an eighth of the stream or more, or if recompressing would not give exactly the same stream.
pub fn decompress(deflated: &[u8], plain_bytes_max: usize) -> Option<Decompressed> {
    let config = PreflateConfig {
        max_chain_length: CHAIN_LENGTH_MAX,
        plain_text_limit: plain_bytes_max,
        verify_compression: false,
    };
    let (stream, plain) = guard(|| preflate_whole_deflate_stream(deflated, &config).ok())?;
    let plain = plain.text().to_vec();
    let corrections = stream.corrections;
    if plain.is_empty()
        || corrections.len() > stream.compressed_size / 8 + 16
        || corrections.len() as u64 > CORRECTIONS_BYTES_MAX
    {
        return None;
    }
    let recompressed = recompress(&plain, &corrections)?;
    let bytes = stream.compressed_size;
    let is_same = deflated.get(..bytes) == Some(&recompressed);
    is_same.then_some(Decompressed { compression: Compression::Deflate, plain, corrections, start: 0, bytes })
}

/// Recompresses a content with its corrections; `None` if the corrections belong to another content.
pub fn recompress(plain: &[u8], corrections: &[u8]) -> Option<Vec<u8>> {
    guard(|| recreate_whole_deflate_stream(plain, corrections).ok())
}

/// The content of the deflate stream that `deflated` begins with, and the stream's length. `None` if the stream is
/// damaged or its content is longer than `plain_bytes_max`.
pub fn content(deflated: &[u8], plain_bytes_max: usize) -> Option<(Vec<u8>, usize)> {
    let mut decoder = DeflateDecoder::new(deflated);
    let mut plain = Vec::new();
    decoder.by_ref().take(plain_bytes_max as u64 + 1).read_to_end(&mut plain).ok()?;
    (plain.len() <= plain_bytes_max).then(|| (plain, decoder.total_in() as usize))
}

/// The trailer of a gzip member (RFC 1952, section 2.3.1): CRC-32 and length of its content.
pub fn trailer(plain: &[u8]) -> [u8; 8] {
    let mut crc = flate2::Crc::new();
    crc.update(plain);
    let mut trailer = [0; 8];
    trailer[..4].copy_from_slice(&crc.sum().to_le_bytes());
    trailer[4..].copy_from_slice(&crc.amount().to_le_bytes());
    trailer
}

/// Runs the library. Should it index past its hostile input, that is a refusal and not a panic.
fn guard<T>(work: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok().flatten()
}
