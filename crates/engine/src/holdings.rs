//! What this node holds, and what it announces of it.

use std::collections::BTreeMap;

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
    removed: BTreeMap<DiffId, ()>,
}

impl Holdings {
    pub fn cards(&self) -> impl Iterator<Item = &Card> {
        self.cards.values()
    }

    pub fn card(&self, id: DiffId) -> Option<&Card> {
        self.cards.get(&id)
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

    /// Layers above [`HOLDINGS_MAX`] are held and served, but not told of.
    pub fn told(&self) -> Vec<Card> {
        self.cards.values().take(HOLDINGS_MAX).copied().collect()
    }

    /// Whether that changed anything.
    pub fn add(&mut self, card: Card) -> bool {
        if self.cards.insert(card.diff_id, card).is_some() {
            return false;
        }
        if self.removed.remove(&card.diff_id).is_none() {
            self.added.insert(card.diff_id, card);
        }
        true
    }

    /// Whether that changed anything.
    pub fn remove(&mut self, id: DiffId) -> bool {
        if self.cards.remove(&id).is_none() {
            return false;
        }
        if self.added.remove(&id).is_none() {
            self.removed.insert(id, ());
        }
        true
    }

    /// What to announce now: all at first and whenever `full` is asked for, else what changed, else a heartbeat. What
    /// does not fit into a message goes out as a heartbeat of a new version: those who hear it ask.
    pub fn announcement(&mut self, settings: &Settings, full: bool) -> Announcement {
        let changed = !self.added.is_empty() || !self.removed.is_empty();
        if changed {
            self.version += 1;
        }
        let added: Vec<Card> = std::mem::take(&mut self.added).into_values().collect();
        let removed: Vec<DiffId> = std::mem::take(&mut self.removed).into_keys().collect();
        let news = if full || !self.announced {
            News::Full(self.told())
        } else if changed {
            News::Difference { added, removed }
        } else {
            News::Heartbeat
        };
        self.announced = true;
        let announcement = self.signed_off(settings, news);
        if announcement.encode().is_ok() {
            return announcement;
        }
        Announcement { news: News::Heartbeat, ..announcement }
    }

    /// The node's last word.
    pub fn leaving(&mut self, settings: &Settings) -> Announcement {
        self.signed_off(settings, News::Leaving)
    }

    fn signed_off(&mut self, settings: &Settings, news: News) -> Announcement {
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
    fn what_comes_and_goes_between_announcements_is_not_told() {
        let settings = Settings::default();
        let mut own = Holdings::default();
        own.announcement(&settings, false);
        own.add(card(1));
        own.remove(card(1).diff_id);
        assert_eq!(own.announcement(&settings, false).news, News::Heartbeat);
    }

    #[test]
    fn what_does_not_fit_is_a_heartbeat_of_a_new_version() {
        let mut own = Holdings::default();
        for seed in 0..2000 {
            own.add(card(seed));
        }
        let announcement = own.announcement(&Settings::default(), false);
        assert_eq!((announcement.version, announcement.news), (1, News::Heartbeat));
    }
}
