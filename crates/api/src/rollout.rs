//! The bytes and times that nodes with one image need for another, as a node that holds both knows them.

use lighter_types::{Bytes, DiffId, ImageReference, OciDigest, SiteName};
use serde::{Deserialize, Serialize};

use crate::{number, text};

/// The query of [`ROLLOUT`](crate::paths::ROLLOUT).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RolloutQuery {
    #[serde(with = "text")]
    pub from: ImageReference,
    #[serde(with = "text")]
    pub to: ImageReference,
}

/// The answer of [`ROLLOUT`](crate::paths::ROLLOUT).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    pub from: RolloutImage,
    pub to: RolloutImage,
    /// The layers of both images, each once.
    pub layers: Vec<RolloutLayer>,
    /// One for each layer of `to` that `from` lacks.
    pub patches: Vec<RolloutPatch>,
    /// The nodes that this one knows, by their site.
    pub sites: Vec<RolloutSite>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutImage {
    #[serde(with = "text")]
    pub reference: ImageReference,
    #[serde(with = "text")]
    pub manifest: OciDigest,
    #[serde(with = "text::list")]
    pub layers: Vec<DiffId>,
    /// Sizes of its manifest and of its config.
    #[serde(with = "number::pair")]
    pub documents: [Bytes; 2],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutLayer {
    #[serde(with = "text")]
    pub layer: DiffId,
    #[serde(with = "number")]
    pub tar_bytes: Bytes,
    #[serde(with = "number")]
    pub compressed_bytes: Bytes,
}

/// A patch at the default effort. Without bases it is the whole layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutPatch {
    #[serde(with = "text")]
    pub layer: DiffId,
    #[serde(with = "text::list")]
    pub bases: Vec<DiffId>,
    #[serde(with = "number")]
    pub bytes: Bytes,
    /// Whether the patch was made before and the bytes are its own; else they are predicted.
    pub exact: bool,
    pub encode_ms: u64,
    pub apply_ms: u64,
}

/// The nodes of a site, or those without a site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutSite {
    #[serde(default, with = "text::option")]
    pub site: Option<SiteName>,
    pub nodes: u64,
    /// Nodes that hold all layers of `from`, and of `to`.
    pub hold_from: u64,
    pub hold_to: u64,
}
