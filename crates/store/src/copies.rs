//! Copies: layers that have the content of another one in another form, as a compressed blob beside its tar. They give
//! way before any layer does, although images name them.
//!
//! The caller says which layers are copies ([`Store::add_copies`]); the store keeps that in memory only. A copy may go
//! while the layer that it copies is held, nobody reads it, and no pin keeps it or an image that names it. With its
//! rows, in the same batch, go its name from the row of each image, and a value of node state is written that the
//! caller chose: so no image lacks it afterwards, and the caller knows that it gave way. The files of the references
//! are written before that batch, as always. A crash in between leaves a copy that no image names.

use std::collections::BTreeSet;

use lighter_types::{Bytes, DiffId, ImageReference};

use crate::error::{Item, Result};
use crate::index::{Batch, Column};
use crate::ledger::Ledger;
use crate::store::{Inner, Store};
use crate::{Image, LayerCopy, rows, states};

impl Store {
    /// Says which layers are copies, besides those that the store knows. One that is not held is left out.
    ///
    /// # Errors
    /// `OverLimit` for a state that [`Store::put_state`] does not take.
    pub fn add_copies(&self, copies: Vec<LayerCopy>) -> Result<()> {
        copies.iter().try_for_each(|copy| states::check(&copy.gave_way.0, &copy.gave_way.1))?;
        let mut ledger = self.inner.ledger();
        for copy in copies {
            ledger.copies.insert(copy.copy, copy);
        }
        let Ledger { copies, layers, .. } = &mut *ledger;
        copies.retain(|copy, known| layers.contains_key(copy) && known.of != *copy);
        Ok(())
    }

    /// The copies that gave way since the last call.
    pub fn take_copies_gone(&self) -> Vec<LayerCopy> {
        std::mem::take(&mut self.inner.ledger().copies_gone)
    }
}

impl Ledger {
    /// The copies that may give way, the least recently used first.
    pub(crate) fn evictable_copies(&self) -> Vec<(DiffId, Bytes)> {
        if self.copies.is_empty() {
            return Vec::new();
        }
        let pinned = self.images.iter().filter(|(reference, _)| self.image_pins.contains(*reference));
        let pinned: BTreeSet<&DiffId> = pinned.flat_map(|(_, image)| &image.layers).chain(&self.pins).collect();
        // A copy of a copy would lose its source in the same step.
        let is_source = |layer: &DiffId| self.layers.contains_key(layer) && !self.copies.contains_key(layer);
        let known = self.copies.values().filter(|known| is_source(&known.of) && !pinned.contains(&known.copy));
        let mut copies: Vec<_> = known.filter_map(|known| Some((known.copy, self.layers.get(&known.copy)?))).collect();
        copies.retain(|(_, held)| held.leases == 0);
        copies.sort_by_key(|(copy, held)| (held.last_used, *copy));
        copies.into_iter().map(|(copy, held)| (copy, held.file_bytes)).collect()
    }

    /// The images that name one of these layers, without them.
    fn images_without(&self, layers: &BTreeSet<DiffId>) -> Vec<(ImageReference, Image)> {
        let naming = self.images.iter().filter(|(_, image)| image.layers.iter().any(|layer| layers.contains(layer)));
        let without = naming.map(|(reference, image)| {
            let mut image = image.clone();
            image.layers.retain(|layer| !layers.contains(layer));
            (reference.clone(), image)
        });
        without.collect()
    }
}

/// The changes that are written with the removal of copies.
pub(crate) struct Renounced {
    images: Vec<(ImageReference, Image)>,
    copies: Vec<LayerCopy>,
}

impl Inner {
    /// Takes the names of the copies among these items out of their images. Writes the files of the references, and
    /// adds the rest to the batch that removes the items.
    ///
    /// # Errors
    /// `DiskFull`, `Io`: the copies are held, and after a restart some images may no longer name them.
    pub(crate) fn renounce(&self, ledger: &mut Ledger, items: &[Item], batch: &mut Batch) -> Result<Renounced> {
        let copies: Vec<LayerCopy> =
            items.iter().filter_map(|item| ledger.copies.get(&layer_of(item)?)).cloned().collect();
        let images = ledger.images_without(&copies.iter().map(|known| known.copy).collect());
        for (reference, image) in &images {
            let row = rows::image(reference, image);
            self.write_reference(ledger, reference, &row)?;
            batch.put(Column::Images, reference.as_str().as_bytes(), row);
        }
        for LayerCopy { gave_way: (key, value), .. } in &copies {
            batch.put(Column::States, key, value.clone());
        }
        Ok(Renounced { images, copies })
    }
}

impl Renounced {
    /// Enters in the ledger what the batch wrote.
    pub(crate) fn enter(self, ledger: &mut Ledger) {
        ledger.images.extend(self.images);
        for known in self.copies {
            ledger.copies.remove(&known.copy);
            ledger.copies_gone.push(known);
        }
    }
}

fn layer_of(item: &Item) -> Option<DiffId> {
    match item {
        Item::Layer(id) => Some(*id),
        Item::Blob(_) | Item::Patch(_) | Item::Image(_) => None,
    }
}
