//! Inbound streams that wait to be taken: a queue for each peer, and the peers' turns.
//!
//! A peer is in `turns` exactly when it has a stream queued and may have another one taken. A peer without streams is
//! not in the map.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

use crate::settings::Settings;

/// See the module. `T` is a stream.
pub struct Inbox<T> {
    peers: HashMap<PeerId, OfPeer<T>>,
    turns: VecDeque<PeerId>,
    queued: usize,
}

struct OfPeer<T> {
    queued: VecDeque<(ConnectionId, T)>,
    taken: usize,
}

impl<T> Default for OfPeer<T> {
    fn default() -> Self {
        Self { queued: VecDeque::new(), taken: 0 }
    }
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self { peers: HashMap::new(), turns: VecDeque::new(), queued: 0 }
    }
}

impl<T> Inbox<T> {
    /// Queues a stream.
    ///
    /// # Errors
    /// Gives it back if a bound is reached.
    pub fn push(&mut self, peer: PeerId, connection: ConnectionId, item: T, settings: &Settings) -> Result<(), T> {
        if self.queued >= settings.queued_max {
            return Err(item);
        }
        let of_peer = self.peers.entry(peer).or_default();
        if of_peer.queued.len() >= settings.queued_per_peer_max {
            self.clean(peer);
            return Err(item);
        }
        of_peer.queued.push_back((connection, item));
        if of_peer.queued.len() == 1 && of_peer.taken < settings.taken_per_peer_max {
            self.turns.push_back(peer);
        }
        self.queued += 1;
        Ok(())
    }

    /// Takes the oldest stream of the peer whose turn it is.
    pub fn take(&mut self, settings: &Settings) -> Option<(PeerId, T)> {
        let peer = self.turns.pop_front()?;
        let of_peer = self.peers.get_mut(&peer)?;
        let (_, item) = of_peer.queued.pop_front()?;
        of_peer.taken += 1;
        self.queued -= 1;
        if !of_peer.queued.is_empty() && of_peer.taken < settings.taken_per_peer_max {
            self.turns.push_back(peer);
        }
        Some((peer, item))
    }

    /// A stream that was taken gives up its place.
    pub fn release(&mut self, peer: PeerId, settings: &Settings) {
        let Some(of_peer) = self.peers.get_mut(&peer) else { return };
        let was_full = of_peer.taken >= settings.taken_per_peer_max;
        of_peer.taken = of_peer.taken.saturating_sub(1);
        if was_full && !of_peer.queued.is_empty() {
            self.turns.push_back(peer);
        }
        self.clean(peer);
    }

    /// A connection ended. Returns its streams that were queued.
    pub fn forget(&mut self, peer: PeerId, connection: ConnectionId) -> Vec<T> {
        let Some(of_peer) = self.peers.get_mut(&peer) else { return Vec::new() };
        let (gone, left): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut of_peer.queued).into_iter().partition(|(of, _)| *of == connection);
        of_peer.queued = left;
        self.queued -= gone.len();
        if of_peer.queued.is_empty() {
            self.turns.retain(|other| *other != peer);
        }
        self.clean(peer);
        gone.into_iter().map(|(_, item)| item).collect()
    }

    /// Streams that wait.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Entries in the maps.
    pub fn held(&self) -> usize {
        self.peers.len() + self.turns.len()
    }

    /// Removes all streams that wait, and returns them. Those that were taken keep their places.
    pub fn clear(&mut self) -> Vec<T> {
        self.turns.clear();
        self.queued = 0;
        let all = self.peers.values_mut().flat_map(|of_peer| of_peer.queued.drain(..)).map(|(_, item)| item).collect();
        self.peers.retain(|_, of_peer| of_peer.taken > 0);
        all
    }

    fn clean(&mut self, peer: PeerId) {
        if let Entry::Occupied(entry) = self.peers.entry(peer)
            && entry.get().queued.is_empty()
            && entry.get().taken == 0
        {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings { queued_max: 6, queued_per_peer_max: 3, taken_per_peer_max: 2, ..Settings::default() }
    }

    fn connection(id: usize) -> ConnectionId {
        ConnectionId::new_unchecked(id)
    }

    #[test]
    fn peers_take_turns_and_a_peer_has_its_share() {
        let (settings, mut inbox) = (settings(), Inbox::default());
        let (loud, calm) = (PeerId::random(), PeerId::random());
        for item in 0..3 {
            assert_eq!(inbox.push(loud, connection(1), item, &settings), Ok(()));
        }
        assert_eq!(inbox.push(loud, connection(1), 3, &settings), Err(3));
        assert_eq!(inbox.push(calm, connection(2), 10, &settings), Ok(()));
        assert_eq!(inbox.push(calm, connection(2), 11, &settings), Ok(()));
        let taken: Vec<_> = std::iter::from_fn(|| inbox.take(&settings)).collect();
        assert_eq!(taken, [(loud, 0), (calm, 10), (loud, 1), (calm, 11)], "and the third waits for a place");
        inbox.release(loud, &settings);
        assert_eq!(inbox.take(&settings), Some((loud, 2)));
        for peer in [loud, loud, calm, calm] {
            inbox.release(peer, &settings);
        }
        assert_eq!((inbox.held(), inbox.queued()), (0, 0));
    }

    #[test]
    fn the_bound_in_all_holds() {
        let (settings, mut inbox) = (settings(), Inbox::default());
        let pushed = (0..9).map(|item| inbox.push(PeerId::random(), connection(item), item, &settings));
        assert_eq!(pushed.filter(Result::is_err).count(), 3);
        assert_eq!(inbox.held(), 12);
        assert_eq!(inbox.clear().len(), 6);
        assert_eq!((inbox.held(), inbox.queued()), (0, 0));
    }

    #[test]
    fn a_connection_takes_its_streams_along() {
        let (settings, mut inbox) = (settings(), Inbox::default());
        let peer = PeerId::random();
        inbox.push(peer, connection(1), 1, &settings).unwrap();
        inbox.push(peer, connection(2), 2, &settings).unwrap();
        assert_eq!(inbox.forget(peer, connection(1)), [1]);
        assert_eq!(inbox.take(&settings), Some((peer, 2)));
        assert_eq!(inbox.forget(peer, connection(2)), [] as [i32; 0]);
        inbox.release(peer, &settings);
        assert_eq!((inbox.held(), inbox.queued()), (0, 0));
    }
}
