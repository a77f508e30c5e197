//! Layers of a node.

use lighter_types::{Bytes, DiffId, ImageReference, PeerId, Tlsh};
use serde::{Deserialize, Serialize};

use crate::{number, text};

/// A row of [`LAYERS`](crate::paths::LAYERS), and the answer of [`LAYER`](crate::paths::LAYER).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    #[serde(with = "text")]
    pub diff_id: DiffId,
    #[serde(with = "number")]
    pub tar_bytes: Bytes,
    #[serde(with = "number")]
    pub compressed_bytes: Bytes,
    #[serde(default, with = "text::option")]
    pub tlsh: Option<Tlsh>,
    /// Images of this node that have it.
    #[serde(with = "text::list")]
    pub images: Vec<ImageReference>,
    /// Whether the operator pinned it.
    pub pinned: bool,
    /// Peers that the node believes to hold it; empty in a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "text::list")]
    pub holders: Vec<PeerId>,
}

/// The body and the answer of [`LAYERS_PIN`](crate::paths::LAYERS_PIN): keeps a layer from eviction, or takes that
/// back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinRequest {
    #[serde(with = "text")]
    pub diff_id: DiffId,
    pub pinned: bool,
}
