//! The beliefs of this node about the holdings of other nodes.
//!
//! Each card is kept once, however many peers hold the layer. Peers list the indices of cards, and cards list the
//! indices of peers: a peer with 50 layers costs about 1 KB (docs/ENGINE.md has the measured figure).
//!
//! Invariants: the `holders` of a card are exactly the peers that list it; both lists are sorted; a card without
//! holders is dropped.
//!
//! Two peers may describe one layer differently. The first description stays: it only steers predictions, and the layer
//! that arrives is checked against its digest. A digest that the first description lacks is taken from a later one. The
//! length is an exception, too. A fetch takes no layer that is longer than
//! its card says, so the larger length counts: a peer that names too small a length must not make liars of the others.
//!
//! `beliefs` has the rules by which announcements and answers are believed. `remembered` has the lists of peers that
//! are not heard any more, or not yet: a peer that comes back with the same list need not send it.

mod beliefs;
mod remembered;

use std::collections::{BTreeMap, BTreeSet};

use lighter_types::{Card, DiffId, Moment, PeerId, SiteName};
use lighter_wire::{Incarnation, ListDigest};
use slab::Slab;

use crate::neighbours::Neighbours;
use crate::settings::Settings;
use crate::work;
pub use beliefs::{Heard, Taken};
use remembered::Remembered;

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
    neighbours: Neighbours,
    /// Lists of peers that are not heard now.
    remembered: Remembered,
    /// Whether a list changed since [`Self::take_changed`].
    changed: bool,
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
    /// The digest of `layers`.
    digest: ListDigest,
    /// Whether the peer named this digest: nothing was left out by a cap, denied, or told wrongly.
    is_exact: bool,
    site: Option<SiteName>,
    last_heard: Moment,
    connected: bool,
    /// The life before this one, by its announcements and answers.
    earlier: Option<Incarnation>,
    /// How often the life before came back.
    lives_back: u32,
}

/// A node without a clock may name an earlier life after each restart, but never one that ended. Two nodes with one
/// identity name their two lives in turns.
const LIVES_BACK_MAX: u32 = 3;

impl Peer {
    pub fn site(&self) -> Option<&SiteName> {
        self.site.as_ref()
    }

    pub fn is_connected(&self) -> bool {
        self.connected
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

    /// Whether two running nodes seem to use this peer's identity: a life that had ended came back several times.
    pub fn has_twin(&self) -> bool {
        self.lives_back >= LIVES_BACK_MAX
    }

    /// When it started, by its own clock.
    pub fn life(&self) -> Incarnation {
        self.heard.0.max(self.believed.map_or(Incarnation(0), |(life, _)| life))
    }
}

impl Directory {
    pub fn new(peers_max: usize) -> Self {
        Self { peers_max, ..Self::default() }
    }

    /// The peers of this node's site are these.
    pub fn with_neighbours(self, neighbours: Neighbours) -> Self {
        Self { neighbours, ..self }
    }

