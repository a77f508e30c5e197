//! The layers that this node holds, and the announcements of them.
//!
//! Every change raises the version of the holdings. An announcement names the digest of all layers, and lists the
//! changes since the announcement before. A peer that does not know that list asks, and names the digest of the list
//! that it knows. It gets the changes since then, if they are among the latest: [`Settings::CHANGES_MAX`] are kept.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lighter_similarity::Sketch;
use lighter_types::{Card, DiffId};
use lighter_wire::{Announcement, HOLDINGS_MAX, ListDigest, Listed, Message, News};

use crate::settings::Settings;
use crate::work;

/// The node's own layers, their version, and the changes not announced yet.
#[derive(Debug, Default)]
pub struct Holdings {
    cards: BTreeMap<DiffId, Card>,
    /// Zero until the layers on disk at the start are known.
    version: u64,
    /// The digest of the layers at this version.
    digest: ListDigest,
    /// The changes that led to this version, the latest last: the layer, and whether it was added.
    changes: VecDeque<(DiffId, bool)>,
    sequence: u64,
    announced: bool,
    added: BTreeMap<DiffId, Card>,
    removed: BTreeMap<DiffId, Card>,
    /// Cards that got their digest after they were announced. The list stays the same.
    described: BTreeMap<DiffId, Card>,
    /// Sketches of held layers. At most [`Settings::OWN_SKETCHES_MAX`].
    sketches: BTreeMap<DiffId, Sketch>,
}

impl Holdings {
    pub fn cards(&self) -> impl Iterator<Item = &Card> {
        work::counting(self.cards.values())
    }

    pub fn card(&self, id: DiffId) -> Option<&Card> {
        self.cards.get(&id)
    }

    /// The sketch of a held layer, unless it is not known or has no content.
    pub fn sketch(&self, id: DiffId) -> Option<&Sketch> {
        self.sketches.get(&id).filter(|sketch| !sketch.is_empty())
    }

    /// Keeps the sketch of a held layer.
    pub fn add_sketch(&mut self, id: DiffId, sketch: Sketch) {
        if self.holds(id) && self.sketches.len() < Settings::OWN_SKETCHES_MAX {
            self.sketches.insert(id, sketch);
        }
    }

    pub fn holds(&self, id: DiffId) -> bool {
        self.cards.contains_key(&id)
    }

    pub fn len(&self) -> usize {
        self.cards.len()
    }

