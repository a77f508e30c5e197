//! The link to a peer, as a node knows it.

use std::time::Duration;

use crate::BytesPerSecond;

/// The link between this node and a peer, as transfers showed it. Each figure is absent until one showed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The rate at which bytes come from the peer when the link is the limit.
    pub down: Option<BytesPerSecond>,
    /// The rate at which bytes go to the peer when the link is the limit.
    pub up: Option<BytesPerSecond>,
    /// The time that a packet and its answer take when nothing else is on the way.
    pub round_trip: Option<Duration>,
    /// Packets to the peer that were lost, of 1,000.
    pub lost_per_mille: Option<u16>,
}

/// Beyond these, TCP needs several times as long for a patch as QUIC (docs/SIMULATION.md).
const ROUND_TRIP_GOOD: Duration = Duration::from_millis(200);
const LOST_PER_MILLE_GOOD: u16 = 5;

impl Link {
    /// Whether the link is known to be far or lossy.
    pub fn is_bad(&self) -> bool {
        self.round_trip.is_some_and(|trip| trip > ROUND_TRIP_GOOD)
            || self.lost_per_mille.is_some_and(|lost| lost > LOST_PER_MILLE_GOOD)
    }
}
