//! Counts the streams that peers open, of whatever protocol: each costs something, also if nothing ever comes on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lighter_types::PeerId;

/// Peers that are counted at a time; more than have a connection.
const PEERS_MAX: usize = 4096;

/// The streams of each peer since they were last taken. Cloning gives another handle to the same.
#[derive(Clone, Default)]
pub struct Openings(Arc<Mutex<BTreeMap<PeerId, u32>>>);

impl Openings {
    /// A peer opened a stream.
    pub fn count(&self, peer: PeerId) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() < PEERS_MAX || counts.contains_key(&peer) {
            let count = counts.entry(peer).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Takes the counts; they begin anew.
    pub fn take(&self) -> BTreeMap<PeerId, u32> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
