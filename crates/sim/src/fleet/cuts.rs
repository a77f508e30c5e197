//! Sites whose uplink is away.
//!
//! Until both sides notice, their connections live on: messages wait, as transports send them again, and go on when the
//! first probe goes out after the link is back. Then the connections end, and messages come to nothing.

use lighter_engine::{Input, PeerInput};

use super::Fleet;
use super::due::Due;
use super::life::NOTICED_AFTER;
use super::node::peer;
use crate::congestion::PILOT;
use crate::queue::Micros;

/// An uplink that is away.
pub struct Cut {
    /// When it went, the last time.
    since: Micros,
    /// Whether the connections over it ended.
    is_noticed: bool,
    /// Messages that wait.
    held: Vec<Held>,
    /// Nodes that started meanwhile, and whom they are to be connected to.
    apart: Vec<(usize, usize)>,
}

struct Held {
    from: usize,
    to: usize,
    bytes: u64,
    due: Due,
}

impl Fleet {
    /// The site whose cut lies between two nodes.
    fn cut_between(&self, one: usize, other: usize) -> Option<usize> {
        let sites = [one, other].map(|node| self.topology.nodes[node].site);
        if sites[0] == sites[1] {
            return None;
        }
        sites.into_iter().flatten().find(|site| self.connections.cuts[*site].is_some())
    }

    pub fn is_reachable(&self, from: usize, to: usize) -> bool {
        self.cut_between(from, to).is_none()
    }

    /// Whether the connection of two nodes ended because of a cut.
    pub fn are_parted(&self, one: usize, other: usize) -> bool {
        let cut = self.cut_between(one, other).and_then(|site| self.connections.cuts[site].as_ref());
        cut.is_some_and(|cut| cut.is_noticed)
    }

    /// Sends a message over the links, or keeps it while a cut lies between.
    pub fn send(&mut self, from: usize, to: usize, bytes: u64, due: Due) {
        if self.is_reachable(from, to) {
            self.record.talk_bytes += bytes;
            self.wires.network.send(self.wires.links.path(&self.topology, from, to), bytes, due);
        } else if let Some(cut) = self.open_cut(from, to) {
            cut.held.push(Held { from, to, bytes, due });
        }
    }

    /// Two nodes are to be connected when the cut between them is over. Once it is noticed, that is so for all nodes.
    pub fn keep_apart(&mut self, one: usize, other: usize) {
        if let Some(cut) = self.open_cut(one, other) {
            cut.apart.push((one, other));
        }
    }

    /// The cut between two nodes, if nobody has noticed it yet.
    fn open_cut(&mut self, one: usize, other: usize) -> Option<&mut Cut> {
        let site = self.cut_between(one, other)?;
        self.connections.cuts[site].as_mut().filter(|cut| !cut.is_noticed)
    }

    /// The uplink of a site goes away.
    pub fn cut(&mut self, site: usize) {
        let since = self.wires.now();
        let empty = Cut { since, is_noticed: false, held: Vec::new(), apart: Vec::new() };
        self.connections.cuts[site].get_or_insert(empty).since = since;
        self.wires.after(NOTICED_AFTER, Due::CutNoticed { site, since });
    }

    /// The uplink of a site is back. Senders that still wait find it with their next probe.
    pub fn heal(&mut self, site: usize) {
        let Some(cut) = &self.connections.cuts[site] else { return };
        let (since, is_noticed) = (cut.since, cut.is_noticed);
        let path =
            self.wires.links.path(&self.topology, self.connections.hub_of[site], self.topology.sites[site].nodes.start);
        let silence = PILOT.silence_after(self.wires.now() - since, &self.wires.network.route(path));
        self.wires.after(if is_noticed { 0 } else { silence }, Due::Reopened { site, since });
    }

    /// Everything goes on over an uplink, unless it went away once more.
    pub fn reopen(&mut self, site: usize, since: Micros) {
        let Some(cut) = self.connections.cuts[site].take_if(|cut| cut.since == since) else { return };
        for node in self.topology.sites[site].nodes.clone() {
            if cut.is_noticed {
                self.connect(node, self.connections.hub_of[site]);
            }
            self.start_again(node);
            self.pump_streams(node);
        }
        cut.apart.into_iter().for_each(|(one, other)| self.connect(one, other));
        cut.held.into_iter().for_each(|held| self.send(held.from, held.to, held.bytes, held.due));
    }

    /// The nodes of a site and the others learn that they cannot reach each other.
    pub fn notice_cut(&mut self, site: usize, since: Micros) {
        let Some(cut) = self.connections.cuts[site].as_mut().filter(|cut| cut.since == since) else { return };
        cut.is_noticed = true;
        cut.held.clear();
        cut.apart.clear();
        let hub = self.connections.hub_of[site];
        for node in self.topology.sites[site].nodes.clone() {
            if self.nodes[node].is_online && self.nodes[hub].is_online {
                self.step(node, Input::Peer(PeerInput::Lost(peer(hub))));
                self.step(hub, Input::Peer(PeerInput::Lost(peer(node))));
            }
            for other in self.connections.met_by(node) {
                if self.topology.nodes[other].site != Some(site) {
                    self.disconnect(node, other);
                }
            }
            self.break_far_streams(node);
        }
    }
}
