//! Compressed streams: decompressed into content and corrections, and recompressed to exactly the same bytes.
//!
//! A stream is the first block of an xz file if it begins as one, else a deflate stream.

pub mod deflate;
mod stream;
pub mod xz;

pub use stream::{CORRECTIONS_BYTES_MAX, Compression, Decompressed};

use crate::error::CodecError;

/// Decompresses the stream that `compressed` begins with. `None` if its content is longer than `plain_bytes_max`, or if
/// recompressing would not give exactly the same stream.
pub fn decompress(compressed: &[u8], plain_bytes_max: usize) -> Option<Decompressed> {
    if xz::is_xz(compressed) {
        xz::decompress(compressed, plain_bytes_max)
    } else {
        deflate::decompress(compressed, plain_bytes_max)
    }
}

/// Recompresses a content with its corrections.
///
/// # Errors
/// The corrections do not belong to the content.
pub fn recompress(compression: Compression, plain: &[u8], corrections: &[u8]) -> Result<Vec<u8>, CodecError> {
    let stream = match compression {
        Compression::Deflate => deflate::recompress(plain, corrections),
        Compression::Xz => xz::recompress(plain, corrections),
    };
    stream.ok_or(CodecError::Damaged("corrections that do not fit their content"))
}

/// How much longer it takes to recompress a byte of content than to decode a byte.
pub fn recompress_work(compression: Compression) -> u64 {
    match compression {
        Compression::Deflate => 6,
        Compression::Xz => 100,
    }
}

/// The content of the stream that `compressed` begins with, and the length of the stream. `None` if the stream is
/// damaged or empty, or if its content is longer than `plain_bytes_max`.
pub fn content(compressed: &[u8], plain_bytes_max: usize) -> Option<(Vec<u8>, usize)> {
    let (plain, bytes) = if xz::is_xz(compressed) {
        xz::content(compressed, plain_bytes_max).map(|block| (block.plain, block.stream.end))
    } else {
        deflate::content(compressed, plain_bytes_max)
    }?;
    (!plain.is_empty()).then_some((plain, bytes))
}
