//! The course of an image on its way, as those hear of it who wait for it.

use std::sync::Arc;

use lighter_registry::server::Refusal;
use lighter_store::UnixSeconds;
use lighter_types::{DiffId, OciDigest};

use crate::images::upstream::Top;

/// The course of a flight.
#[derive(Clone, Debug, Default)]
pub struct Course {
    pub manifest: Option<OciDigest>,
    /// The document that the name stands for, if upstream gave it.
    pub top: Option<Arc<Top>>,
    /// The layer with what comes beside the image.
    pub companions: Option<DiffId>,
    /// When upstream was asked for them.
    pub gathered: Option<UnixSeconds>,
    /// The search at upstream for what there is beside the image.
    pub gathering: Gathering,
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

/// See [`Course::gathering`].
#[derive(Clone, Debug, Default)]
pub enum Gathering {
    /// Nothing is asked for, or all is here.
    #[default]
    Idle,
    UnderWay,
    Failed(Refusal),
}

impl Course {
    pub fn is_gathering(&self) -> bool {
        matches!(self.gathering, Gathering::UnderWay) && !self.is_over
    }
}
