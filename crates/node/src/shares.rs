//! Shares of something bounded that peers use up: places, or bytes of memory.
//!
//! Dynamic thresholds (Choudhury, Hahne: "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", IEEE/ACM
//! Transactions on Networking, 1998): a peer may have a part of what is free, and so the less, the more others have. A
//! peer that has nothing gets what it asks for as long as it fits. So peers that take all they get leave room for
//! others, until they are many.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lighter_types::PeerId;

/// The amount of one thing, and the part of each peer. Cloning gives another handle to the same.
#[derive(Clone)]
pub struct Shares {
    max: usize,
    /// A peer may have this part of what is free: one in so many.
    part: usize,
    used: Arc<Mutex<Used>>,
}

#[derive(Default)]
struct Used {
    all: usize,
    /// Peers that have some.
    by_peer: BTreeMap<PeerId, usize>,
}

/// The share of one use; dropping it gives it back.
pub struct Share {
    shares: Shares,
    peer: PeerId,
    amount: usize,
}

impl Shares {
    pub fn new(max: usize, part: usize) -> Self {
        Self { max, part: part.max(1), used: Arc::default() }
    }

    /// Takes so much for a peer; `None` if the peer has its part, or nothing is free.
    pub fn take(&self, peer: PeerId, amount: usize) -> Option<Share> {
        let mut used = self.used();
        let free = self.max.saturating_sub(used.all);
        let has = used.by_peer.get(&peer).copied().unwrap_or(0);
        if amount > free || (has > 0 && has + amount > free / self.part) {
            return None;
        }
        used.all += amount;
        *used.by_peer.entry(peer).or_default() += amount;
        Some(Share { shares: self.clone(), peer, amount })
    }

    /// Peers that have some, and all that is used.
    #[cfg(test)]
    pub fn held(&self) -> (usize, usize) {
        let used = self.used();
        (used.by_peer.len(), used.all)
    }

    /// No code of others runs under the lock: the counts are whole even after a panic.
    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Gives back all but this much.
    pub fn shrink(&mut self, amount: usize) {
        let back = self.amount.saturating_sub(amount);
        self.amount -= back;
        self.give_back(back);
    }

    fn give_back(&self, amount: usize) {
        let mut used = self.shares.used();
        used.all -= amount;
        if let Some(has) = used.by_peer.get_mut(&self.peer) {
            *has -= amount;
            if *has == 0 {
                used.by_peer.remove(&self.peer);
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: u8) -> PeerId {
        PeerId::new([name; 32])
    }

    /// As much as a peer gets, one by one.
    fn take_all(shares: &Shares, name: u8) -> Vec<Share> {
        std::iter::from_fn(|| shares.take(peer(name), 1)).collect()
    }

    #[test]
    fn a_peer_gets_a_part_and_leaves_the_rest() {
        let shares = Shares::new(64, 8);
        let loud = take_all(&shares, 1);
        assert_eq!(loud.len(), 7);
        let others: Vec<Vec<Share>> = (2..20).map(|name| take_all(&shares, name)).collect();
        assert!(others.iter().all(|share| !share.is_empty()), "twenty peers, and each has some");
        assert!(shares.take(peer(40), 1).is_some(), "and there is something left for one more");
        drop((loud, others));
        assert_eq!(shares.held(), (0, 0));
    }

    #[test]
    fn all_of_it_is_the_bound() {
        let shares = Shares::new(100, 4);
        assert!(shares.take(peer(1), 101).is_none());
        let mut large = shares.take(peer(1), 90).unwrap();
        assert!(shares.take(peer(2), 20).is_none());
        large.shrink(10);
        assert_eq!(shares.held(), (1, 10));
        let other = shares.take(peer(2), 80).unwrap();
        assert!(shares.take(peer(1), 1).is_none(), "ten are free, and it has more than a quarter of them");
        drop((large, other));
        assert_eq!(shares.held(), (0, 0));
    }
}
