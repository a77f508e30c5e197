//! The store keeps a node's layers, blobs, patches and references as files, and an index of them.
//!
//! # The order of writes
//!
//! An item is *held* when it has both a row in the index and a file of the row's length. Only a held item is served. A
//! commit writes in this order:
//!
//! 1. Reserve the bytes within the budget. Evict other items if needed.
//! 2. Allocate the disk blocks, write the bytes to a file in `partial/`, and check length and sha256.
//! 3. Sync the file, rename it to its final name, and sync the folder.
//! 4. Write the row and sync the index.
//! 5. Add the item to the ledger in memory. From here on it is held.
//!
//! A removal goes the other way: delete the row and sync the index, then remove the file. So after a crash the folder
//! may have a file without a row (not served, evicted first) or an unfinished file in `partial/` (removed on opening),
//! but never a row for bytes that were not synced. A reference is the exception: its file is written, or removed,
//! before its row, and the file is right if the two differ.
//!
//! # Invariants
//!
//! A test by name checks each of these:
//! - An acknowledged item survives a crash at any step. An item that was not acknowledged is not served, or is whole.
//! - Layers, blobs and patches never change. A file gets its name only after it is complete, checked and synced.
//! - The store never evicts or removes an item that is leased, pinned or named by an image. An old release gives way
//!   first, and only if nothing else makes the room (see `releases`). A copy of a held layer in another form loses its
//!   name in the same step (see `copies`).
//! - The store never writes beyond the budget, and evicts nothing for an item that would not fit anyway.
//!
//! Absent on purpose: a clock (the caller passes `now`), threads, async (calls block on the disk, so call them from
//! worker threads), and any knowledge of the content of a layer or a patch. docs/STORE.md describes the folder and the
//! bytes.

#![forbid(unsafe_code)]

mod blobs;
mod claims;
mod copies;
mod error;
mod folder;
mod fsck;
mod gc;
mod images;
mod index;
mod layer_parts;
mod layers;
mod ledger;
mod limits;
mod open;
mod packed;
mod packing;
mod partials;
mod patches;
mod pins;
mod records;
mod releases;
mod rows;
mod scrub;
mod spool;
mod states;
mod steps;
mod store;
mod temporary;
#[cfg(test)]
mod tests;

pub use blobs::BLOB_BYTES_MAX;
pub use claims::Claim;
pub use error::{Holder, Item, Result, StoreError};
pub use folder::is_store;
pub use fsck::{Damage, Finding, FsckMode, FsckProgress, FsckReport, LayerFacts, MakeCard, Repair};
pub use gc::{GcMode, GcReport};
pub use index::{Batch, Change, Column, Durability, Index, IndexError, MemoryIndex, RocksIndex, SCHEMA};
pub use layer_parts::LayerPartReader;
pub use layers::{LayerReader, LayerWriter, Lease};
pub use limits::{
    IMAGE_LAYERS_MAX, PATCH_BASES_MAX, RELEASE_RECORD_BYTES_MAX, SKETCH_BYTES_MAX, STATE_BYTES_MAX, STATE_KEY_BYTES_MAX,
};
pub use packing::Packing;
pub use partials::{PartialPatch, PatchWriter};
pub use patches::{CachedPatch, PatchReader};
pub use records::{GaveWay, Image, LayerCopy, PatchKey};
pub use releases::{ReleasedAt, Retention};
pub use scrub::Scrubbed;
pub use spool::Spool;
pub use store::{OpenReport, Options, Store, StoreStats};

/// A time of use: seconds since 1970-01-01 UTC. The caller reads the clock; the store only compares times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);
