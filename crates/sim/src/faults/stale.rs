//! Nodes that tell an old release of every name, with the documents of another image.

use super::Flaw;
use super::per_site::PerSite;

pub type Stale = PerSite<DatingBack>;

/// A node whose releases are older than any other.
#[derive(Clone, Debug, Default)]
pub struct DatingBack;

impl Flaw for DatingBack {
    fn dates_back(&self) -> bool {
        true
    }
}
