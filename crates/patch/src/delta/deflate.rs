//! Deflate streams taken apart into content and corrections, and made again bit by bit.
//!
//! preflate-rs finds out which encoder and level made a stream, predicts each token from that, and keeps what it
//! predicted wrongly as corrections: next to nothing for zlib, GNU gzip and pigz (docs/decisions/0010-delta-codec.md). The version is
//! pinned, since corrections mean something only to the code that made them.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use flate2::read::DeflateDecoder;
use preflate_rs::{PreflateConfig, preflate_whole_deflate_stream, recreate_whole_deflate_stream};

use super::compressed::{Apart, Way};
use super::program::CORRECTIONS_BYTES_MAX;

/// Longest chain of candidates that taking apart follows for each token: what zlib's best level does.
const CHAIN_LENGTH_MAX: u32 = 4096;

/// Takes apart the deflate stream that `deflated` begins with. `None` where its content is over `plain_bytes_max`, where
/// the corrections are an eighth of the stream or more, and where it would not be made again exactly.
pub(super) fn apart(deflated: &[u8], plain_bytes_max: usize) -> Option<Apart> {
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
    let again = again(&plain, &corrections)?;
    let bytes = stream.compressed_size;
    (deflated.get(..bytes) == Some(&again)).then_some(Apart { way: Way::Deflate, plain, corrections, start: 0, bytes })
}

/// Makes a stream of its content and corrections; `None` where these belong to another.
pub(super) fn again(plain: &[u8], corrections: &[u8]) -> Option<Vec<u8>> {
    guard(|| recreate_whole_deflate_stream(plain, corrections).ok())
}

/// The content of the deflate stream that `deflated` begins with, and the stream's length; `None` if it is damaged or holds
/// more than `plain_bytes_max`.
pub(super) fn content(deflated: &[u8], plain_bytes_max: usize) -> Option<(Vec<u8>, usize)> {
    let mut decoder = DeflateDecoder::new(deflated);
    let mut plain = Vec::new();
    decoder.by_ref().take(plain_bytes_max as u64 + 1).read_to_end(&mut plain).ok()?;
    (plain.len() <= plain_bytes_max).then(|| (plain, decoder.total_in() as usize))
}

/// What stands behind a gzip member's stream (RFC 1952, section 2.3.1): CRC-32 and length of its content.
pub(crate) fn trailer(plain: &[u8]) -> [u8; 8] {
    let mut crc = flate2::Crc::new();
    crc.update(plain);
    let mut trailer = [0; 8];
    trailer[..4].copy_from_slice(&crc.sum().to_le_bytes());
    trailer[4..].copy_from_slice(&crc.amount().to_le_bytes());
    trailer
}

/// A library that checks its input may still index past it: that ends as a refusal, not as a panic.
fn guard<T>(work: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok().flatten()
}
