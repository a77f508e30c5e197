//! The layers that this node holds, and the announcements of them.
//!
//! Every change raises the version of the holdings. A full announcement lists all layers; a difference lists the
//! changes since the announcement before, and names the version that it builds on. A peer that missed one asks for all.

use std::collections::BTreeMap;

use lighter_similarity::Sketch;
use lighter_types::{Card, DiffId};
use lighter_wire::{Announcement, HOLDINGS_MAX, Message, News};

use crate::settings::Settings;

/// The node's own layers, their version, and the changes not announced yet.
#[derive(Debug, Default)]
pub struct Holdings {
    cards: BTreeMap<DiffId, Card>,
    version: u64,
    sequence: u64,
    announced: bool,
    added: BTreeMap<DiffId, Card>,
    removed: BTreeMap<DiffId, Card>,
    /// Sketches of held layers. At most [`Settings::OWN_SKETCHES_MAX`].
    sketches: BTreeMap<DiffId, Sketch>,
}

impl Holdings {
    pub fn cards(&self) -> impl Iterator<Item = &Card> {
        self.cards.values()
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

    /// The layers that were held at [`Self::version`], without the changes since: a peer that gets them and hears the
    /// next difference knows all. At most [`HOLDINGS_MAX`]: the node holds and serves further layers, but does not name
    /// them.
    pub fn cards_of_version(&self) -> Vec<Card> {
        let kept = self.cards.values().filter(|card| !self.added.contains_key(&card.diff_id));
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

    /// Removes a layer. Returns whether that changed anything.
    pub fn remove(&mut self, id: DiffId) -> bool {
        let Some(card) = self.cards.remove(&id) else { return false };
        self.sketches.remove(&id);
        if self.added.remove(&id).is_none() {
            self.removed.insert(id, card);
        }
        true
    }

    /// The announcement to send now: all layers at first and if `full`, else the changes, else a heartbeat. If one does
    /// not fit into a message, the next of these takes its place. A peer that hears a heartbeat of a new version asks.
    pub fn announcement(&mut self, settings: &Settings, full: bool) -> Announcement {
        let added: Vec<Card> = std::mem::take(&mut self.added).into_values().collect();
        let removed: Vec<DiffId> = std::mem::take(&mut self.removed).into_keys().collect();
        let changed = !added.is_empty() || !removed.is_empty();
        let first = !std::mem::replace(&mut self.announced, true);
        if changed {
            self.version += 1;
        }
        let mut announcement = self.announce(settings, News::Heartbeat);
        let all = (full || first).then(|| News::Full(self.cards_of_version()));
        let difference = (changed && !first).then_some(News::Difference { added, removed });
        for news in all.into_iter().chain(difference) {
            announcement.news = news;
            if announcement.encode().is_ok() {
                return announcement;
            }
        }
        Announcement { news: News::Heartbeat, ..announcement }
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
            news,
        }
    }
}

#[cfg(test)]
mod tests {
    use lighter_types::Bytes;

    use super::*;

    fn card(seed: u16) -> Card {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&seed.to_be_bytes());
        Card { diff_id: DiffId::new(id), tar_bytes: Bytes(1000), compressed_bytes: Bytes(300), tlsh: None }
    }

    #[test]
    fn first_all_then_differences_then_heartbeats() {
        let settings = Settings::default();
        let mut own = Holdings::default();
        own.add(card(1));
        let first = own.announcement(&settings, false);
        assert_eq!((first.version, first.news), (1, News::Full(vec![card(1)])));
        own.add(card(2));
        own.remove(card(1).diff_id);
        let second = own.announcement(&settings, false);
        assert_eq!(second.version, 2);
        assert_eq!(second.news, News::Difference { added: vec![card(2)], removed: vec![card(1).diff_id] });
        let third = own.announcement(&settings, false);
        assert_eq!((third.version, third.news), (2, News::Heartbeat));
        assert!(third.sequence > second.sequence);
    }

    #[test]
    fn a_layer_added_and_removed_between_announcements_is_not_announced() {
        let settings = Settings::default();
        let mut own = Holdings::default();
        own.announcement(&settings, false);
        own.add(card(1));
        own.remove(card(1).diff_id);
        assert_eq!(own.announcement(&settings, false).news, News::Heartbeat);
    }

    #[test]
    fn an_answer_is_what_was_held_at_its_version() {
        let mut own = Holdings::default();
        own.add(card(1));
        own.announcement(&Settings::default(), false);
        own.add(card(2));
        own.remove(card(1).diff_id);
        assert_eq!((own.version(), own.cards_of_version()), (1, vec![card(1)]));
        own.announcement(&Settings::default(), false);
        assert_eq!((own.version(), own.cards_of_version()), (2, vec![card(2)]));
    }

    #[test]
    fn a_difference_is_told_where_all_does_not_fit() {
        let mut own = Holdings::default();
        for seed in 0..2000 {
            own.add(card(seed));
        }
        own.announcement(&Settings::default(), false);
        own.remove(card(7).diff_id);
        let news = own.announcement(&Settings::default(), true).news;
        assert_eq!(news, News::Difference { added: vec![], removed: vec![card(7).diff_id] });
    }

    #[test]
    fn news_that_does_not_fit_becomes_a_heartbeat_of_a_new_version() {
        let mut own = Holdings::default();
        for seed in 0..2000 {
            own.add(card(seed));
        }
        let announcement = own.announcement(&Settings::default(), false);
        assert_eq!((announcement.version, announcement.news), (1, News::Heartbeat));
    }
}
