//! What a node keeps on disk: layers, blobs, patches and references as files, and an index of them.
//!
//! Invariants, each kept by a test by name:
//! - what is served has a row in the index and a file whose length is the row's; what was acknowledged survives a crash
//!   at any step, and what was not is never served;
//! - layers, blobs and patches never change: a file gets its name only when it is whole, checked and synced;
//! - what is leased, pinned or named by an image is never evicted or removed;
//! - nothing is written beyond the budget, and nothing is evicted for something that would not fit anyway.
//!
//! Absent on purpose: a clock (the caller passes `now`), threads, async (calls block on the disk; use them from worker
//! threads), and any knowledge of what is inside a layer or a patch. docs/STORE.md has the folder and the bytes.

#![forbid(unsafe_code)]

mod blobs;
mod error;
mod folder;
mod fsck;
mod gc;
mod images;
mod index;
mod layers;
mod ledger;
mod open;
mod partials;
mod patches;
mod pins;
mod rows;
mod states;
mod steps;
mod store;
mod temporary;
#[cfg(test)]
mod tests;

pub use blobs::BLOB_BYTES_MAX;
pub use error::{Holder, Item, Result, StoreError};
pub use fsck::{Damage, Finding, FsckMode, FsckProgress, FsckReport, LayerFacts, MakeCard, Repair};
pub use gc::{GcMode, GcReport};
pub use images::{IMAGE_LAYERS_MAX, Image, RELEASE_RECORD_BYTES_MAX};
pub use index::{Batch, Change, Column, Durability, Index, IndexError, MemoryIndex, RocksIndex, SCHEMA};
pub use layers::{LayerReader, LayerWriter, SKETCH_BYTES_MAX};
pub use partials::{PartialPatch, PatchWriter};
pub use patches::{CachedPatch, PATCH_BASES_MAX, PatchKey, PatchReader};
pub use states::{STATE_BYTES_MAX, STATE_KEY_BYTES_MAX};
pub use store::{OpenReport, Options, Store, StoreStats};

/// A time of use: seconds since 1970-01-01 UTC. The caller reads the clock; the store only compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);
