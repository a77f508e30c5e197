//! The rules by which the directory believes announcements and answers.
//!
//! A digest outranks everything: a list that is known here and has the digest that the peer names is the peer's list,
//! whatever was missed in between. Without it, versions of one life show a gap, and the peer is asked.
//!
//! A peer's answer over its own connection outranks gossip about it. Gossip lingers and is reordered, and the clock
//! that dates a life may have been set back.
//!
//! A peer may name a digest that its list does not have. Its list is believed as it says it, and is not *exact*: its
//! differences are believed by their version, as those of a list that a cap cut off.

use std::collections::BTreeSet;

use lighter_types::{Card, DiffId, Moment, PeerId, SiteName};
use lighter_wire::{Announcement, Holdings, Incarnation, ListDigest, Listed, News};

use super::{Directory, Peer};

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

/// The judgement of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is believed, or is older than what is believed.
    Taken,
    /// It changes a list that is not known here, or the peer names a wrong digest: nothing was changed.
    Mismatch,
}

/// A peer's words about its list.
struct Told {
    believed: (Incarnation, u64),
    site: Option<SiteName>,
    digest: ListDigest,
}

impl Directory {
    /// Takes in an announcement.
    pub fn announced(&mut self, from: PeerId, announcement: Announcement, now: Moment) -> Heard {
        let Announcement { incarnation: life, version, sequence, site, digest, news } = announcement;
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
        if peer.heard.0 != life {
            peer.earlier = Some(peer.heard.0);
        }
        peer.heard = (life, sequence);
        peer.last_heard = now;
        let is_exact = peer.is_exact;
        let same_life = peer.believed.filter(|(believed, _)| *believed == life).map(|(_, version)| version);
        // The peer named a later version meanwhile.
        if same_life.is_some_and(|believed| version < believed) {
            return Heard::Current;
        }
        let told = Told { believed: (life, version), site, digest };
        match news {
            News::Full(cards) => {
                self.set(from, told, &cards);
                Heard::Current
            }
            _ if same_life == Some(version) => Heard::Current,
            News::Difference { added, removed } => {
                let follows = same_life.is_some_and(|believed| believed + 1 == version);
                if self.leads_to(from, digest, &added, &removed) || (follows && !is_exact) {
                    self.take_over(from, told, &added, &removed);
                    return Heard::Current;
                }
                Heard::Behind
            }
            News::Heartbeat | News::Leaving if self.leads_to(from, digest, &[], &[]) => {
                self.take_over(from, told, &[], &[]);
                Heard::Current
            }
            News::Heartbeat | News::Leaving => Heard::Behind,
        }
    }

    /// Takes in an answer to a question for holdings. The peer itself says it, so its life does not matter.
    pub fn answered(&mut self, from: PeerId, holdings: Holdings, now: Moment) -> Taken {
        if !self.by_peer.contains_key(&from) && self.len() >= self.peers_max {
            return Taken::Taken;
        }
        let Holdings { incarnation: life, version, site, digest, list } = holdings;
        let peer = self.peer_mut(from);
        peer.last_heard = now;
        if peer.believed.is_some_and(|(believed, known)| believed == life && version < known) {
            return Taken::Taken;
        }
        let told = Told { believed: (life, version), site, digest };
        let (added, removed) = match list {
            Listed::All(cards) => {
                self.set(from, told, &cards);
                self.answered_in(from, life);
                return Taken::Taken;
            }
            Listed::Unchanged => (Vec::new(), Vec::new()),
            Listed::Difference { added, removed } => (added, removed),
        };
        if !self.leads_to(from, digest, &added, &removed) {
            return Taken::Mismatch;
        }
        self.take_over(from, told, &added, &removed);
        self.answered_in(from, life);
        Taken::Taken
    }

    /// A peer says that it does not hold a layer: removes the layer from the beliefs about the peer.
    pub fn denied(&mut self, from: PeerId, layer: DiffId) {
        if self.is_held_by(layer, from) {
            self.change(from, &[], &[layer]);
            self.peer_mut(from).is_exact = false;
        }
    }

    /// The peer answered in this life.
    fn answered_in(&mut self, from: PeerId, life: Incarnation) {
        let peer = self.peer_mut(from);
        if peer.heard.0 != life {
            // Another life counts its announcements anew.
            peer.lives_back = peer.lives_back.saturating_add(u32::from(peer.earlier == Some(life)));
            peer.earlier = Some(peer.heard.0);
            peer.heard = (life, 0);
        }
    }

    /// Whether these changes of the list that is known of a peer give a list of this digest.
    fn leads_to(&self, from: PeerId, wanted: ListDigest, added: &[Card], removed: &[DiffId]) -> bool {
        let mut digest = self.known_list(from).unwrap_or_default();
        for &layer in removed {
            if self.is_listed(from, layer) {
                digest.remove(layer);
            }
        }
        for card in added {
            if !self.is_listed(from, card.diff_id) {
                digest.add(card.diff_id);
            }
        }
        digest == wanted
    }

    /// Whether the list that is known of a peer has this layer.
    fn is_listed(&self, from: PeerId, layer: DiffId) -> bool {
        if self.peer(from).is_some_and(Peer::is_known) {
            self.is_held_by(layer, from)
        } else {
            self.remembered.holds(from, layer)
        }
    }

    /// Changes the list that is known of a peer.
    fn take_over(&mut self, from: PeerId, told: Told, added: &[Card], removed: &[DiffId]) {
        if !self.peer(from).is_some_and(Peer::is_known) {
            let cards = self.remembered.take(from);
            self.change(from, &cards, &[]);
        }
        self.change(from, added, removed);
        self.believe(from, told);
    }

    /// Sets all layers of a peer. Most of them are known already.
    fn set(&mut self, from: PeerId, told: Told, cards: &[Card]) {
        let listed: BTreeSet<DiffId> = cards.iter().map(|card| card.diff_id).collect();
        let layers = self.peer(from).into_iter().flat_map(|peer| &peer.layers);
        let known = layers.map(|index| self.cards[*index as usize].card.diff_id);
        let gone: Vec<DiffId> = known.filter(|layer| !listed.contains(layer)).collect();
        self.change(from, cards, &gone);
        self.believe(from, told);
    }

    fn believe(&mut self, from: PeerId, told: Told) {
        self.remembered.take(from);
        let site = self.neighbours.site_of(from, told.site);
        let peer = self.peer_mut(from);
        peer.believed = Some(told.believed);
        peer.site = site;
        peer.is_exact = peer.digest == told.digest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a peer that answers in these lives, one after the other, seems to be two nodes.
    #[track_caller]
    fn check_twin(lives: &[u64], expected: bool) {
        let (peer, mut directory) = (PeerId::new([1; 32]), Directory::new(9));
        for &life in lives {
            let holdings = Holdings::all(Incarnation(life), 1, None, Vec::new());
            directory.answered(peer, holdings, Moment(1));
        }
        assert_eq!(directory.peer(peer).is_some_and(Peer::has_twin), expected, "{lives:?}");
    }

    #[test]
    fn lives_that_ended_and_come_back_show_two_nodes_of_one_identity() {
        check_twin(&[70, 10, 70, 10, 70], true);
        check_twin(&[70, 10, 70, 10], false);
        // A board without a battery: its clock starts anew with each life.
        check_twin(&[50, 40, 60, 30, 20, 10, 15, 5], false);
    }
}
