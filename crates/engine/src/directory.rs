//! What this node believes about other nodes' holdings.
//!
//! Cards are kept once, however many peers hold the layer, and peers hold indices of them: a peer with 50 layers costs
//! about 500 bytes. Invariants: `holders` of a card are exactly the peers that list it, in order; both lists are
//! sorted; a card without holders is dropped. A card that two peers describe differently keeps the first description:
//! it only steers predictions, and what arrives is checked against its digest.

use std::collections::BTreeMap;

use lighter_types::{BytesPerSecond, Card, DiffId, Moment, PeerId, SiteName};
use lighter_wire::{Announcement, Holdings, Incarnation, News};

use crate::settings::Settings;

/// Index of a known card; reused after the card is dropped.
type CardIndex = u32;

/// Beliefs about all peers.
#[derive(Debug, Default)]
pub struct Directory {
    peers: BTreeMap<PeerId, Peer>,
    cards: Vec<Option<Known>>,
    free: Vec<CardIndex>,
    by_id: BTreeMap<DiffId, CardIndex>,
    peers_max: usize,
}

#[derive(Debug)]
struct Known {
    card: Card,
    holders: Vec<PeerId>,
}

/// What is believed of one peer.
#[derive(Debug, Default)]
pub struct Peer {
    incarnation: Incarnation,
    version: u64,
    sequence: u64,
    layers: Vec<CardIndex>,
    site: Option<SiteName>,
    last_heard: Moment,
    connected: bool,
    /// The rate of the latest transfers from it; absent before the first.
    rate: Option<BytesPerSecond>,
}

impl Peer {
    pub fn site(&self) -> Option<&SiteName> {
        self.site.as_ref()
    }

    pub fn is_connected(&self) -> bool {
        self.connected
    }

    pub fn rate(&self) -> Option<BytesPerSecond> {
        self.rate
    }

    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    pub fn last_heard(&self) -> Moment {
        self.last_heard
    }
}

/// What an announcement calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The belief is up to date.
    Current,
    /// Something was missed: ask the peer for its holdings.
    Behind,
    /// Old, repeated, or over a cap: ignored.
    Ignored,
}

impl Directory {
    pub fn new(peers_max: usize) -> Self {
        Self { peers_max, ..Self::default() }
    }

    pub fn peers(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.peers.iter().map(|(&id, peer)| (id, peer))
    }

    pub fn peer(&self, id: PeerId) -> Option<&Peer> {
        self.peers.get(&id)
    }

    pub fn len(&self) -> usize {
        self.peers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    pub fn card(&self, id: DiffId) -> Option<&Card> {
        self.known(id).map(|known| &known.card)
    }

    /// The peers believed to hold a layer, in order.
    pub fn holders(&self, id: DiffId) -> &[PeerId] {
        self.known(id).map_or(&[], |known| &known.holders)
    }

    /// For each of `ids`, the index by which [`Self::holds_index`] finds it fast; `None` for those nobody holds.
    pub fn indices(&self, ids: impl IntoIterator<Item = DiffId>) -> Vec<Option<u32>> {
        ids.into_iter().map(|id| self.by_id.get(&id).copied()).collect()
    }

    /// Whether a peer holds the card with this index.
    pub fn holds_index(peer: &Peer, index: u32) -> bool {
        peer.layers.binary_search(&index).is_ok()
    }

    pub fn connected(&mut self, id: PeerId, now: Moment) {
        let peer = self.peers.entry(id).or_default();
        peer.connected = true;
        peer.last_heard = now;
    }

    pub fn disconnected(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.connected = false;
        }
    }

    /// Takes in an announcement.
    pub fn announced(&mut self, from: PeerId, announcement: Announcement, now: Moment) -> Heard {
        if !self.peers.contains_key(&from) && self.peers.len() >= self.peers_max {
            return Heard::Ignored;
        }
        if announcement.news == News::Leaving {
            let known = self.peers.get(&from).map(|peer| peer.incarnation);
            if known.is_none_or(|known| known <= announcement.incarnation) {
                self.forget(from);
            }
            return Heard::Current;
        }
        let new = !self.peers.contains_key(&from);
        let peer = self.peers.entry(from).or_default();
        let last = (peer.incarnation, peer.sequence);
        let this = (announcement.incarnation, announcement.sequence);
        if !new && this <= last {
            return Heard::Ignored;
        }
        let believed = (peer.incarnation, peer.version);
        peer.last_heard = now;
        peer.sequence = announcement.sequence;
        let same_life = peer.incarnation == announcement.incarnation;
        match announcement.news {
            News::Full(cards) => {
                let version = announcement.version;
                self.set(from, announcement.incarnation, version, announcement.site, &cards);
                Heard::Current
            }
            News::Difference { added, removed } if same_life && peer.version + 1 == announcement.version => {
                peer.version = announcement.version;
                self.change(from, &added, &removed);
                Heard::Current
            }
            // A life whose first announcement this is has holdings that nobody told us of.
            _ if believed != (announcement.incarnation, announcement.version) || new => Heard::Behind,
            _ => Heard::Current,
        }
    }

