//! The beliefs of this node about the holdings of other nodes.
//!
//! Each card is kept once, however many peers hold the layer. Peers list the indices of cards, and cards list the
//! indices of peers: a peer with 50 layers costs about 1 KB (docs/ENGINE.md has the measured figure).
//!
//! Invariants: the `holders` of a card are exactly the peers that list it; both lists are sorted; a card without
//! holders is dropped.
//!
//! Two peers may describe one layer differently. The first description stays: it only steers predictions, and the layer
//! that arrives is checked against its digest. The length is an exception. A fetch takes no layer that is longer than
//! its card says, so the larger length counts: a peer that names too small a length must not make liars of the others.
//!
//! A peer's answer over its own connection outranks gossip about it. Gossip lingers and is reordered, and the clock
//! that dates a life may have been set back.

use std::collections::{BTreeMap, BTreeSet};

use lighter_types::{BytesPerSecond, Card, DiffId, Moment, PeerId, SiteName, broken};
use lighter_wire::{Announcement, Holdings, Incarnation, News};
use slab::Slab;

use crate::settings::Settings;

/// Index of a known card; reused after the card is dropped.
type CardIndex = u32;

/// Index of a peer; reused after the peer is forgotten.
pub type PeerIndex = u32;

/// Beliefs about all peers.
#[derive(Debug, Default)]
pub struct Directory {
    /// At most [`Settings::peers_max`], and the connected peers.
    peers: Slab<(PeerId, Peer)>,
    by_peer: BTreeMap<PeerId, PeerIndex>,
    /// At most [`Settings::CARDS_MAX`].
    cards: Slab<Known>,
    by_id: BTreeMap<DiffId, CardIndex>,
    peers_max: usize,
}

#[derive(Debug)]
struct Known {
    card: Card,
    holders: Vec<PeerIndex>,
}

/// A peer that holds a layer.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    pub index: PeerIndex,
    pub id: PeerId,
    pub peer: &'a Peer,
}

/// The beliefs about one peer.
#[derive(Debug, Default)]
pub struct Peer {
    /// The life and version that `layers` are of; absent before the peer named any.
    believed: Option<(Incarnation, u64)>,
    /// The life and sequence of the latest announcement.
    heard: (Incarnation, u64),
    /// At most [`Settings::LAYERS_PER_PEER_MAX`].
    layers: Vec<CardIndex>,
    site: Option<SiteName>,
    last_heard: Moment,
    connected: bool,
    /// The rate of the latest transfers from it; absent before the first.
    rate: Option<BytesPerSecond>,
    /// How often it named an earlier life than before.
    lives_back: u32,
}

/// A clock that was set back makes a peer's life go back once for each restart. Two nodes with one identity make it go
/// back again and again.
const LIVES_BACK_MAX: u32 = 3;

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

    /// Whether it ever said what it holds.
    pub fn is_known(&self) -> bool {
        self.believed.is_some()
    }

    /// Whether two running nodes seem to use this peer's identity: its life went back several times.
    pub fn has_twin(&self) -> bool {
        self.lives_back >= LIVES_BACK_MAX
    }

    fn life(&self) -> Incarnation {
        self.heard.0.max(self.believed.map_or(Incarnation(0), |(life, _)| life))
    }
}

/// The judgement of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The belief is up to date.
    Current,
    /// An earlier announcement was missed: ask the peer for its holdings.
    Behind,
    /// Old, repeated, or over a cap: ignored.
    Ignored,
}

impl Directory {
    pub fn new(peers_max: usize) -> Self {
        Self { peers_max, ..Self::default() }
    }

    pub fn peers(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.by_peer.iter().filter_map(|(&id, &index)| Some((id, self.at(index)?.peer)))
    }

    pub fn peer(&self, id: PeerId) -> Option<&Peer> {
        self.by_peer.get(&id).and_then(|&index| Some(self.at(index)?.peer))
    }

    pub fn len(&self) -> usize {
        self.by_peer.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_peer.is_empty()
    }

    pub fn card(&self, id: DiffId) -> Option<&Card> {
        self.known(id).map(|known| &known.card)
    }

    /// Indices of the peers believed to hold a layer, in order.
    pub fn holders(&self, id: DiffId) -> &[PeerIndex] {
        self.known(id).map_or(&[], |known| &known.holders)
    }

