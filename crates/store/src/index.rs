//! The interface between the store and its index: columns of small rows, read by key, written in batches.
//!
//! A batch is written completely or not at all. A batch with [`Durability::Synced`] is on disk when `write` returns;
//! the store uses it for everything but times of last use. The order of the store's writes relies on this.
//!
//! `lighter store fsck --rebuild` can rebuild the index from the files, apart from node state (`States`), times of last
//! use, cached patches and downloads. There are two implementations: [`RocksIndex`] on disk, and [`MemoryIndex`] for
//! tests, which checks the rules of each column.

use std::error::Error;
use std::path::PathBuf;

use lighter_types::Blame;

mod memory;
mod rocks;

pub use memory::MemoryIndex;
pub use rocks::RocksIndex;

/// The version of the layout of rows and files. The store refuses a folder with a greater number and upgrades one with
/// a smaller number. Schema 1 has no [`Column::Sketches`]; all readers of that column accept a missing row. Schema 2
/// has no packed layers.
pub const SCHEMA: u32 = 3;

/// A table of the index. docs/STORE.md lists the keys, rows and limits of each. The comments below give key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    /// `schema`: the version of the layout.
    Meta,
    /// DiffId: the layer's card.
    Layers,
    /// DiffId: the layer's sketch, which the store does not interpret.
    Sketches,
    /// OciDigest: size.
    Blobs,
    /// PatchId: key, size, sha256 of the file.
    Patches,
    /// PatchId: key, size, and number of synced bytes.
    Partials,
    /// Reference: image.
    Images,
    /// Kind and id of an item: time of last use.
    Uses,
    /// Keys and values of the node.
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

    /// The name of the column family in RocksDB.
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

    /// The longest key in bytes: 32 for an id, 33 for a kind and an id, 384 for a reference (255 + 1 + 128).
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

    /// Whether a written row may only be deleted, or written again with the same bytes.
    pub const fn is_immutable(self) -> bool {
        matches!(self, Self::Blobs | Self::Patches)
    }

    /// Whether every write must be synced. A power cut may lose times of last use only.
    pub const fn demands_sync(self) -> bool {
        !matches!(self, Self::Uses)
    }
}

/// Whether a batch survives a power cut after `write` has returned. It survives the end of the process in both cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The batch and all earlier batches are on disk when `write` returns.
    Synced,
    /// The batch reaches the disk later.
    Lazy,
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writes a row, and replaces an existing one.
    Put { column: Column, key: Vec<u8>, value: Vec<u8> },
    /// Deletes a row if it exists.
    Delete { column: Column, key: Vec<u8> },
}

impl Change {
    /// The changed column.
    pub fn column(&self) -> Column {
        match self {
            Self::Put { column, .. } | Self::Delete { column, .. } => *column,
        }
    }
}

/// Changes that are written in order, and all or none of them.
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
    /// `Damaged` or `Failed` when the disk cannot read it.
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError>;

    /// Visits the rows whose key begins with `prefix`, in bytewise order of the keys. Holds one row in memory at a
    /// time.
    ///
    /// # Errors
    /// `Damaged` or `Failed`, after visiting the rows before the damage.
    fn scan(&self, column: Column, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), IndexError>;

    /// Writes all changes of the batch or none.
    ///
    /// # Errors
    /// `Full` or `Failed`: no change was written. `Refused`: a bug of this program, which only the memory index
    /// detects.
    fn write(&self, batch: &Batch, durability: Durability) -> Result<(), IndexError>;
}

/// The reason why an operation of the index failed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A newer version of Lighter wrote this folder.
    #[error("the index {path} has schema {found}, this program reads up to {supported}")]
    NewerSchema { path: PathBuf, found: u32, supported: u32 },

    /// The folder has files but no index of them.
    #[error("the index {path} is lost, {files} files are there without it")]
    Lost { path: PathBuf, files: u64 },

    /// The files of the index, or one of its rows, cannot be decoded.
    #[error("the index {path} is damaged")]
    Damaged { path: PathBuf, source: Box<dyn Error + Send + Sync> },

    /// Another process has the index open.
    #[error("the index {path} is in use by another process")]
    Busy { path: PathBuf, source: Box<dyn Error + Send + Sync> },

    /// The disk is full. The index accepts writes again when there is room.
    #[error("the disk of the index {path} is full")]
    Full { path: PathBuf, source: Box<dyn Error + Send + Sync> },

    /// Any other failure of the disk.
    #[error("the index {path} failed and takes no writes until a restart")]
    Failed { path: PathBuf, source: Box<dyn Error + Send + Sync> },

    /// A write breaks the rules of its column.
    #[error("a write to column {column} breaks its rules: {why}")]
    Refused { column: &'static str, why: &'static str },
}

impl IndexError {
    /// The party at fault.
    pub fn blame(&self) -> Blame {
        match self {
            Self::NewerSchema { .. }
            | Self::Lost { .. }
            | Self::Damaged { .. }
            | Self::Busy { .. }
            | Self::Full { .. }
            | Self::Failed { .. } => Blame::Machine,
            Self::Refused { .. } => Blame::Bug,
        }
    }
}
