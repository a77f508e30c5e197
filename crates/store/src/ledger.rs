//! The ledger: the store's picture of itself in memory. It lists the held items, the open writers, and the bytes that
//! count against the budget. An item takes about 300 bytes of memory.
//!
//! The ledger is pure: it reads no file and no index. A layer, blob or patch is in the ledger only while both its row
//! and its file exist.

use std::collections::{BTreeMap, BTreeSet};

use lighter_types::{Bytes, Card, DiffId, ImageReference, OciDigest, PatchId};

use crate::error::{Holder, Item, Result, StoreError};
use crate::index::Column;
use crate::{GaveWay, Image, LayerCopy, PatchKey, UnixSeconds};

pub(crate) struct HeldLayer {
    pub(crate) card: Card,
    /// The length of the file; that of the tar unless it is packed.
    pub(crate) file_bytes: Bytes,
    pub(crate) is_packed: bool,
    pub(crate) last_used: UnixSeconds,
    pub(crate) leases: u32,
}

pub(crate) struct HeldBlob {
    pub(crate) bytes: Bytes,
    pub(crate) last_used: UnixSeconds,
}

pub(crate) struct HeldPatch {
    pub(crate) key: PatchKey,
    pub(crate) bytes: Bytes,
    pub(crate) sha256: [u8; 32],
    pub(crate) last_used: UnixSeconds,
    pub(crate) leases: u32,
}

pub(crate) struct Partial {
    pub(crate) key: PatchKey,
    pub(crate) total_bytes: Bytes,
    pub(crate) synced_bytes: Bytes,
    /// The bytes that count against the budget: those synced, and those that an open writer has reserved.
    pub(crate) reserved_bytes: Bytes,
    /// Whether a writer is open.
    pub(crate) is_open: bool,
}

#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) layers: BTreeMap<DiffId, HeldLayer>,
    pub(crate) blobs: BTreeMap<OciDigest, HeldBlob>,
    pub(crate) patches: BTreeMap<PatchId, HeldPatch>,
    pub(crate) partials: BTreeMap<PatchId, Partial>,
    pub(crate) images: BTreeMap<ImageReference, Image>,
    pub(crate) pins: BTreeSet<DiffId>,
    pub(crate) image_pins: BTreeSet<ImageReference>,
    /// Files without a row, left by an interrupted commit. The store does not serve them and evicts them first.
    pub(crate) unindexed: BTreeMap<Item, Bytes>,
    /// Rows without a file of their length. The store does not serve them. It keeps them, because the file may come
    /// back with a mount.
    pub(crate) rows_without_file: BTreeSet<Item>,
    /// Keys of rows that cannot be decoded. Empty unless the store was opened for repair.
    pub(crate) unreadable_rows: Vec<(Column, Vec<u8>)>,
    /// Temporary files by number, with the bytes reserved for each.
    pub(crate) temporaries: BTreeMap<u64, Bytes>,
    pub(crate) next_temporary: u64,
    /// Layers that are no longer held although the caller did not remove them: evicted, collected or damaged.
    pub(crate) gone: BTreeSet<DiffId>,
    /// Releases that gave way and that the caller has not heard of.
    pub(crate) gave_way: Vec<GaveWay>,
    /// Layers that copy another one in another form.
    pub(crate) copies: BTreeMap<DiffId, LayerCopy>,
    /// Copies that gave way and that the caller has not heard of.
    pub(crate) copies_gone: Vec<LayerCopy>,
}

impl HeldLayer {
    /// A layer that nobody reads, whose file is its tar.
    pub(crate) fn plain(card: Card, last_used: UnixSeconds) -> Self {
        Self { card, file_bytes: card.tar_bytes, is_packed: false, last_used, leases: 0 }
    }

    /// A layer that nobody reads, in a packed file of this length.
    pub(crate) fn packed(card: Card, file_bytes: Bytes, last_used: UnixSeconds) -> Self {
        Self { card, file_bytes, is_packed: true, last_used, leases: 0 }
    }
}

impl Ledger {
    /// The bytes that count against the budget.
    pub(crate) fn used(&self) -> Bytes {
        let layers: Bytes = self.layers.values().map(|layer| layer.file_bytes).sum();
        let blobs: Bytes = self.blobs.values().map(|blob| blob.bytes).sum();
        let patches: Bytes = self.patches.values().map(|patch| patch.bytes).sum();
        let partials: Bytes = self.partials.values().map(|partial| partial.reserved_bytes).sum();
        let unindexed: Bytes = self.unindexed.values().copied().sum();
        let reserved: Bytes = self.temporaries.values().copied().sum();
        layers + blobs + patches + partials + unindexed + reserved
    }

    /// Reserves bytes for a new temporary file. Returns the number of the file.
    pub(crate) fn add_temporary(&mut self, reserved: Bytes) -> u64 {
        let number = self.next_temporary;
        self.next_temporary += 1;
        self.temporaries.insert(number, reserved);
        number
    }