    /// The peers believed to hold a layer, in the order of their indices.
    pub fn holding(&self, id: DiffId) -> impl Iterator<Item = Holder<'_>> {
        self.holders(id).iter().filter_map(|&index| self.at(index))
    }

    /// Whether a peer is believed to hold a layer.
    pub fn is_held_by(&self, id: DiffId, peer: PeerId) -> bool {
        let index = self.by_id.get(&id);
        index.zip(self.peer(peer)).is_some_and(|(&index, peer)| Self::holds_index(peer, index))
    }

    /// Whether a connected peer is believed to hold a layer.
    pub fn is_reachable(&self, id: DiffId) -> bool {
        self.holding(id).any(|holder| holder.peer.is_connected())
    }

    /// For each of `ids`, the index by which [`Self::holds_index`] finds it fast; `None` for a layer that no peer
    /// holds.
    pub fn indices(&self, ids: impl IntoIterator<Item = DiffId>) -> Vec<Option<u32>> {
        ids.into_iter().map(|id| self.by_id.get(&id).copied()).collect()
    }

    /// Whether a peer holds the card with this index.
    pub fn holds_index(peer: &Peer, index: u32) -> bool {
        peer.layers.binary_search(&index).is_ok()
    }

    pub fn connected(&mut self, id: PeerId, now: Moment) {
        let peer = self.peer_mut(id);
        peer.connected = true;
        peer.last_heard = now;
    }

    /// The connection to a peer ended. A peer that is known over the cap because it connected is forgotten.
    pub fn disconnected(&mut self, id: PeerId) {
        if let Some(peer) = self.known_peer(id) {
            peer.connected = false;
            if self.len() > self.peers_max {
                self.forget(id);
            }
        }
    }

    /// Takes in an announcement.
    pub fn announced(&mut self, from: PeerId, announcement: Announcement, now: Moment) -> Heard {
        let Announcement { incarnation: life, version, sequence, site, news } = announcement;
        if !self.by_peer.contains_key(&from) && self.len() >= self.peers_max {
            return Heard::Ignored;
        }
        if news == News::Leaving {
            if self.peer(from).is_none_or(|peer| peer.life() <= life) {
                self.forget(from);
            }
            return Heard::Current;
        }
        let peer = self.peer_mut(from);
        if life < peer.life() {
            // The announcement was late, or the peer's clock was set back. Only the peer itself can say which.
            return Heard::Behind;
        }
        if (life, sequence) <= peer.heard {
            return Heard::Ignored;
        }
        peer.heard = (life, sequence);
        peer.last_heard = now;
        let same_life = peer.believed.filter(|(believed, _)| *believed == life).map(|(_, version)| version);
        match news {
            // The peer named a later version meanwhile.
            _ if same_life.is_some_and(|believed| version < believed) => Heard::Current,
            News::Full(cards) => {
                self.set(from, (life, version), site, &cards);
                Heard::Current
            }
            _ if same_life == Some(version) => Heard::Current,
            News::Difference { added, removed } if same_life.is_some_and(|believed| believed + 1 == version) => {
                peer.believed = Some((life, version));
                self.change(from, &added, &removed);
                Heard::Current
            }
            News::Difference { .. } | News::Heartbeat | News::Leaving => Heard::Behind,
        }
    }

    /// Takes in an answer to a question for holdings. The peer itself says it, so its life does not matter.
    pub fn answered(&mut self, from: PeerId, holdings: Holdings, now: Moment) {
        if !self.by_peer.contains_key(&from) && self.len() >= self.peers_max {
            return;
        }
        let peer = self.peer_mut(from);
        peer.last_heard = now;
        let life = holdings.incarnation;
        if peer.believed.is_some_and(|(believed, version)| believed == life && holdings.version < version) {
            return;
        }
        if peer.heard.0 != life {
            // Another life counts its announcements anew.
            peer.lives_back = peer.lives_back.saturating_add(u32::from(life < peer.heard.0));
            peer.heard = (life, 0);
        }
        self.set(from, (life, holdings.version), holdings.site, &holdings.cards);
    }

    /// A peer says that it does not hold a layer: removes the layer from the beliefs about the peer.
    pub fn denied(&mut self, from: PeerId, layer: DiffId) {
        self.change(from, &[], &[layer]);
    }

    pub fn forget(&mut self, id: PeerId) {
        let Some(&index) = self.by_peer.get(&id) else { return };
        self.drop_layers(id);
        let peer = &mut self.peers[index as usize].1;
        if peer.connected {
            let &mut Peer { connected, rate, last_heard, .. } = peer;
            *peer = Peer { connected, rate, last_heard, ..Peer::default() };
        } else {
            self.peers.remove(index as usize);
            self.by_peer.remove(&id);
        }
    }

    /// Forgets the peers that are not connected and were not heard since `since`.
    pub fn forget_silent(&mut self, since: Moment) {
        let is_silent = |peer: &Peer| !peer.connected && peer.last_heard < since;
        let silent: Vec<PeerId> = self.peers().filter(|(_, peer)| is_silent(peer)).map(|(id, _)| id).collect();
        silent.into_iter().for_each(|id| self.forget(id));
    }

    /// Learns the rate of a transfer from a peer. A new rate counts for three tenths.
    pub fn measured(&mut self, id: PeerId, rate: BytesPerSecond) {
        if let Some(peer) = self.known_peer(id) {
            let mixed =
                peer.rate.map_or(rate.0, |old| (old.0 / 10).saturating_mul(7) + (rate.0 / 10).saturating_mul(3));
            peer.rate = Some(BytesPerSecond(mixed));
        }
    }

    fn at(&self, index: PeerIndex) -> Option<Holder<'_>> {
        self.peers.get(index as usize).map(|(id, peer)| Holder { index, id: *id, peer })
    }

    fn known_peer(&mut self, id: PeerId) -> Option<&mut Peer> {
        let index = *self.by_peer.get(&id)?;
        self.peers.get_mut(index as usize).map(|(_, peer)| peer)
    }

    /// The beliefs about a peer; empty ones if it is new.
    fn peer_mut(&mut self, id: PeerId) -> &mut Peer {
        let insert = || self.peers.insert((id, Peer::default())) as PeerIndex;
        let index = *self.by_peer.entry(id).or_insert_with(insert);
        &mut self.peers[index as usize].1
    }

    fn known(&self, id: DiffId) -> Option<&Known> {
        self.by_id.get(&id).and_then(|&index| self.cards.get(index as usize))
    }

    /// Sets all layers of a peer. Most of them are known already.
    fn set(&mut self, id: PeerId, believed: (Incarnation, u64), site: Option<SiteName>, cards: &[Card]) {
        let peer = self.peer_mut(id);
        peer.believed = Some(believed);
        peer.site = site;
        let listed: BTreeSet<DiffId> = cards.iter().map(|card| card.diff_id).collect();
        let layers = self.peer(id).into_iter().flat_map(|peer| &peer.layers);
        let known = layers.map(|index| self.cards[*index as usize].card.diff_id);
        let gone: Vec<DiffId> = known.filter(|layer| !listed.contains(layer)).collect();
        self.change(id, cards, &gone);
    }

    fn change(&mut self, id: PeerId, added: &[Card], removed: &[DiffId]) {
        // A peer that denies a layer may have been forgotten meanwhile.
        let Some(&peer) = self.by_peer.get(&id) else { return };
        let mut layers = self.known_peer(id).map(|peer| std::mem::take(&mut peer.layers)).unwrap_or_default();
        for layer in removed {
            // A peer may remove layers that this node never heard of.
            let Some(&index) = self.by_id.get(layer) else { continue };
            if let Ok(place) = layers.binary_search(&index) {
                layers.remove(place);
                self.release(peer, index);
            }
        }
        for card in added {
            if layers.len() >= Settings::LAYERS_PER_PEER_MAX {
                break;
            }
            // Over the cap of cards, a layer is not remembered.
            let Some(index) = self.index_of(card) else { continue };
            if let Err(place) = layers.binary_search(&index) {
                layers.insert(place, index);
                self.hold(peer, index);
            }
        }
        layers.shrink_to_fit();
        if let Some(peer) = self.known_peer(id) {
            peer.layers = layers;
        }
    }

    fn drop_layers(&mut self, id: PeerId) {
        let Some(&peer) = self.by_peer.get(&id) else { return broken("a peer without its index") };
        let layers = self.known_peer(id).map(|peer| std::mem::take(&mut peer.layers)).unwrap_or_default();
        for index in layers {
            self.release(peer, index);
        }
    }

    fn index_of(&mut self, card: &Card) -> Option<CardIndex> {
        if let Some(&index) = self.by_id.get(&card.diff_id) {
            let known = &mut self.cards[index as usize].card;
            known.tar_bytes = known.tar_bytes.max(card.tar_bytes);
            return Some(index);
        }
        if self.by_id.len() >= Settings::CARDS_MAX {
            return None;
        }
        let index = self.cards.insert(Known { card: *card, holders: Vec::new() }) as CardIndex;
        self.by_id.insert(card.diff_id, index);
        Some(index)
    }

    fn hold(&mut self, peer: PeerIndex, index: CardIndex) {
        let holders = &mut self.cards[index as usize].holders;
        if let Err(place) = holders.binary_search(&peer) {
            holders.insert(place, peer);
        }
    }

    fn release(&mut self, peer: PeerIndex, index: CardIndex) {
        let known = &mut self.cards[index as usize];
        if let Ok(place) = known.holders.binary_search(&peer) {
            known.holders.remove(place);
        }
        if known.holders.is_empty() {
            self.by_id.remove(&known.card.diff_id);
            self.cards.remove(index as usize);
        }
    }
}

#[cfg(test)]
mod tests;
