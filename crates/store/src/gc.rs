//! Collection: removes what nothing needs, whatever room there is. Eviction, by contrast, waits until room is short.
//!
//! What goes:
//! - files without a row, and files in `partial/` that nothing knows;
//! - partial patches whose target is held, unless a writer has them;
//! - cached patches whose target is not held, that are not leased and were not used since a given time;
//! - layers that no image names, that are not pinned and not leased, and were not used since a given time;
//! - blobs that no image names and that were not used since a given time.
//!
//! The given time protects what a pull has committed while its reference is not yet set.

use std::path::PathBuf;

use lighter_types::{Bytes, DiffId, PatchId};

use crate::UnixSeconds;
use crate::error::{Item, Result};
use crate::ledger::Ledger;
use crate::open::is_leftover;
use crate::partials::discard;
use crate::store::{Inner, Store};

/// Whether [`Store::gc`] acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GcMode {
    /// Tells what would go.
    DryRun,
    /// Removes it.
    Remove,
}

/// What went, or would go. Sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Layers, blobs and cached patches, with their sizes.
    pub items: Vec<(Item, Bytes)>,
    /// Files that were there without a row, with their sizes.
    pub unindexed: Vec<(Item, Bytes)>,
    /// Downloads that began and are no longer needed, with what was reserved for them.
    pub partial_patches: Vec<(PatchId, Bytes)>,
    /// Files in `partial/` that nothing knew, with their sizes.
    pub leftovers: Vec<(PathBuf, Bytes)>,
}

impl GcReport {
    /// All the room that this gives back.
    pub fn bytes(&self) -> Bytes {
        let items = self.items.iter().chain(&self.unindexed).map(|(_, bytes)| *bytes);
        let partials = self.partial_patches.iter().map(|(_, bytes)| *bytes);
        items.chain(partials).chain(self.leftovers.iter().map(|(_, bytes)| *bytes)).sum()
    }

    /// The layers among the items.
    pub fn layers(&self) -> impl Iterator<Item = DiffId> + '_ {
        self.items.iter().filter_map(|(item, _)| match item {
            Item::Layer(id) => Some(*id),
            _ => None,
        })
    }
}

impl Store {
    /// Removes what nothing needs (see this file's beginning), or tells what it would remove. Layers and blobs that
    /// were last used at `unused_since` or later are spared. Other calls wait for as long as files are removed.
    ///
    /// # Errors
    /// `Io`, `Index`: what was removed until then is gone, the rest is held.
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
    let named = ledger.image_layers();
    let layers = ledger.layers.iter().filter(|(id, layer)| {
        let is_kept = layer.leases > 0 || ledger.pins.contains(id) || named.contains(id);
        !is_kept && layer.last_used < unused_since
    });
    let layers: Vec<_> = layers.map(|(id, layer)| (Item::Layer(*id), layer.card.tar_bytes)).collect();
    let goes = |target: &DiffId| layers.binary_search_by(|(item, _)| item.cmp(&Item::Layer(*target))).is_ok();
    let stays = |target: &DiffId| ledger.layers.contains_key(target) && !goes(target);

    let blobs = ledger
        .blobs
        .iter()
        .filter(|(digest, blob)| ledger.blob_holder(digest).is_none() && blob.last_used < unused_since)
        .map(|(digest, blob)| (Item::Blob(*digest), blob.bytes));
    let patches = ledger
        .patches
        .iter()
        .filter(|(_, patch)| patch.leases == 0 && !stays(&patch.key.target) && patch.last_used < unused_since)
        .map(|(id, patch)| (Item::Patch(*id), patch.bytes));
    let partial_patches = ledger
        .partials
        .iter()
        .filter(|(_, partial)| !partial.is_open && stays(&partial.key.target))
        .map(|(id, partial)| (*id, partial.total_bytes))
        .collect();
    let items = layers.iter().cloned().chain(blobs).chain(patches).collect();
    let unindexed = ledger.unindexed.iter().map(|(item, bytes)| (item.clone(), *bytes)).collect();
    let mut leftovers = Vec::new();
    for path in inner.folder.list(&inner.folder.partial())? {
        if is_leftover(ledger, &path) {
            let metadata = path.metadata().map_err(|error| inner.folder.failure("look at", &path, error))?;
            leftovers.push((path, Bytes(metadata.len())));
        }
    }
    Ok(GcReport { items, unindexed, partial_patches, leftovers })
}
