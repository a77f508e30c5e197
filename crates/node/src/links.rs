//! The links to other nodes, as transfers show them.
//!
//! QUIC knows the path of each connection: its round trip, its losses, and the rate at which it delivers what this node
//! sends. The rate at which bytes come in shows by a clock alone, and so does all of TCP.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lighter_quic::{Monitor, Path};
use lighter_types::{Bytes, BytesPerSecond, Link, PeerId};

use crate::traffic::{Accountant, Direction};

/// Connections whose monitors are kept whether they live or not.
const FULL_MIN: usize = 64;
/// Fewer packets tell nothing of losses.
const PACKETS_MIN: u64 = 100;
/// A transfer of fewer bytes or less time shows no rate: its start takes most of it.
const BYTES_MIN: Bytes = Bytes(128 << 10);
const TIME_MIN: Duration = Duration::from_millis(200);

/// The QUIC connections of one node. Cloning gives another handle to the same.
#[derive(Clone, Default)]
pub struct Links(Arc<Mutex<Monitors>>);

#[derive(Default)]
struct Monitors {
    by_peer: BTreeMap<PeerId, Monitor>,
    /// With so many, those of dead connections are dropped: strangers get this far before they are refused.
    full: usize,
}

/// Measures the rate between this node and a peer, over all their streams, from its making on.
pub struct Stopwatch<'a> {
    accountant: &'a Accountant,
    peer: PeerId,
    direction: Direction,
    began: Instant,
    before: Bytes,
}

impl Links {
    pub fn opened(&self, peer: PeerId, monitor: Monitor) {
        let mut all = self.all();
        all.by_peer.insert(peer, monitor);
        if all.by_peer.len() > all.full {
            all.by_peer.retain(|_, monitor| monitor.is_alive());
            all.full = (all.by_peer.len() * 2).max(FULL_MIN);
        }
    }

    /// The link to a peer, as QUIC knows it.
    pub fn seen(&self, peer: PeerId) -> Link {
        let monitor = self.all().by_peer.get(&peer).cloned();
        let path = monitor.and_then(|monitor| monitor.path());
        path.map(link).unwrap_or_default()
    }

    /// Whether the peer is connected by QUIC.
    pub fn is_quic(&self, peer: PeerId) -> bool {
        self.all().by_peer.get(&peer).is_some_and(Monitor::is_alive)
    }

    fn all(&self) -> MutexGuard<'_, Monitors> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn link(path: Path) -> Link {
    let is_shown = path.sent_packets >= PACKETS_MIN;
    let lost = (path.lost_packets.saturating_mul(1000) / path.sent_packets.max(1)).min(1000);
    Link {
        down: None,
        up: path.rate.map(BytesPerSecond),
        round_trip: path.round_trip,
        lost_per_mille: u16::try_from(lost).ok().filter(|_| is_shown),
    }
}

impl<'a> Stopwatch<'a> {
    pub fn start(accountant: &'a Accountant, peer: PeerId, direction: Direction) -> Self {
        let before = passed(accountant, peer, direction);
        Self { accountant, peer, direction, began: Instant::now(), before }
    }

    /// The rate so far; `None` if it shows none yet.
    pub fn rate(&self) -> Option<BytesPerSecond> {
        rate(passed(self.accountant, self.peer, self.direction) - self.before, self.began.elapsed())
    }

    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

fn passed(accountant: &Accountant, peer: PeerId, direction: Direction) -> Bytes {
    let traffic = accountant.of_peer(peer);
    match direction {
        Direction::Sent => traffic.sent,
        Direction::Received => traffic.received,
    }
}

fn rate(bytes: Bytes, took: Duration) -> Option<BytesPerSecond> {
    let rate = u128::from(bytes.0) * 1000 / took.as_millis().max(1);
    let rate = BytesPerSecond(u64::try_from(rate).unwrap_or(u64::MAX));
    (bytes >= BYTES_MIN && took >= TIME_MIN).then_some(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_transfers_show_no_rate() {
        let (long, large) = (Duration::from_secs(2), Bytes::MIB.times(2));
        assert_eq!(rate(large, long), Some(BytesPerSecond(1 << 20)));
        assert_eq!(rate(Bytes::KIB, long), None);
        assert_eq!(rate(large, Duration::from_millis(50)), None);
        assert_eq!(rate(Bytes(u64::MAX), TIME_MIN), Some(BytesPerSecond(u64::MAX)));
    }

    #[test]
    fn losses_show_after_many_packets() {
        let path = Path { round_trip: None, rate: Some(7), sent_packets: 99, lost_packets: 9 };
        assert_eq!(link(path).lost_per_mille, None);
        assert_eq!(link(Path { sent_packets: 300, ..path }).lost_per_mille, Some(30));
        assert_eq!(link(Path { sent_packets: 300, lost_packets: u64::MAX, ..path }).lost_per_mille, Some(1000));
        assert_eq!(link(path).up, Some(BytesPerSecond(7)));
    }
}
