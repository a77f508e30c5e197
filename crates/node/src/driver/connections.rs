//! The peers that the node is connected to, dials, or refuses: what the driver knows beside the swarm and the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use lighter_types::{Moment, PeerId};

use super::meetings::Meetings;
use super::network::Dialer;

/// Two nodes that dial each other at once get two connections within this time. A second connection later is from a
/// peer that lost the first without a word, as in a power cut. Over QUIC the first lingers for ten seconds, and
/// gossipsub, which counts peers and not connections, tells nothing over the second: the two must begin anew.
const MEETING_MAX: Duration = Duration::from_secs(3);
/// A node that is started again after it was killed doubles its connection once for each start.
const DOUBLED_MAX: u32 = 4;
/// Identities in use twice that the node remembers.
const TWINS_MAX: usize = 64;

/// See the module.
pub struct Connections {
    pub dialer: Dialer,
    pub meetings: Meetings,
    /// Peers that the engine cut off, and until when.
    cut_off: BTreeMap<PeerId, Moment>,
    /// When the first connection to each connected peer was made.
    connected_at: BTreeMap<PeerId, Instant>,
    /// Connected peers that hear this node's announcements.
    hearing: BTreeSet<PeerId>,
    /// When this node last announced.
    announced_at: Option<Instant>,
    /// Identities that two running nodes use.
    twins: BTreeSet<PeerId>,
}

impl Connections {
    pub fn new(bootstrap: &[Multiaddr]) -> Self {
        Self {
            dialer: Dialer::new(bootstrap),
            meetings: Meetings::default(),
            cut_off: BTreeMap::new(),
            connected_at: BTreeMap::new(),
            hearing: BTreeSet::new(),
            announced_at: None,
            twins: BTreeSet::new(),
        }
    }

    /// The first connection to a peer was made.
    pub fn begin(&mut self, peer: PeerId) {
        self.connected_at.insert(peer, Instant::now());
    }

    /// The last connection to a peer closed.
    pub fn end(&mut self, peer: PeerId) {
        self.connected_at.remove(&peer);
        self.hearing.remove(&peer);
        self.meetings.disconnected(peer);
    }

    /// This node announced.
    pub fn announced(&mut self) {
        self.announced_at = Some(Instant::now());
    }

    /// A peer hears announcements from now on. Whether it missed one since it connected: on a far or lossy link its
    /// subscription takes seconds. True once for each connection.
    pub fn hears(&mut self, peer: PeerId) -> bool {
        let Some(connected) = self.connected_at.get(&peer) else { return false };
        self.hearing.insert(peer) && self.announced_at.is_some_and(|announced| announced >= *connected)
    }

    /// Whether a connection beside the first comes too late to be one of two nodes that dialled each other.
    pub fn is_late(&self, peer: PeerId) -> bool {
        self.connected_at.get(&peer).is_some_and(|since| since.elapsed() > MEETING_MAX)
    }

    pub fn cut_off(&mut self, peer: PeerId, until: Moment) {
        self.cut_off.insert(peer, until);
    }

    /// Takes out the peers that were cut off until now.
    pub fn take_readmitted(&mut self, now: Moment) -> Vec<PeerId> {
        self.cut_off.extract_if(.., |_, until| *until <= now).map(|(peer, _)| peer).collect()
    }

    /// Whether a peer whose connections doubled this often in a row shares its identity with another node.
    pub fn doubled(&mut self, peer: PeerId, times: u32) -> bool {
        if times >= DOUBLED_MAX {
            self.add_twin(peer);
        }
        self.twins.contains(&peer)
    }

    /// Two running nodes use this peer's identity. The log names it once; the two hear of it from the others' logs.
    pub fn add_twin(&mut self, peer: PeerId) {
        if self.twins.len() < TWINS_MAX && self.twins.insert(peer) {
            tracing::error!(%peer, "two running nodes use this identity");
        }
    }

    pub fn twins(&self) -> &BTreeSet<PeerId> {
        &self.twins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_subscribed_after_an_announcement_missed_it() {
        let mut connections = Connections::new(&[]);
        let peer = PeerId::new([1; 32]);
        assert!(!connections.hears(peer), "it is not connected");
        connections.announced();
        connections.begin(peer);
        connections.announced();
        assert!(connections.hears(peer));
        assert!(!connections.hears(peer), "once");
        connections.end(peer);
        connections.begin(peer);
        assert!(!connections.hears(peer), "nothing was announced since");
    }
}