    /// Takes in an answer to a question for holdings.
    pub fn told(&mut self, from: PeerId, holdings: Holdings, now: Moment) {
        if !self.peers.contains_key(&from) && self.peers.len() >= self.peers_max {
            return;
        }
        let peer = self.peers.entry(from).or_default();
        peer.last_heard = now;
        let new = (holdings.incarnation, holdings.version);
        if new >= (peer.incarnation, peer.version) {
            self.set(from, holdings.incarnation, holdings.version, holdings.site, &holdings.cards);
        }
    }

    /// Removes one layer from what is believed of a peer: it said that it does not hold it.
    pub fn denied(&mut self, from: PeerId, layer: DiffId) {
        self.change(from, &[], &[layer]);
    }

    pub fn forget(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(&id) else { return };
        let (connected, rate, last_heard) = (peer.connected, peer.rate, peer.last_heard);
        self.drop_layers(id);
        self.peers.remove(&id);
        if connected {
            self.peers.insert(id, Peer { connected, rate, last_heard, ..Peer::default() });
        }
    }

    /// Forgets those who are not connected and were not heard since `since`.
    pub fn forget_silent(&mut self, since: Moment) {
        let silent: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, peer)| !peer.connected && peer.last_heard < since)
            .map(|(&id, _)| id)
            .collect();
        silent.into_iter().for_each(|id| self.forget(id));
    }

    /// Learns how fast a transfer from a peer went; a new rate counts for three tenths.
    pub fn measured(&mut self, id: PeerId, rate: BytesPerSecond) {
        if let Some(peer) = self.peers.get_mut(&id) {
            let mixed =
                peer.rate.map_or(rate.0, |old| (old.0 / 10).saturating_mul(7) + (rate.0 / 10).saturating_mul(3));
            peer.rate = Some(BytesPerSecond(mixed));
        }
    }

    fn known(&self, id: DiffId) -> Option<&Known> {
        self.by_id.get(&id).and_then(|&index| self.cards[index as usize].as_ref())
    }

    fn set(&mut self, id: PeerId, incarnation: Incarnation, version: u64, site: Option<SiteName>, cards: &[Card]) {
        self.drop_layers(id);
        if let Some(peer) = self.peers.get_mut(&id) {
            // A new life counts its announcements anew.
            if peer.incarnation != incarnation {
                peer.sequence = 0;
            }
            peer.incarnation = incarnation;
            peer.version = version;
            peer.site = site;
        }
        self.change(id, cards, &[]);
    }

    fn change(&mut self, id: PeerId, added: &[Card], removed: &[DiffId]) {
        let Some(mut layers) = self.peers.get_mut(&id).map(|peer| std::mem::take(&mut peer.layers)) else { return };
        for layer in removed {
            let Some(&index) = self.by_id.get(layer) else { continue };
            if let Ok(place) = layers.binary_search(&index) {
                layers.remove(place);
                self.release(id, index);
            }
        }
        for card in added {
            if layers.len() >= Settings::LAYERS_PER_PEER_MAX {
                break;
            }
            let Some(index) = self.index_of(card) else { continue };
            if let Err(place) = layers.binary_search(&index) {
                layers.insert(place, index);
                self.hold(id, index);
            }
        }
        layers.shrink_to_fit();
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.layers = layers;
        }
    }

    fn drop_layers(&mut self, id: PeerId) {
        let layers = self.peers.get_mut(&id).map(|peer| std::mem::take(&mut peer.layers)).unwrap_or_default();
        for index in layers {
            self.release(id, index);
        }
    }

    fn index_of(&mut self, card: &Card) -> Option<CardIndex> {
        if let Some(&index) = self.by_id.get(&card.diff_id) {
            return Some(index);
        }
        if self.by_id.len() >= Settings::CARDS_MAX {
            return None;
        }
        let known = Some(Known { card: *card, holders: Vec::new() });
        let index = if let Some(index) = self.free.pop() {
            self.cards[index as usize] = known;
            index
        } else {
            self.cards.push(known);
            (self.cards.len() - 1) as CardIndex
        };
        self.by_id.insert(card.diff_id, index);
        Some(index)
    }

    fn hold(&mut self, id: PeerId, index: CardIndex) {
        if let Some(known) = &mut self.cards[index as usize]
            && let Err(place) = known.holders.binary_search(&id)
        {
            known.holders.insert(place, id);
        }
    }

    fn release(&mut self, id: PeerId, index: CardIndex) {
        let Some(known) = &mut self.cards[index as usize] else { return };
        if let Ok(place) = known.holders.binary_search(&id) {
            known.holders.remove(place);
        }
        if known.holders.is_empty() {
            self.by_id.remove(&known.card.diff_id);
            self.cards[index as usize] = None;
            self.free.push(index);
        }
    }
}

#[cfg(test)]
mod tests;
