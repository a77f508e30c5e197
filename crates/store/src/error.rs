//! What can go wrong in the store: what it concerns, and who is to blame. Texts are lower-case fragments that do not
//! repeat their source; hints beyond one clause belong to the cli.

use std::fmt;
use std::io;
use std::path::PathBuf;

use lighter_types::{Blame, Bytes, DiffId, ImageReference, OciDigest, PatchId};

use crate::index::IndexError;

/// A thing that the store keeps in a file of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// A layer's uncompressed tar.
    Layer(DiffId),
    /// A manifest or a config.
    Blob(OciDigest),
    /// A cached patch, or the part of one that has arrived.
    Patch(PatchId),
    /// What a reference names.
    Image(ImageReference),
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(id) => write!(f, "layer {id}"),
            Self::Blob(digest) => write!(f, "blob {digest}"),
            Self::Patch(id) => write!(f, "patch {id}"),
            Self::Image(reference) => write!(f, "image {reference}"),
        }
    }
}

/// What keeps an item from being removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A reader or a writer that is still open in this process.
    Lease,
    /// The operator pinned it.
    Pin,
    /// An image names it.
    Image(ImageReference),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease => f.write_str("a transfer that is under way"),
            Self::Pin => f.write_str("an operator's pin"),
            Self::Image(reference) => write!(f, "image {reference}"),
        }
    }
}

/// Why the store did not do what it was asked. Unless it says otherwise, nothing that was held is lost.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused an operation.
    #[error("cannot {action} {path}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    /// The disk has no room, whatever the budget says. Nothing was evicted in vain.
    #[error("the disk of {path} is full: {needed} wanted, {free} free; free some space, or lower the store's budget")]
    DiskFull { path: PathBuf, needed: Bytes, free: Bytes },

    /// The budget has no room, even with everything evicted that may be. Nothing was evicted.
    #[error(
        "no room for {needed}: {available} of the store's budget of {budget} can be had; \
         raise the budget, remove images or unpin layers"
    )]
    BudgetFull { needed: Bytes, available: Bytes, budget: Bytes },

    /// The bytes, or what was told of them, are not those of the name.
    #[error("{item}: {what} is {found}, expected {expected}")]
    Mismatch { item: Item, what: &'static str, expected: String, found: String },

    /// A value is over a fixed limit.
    #[error("{found} {what}, at most {max} are taken")]
    OverLimit { what: &'static str, found: u64, max: u64 },

    /// The item is leased, pinned or named by an image.
    #[error("{item} is in use by {by}")]
    InUse { item: Item, by: Holder },

    /// The item is not in the store.
    #[error("{item} is not held")]
    NotHeld { item: Item },

    /// A file is not what the index says. It is not served.
    #[error("{path} is damaged: {why}")]
    Damaged { path: PathBuf, why: String },

    /// Another process, or another `Store` of this one, has the folder open.
    #[error("the data folder {path} is in use by {by}")]
    FolderInUse { path: PathBuf, by: String },

    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl StoreError {
    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Io { .. } | Self::DiskFull { .. } | Self::BudgetFull { .. } => Blame::Machine,
            Self::Damaged { .. } | Self::FolderInUse { .. } => Blame::Machine,
            Self::Mismatch { .. } => Blame::Peer,
            Self::OverLimit { .. } | Self::InUse { .. } | Self::NotHeld { .. } => Blame::Caller,
            Self::Index(IndexError::Refused { .. }) => Blame::Bug,
            Self::Index(_) => Blame::Machine,
        }
    }

    /// The store's error inside an [`io::Error`] that a writer of the store returned, or the error itself.
    ///
    /// # Errors
    /// Gives the [`io::Error`] back if it did not come from the store.
    pub fn from_io(error: io::Error) -> Result<Self, io::Error> {
        error.downcast()
    }
}

/// What the store's operations return.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
