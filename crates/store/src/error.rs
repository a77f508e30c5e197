//! The errors of the store. Each error names the item or the path that it concerns, and [`StoreError::blame`] says who
//! is at fault. Texts are lower-case fragments that do not repeat their source.

use std::fmt;
use std::io;
use std::path::PathBuf;

use lighter_types::{Blame, Bytes, DiffId, ImageReference, OciDigest, PatchId};

use crate::index::IndexError;

/// A kind of content that the store keeps in a file of its own, and its id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// A layer's uncompressed tar.
    Layer(DiffId),
    /// A manifest or a config.
    Blob(OciDigest),
    /// A cached patch, or a download of one.
    Patch(PatchId),
    /// A reference and its image.
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

/// The reason why an item may not be removed.
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
            Self::Lease => f.write_str("a running transfer"),
            Self::Pin => f.write_str("an operator's pin"),
            Self::Image(reference) => write!(f, "image {reference}"),
        }
    }
}

/// The reason why an operation of the store failed. Unless a variant says otherwise, no held item is lost.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused an operation.
    #[error("cannot {action} {path}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    /// The disk has too little room, even after every possible eviction. Nothing was evicted. `free` is without
    /// [`crate::Options::disk_free_min`].
    #[error("the disk of {path} is full: {needed} needed, {free} free beyond what stays free")]
    DiskFull { path: PathBuf, needed: Bytes, free: Bytes },

    /// The budget has too little room, even after every possible eviction. Nothing was evicted.
    #[error(
        "no room for {needed}: of the store's budget of {budget}, {available} are left after all that may give way"
    )]
    BudgetFull { needed: Bytes, available: Bytes, budget: Bytes },

    /// The bytes or the card of an item do not match its id.
    #[error("{item}: {what} is {found}, expected {expected}")]
    Mismatch { item: Item, what: &'static str, expected: String, found: String },

    /// A value is over a fixed limit.
    #[error("{found} {what}, at most {max} are allowed")]
    OverLimit { what: &'static str, found: u64, max: u64 },

    /// The item is leased, pinned or named by an image.
    #[error("{item} is in use by {by}")]
    InUse { item: Item, by: Holder },

    /// The item is not in the store.
    #[error("{item} is not held")]
    NotHeld { item: Item },

    /// A file does not match its row. The store does not serve it.
    #[error("{path} is damaged: {why}")]
    Damaged { path: PathBuf, why: String },

    /// Another process, or another [`crate::Store`] of this process, has the folder open.
    #[error("the data folder {path} is in use by {by}")]
    FolderInUse { path: PathBuf, by: String },

    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl StoreError {
    /// The party at fault.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Io { .. } | Self::DiskFull { .. } | Self::BudgetFull { .. } => Blame::Machine,
            Self::Damaged { .. } | Self::FolderInUse { .. } => Blame::Machine,
            Self::Mismatch { .. } => Blame::Peer,
            Self::OverLimit { .. } | Self::InUse { .. } | Self::NotHeld { .. } => Blame::Caller,
            Self::Index(error) => error.blame(),
        }
    }

    /// Extracts the store's error from an [`io::Error`].
    ///
    /// # Errors
    /// Returns the [`io::Error`] unchanged if it does not come from the store.
    pub fn from_io(error: io::Error) -> Result<Self, io::Error> {
        error.downcast()
    }
}

/// The result of the store's operations.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
