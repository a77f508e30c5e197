//! The seam between the store and its index: columns of small rows, read by key, written in batches.
//!
//! The index holds nothing that cannot be rebuilt from the files, save node state (`States`) and times of last use.
//! Two implementations: [`RocksIndex`] on disk and [`MemoryIndex`] for tests, which is the stricter one.

use std::error::Error;
use std::path::PathBuf;

mod memory;
mod rocks;

pub use memory::MemoryIndex;
pub use rocks::RocksIndex;

/// The layout of rows and files that this code writes. A folder with a greater number is refused, one with a lesser is
/// taken on: 1 has no [`Column::Sketches`], and every reader of that can do without a row.
pub const SCHEMA: u32 = 2;

/// A table of the index. In docs/STORE.md: keys, rows and limits of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    /// `schema`: the layout's number.
    Meta,
    /// DiffId: what a card tells.
    Layers,
    /// DiffId: the layer's sketch, whose bytes are the caller's.
    Sketches,
    /// OciDigest: size.
    Blobs,
    /// PatchId: key, size, sha256 of the file.
    Patches,
    /// PatchId: key, size, and how much of it is on disk.
    Partials,
    /// Reference: image.
    Images,
    /// Kind and name: time of last use.
    Uses,
    /// The node's own keys and values.
    States,
}

impl Column {
    /// Every column.
    pub const ALL: [Self; 9] = [
        Self::Meta,
        Self::Layers,
        Self::Sketches,
        Self::Blobs,
        Self::Patches,
        Self::Partials,
        Self::Images,
        Self::Uses,
        Self::States,
    ];

    /// The name of its column family.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Layers => "layers",
            Self::Sketches => "sketches",
            Self::Blobs => "blobs",
            Self::Patches => "patches",
            Self::Partials => "partials",
            Self::Images => "images",
            Self::Uses => "uses",
            Self::States => "states",
        }
    }

    /// The longest key, in bytes: 32 for names, one more for their kind, 384 for a reference (255 + 1 + 128).
    pub const fn key_bytes_max(self) -> usize {
        match self {
            Self::Meta => 16,
            Self::Layers | Self::Sketches | Self::Blobs | Self::Patches | Self::Partials => 32,
            Self::Uses => 33,
            Self::Images => 384,
            Self::States => crate::STATE_KEY_BYTES_MAX,
        }
    }

    /// The longest value, in bytes.
    pub const fn value_bytes_max(self) -> usize {
        match self {
            Self::Meta => 16,
            Self::Layers | Self::Blobs | Self::Uses => 64,
            Self::Sketches => crate::SKETCH_BYTES_MAX,
            Self::Patches | Self::Partials => 4 << 10,
            Self::Images => 64 << 10,
            Self::States => crate::STATE_BYTES_MAX,
        }
    }

    /// Whether a row, once written, may only be written again with the same bytes, or deleted.
    pub const fn is_immutable(self) -> bool {
        matches!(self, Self::Layers | Self::Blobs | Self::Patches)
    }

    /// Whether every write must be on disk before it returns. Only a time of last use may be lost in a power cut.
    pub const fn demands_sync(self) -> bool {
        !matches!(self, Self::Uses)
    }
}

/// Whether a batch must survive a power cut once `write` has returned. It survives the end of the process either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The batch, and all before it, is on disk when `write` returns.
    Synced,
    /// The batch reaches the disk later.
    Lazy,
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writes a row, over one that is there.
    Put { column: Column, key: Vec<u8>, value: Vec<u8> },
    /// Deletes a row if it is there.
    Delete { column: Column, key: Vec<u8> },
}

impl Change {
    /// The column that it changes.
    pub fn column(&self) -> Column {
        match self {
            Self::Put { column, .. } | Self::Delete { column, .. } => *column,
        }
    }
}

/// Changes that happen together or not at all, in order.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    changes: Vec<Change>,
}

impl Batch {
    /// Adds a put.
    pub fn put(&mut self, column: Column, key: &[u8], value: Vec<u8>) {
        self.changes.push(Change::Put { column, key: key.to_vec(), value });
    }

    /// Adds a delete.
    pub fn delete(&mut self, column: Column, key: &[u8]) {
        self.changes.push(Change::Delete { column, key: key.to_vec() });
    }

    /// The changes, in order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }
}

/// A visitor of rows: key, value.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) + 'a;

/// Columns of small rows in key order.
pub trait Index: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// `Damaged` or `Failed`, when the disk does not give it.
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError>;

    /// Shows the rows whose key begins with `prefix`, in the order of keys (bytewise). Holds one row at a time.
    ///
    /// # Errors
    /// `Damaged` or `Failed`; the rows before the damage have been shown.
    fn scan(&self, column: Column, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), IndexError>;

    /// Makes all of the batch's changes or none.
    ///
    /// # Errors
    /// `Full` or `Failed`: none of them was made. `Refused`: our bug; only the memory index looks for it.
    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), IndexError>;
}

/// Why the index did not open, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A newer Lighter wrote this folder.
    #[error("the index {path} has schema {found}, this version reads up to {supported}")]
    NewerSchema { path: PathBuf, found: u32, supported: u32 },

    /// There are files, and no index that knows them.
    #[error("the index {path} is lost, {files} files are there without it")]
    Lost { path: PathBuf, files: u64 },

    /// The index' files, or a row, cannot be read as what they are.
    #[error("the index {path} is damaged")]
    Damaged { path: PathBuf, source: Box<dyn Error + Send + Sync> },

    /// Another process has the index open.
    #[error("the index {path} is in use by another process")]
    Busy { path: PathBuf, source: Box<dyn Error + Send + Sync> },

    /// The disk is full. The index takes writes again once there is room.
    #[error("the disk of the index {path} is full")]
    Full { path: PathBuf, source: Box<dyn Error + Send + Sync> },

    /// Any other failure of the disk.
    #[error("the index {path} failed and takes no writes until a restart")]
    Failed { path: PathBuf, source: Box<dyn Error + Send + Sync> },

    /// The memory index saw a write that breaks the rules of its column.
    #[error("a write to column {column} breaks its rules: {why}")]
    Refused { column: &'static str, why: &'static str },
}
