//! How a node is doing, and the caps of its traffic.

use lighter_types::{Bytes, ImageReference, OciDigest, PeerId, SiteName};
use serde::{Deserialize, Serialize};

use crate::{PullEvent, StoreStatus, number, text};

/// The answer of [`STATUS`](crate::paths::STATUS).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    #[serde(with = "text")]
    pub peer_id: PeerId,
    #[serde(default, with = "text::option")]
    pub site: Option<SiteName>,
    /// Multiaddresses.
    pub listen: Vec<String>,
    pub uptime_s: u64,
    pub peers_connected: usize,
    pub peers_known: usize,
    pub layers: usize,
    pub pulls: Vec<PullStatus>,
    #[serde(with = "number")]
    pub sent_bytes: Bytes,
    #[serde(with = "number")]
    pub received_bytes: Bytes,
    pub traffic: Vec<TrafficStatus>,
    /// Bytes that an idle connection over QUIC costs in a day, with every header and in both directions; null before
    /// one was idle for a minute.
    #[serde(default, with = "number::option")]
    pub idle_bytes_per_day: Option<Bytes>,
    /// A rate as text, such as `20 Mbit/s` or `unlimited`.
    pub upload_max: String,
    pub download_max: String,
    pub store: StoreStatus,
    /// The age of these figures: more than some seconds if the disk does not answer.
    #[serde(default)]
    pub store_read_ms_ago: u64,
    /// Releases that gave way to others since the node started: how many, and the last of them.
    #[serde(default)]
    pub releases_gave_way: u64,
    #[serde(default)]
    pub gave_way: Vec<GaveWay>,
    /// Images whose release has ended.
    #[serde(default)]
    pub releases_expired: u64,
    #[serde(default)]
    pub streams: StreamsStatus,
    #[serde(default)]
    pub scrub: ScrubStatus,
    /// The reason why the node is not ready although it runs: a worker that should be quick does not end.
    #[serde(default)]
    pub stuck: Option<String>,
    pub races: RacesStatus,
    /// Conditions that the operator should look at; empty when all is well.
    pub warnings: Vec<String>,
}

/// A release that gave way when the store needed its room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GaveWay {
    #[serde(with = "text")]
    pub reference: ImageReference,
    #[serde(with = "text")]
    pub manifest: OciDigest,
    /// Seconds since 1970.
    pub at_s: u64,
}

/// Patch streams that peers open, before the engine hears of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsStatus {
    /// Waiting now.
    pub queued: usize,
    /// Refused with a busy reply, because too many waited.
    pub busy: u64,
    /// Reset without a reply, because too many were being refused.
    pub resets: u64,
}

/// The background scrub of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStatus {
    /// The end of the last pass, in seconds since 1970; null before the first one ended.
    pub last_s: Option<u64>,
    /// The bytes that it read, and the damaged files that it found.
    #[serde(with = "number")]
    pub last_bytes: Bytes,
    pub last_damaged: u64,
    /// Whether a pass is under way.
    pub running: bool,
    /// Bytes read, and damaged files found, since the node started.
    #[serde(with = "number")]
    pub read_bytes: Bytes,
    pub damaged: u64,
}

/// Second sources that were tried beside late ones since the node started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RacesStatus {
    pub decided: u64,
    /// Those that the second source won.
    pub won: u64,
    /// Bytes that came for layers and were of no use, from races or from sources that were left.
    #[serde(with = "number")]
    pub wasted_bytes: Bytes,
}

/// Bytes of one protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficStatus {
    pub protocol: String,
    #[serde(with = "number")]
    pub sent_bytes: Bytes,
    #[serde(with = "number")]
    pub received_bytes: Bytes,
}

/// A pull under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullStatus {
    pub pull: u64,
    /// As in the request.
    pub image: String,
    pub last: Option<PullEvent>,
}

/// The body of [`LIMITS`](crate::paths::LIMITS): rates such as `20 Mbit/s`. A rate that is left out stays. The answer
/// is the limits in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsRequest {
    pub upload_max: Option<String>,
    pub download_max: Option<String>,
}
