//! Why a payload could not be made or decoded.

use std::io;

use lighter_types::Bytes;

/// Why a payload could not be made or decoded.
#[derive(Debug)]
pub enum CodecError {
    /// The payload is nonsense.
    Damaged(&'static str),
    /// A base could not be read: its index, and the offset in it.
    Base { base: usize, offset: u64, source: io::Error },
    /// The encoder could not read the target.
    Target { source: io::Error },
    /// This machine has no memory for it.
    Memory { needed: Bytes },
    /// This build does not know the codec, or this version of it.
    Unsupported,
    /// The caller said to stop.
    Stopped,
}

impl From<&'static str> for CodecError {
    fn from(what: &'static str) -> Self {
        Self::Damaged(what)
    }
}
