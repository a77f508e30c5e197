//! Nodes that end a patch in its midst, as if it were whole.

use lighter_engine::{FetchFailure, FetchStep, LostCause};

use super::Flaw;
use super::per_site::PerSite;

pub type Truncates = PerSite<Truncating>;

/// A node that ends each stream when half of what it is to send has arrived.
#[derive(Clone, Debug, Default)]
pub struct Truncating;

impl Flaw for Truncating {
    fn sent(&self, arrived: u64, of: u64) -> Result<(), FetchFailure> {
        if arrived < of.div_ceil(2) {
            return Ok(());
        }
        Err(FetchFailure::Lost(LostCause::EndedEarly(FetchStep::Frames)))
    }
}