    pub fn is_empty(&self) -> bool {
        self.cards.is_empty()
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// The digest of the layers held now; `None` while changes are not announced.
    pub fn settled_digest(&self) -> Option<ListDigest> {
        (self.added.is_empty() && self.removed.is_empty()).then_some(self.digest)
    }

    /// The digest of the layers at [`Self::version`].
    pub fn digest(&self) -> ListDigest {
        self.digest
    }

    /// The layers on disk at the start are known: they are the first version. Nobody heard of an earlier one in this
    /// life, and a peer that knows this list from an earlier life gets the changes from here on.
    pub fn begin(&mut self) {
        if self.version == 0 {
            self.next_version();
            self.changes.clear();
            self.version = 1;
        }
    }

    /// The layers at [`Self::version`], for a peer that knows the list of this digest. The changes since that version
    /// are left out: the next announcement has them. At most [`HOLDINGS_MAX`]: the node holds and serves further
    /// layers, but does not name them.
    pub fn listed(&self, known: Option<ListDigest>) -> Listed {
        let Some(changed) = known.and_then(|known| self.changed_since(known)) else {
            return Listed::All(self.cards_of_version());
        };
        if changed.is_empty() {
            return Listed::Unchanged;
        }
        if changed.len() > self.cards.len() {
            return Listed::All(self.cards_of_version());
        }
        let added: Vec<Card> = changed.iter().filter_map(|&layer| self.card_of_version(layer)).copied().collect();
        let removed = changed.into_iter().filter(|&layer| self.card_of_version(layer).is_none()).collect();
        Listed::Difference { added, removed }
    }

    /// The layers in which the list of this digest differs from that of [`Self::version`]; `None` if it is not among
    /// the latest. Changes are undone, the latest first, until the digest is there.
    fn changed_since(&self, known: ListDigest) -> Option<BTreeSet<DiffId>> {
        let (mut digest, mut changed) = (self.digest, BTreeSet::new());
        let mut changes = work::counting(self.changes.iter().rev());
        while digest != known {
            let &(layer, is_added) = changes.next()?;
            if is_added {
                digest.remove(layer);
            } else {
                digest.add(layer);
            }
            if !changed.remove(&layer) {
                changed.insert(layer);
            }
        }
        Some(changed)
    }

    fn card_of_version(&self, layer: DiffId) -> Option<&Card> {
        let kept = self.cards.get(&layer).filter(|_| !self.added.contains_key(&layer));
        kept.or_else(|| self.removed.get(&layer))
    }

    fn cards_of_version(&self) -> Vec<Card> {
        let kept = work::counting(self.cards.values()).filter(|card| !self.added.contains_key(&card.diff_id));
        kept.chain(self.removed.values()).take(HOLDINGS_MAX).copied().collect()
    }

    /// Adds a layer. Returns whether that changed anything.
    pub fn add(&mut self, card: Card) -> bool {
        if self.cards.insert(card.diff_id, card).is_some() {
            return false;
        }
        if self.removed.remove(&card.diff_id).is_none() {
            self.added.insert(card.diff_id, card);
        }
        true
    }

    /// Completes the card of a held layer with its TLSH digest. Returns whether that changed anything.
    pub fn describe(&mut self, card: Card) -> bool {
        let Some(held) = self.cards.get_mut(&card.diff_id).filter(|held| held.tlsh.is_none() && card.tlsh.is_some())
        else {
            return false;
        };
        held.tlsh = card.tlsh;
        let card = *held;
        match self.added.get_mut(&card.diff_id) {
            Some(added) => *added = card,
            None => drop(self.described.insert(card.diff_id, card)),
        }
        true
    }

    /// Removes a layer. Returns whether that changed anything.
    pub fn remove(&mut self, id: DiffId) -> bool {
        let Some(card) = self.cards.remove(&id) else { return false };
        self.sketches.remove(&id);
        self.described.remove(&id);
        if self.added.remove(&id).is_none() {
            self.removed.insert(id, card);
        }
        true
    }

    /// The announcement to send now: all of a short list at first and if `full`, else the changes, else a heartbeat.
    /// Changes that do not fit into a message are left to the peers' questions.
    pub fn announcement(&mut self, settings: &Settings, full: bool) -> Announcement {
        self.begin();
        let (added, removed) = self.next_version();
        let first = !std::mem::replace(&mut self.announced, true);
        let is_short = self.cards.len() <= Settings::FULL_MAX;
        let news = if is_short && (full || first) {
            News::Full(self.cards_of_version())
        } else if added.is_empty() && removed.is_empty() {
            News::Heartbeat
        } else {
            News::Difference { added, removed }
        };
        let announcement = self.announce(settings, news);
        if announcement.encode().is_ok() {
            announcement
        } else {
            Announcement { news: News::Heartbeat, ..announcement }
        }
    }

    /// Makes the changes since the last version a version of their own. Returns them.
    fn next_version(&mut self) -> (Vec<Card>, Vec<DiffId>) {
        let mut added: Vec<Card> = std::mem::take(&mut self.added).into_values().collect();
        let removed: Vec<DiffId> = std::mem::take(&mut self.removed).into_keys().collect();
        let described = std::mem::take(&mut self.described).into_values();
        for &layer in &removed {
            self.digest.remove(layer);
            self.changes.push_back((layer, false));
        }
        for card in &added {
            self.digest.add(card.diff_id);
            self.changes.push_back((card.diff_id, true));
        }
        self.changes.drain(..self.changes.len().saturating_sub(Settings::CHANGES_MAX));
        // Peers hear of these again, with the digest. To them no layer is new.
        added.extend(described);
        self.version += u64::from(!added.is_empty() || !removed.is_empty());
        (added, removed)
    }

    /// The last announcement before the node stops.
    pub fn leaving(&mut self, settings: &Settings) -> Announcement {
        self.announce(settings, News::Leaving)
    }

    fn announce(&mut self, settings: &Settings, news: News) -> Announcement {
        self.sequence += 1;
        Announcement {
            incarnation: settings.incarnation,
            version: self.version,
            sequence: self.sequence,
            site: settings.site.clone(),
            digest: self.digest,
            news,
        }
    }
}

#[cfg(test)]
mod tests;
