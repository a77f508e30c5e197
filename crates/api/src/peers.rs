//! Other nodes, as a node knows them.

use lighter_types::{Bytes, BytesPerSecond, PeerId, SiteName};
use serde::{Deserialize, Serialize};

use crate::{number, text};

/// A row of [`PEERS`](crate::paths::PEERS).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    #[serde(with = "text")]
    pub peer_id: PeerId,
    #[serde(default, with = "text::option")]
    pub site: Option<SiteName>,
    pub connected: bool,
    /// It sent wrong bytes or flooded this node, which does not talk to it for a while.
    pub cut_off: bool,
    /// How many layers the node believes it to hold.
    pub layers: usize,
    pub last_heard_ms_ago: u64,
    /// The link to it, as transfers showed it: the rate from it, the rate to it, the round trip, and packets to it that
    /// were lost, of 1,000.
    #[serde(default, with = "number::option")]
    pub rate: Option<BytesPerSecond>,
    #[serde(default, with = "number::option")]
    pub rate_up: Option<BytesPerSecond>,
    #[serde(default)]
    pub round_trip_ms: Option<u64>,
    #[serde(default)]
    pub lost_per_mille: Option<u16>,
    #[serde(with = "number")]
    pub sent_bytes: Bytes,
    #[serde(with = "number")]
    pub received_bytes: Bytes,
}
