//! The connections of a fleet: the standing ones, and those of nodes that were referred to each other.
//!
//! Standing connections follow the topology: a node of a site to the other nodes of its site and to its hub; a hub to
//! all nodes of its sites and to the other hubs. A node that is referred to another makes a connection for the
//! transfer: a handshake, and the end when nothing went over it for a while. It dials QUIC first if its own link is
//! far or lossy, else TCP, as nodes do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lighter_engine::{Input, PeerInput};
use lighter_types::Link;

use super::Fleet;
use super::cuts::Cut;
use super::due::Due;
use super::node::peer;
use crate::congestion::{CUBIC, PILOT, Pace};
use crate::queue::Micros;
use crate::topology::Topology;

/// A handshake, and the first words after it.
#[derive(Clone, Copy)]
struct Handshake {
    /// Bytes each way.
    bytes: u64,
    /// Round trips until a stream is open.
    rounds: u64,
    is_tcp: bool,
}

/// docs/BENCHMARKS.md, "meeting".
const TCP: Handshake = Handshake { bytes: 1_200, rounds: 2, is_tcp: true };
/// Padded datagrams and certificates: docs/decisions/0017-quic-and-congestion-control.md.
const QUIC: Handshake = Handshake { bytes: 4_230, rounds: 1, is_tcp: false };
/// A connection that nothing goes over is closed after this.
const IDLE: Micros = 20_000_000;

pub struct Connections {
    /// The hub of each site.
    pub hub_of: Vec<usize>,
    /// The nodes of the sites of each hub.
    pub members: Vec<Vec<usize>>,
    /// By site: its uplink, if it is away.
    pub cuts: Vec<Option<Cut>>,
    /// Standing connections beside those of the topology, by either end.
    friends: BTreeMap<usize, BTreeSet<usize>>,
    /// Connections between nodes that were referred to each other, by either end.
    met: BTreeMap<usize, BTreeSet<usize>>,
    /// Those of them that are over TCP, as both ends see them.
    over_tcp: BTreeSet<(usize, usize)>,
    /// Handshakes under way: the node that dials, its life, and the other node.
    dialing: BTreeSet<(usize, u32, usize)>,
    /// By sender and receiver: those that have sent patches.
    paces: BTreeMap<(usize, usize), Pace>,
}

impl Connections {
    pub fn new(topology: &Topology) -> Self {
        let mut members = vec![Vec::new(); topology.hubs];
        for site in &topology.sites {
            members[site.hub].extend(site.nodes.clone());
        }
        Self {
            hub_of: topology.sites.iter().map(|site| site.hub).collect(),
            members,
            cuts: (0..topology.sites.len()).map(|_| None).collect(),
            friends: BTreeMap::new(),
            met: BTreeMap::new(),
            over_tcp: BTreeSet::new(),
            dialing: BTreeSet::new(),
            paces: BTreeMap::new(),
        }
    }

    /// Adds a standing connection between two nodes.
    pub fn befriend(&mut self, one: usize, other: usize) {
        self.friends.entry(one).or_default().insert(other);
        self.friends.entry(other).or_default().insert(one);
    }

    /// The nodes that a node has standing connections to, while all are well.
    pub fn neighbours(&self, topology: &Topology, node: usize) -> Vec<usize> {
        let mut neighbours = Vec::new();
        match topology.nodes[node].site {
            Some(site) => {
                neighbours.push(self.hub_of[site]);
                neighbours.extend(topology.sites[site].nodes.clone().filter(|mate| *mate != node));
            }
            None => {
                neighbours.extend((0..topology.hubs).filter(|other| *other != node));
                neighbours.extend_from_slice(&self.members[node]);
            }
        }
        if let Some(friends) = self.friends.get(&node) {
            neighbours.extend(friends.iter().filter(|friend| self.hub_of_node(topology, node) != Some(**friend)));
        }
        neighbours
    }

    fn hub_of_node(&self, topology: &Topology, node: usize) -> Option<usize> {
        topology.nodes[node].site.map(|site| self.hub_of[site])
    }

    /// How fast a node sends to another: by QUIC, unless they met over TCP.
    pub fn pace(&mut self, from: usize, to: usize) -> &mut Pace {
        let control = if self.over_tcp.contains(&(from, to)) { CUBIC } else { PILOT };
        self.paces.entry((from, to)).or_insert_with(|| Pace::new(control))
    }

