//! Compressed streams taken apart into content and what makes them again bit by bit.

use super::{deflate, xz};
use crate::codec::CodecError;

/// What compressed a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Deflate,
    /// LZMA2 as xz files have it.
    Xz,
}

/// A stream that was taken apart.
pub(crate) struct Apart {
    pub way: Way,
    pub plain: Vec<u8>,
    /// What beside the content makes it again.
    pub corrections: Vec<u8>,
    /// Where it begins.
    pub start: usize,
    /// The length of the stream.
    pub bytes: usize,
}

/// Takes apart the stream that `compressed` begins with: the first block of an xz file, else a deflate stream. `None` where
/// its content is over `plain_bytes_max`, and where it would not be made again exactly.
pub(crate) fn apart(compressed: &[u8], plain_bytes_max: usize) -> Option<Apart> {
    if xz::is_xz(compressed) {
        xz::apart(compressed, plain_bytes_max)
    } else {
        deflate::apart(compressed, plain_bytes_max)
    }
}

/// Makes a stream of its content and corrections.
///
/// # Errors
/// Corrections that do not belong to the content.
pub(super) fn again(way: Way, plain: &[u8], corrections: &[u8]) -> Result<Vec<u8>, CodecError> {
    let again = match way {
        Way::Deflate => deflate::again(plain, corrections),
        Way::Xz => xz::again(plain, corrections),
    };
    again.ok_or(CodecError::Damaged("corrections that do not fit their content"))
}

/// The content of the stream that `compressed` begins with, and how far that goes; `None` if it is damaged, empty, or holds
/// more than `plain_bytes_max`.
pub(crate) fn content(compressed: &[u8], plain_bytes_max: usize) -> Option<(Vec<u8>, usize)> {
    let (plain, bytes) = if xz::is_xz(compressed) {
        xz::content(compressed, plain_bytes_max).map(|block| (block.plain, block.stream.end))
    } else {
        deflate::content(compressed, plain_bytes_max)
    }?;
    (!plain.is_empty()).then_some((plain, bytes))
}
