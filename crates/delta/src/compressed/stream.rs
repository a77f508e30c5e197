//! A compressed stream and the content that was decompressed from it.

/// Longest corrections of a stream.
pub const CORRECTIONS_BYTES_MAX: u64 = 1 << 20;

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Deflate,
    /// LZMA2 in an xz file.
    Xz,
    /// An LZ4 block in a fatbin.
    Lz4,
}

/// A decompressed stream, with all that makes exactly the same stream again.
pub struct Decompressed {
    pub compression: Compression,
    pub plain: Vec<u8>,
    /// The encoder needs these beside the content to write the same stream.
    pub corrections: Vec<u8>,
    /// Where the stream begins.
    pub start: usize,
    /// The length of the stream.
    pub bytes: usize,
}
