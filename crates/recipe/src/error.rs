//! The errors of this room, and the party at fault.

use std::io;

use lighter_types::{Blame, OciDigest};

use crate::encoder::Encoder;

/// Bytes that cannot be read as a recipe.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("no recipe: the first bytes are not `LTRRCP`")]
    NoRecipe,
    #[error("recipe version {:?}; this program reads version 01", String::from_utf8_lossy(.0))]
    Version(Vec<u8>),
    #[error("a recipe of form {0}, which this program does not have")]
    Form(u8),
    #[error("a recipe for encoder class {0}, which this program does not have")]
    Class(u8),
    #[error("a recipe for {0}, which does not exist")]
    Encoder(Encoder),
    #[error("the recipe ends too soon")]
    Short,
    #[error("{0} is beyond the limit of a recipe")]
    Limit(&'static str),
    #[error("the recipe contradicts itself: {0}")]
    Contradiction(&'static str),
}

impl ReadError {
    pub fn blame(&self) -> Blame {
        match self {
            Self::Version(_) | Self::Form(_) | Self::Class(_) => Blame::Version,
            Self::NoRecipe | Self::Encoder(_) | Self::Short | Self::Limit(_) | Self::Contradiction(_) => Blame::Peer,
        }
    }
}

/// A blob that cannot be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("the tar has {found} bytes, and the recipe is for one of {expected}")]
    TarBytes { expected: u64, found: u64 },
    #[error("the recipe should have {expected} bytes behind its head, and has {found}")]
    BodyBytes { expected: u64, found: u64 },
    #[error("the recipe does not fit: the part at byte {blob_offset} of the blob has another length")]
    Length { blob_offset: u64 },
    #[error("the result is {found}, and the recipe promised {expected}")]
    Mismatch { expected: OciDigest, found: OciDigest },
    #[error("bytes {from} to {to} are not in a blob of {blob_bytes}")]
    Range { from: u64, to: u64, blob_bytes: u64 },
    #[error("cannot read the tar at byte {offset}")]
    Tar { offset: u64, source: io::Error },
    #[error("cannot read the recipe")]
    Body { source: io::Error },
    #[error("cannot write the blob")]
    Output { source: io::Error },
}

impl RebuildError {
    pub fn blame(&self) -> Blame {
        match self {
            Self::TarBytes { .. } | Self::Range { .. } => Blame::Caller,
            // A tar of the right length may still be another one: the caller knows its sha256.
            Self::BodyBytes { .. } | Self::Length { .. } | Self::Mismatch { .. } => Blame::Peer,
            Self::Tar { .. } | Self::Body { .. } | Self::Output { .. } => Blame::Machine,
        }
    }
}

/// A blob that cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    #[error("the compressed data is damaged: within the member at byte {member}, at or before byte {offset}")]
    Damaged { member: u64, offset: u64 },
    #[error("the blob ends within the member at byte {member}")]
    Short { member: u64 },
    #[error("a zstd frame has a window of more than {0} bytes")]
    Window(u64),
    #[error("the blob has more than {0} bytes of content")]
    TarLimit(u64),
    #[error("cannot read the blob at byte {offset}")]
    Blob { offset: u64, source: io::Error },
}

impl FindError {
    pub fn blame(&self) -> Blame {
        match self {
            Self::Damaged { .. } | Self::Short { .. } | Self::Window(_) | Self::TarLimit(_) => Blame::Peer,
            Self::Blob { .. } => Blame::Machine,
        }
    }
}
