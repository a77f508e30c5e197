//! The path of a connection, as the connection knows it.

use std::time::Duration;

use crate::congestion;

/// Shows the path of a connection.
#[derive(Clone, Debug)]
pub struct Monitor(pub(crate) noq::WeakConnectionHandle);

/// The path of a connection, from this end to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The shortest round trip that was seen lately; absent before the first acknowledgement.
    pub round_trip: Option<Duration>,
    /// Bytes a second that the path delivers; absent as long as there was too little to send to show it.
    pub rate: Option<u64>,
    /// Packets that were sent since the connection began, and those that were lost.
    pub sent_packets: u64,
    pub lost_packets: u64,
}

impl Monitor {
    pub fn is_alive(&self) -> bool {
        self.0.is_alive()
    }

    /// The path now; `None` if the connection is gone.
    pub fn path(&self) -> Option<Path> {
        let connection = self.0.upgrade()?;
        let stats = connection.path_stats(noq::PathId::ZERO)?;
        let pilot = congestion::pilot(connection.congestion_state(noq::PathId::ZERO)?)?;
        Some(Path {
            round_trip: pilot.round_trip(),
            rate: pilot.path_rate(),
            sent_packets: stats.sent_packets,
            lost_packets: stats.lost_packets,
        })
    }
}
