//! The errors of a VCDIFF file, and who is to blame.

use std::fmt;
use std::io;

use lighter_types::{Blame, Bytes};

/// A part of the standard, or of its extensions, that is not supported here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    OwnCodeTable,
    SecondaryCompression,
    UnknownHeaderFlag,
    UnknownWindowFlag,
    /// Copies from windows that this decoder no longer holds.
    CopiesFromFarWindows,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnCodeTable => "a code table of its own",
            Self::SecondaryCompression => "secondary compression",
            Self::UnknownHeaderFlag => "an unknown header flag",
            Self::UnknownWindowFlag => "an unknown window flag",
            Self::CopiesFromFarWindows => "copies from earlier windows of a long target",
        })
    }
}

/// Why a VCDIFF file could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum VcdiffError {
    /// The file does not begin as VCDIFF version 0 does.
    #[error("not a VCDIFF file: it begins with {found:02x?}")]
    Magic { found: [u8; 4] },
    /// The file uses a part of the standard that is not supported here.
    #[error("the VCDIFF file uses {0}, which is not supported")]
    Unsupported(Feature),
    /// The file contradicts itself, the standard or the base.
    #[error("VCDIFF window {window}: {what}")]
    Damaged { window: u64, what: &'static str },
    /// The file asks for more than the limits allow.
    #[error("VCDIFF window {window}: {what} of {found}; the limit is {limit}")]
    Limit { window: u64, what: &'static str, found: Bytes, limit: Bytes },
    /// A window does not have the Adler-32 checksum that the file states: another base, or a damaged file.
    #[error("VCDIFF window {window}: checksum {found:08x}, expected {expected:08x}")]
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
}

impl VcdiffError {
    /// The party at fault; `Peer` stands for the maker of the file.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Unsupported(_) => Blame::Version,
            Self::Input(source) if source.kind() == io::ErrorKind::UnexpectedEof => Blame::Peer,
            Self::Input(_) | Self::Base { .. } | Self::Output(_) => Blame::Machine,
            Self::Magic { .. } | Self::Damaged { .. } | Self::Limit { .. } | Self::Checksum { .. } => Blame::Peer,
        }
    }
}
