//! Lists of peers that are not heard now: of this life, and of earlier ones.
//!
//! Nobody plans with them. When the peer names the digest of such a list, the list is believed again.

use std::collections::VecDeque;

use lighter_types::{Card, DiffId, PeerId};
use lighter_wire::ListDigest;

use crate::settings::Settings;

/// The lists, the newest last. At most [`Settings::LISTS_MAX`] of them, with [`Settings::LISTED_MAX`] layers in all.
#[derive(Debug, Default)]
pub struct Remembered {
    lists: VecDeque<List>,
    layers: usize,
}

#[derive(Debug)]
struct List {
    peer: PeerId,
    digest: ListDigest,
    /// Sorted by their DiffIds. Not empty, and at most [`Settings::LAYERS_PER_PEER_MAX`].
    cards: Vec<Card>,
}

impl Remembered {
    /// Remembers a list in place of the one before. The oldest lists make room.
    pub fn add(&mut self, peer: PeerId, mut cards: Vec<Card>) {
        self.take(peer);
        cards.sort_unstable_by_key(|card| card.diff_id);
        cards.dedup_by_key(|card| card.diff_id);
        if cards.is_empty() || cards.len() > Settings::LAYERS_PER_PEER_MAX {
            return;
        }
        self.layers += cards.len();
        let digest = cards.iter().map(|card| card.diff_id).collect();
        self.lists.push_back(List { peer, digest, cards });
        while self.lists.len() > Settings::LISTS_MAX || self.layers > Settings::LISTED_MAX {
            let Some(oldest) = self.lists.pop_front() else { break };
            self.layers -= oldest.cards.len();
        }
    }

    /// Takes the list of a peer; an empty one if none is remembered.
    pub fn take(&mut self, peer: PeerId) -> Vec<Card> {
        let Some(place) = self.lists.iter().position(|list| list.peer == peer) else { return Vec::new() };
        let cards = self.lists.remove(place).map(|list| list.cards).unwrap_or_default();
        self.layers -= cards.len();
        cards
    }

    pub fn digest(&self, peer: PeerId) -> Option<ListDigest> {
        self.get(peer).map(|list| list.digest)
    }

    /// The list of a peer; an empty one if none is remembered.
    pub fn cards(&self, peer: PeerId) -> &[Card] {
        self.get(peer).map_or(&[], |list| &list.cards)
    }

    pub fn holds(&self, peer: PeerId, layer: DiffId) -> bool {
        self.cards(peer).binary_search_by_key(&layer, |card| card.diff_id).is_ok()
    }

    pub fn lists(&self) -> impl Iterator<Item = (PeerId, ListDigest, usize)> {
        self.lists.iter().map(|list| (list.peer, list.digest, list.cards.len()))
    }

    fn get(&self, peer: PeerId) -> Option<&List> {
        self.lists.iter().find(|list| list.peer == peer)
    }
}

#[cfg(test)]
mod tests {
    use lighter_types::Bytes;

    use super::*;

    fn cards(count: usize) -> Vec<Card> {
        (0..count).map(card).collect()
    }

    fn card(number: usize) -> Card {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        Card { diff_id: DiffId::new(id), tar_bytes: Bytes(9), compressed_bytes: Bytes(5), tlsh: None }
    }

    fn peer(name: usize) -> PeerId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&name.to_le_bytes());
        PeerId::new(id)
    }

    #[test]
    fn the_oldest_lists_make_room() {
        let mut remembered = Remembered::default();
        (0..=Settings::LISTS_MAX).for_each(|name| remembered.add(peer(name), cards(1)));
        assert_eq!((remembered.lists.len(), remembered.cards(peer(0)).len()), (Settings::LISTS_MAX, 0));
        for name in 0..20 {
            remembered.add(peer(name), cards(Settings::LAYERS_PER_PEER_MAX));
        }
        assert_eq!(remembered.layers, Settings::LISTED_MAX);
        assert!(remembered.holds(peer(19), cards(1)[0].diff_id) && !remembered.holds(peer(3), cards(1)[0].diff_id));
    }

    #[test]
    fn lists_that_no_peer_can_have_are_dropped() {
        let mut remembered = Remembered::default();
        remembered.add(peer(1), cards(3));
        remembered.add(peer(1), cards(Settings::LAYERS_PER_PEER_MAX + 1));
        assert_eq!(remembered.lists().count(), 0);
        remembered.add(peer(1), [cards(2), cards(2)].concat());
        assert_eq!(remembered.take(peer(1)), cards(2));
        assert_eq!((remembered.layers, remembered.take(peer(1)).len()), (0, 0));
    }
}
