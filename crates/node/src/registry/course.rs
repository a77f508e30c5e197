//! The course of an image on its way, as those hear of it who wait for it.

use lighter_registry::server::Refusal;
use lighter_types::{DiffId, OciDigest};

/// The course of a flight.
#[derive(Clone, Debug, Default)]
pub struct Course {
    pub manifest: Option<OciDigest>,
    /// The layer with what comes beside the image.
    pub companions: Option<DiffId>,
    /// Manifest and config are on disk.
    pub has_documents: bool,
    /// Layers that arrived: each may be the one that somebody waits for.
    pub layers: usize,
    /// How long ago upstream said so, if it was not asked.
    pub age_s: Option<u64>,
    /// The reason why it ended early.
    pub failure: Option<Refusal>,
    pub is_over: bool,
}