    /// The layers that images name, whether they are held or not.
    pub(crate) fn image_layers(&self) -> BTreeSet<DiffId> {
        self.images.values().flat_map(|image| image.layers.iter().copied()).collect()
    }

    /// The reason why a layer may not be removed, if there is one.
    pub(crate) fn layer_holder(&self, id: &DiffId) -> Option<Holder> {
        if self.layers.get(id).is_some_and(|layer| layer.leases > 0) {
            return Some(Holder::Lease);
        }
        if self.pins.contains(id) {
            return Some(Holder::Pin);
        }
        let naming = self.images.iter().find(|(_, image)| image.layers.contains(id));
        naming.map(|(reference, _)| Holder::Image(reference.clone()))
    }

    /// An image that names a blob, if there is one.
    pub(crate) fn blob_holder(&self, digest: &OciDigest) -> Option<Holder> {
        let naming = self.images.iter().find(|(_, image)| image.manifest == *digest || image.config == *digest);
        naming.map(|(reference, _)| Holder::Image(reference.clone()))
    }

    /// The size of a held item.
    pub(crate) fn bytes(&self, item: &Item) -> Option<Bytes> {
        match item {
            Item::Layer(id) => self.layers.get(id).map(|layer| layer.file_bytes),
            Item::Blob(digest) => self.blobs.get(digest).map(|blob| blob.bytes),
            Item::Patch(id) => self.patches.get(id).map(|patch| patch.bytes),
            Item::Image(_) => None,
        }
    }

    pub(crate) fn last_use(&self) -> UnixSeconds {
        let layers = self.layers.values().map(|layer| layer.last_used);
        let blobs = self.blobs.values().map(|blob| blob.last_used);
        let patches = self.patches.values().map(|patch| patch.last_used);
        layers.chain(blobs).chain(patches).max().unwrap_or(UnixSeconds(0))
    }

    pub(crate) fn set_last_used(&mut self, item: &Item, now: UnixSeconds) -> Result<()> {
        let last_used = match item {
            Item::Layer(id) => self.layers.get_mut(id).map(|layer| &mut layer.last_used),
            Item::Blob(digest) => self.blobs.get_mut(digest).map(|blob| &mut blob.last_used),
            Item::Patch(id) => self.patches.get_mut(id).map(|patch| &mut patch.last_used),
            Item::Image(_) => None,
        };
        *last_used.ok_or_else(|| StoreError::NotHeld { item: item.clone() })? = now;
        Ok(())
    }

    /// The layers without a lease, a pin or an image, sorted by id.
    pub(crate) fn removable_layers(&self) -> Vec<(&DiffId, &HeldLayer)> {
        let named = self.image_layers();
        let mut layers: Vec<_> = self.layers.iter().collect();
        layers.retain(|(id, layer)| layer.leases == 0 && !self.pins.contains(id) && !named.contains(id));
        layers
    }

    /// The number of open readers of a held item. `None` for items that are not held, and for blobs and images, which
    /// have no leases.
    pub(crate) fn leases(&mut self, item: &Item) -> Option<&mut u32> {
        match item {
            Item::Layer(id) => self.layers.get_mut(id).map(|layer| &mut layer.leases),
            Item::Patch(id) => self.patches.get_mut(id).map(|patch| &mut patch.leases),
            Item::Blob(_) | Item::Image(_) => None,
        }
    }

    pub(crate) fn forget(&mut self, item: &Item) {
        match item {
            Item::Layer(id) => drop(self.layers.remove(id)),
            Item::Blob(digest) => drop(self.blobs.remove(digest)),
            Item::Patch(id) => drop(self.patches.remove(id)),
            Item::Image(reference) => drop(self.images.remove(reference)),
        }
        self.unindexed.remove(item);
        self.rows_without_file.remove(item);
    }

    /// The items that may be evicted, with their bytes, in this order: files without a row, cached patches without a
    /// lease, copies of other layers, layers without a lease, pin or image. The least recently used item of each kind
    /// goes first, then the smallest id.
    pub(crate) fn evictable(&self) -> impl Iterator<Item = (Item, Bytes)> {
        let unindexed = self.unindexed.iter().map(|(item, bytes)| (item.clone(), *bytes));
        let mut patches: Vec<_> = self.patches.iter().filter(|(_, patch)| patch.leases == 0).collect();
        patches.sort_by_key(|(id, patch)| (patch.last_used, **id));
        let copies = self.evictable_copies();
        let going: BTreeSet<DiffId> = copies.iter().map(|(id, _)| *id).collect();
        let mut layers = self.removable_layers();
        layers.retain(|(id, _)| !going.contains(id));
        layers.sort_by_key(|(id, layer)| (layer.last_used, **id));

        let copies = copies.into_iter().map(|(id, bytes)| (Item::Layer(id), bytes));
        let patches = patches.into_iter().map(|(id, patch)| (Item::Patch(*id), patch.bytes));
        let layers = layers.into_iter().map(|(id, layer)| (Item::Layer(*id), layer.file_bytes));
        unindexed.chain(patches).chain(copies).chain(layers)
    }
}
