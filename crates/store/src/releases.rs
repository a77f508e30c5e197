//! Releases that give way: the oldest releases of a repository, when everything else that may be evicted is not enough.
//!
//! A repository's releases are the images of its tags that have a release record. The newest of them stay, and so does
//! an image that the operator pinned, one that is in use, and one without a release: nothing says how old that is. The
//! rest give way, the oldest of all repositories first, and only as many as are needed.
//!
//! An image is in use while one of its layers is leased, apart from layers that an image which stays names as well: the
//! lease of a shared base layer must not keep every release that was ever built on it.
//!
//! A release gives way as [`crate::Store::remove_reference`] removes it. Then the layers go that nothing names any
//! more, one after another until there is room, and the release's manifest and config. Everything here is decided on
//! the ledger, before anything is removed: for an item that would not fit anyway, no release gives way.

use std::collections::{BTreeMap, BTreeSet};

use lighter_types::{Bytes, DiffId, ImageReference, OciDigest};

use crate::UnixSeconds;
use crate::error::Item;
use crate::ledger::Ledger;

/// The rule by which releases give way.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// `None`: no release gives way.
    newest: Option<usize>,
    released: ReleasedAt,
}

/// Reads the time of release out of a release record; `None` for an image without a release. The store does not
/// interpret the record itself.
pub type ReleasedAt = fn(&[u8]) -> Option<UnixSeconds>;

impl Retention {
    /// Every release stays.
    pub const ALL: Self = Self { newest: None, released: |_| None };

    /// The newest releases of each repository stay: at least one.
    pub fn newest(count: usize, released: ReleasedAt) -> Self {
        Self { newest: Some(count.max(1)), released }
    }
}

/// The items to evict, and the releases that give way first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Victims {
    pub(crate) releases: Vec<ImageReference>,
    pub(crate) items: Vec<Item>,
}

impl Ledger {
    /// The items to evict for `wanted` bytes: those of [`Ledger::evictable`], in their order, then the layers of
    /// releases that give way, with the manifests and configs of these.
    ///
    /// # Errors
    /// The bytes that evicting all of them would free, if they are fewer than `wanted`.
    pub(crate) fn victims(&self, wanted: Bytes, retention: &Retention) -> Result<Victims, Bytes> {
        let mut victims = Victims::default();
        let mut freed = Bytes::ZERO;
        for (item, bytes) in self.evictable() {
            if freed >= wanted {
                break;
            }
            freed += bytes;
            victims.items.push(item);
        }
        if freed >= wanted {
            return Ok(victims);
        }
        let old = self.yielding(retention);
        if old.is_empty() {
            return Err(freed);
        }
        let mut layers = BTreeSet::new();
        let going: BTreeSet<Item> = victims.items.iter().cloned().collect();
        let mut names = self.names_by_layer();
        for reference in old {
            if freed >= wanted {
                break;
            }
            for layer in self.layers_of(reference) {
                let left = names.entry(layer).and_modify(|left| *left -= 1).or_default();
                if let Some(held) = self.layers.get(&layer).filter(|_| *left == 0 && !self.pins.contains(&layer))
                    && !going.contains(&Item::Layer(layer))
                    && freed < wanted
                {
                    freed += held.file_bytes;
                    layers.insert(layer);
                }
            }
            victims.releases.push(reference.clone());
        }
        if freed < wanted {
            return Err(freed);
        }
        // A release of which nothing goes need not give way.
        victims.releases.retain(|reference| !self.layers_of(reference).is_disjoint(&layers));
        victims.items.extend(layers.into_iter().map(Item::Layer));
        victims.items.extend(self.documents_of_only(&victims.releases));
        Ok(victims)
    }

