//! Nodes that make patches for another base: every frame is as the patch's name promises, and the result is another
//! layer.

use lighter_engine::FetchFailure;
use lighter_types::{Cause, PatchId};

use super::Flaw;
use super::per_site::PerSite;

pub type WrongResults = PerSite<OtherBase>;

/// A node whose own patches give other layers. A patch that another node named is what that node named.
#[derive(Clone, Debug, Default)]
pub struct OtherBase;

impl Flaw for OtherBase {
    fn result(&self, patch: PatchId) -> Result<(), FetchFailure> {
        Err(FetchFailure::WrongResult { patch, why: Cause::new(OtherLayer) })
    }
}

/// The fault of the result.
#[derive(Debug, thiserror::Error)]
#[error("its sha256 is that of another layer")]
struct OtherLayer;
