//! The contents of the store, and its garbage collection.

use lighter_types::Bytes;
use serde::{Deserialize, Serialize};

use crate::number;

/// The answer of [`STORE`](crate::paths::STORE).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    pub layers: u64,
    #[serde(with = "number")]
    pub layer_bytes: Bytes,
    pub patches: u64,
    #[serde(with = "number")]
    pub patch_bytes: Bytes,
    pub partial_patches: u64,
    pub blobs: u64,
    pub images: u64,
    /// The layers of the largest image.
    #[serde(default, with = "number")]
    pub image_bytes_max: Bytes,
    /// The bytes that never give way: layers that are pinned or of an image that stays, and all manifests and configs.
    #[serde(default, with = "number")]
    pub staying_bytes: Bytes,
    /// Bytes that count against the budget, reservations included.
    #[serde(with = "number")]
    pub used_bytes: Bytes,
    /// The budget.
    #[serde(with = "number")]
    pub bytes_max: Bytes,
    #[serde(with = "number")]
    pub disk_free_bytes: Bytes,
}

/// The body of [`STORE_GC`](crate::paths::STORE_GC).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcRequest {
    pub dry_run: bool,
}

/// The body of [`STORE_SCRUB`](crate::paths::STORE_SCRUB). The answer is a [`ScrubStatus`](crate::ScrubStatus).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubRequest {}

/// The answer to a [`GcRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcReport {
    pub dry_run: bool,
    /// Layers, blobs, patches and leftover files, each as text.
    pub removed: Vec<String>,
    #[serde(with = "number")]
    pub bytes: Bytes,
}