    pub fn peers(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        work::counting(self.by_peer.iter()).filter_map(|(&id, &index)| Some((id, self.at(index)?.peer)))
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
        work::counting(self.holders(id).iter()).filter_map(|&index| self.at(index))
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

    /// The digest of the list that is known of a peer, believed now or remembered.
    pub fn known_list(&self, id: PeerId) -> Option<ListDigest> {
        let believed = self.peer(id).filter(|peer| peer.is_known()).map(|peer| peer.digest);
        believed.or_else(|| self.remembered.digest(id))
    }

    /// Peers whose whole list is known, with its digest and its number of layers. Empty lists are left out.
    pub fn lists(&self) -> impl Iterator<Item = (PeerId, ListDigest, usize)> {
        let believed = self.peers().filter(|(_, peer)| peer.is_exact && !peer.layers.is_empty());
        believed.map(|(id, peer)| (id, peer.digest, peer.layers.len())).chain(self.remembered.lists())
    }

    /// The list that is known of a peer, in no order.
    pub fn list(&self, id: PeerId) -> Vec<Card> {
        match self.peer(id).filter(|peer| peer.is_known()) {
            Some(peer) => peer.layers.iter().map(|&index| self.cards[index as usize].card).collect(),
            None => self.remembered.cards(id).to_vec(),
        }
    }

    /// Whether a list changed since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Remembers the list of a peer from an earlier life of this node.
    pub fn remember(&mut self, id: PeerId, cards: Vec<Card>) {
        self.remembered.add(id, cards);
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

    /// Forgets a peer, but for the list that it would have to send again if it came back.
    pub fn forget(&mut self, id: PeerId) {
        self.forget_all(&[id]);
    }

    /// Forgets the peers that are not connected and were not heard since `since`.
    pub fn forget_silent(&mut self, since: Moment) {
        let silent = self.peers().filter(|(_, peer)| !peer.connected && peer.last_heard < since);
        let silent: Vec<PeerId> = silent.map(|(id, _)| id).collect();
        self.forget_all(&silent);
    }

    /// Forgets these peers together: so the holders of a card are gone through once, however many of them go.
    fn forget_all(&mut self, ids: &[PeerId]) {
        let mut dropped = Vec::with_capacity(ids.len());
        for &id in ids {
            let Some(&index) = self.by_peer.get(&id) else { continue };
            if self.peer(id).is_some_and(|peer| peer.is_exact) {
                let cards = self.list(id);
                self.remembered.add(id, cards);
            }
            let peer = &mut self.peers[index as usize].1;
            dropped.push((index, std::mem::take(&mut peer.layers)));
            if peer.connected {
                let &mut Peer { connected, last_heard, .. } = peer;
                *peer = Peer { connected, last_heard, ..Peer::default() };
            } else {
                self.peers.remove(index as usize);
                self.by_peer.remove(&id);
            }
        }
        self.release_all(&dropped);
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
        let index = *self.by_peer.entry(id).or_insert_with(|| self.peers.insert((id, Peer::default())) as PeerIndex);
        &mut self.peers[index as usize].1
    }

    fn known(&self, id: DiffId) -> Option<&Known> {
        self.by_id.get(&id).and_then(|&index| self.cards.get(index as usize))
    }

    fn change(&mut self, id: PeerId, added: &[Card], removed: &[DiffId]) {
        // A peer that denies a layer may have been forgotten meanwhile.
        let Some(&peer) = self.by_peer.get(&id) else { return };
        let Some(known) = self.known_peer(id) else { return };
        let (mut layers, mut digest) = (std::mem::take(&mut known.layers), known.digest);
        let mut changed = BTreeSet::new();
        for layer in removed {
            // A peer may remove layers that this node never heard of.
            let Some(&index) = self.by_id.get(layer) else { continue };
            if layers.binary_search(&index).is_ok() && changed.insert(index) {
                digest.remove(*layer);
                self.release(peer, index);
            }
        }
        work::count(layers.len());
        layers.retain(|index| !changed.contains(index));
        changed.clear();
        for card in added {
            if layers.len() + changed.len() >= Settings::LAYERS_PER_PEER_MAX {
                break;
            }
            // Over the cap of cards, a layer is not remembered.
            let Some(index) = self.index_of(card) else { continue };
            if layers.binary_search(&index).is_err() && changed.insert(index) {
                digest.add(card.diff_id);
                self.hold(peer, index);
            }
        }
        work::count(layers.len() + changed.len());
        layers.extend(changed);
        // Two sorted runs, which this sort merges.
        layers.sort();
        layers.shrink_to_fit();
        if let Some(peer) = self.known_peer(id) {
            let before = std::mem::replace(&mut peer.digest, digest);
            peer.layers = layers;
            self.changed |= before != digest;
        }
    }

    /// Takes these peers, each with the layers that it listed, off the holders of their cards.
    fn release_all(&mut self, dropped: &[(PeerIndex, Vec<CardIndex>)]) {
        if let [(peer, layers)] = dropped {
            return layers.iter().for_each(|&index| self.release(*peer, index));
        }
        let gone: BTreeSet<PeerIndex> = dropped.iter().map(|&(peer, _)| peer).collect();
        let mut lost: BTreeMap<CardIndex, usize> = BTreeMap::new();
        for index in work::counting(dropped.iter().flat_map(|(_, layers)| layers)) {
            *lost.entry(*index).or_default() += 1;
        }
        for &index in lost.keys() {
            let holders = &mut self.cards[index as usize].holders;
            work::count(holders.len());
            holders.retain(|holder| !gone.contains(holder));
        }
        // A card goes with its last holder: the order says which of them new cards take the place of.
        for index in dropped.iter().flat_map(|(_, layers)| layers) {
            let left = lost.entry(*index).or_default();
            *left -= 1;
            if *left == 0 {
                self.drop_unheld(*index);
            }
        }
    }

    fn index_of(&mut self, card: &Card) -> Option<CardIndex> {
        if let Some(&index) = self.by_id.get(&card.diff_id) {
            let known = &mut self.cards[index as usize].card;
            // The most that a holder says: whoever says less would have others fetch the layer whole over any link.
            known.tar_bytes = known.tar_bytes.max(card.tar_bytes);
            known.compressed_bytes = known.compressed_bytes.max(card.compressed_bytes);
            // A layer may be announced before its digest is made.
            known.tlsh = known.tlsh.or(card.tlsh);
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
            work::count(holders.len() - place + 1);
            holders.insert(place, peer);
        }
    }

    fn release(&mut self, peer: PeerIndex, index: CardIndex) {
        let known = &mut self.cards[index as usize];
        if let Ok(place) = known.holders.binary_search(&peer) {
            work::count(known.holders.len() - place);
            known.holders.remove(place);
        }
        self.drop_unheld(index);
    }

    /// Drops a card that no peer holds any more.
    fn drop_unheld(&mut self, index: CardIndex) {
        let known = &self.cards[index as usize];
        if known.holders.is_empty() {
            self.by_id.remove(&known.card.diff_id);
            self.cards.remove(index as usize);
        }
    }
}

#[cfg(test)]
mod tests;
