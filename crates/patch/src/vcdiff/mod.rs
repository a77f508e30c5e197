//! The standard delta format VCDIFF (RFC 3284), as the stock xdelta3 tool reads and writes it.
//!
//! [`decode_vcdiff`] applies a file without secondary compression (`xdelta3 -S none`), with the default code table,
//! with or without an application header and Adler-32 checksums, with source and target windows. [`export_vcdiff`] writes
//! a patch as such a file. The container of our own patches is another: see [`crate::Header`].

mod code_table;
mod decode;
mod export;
mod file;
mod window;
mod write;

use std::io;

use lighter_types::{Blame, Bytes};

pub use self::decode::{Limits, decode_vcdiff};
pub use self::export::export_vcdiff;

use crate::{ApplyError, CodecId};

pub(crate) use self::file::FileReader;
pub(crate) use self::window::{Instruction, Origin, Window};

/// Why a VCDIFF file could not be decoded or written.
#[derive(Debug, thiserror::Error)]
pub enum VcdiffError {
    /// The file does not begin as VCDIFF version 0 does.
    #[error("not a VCDIFF file: it begins with {found:02x?}")]
    Magic { found: [u8; 4] },
    /// A part of the standard that is not read here.
    #[error("the VCDIFF file uses {feature}, which is not supported; {hint}")]
    Unsupported { feature: &'static str, hint: &'static str },
    /// The file contradicts itself, the standard or the base.
    #[error("VCDIFF window {window}: {what}")]
    Damaged { window: u64, what: &'static str },
    /// The file asks for more than the limits allow.
    #[error("VCDIFF window {window}: {what} of {found}; the limit is {limit}")]
    Limit { window: u64, what: &'static str, found: Bytes, limit: Bytes },
    /// A window does not have the Adler-32 checksum that the file states: another base, or a damaged file.
    #[error("VCDIFF window {window}: checksum {found:08x}, expected {expected:08x}; is this the right base?")]
    Checksum { window: u64, expected: u32, found: u32 },
    /// The file ended early or could not be read.
    #[error("cannot read the VCDIFF file")]
    Input(#[source] io::Error),
    /// The base could not be read.
    #[error("cannot read the base at byte {offset}")]
    Base { offset: u64, source: io::Error },
    /// The result could not be written.
    #[error("cannot write the result")]
    Output(#[source] io::Error),
    /// The patch was made with a codec that VCDIFF cannot express.
    #[error("frame {frame} is {codec}, which a VCDIFF file cannot hold")]
    NotVcdiff { frame: u32, codec: CodecId },
    /// A VCDIFF file has one source at most.
    #[error("the patch reads {found} bases; a VCDIFF file can have one")]
    SeveralBases { found: usize },
    /// A frame of the patch to be exported is not what its header says, or is nonsense.
    #[error("cannot export the patch")]
    Frame(#[source] ApplyError),
}

impl VcdiffError {
    /// Who is at fault; `Peer` stands for whoever made the file.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Unsupported { .. } => Blame::Version,
            Self::SeveralBases { .. } | Self::NotVcdiff { .. } => Blame::Caller,
            Self::Input(source) if source.kind() == io::ErrorKind::UnexpectedEof => Blame::Peer,
            Self::Input(_) | Self::Base { .. } | Self::Output(_) => Blame::Machine,
            Self::Frame(error) => error.blame(),
            Self::Magic { .. } | Self::Damaged { .. } | Self::Limit { .. } | Self::Checksum { .. } => Blame::Peer,
        }
    }
}
