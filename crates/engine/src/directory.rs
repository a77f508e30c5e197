//! What this node believes about other nodes' holdings.
//!
//! Cards are kept once, however many peers hold the layer, and peers hold indices of them: a peer with 50 layers costs
//! about 2 KB (docs/ENGINE.md has the measured figure). Invariants: `holders` of a card are exactly the peers that list
//! it, in order; both lists are sorted; a card without holders is dropped. A card that two peers describe differently
//! keeps the first description, for it only steers predictions, and what arrives is checked against its digest; but the
//! larger length, for what arrives may not be longer: who tells too little must not make liars of the others.
//!
//! What a peer answers over its own connection outranks what gossip says of it: gossip lingers and is reordered, and the
//! clock that dates a life may have been set back.

use std::collections::{BTreeMap, BTreeSet};

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

/// A search among 10,000 peers takes about as long as a walk along so many of them.
const WALK_SHARE: usize = 8;

/// What is believed of one peer.
#[derive(Debug, Default)]
pub struct Peer {
    /// Whose life and version `layers` are; absent before the first were told.
    believed: Option<(Incarnation, u64)>,
    /// Life and sequence of the latest announcement heard.
    heard: (Incarnation, u64),
    layers: Vec<CardIndex>,
    site: Option<SiteName>,
    last_heard: Moment,
    connected: bool,
    /// The rate of the latest transfers from it; absent before the first.
    rate: Option<BytesPerSecond>,
    /// How often it told of an earlier life than it had told of before.
    lives_back: u32,
}

/// A clock that was set back makes a peer's life go back once for each restart; two nodes with one identity make it go
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

    /// Whether two running nodes seem to use this peer's identity: its life went to and fro.
    pub fn has_twin(&self) -> bool {
        self.lives_back >= LIVES_BACK_MAX
    }

    fn life(&self) -> Incarnation {
        self.heard.0.max(self.believed.map_or(Incarnation(0), |(life, _)| life))
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

    /// The peers believed to hold a layer, in order, with what is believed of them. All peers are walked along if many of
    /// them are meant, which is faster than to search for each.
    pub fn holding(&self, id: DiffId) -> impl Iterator<Item = (PeerId, &Peer)> {
        let holders = self.holders(id);
        let is_common = holders.len() > self.peers.len() / WALK_SHARE;
        let (walked, searched) = if is_common { (holders, &[][..]) } else { (&[][..], holders) };
        let mut wanted = walked.iter().peekable();
        let walk = is_common.then(|| self.peers()).into_iter().flatten();
        let walk = walk.filter(move |(peer, _)| wanted.next_if_eq(&peer).is_some());
        walk.chain(searched.iter().filter_map(|&holder| Some((holder, self.peer(holder)?))))
    }

    /// Whether a connected peer is believed to hold a layer.
    pub fn is_reachable(&self, id: DiffId) -> bool {
        self.holders(id).iter().any(|holder| self.peers.get(holder).is_some_and(Peer::is_connected))
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

    /// A peer that came in over the cap, by connecting, goes when its connection does.
    pub fn disconnected(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.connected = false;
            if self.peers.len() > self.peers_max {
                self.forget(id);
            }
        }
    }

    /// Takes in an announcement.
    pub fn announced(&mut self, from: PeerId, announcement: Announcement, now: Moment) -> Heard {
        let Announcement { incarnation: life, version, sequence, site, news } = announcement;
        if !self.peers.contains_key(&from) && self.peers.len() >= self.peers_max {
            return Heard::Ignored;
        }
        if news == News::Leaving {
            if self.peers.get(&from).is_none_or(|peer| peer.life() <= life) {
                self.forget(from);
            }
            return Heard::Current;
        }
        let peer = self.peers.entry(from).or_default();
        if life < peer.life() {
            // It lingered on its way, or the peer's clock was set back: only the peer itself can tell.
            return Heard::Behind;
        }
        if (life, sequence) <= peer.heard {
            return Heard::Ignored;
        }
        peer.heard = (life, sequence);
        peer.last_heard = now;
        let same_life = peer.believed.filter(|(believed, _)| *believed == life).map(|(_, version)| version);
        match news {
            // The peer told us of a later version meanwhile, or of this one.
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
            _ => Heard::Behind,
        }
    }

    /// Takes in an answer to a question for holdings. It is believed whatever life it is of: the peer itself says it.
    pub fn told(&mut self, from: PeerId, holdings: Holdings, now: Moment) {
        if !self.peers.contains_key(&from) && self.peers.len() >= self.peers_max {
            return;
        }
        let peer = self.peers.entry(from).or_default();
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

    /// Mostly it says what is known.
    fn set(&mut self, id: PeerId, believed: (Incarnation, u64), site: Option<SiteName>, cards: &[Card]) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.believed = Some(believed);
        peer.site = site;
        let told: BTreeSet<DiffId> = cards.iter().map(|card| card.diff_id).collect();
        let known = peer.layers.iter().filter_map(|index| self.cards[*index as usize].as_ref());
        let gone: Vec<DiffId> = known.map(|known| known.card.diff_id).filter(|layer| !told.contains(layer)).collect();
        self.change(id, cards, &gone);
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
            if let Some(known) = &mut self.cards[index as usize] {
                known.card.tar_bytes = known.card.tar_bytes.max(card.tar_bytes);
            }
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
