//! The errors of encoding and applying, and who is to blame.

use std::io;

use lighter_types::{Blake3, Blame, Bytes, DiffId};

use crate::codec::CodecId;
use crate::limits::{FRAMES_MAX, VERSION};

/// Why a target could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The progress callback said to stop.
    #[error("encoding was cancelled")]
    Cancelled,
    /// More bases than a header has room for.
    #[error("{found} bases; a patch has at most {}", lighter_types::BASES_MAX)]
    TooManyBases { found: usize },
    /// The same layer twice among the bases.
    #[error("the base {0} is named twice")]
    RepeatedBase(DiffId),
    /// A setting outside its range.
    #[error("the setting {name} is {found}; it must be {expected}")]
    Setting { name: &'static str, expected: &'static str, found: u64 },
    /// The target needs more frames than a header has room for (64 GiB of incompressible bytes, or 1 TiB).
    #[error("the target of {target_bytes} needs more than {} frames", FRAMES_MAX)]
    TooLong { target_bytes: Bytes },
    /// The header has no such frame.
    #[error("there is no frame {frame}; the patch has {frames}")]
    NoFrame { frame: u32, frames: usize },
    /// A layer could not be read.
    #[error("cannot read layer {layer} at byte {offset}")]
    Read { layer: DiffId, offset: u64, source: io::Error },
    /// A payload could not be handed on.
    #[error("cannot write the patch")]
    Output(#[source] io::Error),
    /// A compressor refused its input; it never should.
    #[error("cannot compress frame at byte {target_offset} of the target")]
    Compress { target_offset: u64, source: io::Error },
}

impl EncodeError {
    /// The party at fault.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Read { .. } | Self::Output(_) | Self::Compress { .. } => Blame::Machine,
            Self::Cancelled
            | Self::TooManyBases { .. }
            | Self::RepeatedBase(_)
            | Self::Setting { .. }
            | Self::TooLong { .. }
            | Self::NoFrame { .. } => Blame::Caller,
        }
    }
}

/// Why bytes are not a header.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The bytes do not begin as a patch does.
    #[error("not a patch: it begins with {found:02x?}")]
    Magic { found: [u8; 8] },
    /// A patch of another container version.
    #[error("patch container version {found}; this program reads version {VERSION}")]
    Version { found: u16 },
    /// The bytes end before the header does, or go on after it.
    #[error("header of {expected} bytes, found {found}")]
    Length { expected: usize, found: usize },
    /// A field is outside its range, or contradicts another.
    #[error("{field} is {found}; it must be {expected}")]
    Field { field: &'static str, expected: String, found: u64 },
    /// A frame's entry is outside its range, or contradicts another field.
    #[error("{field} of frame {frame} is {found}; it must be {expected}")]
    Frame { frame: u32, field: &'static str, expected: String, found: u64 },
    /// A frame of a codec that nodes never make, in a patch that a peer's node sent.
    #[error("frame {frame} is {codec}, which nodes never make")]
    ToolsOnly { frame: u32, codec: CodecId },
    /// The stream could not be read.
    #[error("cannot read the patch's header")]
    Read(#[source] io::Error),
}

impl HeaderError {
    /// The party at fault. The sender is to blame for a stream that ends early, this machine for other errors of
    /// reading.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Version { .. } => Blame::Version,
            Self::Read(source) if source.kind() != io::ErrorKind::UnexpectedEof => Blame::Machine,
            Self::Read(_)
            | Self::Magic { .. }
            | Self::Length { .. }
            | Self::Field { .. }
            | Self::Frame { .. }
            | Self::ToolsOnly { .. } => Blame::Peer,
        }
    }
}

/// Why a frame could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The header has no such frame.
    #[error("no frame {frame}: the patch has {frames}")]
    NoSuchFrame { frame: u32, frames: u32 },
    /// The payload is longer or shorter than the header says.
    #[error("payload of frame {frame} has {found} bytes; its header says {expected}")]
    PayloadLength { frame: u32, expected: u32, found: usize },
    /// The payload is not the one that the header names.
    #[error("payload of frame {frame} hashes to {found}; its header says {expected}")]
    PayloadHash { frame: u32, expected: Blake3, found: Blake3 },
    /// The payload is what the header names, and nonsense: whoever made the patch lied.
    #[error("frame {frame} ({codec}): {what}")]
    Damaged { frame: u32, codec: CodecId, what: &'static str },
    /// A codec of a later build.
    #[error("frame {frame} needs {codec}, which this program does not have")]
    CodecUnsupported { frame: u32, codec: CodecId },
    /// Not one reader for each base of the header, in its order.
    #[error("{found} bases given; the patch has {expected}")]
    BaseCount { expected: usize, found: usize },
    /// The layer held here has another length than the encoder's.
    #[error("base {diff_id} has {found} here; the patch was made against {expected}")]
    BaseLength { diff_id: DiffId, expected: Bytes, found: Bytes },
    /// The base could not be read.
    #[error("cannot read base {diff_id} at byte {offset}")]
    BaseRead { diff_id: DiffId, offset: u64, source: io::Error },
    /// The part of the target that was written could not be read again.
    #[error("cannot read the target again at byte {offset}")]
    TargetRead { offset: u64, source: io::Error },
    /// This machine has no memory for the frame.
    #[error("no memory for {needed} of frame {frame}")]
    Memory { frame: u32, needed: Bytes },
    /// The caller said to stop.
    #[error("frame {frame} was stopped")]
    Stopped { frame: u32 },
}

impl ApplyError {
    /// The party at fault.
    ///
    /// A base of the wrong length is this machine's fault or the peer's lie about it: look at the base's own digest to
    /// tell them apart. It is counted as this machine's here, for a node knows the true length of what it holds.
    pub fn blame(&self) -> Blame {
        match self {
            Self::PayloadLength { .. } | Self::PayloadHash { .. } | Self::Damaged { .. } => Blame::Peer,
            Self::CodecUnsupported { .. } => Blame::Version,
            Self::BaseLength { .. } | Self::BaseRead { .. } | Self::TargetRead { .. } | Self::Memory { .. } => {
                Blame::Machine
            }
            Self::NoSuchFrame { .. } | Self::BaseCount { .. } | Self::Stopped { .. } => Blame::Caller,
        }
    }
}
