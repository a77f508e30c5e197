//! Counts what peers cost beside their messages: streams that they open, of whatever protocol, and bytes of gossip.
//!
//! A stream costs something also if nothing ever comes on it. Gossip costs something also if no message of it is heard:
//! gossipsub drops repeated messages and those with a wrong signature without a word.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lighter_types::PeerId;

/// Peers that are counted at a time; more than have a connection.
const PEERS_MAX: usize = 4096;
/// Bytes of gossip that count as one stream. A node announces twice a second at most (`Settings::GATHER`), a few KB in
/// the usual case and 60,000 bytes at most: 1.2 MB in a window of ten seconds, where 5 MB are a flood.
const GOSSIP_BYTES: u64 = 1024;

/// The streams of each peer since they were last taken. Cloning gives another handle to the same.
#[derive(Clone, Default)]
pub struct Openings(Arc<Mutex<BTreeMap<PeerId, Cost>>>);

#[derive(Clone, Copy, Default)]
struct Cost {
    streams: u32,
    gossip_bytes: u64,
}

impl Openings {
    /// A peer opened a stream.
    pub fn count(&self, peer: PeerId) {
        self.change(peer, |cost| cost.streams = cost.streams.saturating_add(1));
    }

    /// So many bytes of gossip came from a peer.
    pub fn gossip(&self, peer: PeerId, bytes: usize) {
        self.change(peer, |cost| cost.gossip_bytes = cost.gossip_bytes.saturating_add(bytes as u64));
    }

    fn change(&self, peer: PeerId, change: impl FnOnce(&mut Cost)) {
        let mut costs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if costs.len() < PEERS_MAX || costs.contains_key(&peer) {
            change(costs.entry(peer).or_default());
        }
    }

    /// Takes the counts, each as a number of streams; they begin anew.
    pub fn take(&self) -> BTreeMap<PeerId, u32> {
        let costs = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        costs.into_iter().map(|(peer, cost)| (peer, cost.all())).filter(|(_, streams)| *streams > 0).collect()
    }
}

impl Cost {
    fn all(self) -> u32 {
        self.streams.saturating_add(u32::try_from(self.gossip_bytes / GOSSIP_BYTES).unwrap_or(u32::MAX))
    }
}