    /// The bytes of everything that never gives way, leases apart: layers that are pinned or that an image which stays
    /// names, unless they are copies, and all manifests and configs.
    pub(crate) fn staying_bytes(&self, retention: &Retention) -> Bytes {
        let old: BTreeSet<&ImageReference> = self.old_releases(retention).into_iter().collect();
        let mut layers = self.layers_of_others(&old);
        layers.extend(&self.pins);
        for (copy, _) in self.evictable_copies() {
            layers.remove(&copy);
        }
        let layers: Bytes = layers.iter().filter_map(|layer| self.bytes(&Item::Layer(*layer))).sum();
        let blobs: Bytes = self.blobs.values().map(|blob| blob.bytes).sum();
        layers + blobs
    }

    /// The bytes of the layers of the largest image.
    pub(crate) fn image_bytes_max(&self) -> Bytes {
        let images = self.images.keys();
        let sizes = images.map(|reference| {
            self.layers_of(reference).iter().filter_map(|layer| self.bytes(&Item::Layer(*layer))).sum::<Bytes>()
        });
        sizes.max().unwrap_or_default()
    }

    /// The releases that may give way now, in the order in which they do.
    fn yielding(&self, retention: &Retention) -> Vec<&ImageReference> {
        let mut old = self.old_releases(retention);
        if old.is_empty() {
            return old;
        }
        let staying = self.layers_of_others(&old.iter().copied().collect());
        let is_in_use = |layer: &DiffId| self.layers.get(layer).is_some_and(|held| held.leases > 0);
        old.retain(|reference| !self.layers_of(reference).difference(&staying).any(is_in_use));
        old
    }

    /// The releases that are neither pinned nor among the newest of their repository: the oldest first, then by name.
    fn old_releases(&self, retention: &Retention) -> Vec<&ImageReference> {
        let Some(newest) = retention.newest else { return Vec::new() };
        let mut repositories: BTreeMap<&str, Vec<(UnixSeconds, &ImageReference)>> = BTreeMap::new();
        for (reference, image) in &self.images {
            if let Some(released) = (retention.released)(&image.release_record) {
                repositories.entry(reference.repository()).or_default().push((released, reference));
            }
        }
        let mut old = Vec::new();
        for mut releases in repositories.into_values() {
            releases.sort_unstable();
            releases.truncate(releases.len().saturating_sub(newest));
            old.extend(releases);
        }
        old.retain(|(_, reference)| !self.image_pins.contains(*reference));
        old.sort_unstable();
        old.into_iter().map(|(_, reference)| reference).collect()
    }

    fn layers_of(&self, reference: &ImageReference) -> BTreeSet<DiffId> {
        self.images.get(reference).into_iter().flat_map(|image| image.layers.iter().copied()).collect()
    }

    /// The layers that the other images name.
    fn layers_of_others(&self, images: &BTreeSet<&ImageReference>) -> BTreeSet<DiffId> {
        let others = self.images.iter().filter(|(reference, _)| !images.contains(reference));
        others.flat_map(|(_, image)| image.layers.iter().copied()).collect()
    }

    /// How many images name each layer.
    fn names_by_layer(&self) -> BTreeMap<DiffId, usize> {
        let mut names = BTreeMap::new();
        for layer in self.images.keys().flat_map(|reference| self.layers_of(reference)) {
            *names.entry(layer).or_default() += 1;
        }
        names
    }

    /// The manifests and configs that no other image names.
    fn documents_of_only(&self, references: &[ImageReference]) -> Vec<Item> {
        let (going, others): (Vec<_>, Vec<_>) =
            self.images.iter().partition(|(reference, _)| references.contains(reference));
        let documents = |images: Vec<(&ImageReference, &crate::Image)>| -> BTreeSet<OciDigest> {
            images.into_iter().flat_map(|(_, image)| [image.manifest, image.config]).collect()
        };
        let (going, others) = (documents(going), documents(others));
        let only = going.difference(&others).filter(|digest| self.blobs.contains_key(*digest));
        only.map(|digest| Item::Blob(*digest)).collect()
    }
}
