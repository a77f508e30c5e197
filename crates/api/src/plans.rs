//! Plans: how the layers of an image would be fetched.

use lighter_types::{Bytes, DiffId, OciDigest, PeerId};
use serde::{Deserialize, Serialize};

use crate::{number, text};

/// The query of [`PLAN`](crate::paths::PLAN).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ImageQuery {
    /// As in a [`PullRequest`](crate::PullRequest).
    pub image: String,
}

/// The answer of [`PLAN`](crate::paths::PLAN).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePlan {
    pub image: String,
    #[serde(with = "text")]
    pub manifest: OciDigest,
    pub layers: Vec<LayerPlan>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerPlan {
    #[serde(with = "text")]
    pub layer: DiffId,
    pub held: bool,
    /// The cheapest first: the node chooses that one, unless a peer's quote says otherwise.
    pub plans: Vec<Plan>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    #[serde(with = "text")]
    pub peer: PeerId,
    #[serde(with = "text::list")]
    pub bases: Vec<DiffId>,
    /// From the layer to the first base.
    pub tlsh_distance: Option<u32>,
    /// The prediction from the cards, with the best base alone.
    #[serde(with = "number")]
    pub tlsh_bytes: Bytes,
    /// The prediction from the sketches of all bases together, and its expected error in percent. Absent without a
    /// sketch of the layer.
    #[serde(default, with = "number::option")]
    pub sketch_bytes: Option<Bytes>,
    #[serde(default)]
    pub sketch_error_percent: Option<u32>,
    /// Which prediction counts.
    pub counted: Predictor,
    /// Layers that the peer lacks and whose files a have-list would name: the patch gets smaller by that.
    #[serde(with = "text::list")]
    pub listed: Vec<DiffId>,
    /// The prediction that counts, corrected by the sizes of earlier patches, without what a have-list saves.
    #[serde(with = "number")]
    pub predicted_bytes: Bytes,
    /// The effort that the peer is expected to make the patch at: `fast`, `default` or `max`.
    pub effort: String,
    /// The time until the layer is held: round trip, making, sending, applying.
    pub predicted_ms: u64,
    /// The reason for its rank.
    pub why: String,
}

/// The source of a predicted size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Predictor {
    Sketch,
    Tlsh,
    /// A peer's quote.
    Quote,
}
