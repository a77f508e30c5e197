//! Compressed streams: decompressed into content and corrections, and recompressed to exactly the same bytes.
//!
//! A stream is the first block of an xz file if it begins as one, the LZ4 block of a fatbin's element if it begins as
//! one, else a deflate stream.

pub mod deflate;
pub mod fatbin;
pub mod lz4;
mod stream;
pub mod xz;

pub use stream::{CORRECTIONS_BYTES_MAX, Compression, Decompressed};

use crate::error::CodecError;

/// Decompresses the stream that `compressed` begins with. `None` if its content is longer than `plain_bytes_max` (of an
/// element of a fatbin, than its own limit), or if recompressing would not give exactly the same stream.
pub fn decompress(compressed: &[u8], plain_bytes_max: usize) -> Option<Decompressed> {
    if xz::is_xz(compressed) {
        xz::decompress(compressed, plain_bytes_max)
    } else if fatbin::is_compressed(compressed) {
        fatbin::decompress(compressed)
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
        Compression::Lz4 => corrections.is_empty().then(|| lz4::compress(plain)),
    };
    stream.ok_or(CodecError::Damaged("corrections that do not fit their content"))
}

/// How much longer it takes to recompress a byte of content than to decode a byte.
pub fn recompress_work(compression: Compression) -> u64 {
    match compression {
        Compression::Deflate => 6,
        Compression::Xz => 100,
        Compression::Lz4 => 2,
    }
}

/// The content of the stream that `compressed` begins with, and the length of the stream. `None` if the stream is
/// damaged or empty, or if its content is longer than `plain_bytes_max`.
pub fn content(compressed: &[u8], plain_bytes_max: usize) -> Option<(Vec<u8>, usize)> {
    let (plain, bytes) = if xz::is_xz(compressed) {
        xz::content(compressed, plain_bytes_max).map(|block| (block.plain, block.stream.end))
    } else if fatbin::is_compressed(compressed) {
        fatbin::content(compressed, plain_bytes_max).map(|(plain, start, bytes)| (plain, start + bytes))
    } else {
        deflate::content(compressed, plain_bytes_max)
    }?;
    (!plain.is_empty()).then_some((plain, bytes))
}