    /// A connection ended, or was silent for long: what it knew of its path is gone.
    pub fn forget_pace(&mut self, one: usize, other: usize) {
        self.paces.remove(&(one, other));
        self.paces.remove(&(other, one));
    }

    /// The nodes that a node is connected to by referral.
    pub fn met_by(&self, node: usize) -> Vec<usize> {
        self.met.get(&node).into_iter().flatten().copied().collect()
    }

    fn have_met(&self, one: usize, other: usize) -> bool {
        self.met.get(&one).is_some_and(|met| met.contains(&other))
    }
}

impl Fleet {
    pub fn neighbours(&self, node: usize) -> Vec<usize> {
        self.connections.neighbours(&self.topology, node)
    }

    /// Tells two nodes that they are connected, if both are there.
    pub fn connect(&mut self, node: usize, other: usize) {
        if !self.is_reachable(node, other) {
            self.keep_apart(node, other);
        } else if self.nodes[node].is_online && self.nodes[other].is_online {
            for (here, there) in [(node, other), (other, node)] {
                let route = self.wires.network.route(self.wires.links.path(&self.topology, here, there));
                let lost_per_mille = u16::try_from(route.loss_ppm / 1000).ok();
                let round_trip = Some(Duration::from_micros(route.round_trip));
                let link = Link { round_trip, lost_per_mille, ..Link::default() };
                self.step(here, Input::Peer(PeerInput::LinkSeen { peer: peer(there), link }));
                self.step(here, Input::Peer(PeerInput::Connected(peer(there))));
            }
        }
    }

    pub fn dial(&mut self, node: usize, other: usize) {
        let life = self.nodes[node].life;
        if self.connections.dialing.insert((node, life, other)) {
            self.send(node, other, self.handshake(node).bytes, Due::Dialed { from: node, life, to: other });
        }
    }

    /// A node that does not let others in does not answer.
    pub fn dialed(&mut self, from: usize, life: u32, to: usize) {
        if self.nodes[to].is_online && self.nodes[to].engine.settings().passes_on {
            let round = self.wires.network.route(self.wires.links.path(&self.topology, from, to)).round_trip;
            self.wires.after((self.handshake(from).rounds - 1) * round, Due::Answered { from, life, to });
        }
    }

    pub fn answered(&mut self, from: usize, life: u32, to: usize) {
        if self.nodes[to].is_online {
            self.send(to, from, self.handshake(from).bytes, Due::Met { from, life, to });
        }
    }

    /// The handshake by which a node meets others.
    fn handshake(&self, node: usize) -> Handshake {
        let engine = &self.nodes[node].engine;
        if self.neighbours(node).into_iter().any(|other| engine.link(peer(other)).is_bad()) { QUIC } else { TCP }
    }

    pub fn meet(&mut self, from: usize, life: u32, to: usize) {
        self.connections.dialing.remove(&(from, life, to));
        let is_known = self.connections.have_met(from, to) || self.neighbours(from).contains(&to);
        if self.nodes[from].life != life || is_known {
            return;
        }
        if self.handshake(from).is_tcp {
            self.connections.over_tcp.extend([(from, to), (to, from)]);
        }
        self.connections.met.entry(from).or_default().insert(to);
        self.connections.met.entry(to).or_default().insert(from);
        self.connect(from, to);
        self.wires.after(IDLE, Due::Idle { one: from, other: to });
    }

    pub fn idle(&mut self, one: usize, other: usize) {
        if !self.connections.have_met(one, other) {
            return;
        }
        if self.streams.are_between(one, other) {
            self.wires.after(IDLE, Due::Idle { one, other });
        } else {
            self.disconnect(one, other);
        }
    }

    /// Ends the connection of two nodes that met by referral.
    pub fn disconnect(&mut self, one: usize, other: usize) {
        self.connections.forget_pace(one, other);
        for (node, of) in [(one, other), (other, one)] {
            self.connections.over_tcp.remove(&(node, of));
            self.connections.met.entry(node).or_default().remove(&of);
            if self.nodes[node].is_online {
                self.step(node, Input::Peer(PeerInput::Lost(peer(of))));
            }
        }
    }
}
