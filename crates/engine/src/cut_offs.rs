//! Peers that this node does not talk to for a while.

use std::collections::BTreeMap;

use lighter_types::{Moment, PeerId};

/// For each peer that is cut off, when that ends.
#[derive(Debug, Default)]
pub struct CutOffs(BTreeMap<PeerId, Moment>);

impl CutOffs {
    pub fn contains(&self, peer: PeerId, now: Moment) -> bool {
        self.0.get(&peer).is_some_and(|&until| until > now)
    }

    pub fn forget_ended(&mut self, now: Moment) {
        self.0.retain(|_, until| *until > now);
    }

    /// Cuts a peer off. Beyond `max`, the cut-off that would end first ends now.
    pub fn add(&mut self, peer: PeerId, until: Moment, max: usize) {
        if self.0.len() >= max
            && let Some((&first, _)) = self.0.iter().min_by_key(|(_, until)| **until)
        {
            self.0.remove(&first);
        }
        self.0.insert(peer, until);
    }
}
