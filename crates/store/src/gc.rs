//! Garbage collection removes the items that nothing needs, even when there is room. Eviction waits until room is
//! short.
//!
//! Collection removes:
//! - files without a row, and leftover files in `partial/`;
//! - partial patches whose target is held, unless a writer is open;
//! - cached patches whose target is not held, that have no lease and were not used since a given time;
//! - layers without an image, a pin or a lease that were not used since a given time;
//! - blobs that no image names and that were not used since a given time.
//!
//! The given time protects the layers that a pull has committed before it sets its reference.

use std::collections::BTreeSet;
use std::path::PathBuf;

use lighter_types::{Bytes, DiffId, PatchId};

use crate::UnixSeconds;
use crate::error::{Item, Result};
use crate::ledger::Ledger;
use crate::partials::{discard, is_leftover};
use crate::store::{Inner, Store};

/// Whether [`Store::gc`] acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GcMode {
    /// Only reports what it would remove.
    DryRun,
    /// Removes the items.
    Remove,
}

/// The items that a collection removed, or that a dry run would remove. Sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Layers, blobs and cached patches, with their sizes.
    pub items: Vec<(Item, Bytes)>,
    /// Files without a row, with their sizes.
    pub unindexed: Vec<(Item, Bytes)>,
    /// Downloads that are no longer needed, with the bytes that were reserved for them.
    pub partial_patches: Vec<(PatchId, Bytes)>,
    /// Leftover files in `partial/`, with their sizes.
    pub leftovers: Vec<(PathBuf, Bytes)>,
}

impl GcReport {
    /// All bytes that the removal frees.
    pub fn bytes(&self) -> Bytes {
        let items = self.items.iter().chain(&self.unindexed).map(|(_, bytes)| *bytes);
        let partials = self.partial_patches.iter().map(|(_, bytes)| *bytes);
        items.chain(partials).chain(self.leftovers.iter().map(|(_, bytes)| *bytes)).sum()
    }

    /// The layers among the items.
    pub fn layers(&self) -> impl Iterator<Item = DiffId> + '_ {
        self.items.iter().filter_map(|(item, _)| match item {
            Item::Layer(id) => Some(*id),
            Item::Blob(_) | Item::Patch(_) | Item::Image(_) => None,
        })
    }
}

impl Store {
    /// Removes the items that nothing needs, or reports them. Keeps layers, blobs and cached patches that were last
    /// used at `unused_since` or later. Other calls wait while files are removed.
    ///
    /// # Errors
    /// `Io`, `Index`: some items are removed, the rest are still held.
    pub fn gc(&self, mode: GcMode, unused_since: UnixSeconds) -> Result<GcReport> {
        let mut ledger = self.inner.ledger();
        let report = plan(&self.inner, &ledger, unused_since)?;
        if mode == GcMode::Remove {
            let items: Vec<Item> = report.items.iter().chain(&report.unindexed).map(|(item, _)| item.clone()).collect();
            if !items.is_empty() {
                self.inner.remove(&mut ledger, &items)?;
            }
            for (id, _) in &report.partial_patches {
                discard(&self.inner, &mut ledger, id)?;
            }
            for (path, _) in &report.leftovers {
                self.inner.folder.remove(path)?;
            }
        }
        Ok(report)
    }
}

fn plan(inner: &Inner, ledger: &Ledger, unused_since: UnixSeconds) -> Result<GcReport> {
    let mut layers = ledger.removable_layers();
    layers.retain(|(_, layer)| layer.last_used < unused_since);
    let mut kept: BTreeSet<&DiffId> = ledger.layers.keys().collect();
    for (id, _) in &layers {
        kept.remove(id);
    }

    let layers = layers.into_iter().map(|(id, layer)| (Item::Layer(*id), layer.file_bytes));
    let blobs = ledger
        .blobs
        .iter()
        .filter(|(digest, blob)| ledger.blob_holder(digest).is_none() && blob.last_used < unused_since)
        .map(|(digest, blob)| (Item::Blob(*digest), blob.bytes));
    let patches = ledger
        .patches
        .iter()
        .filter(|(_, patch)| patch.leases == 0 && !kept.contains(&patch.key.target) && patch.last_used < unused_since)
        .map(|(id, patch)| (Item::Patch(*id), patch.bytes));
    let partial_patches = ledger
        .partials
        .iter()
        .filter(|(_, partial)| !partial.is_open && kept.contains(&partial.key.target))
        .map(|(id, partial)| (*id, partial.reserved_bytes))
        .collect();
    let items = layers.chain(blobs).chain(patches).collect();
    let unindexed = ledger.unindexed.iter().map(|(item, bytes)| (item.clone(), *bytes)).collect();
    let mut leftovers = Vec::new();
    for path in inner.folder.list(&inner.folder.partial())? {
        if is_leftover(ledger, &path) {
            let metadata = path.metadata().map_err(|error| inner.folder.failure("inspect", &path, error))?;
            leftovers.push((path, Bytes(metadata.len())));
        }
    }
    Ok(GcReport { items, unindexed, partial_patches, leftovers })
}
