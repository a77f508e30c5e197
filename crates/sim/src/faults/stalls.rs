//! Nodes that stop in the midst of what they send.

use super::Flaw;
use super::per_site::PerSite;

pub type Stalls = PerSite<Stalling>;

/// A node that sends no more on a stream of which so many bytes arrived. Bytes that are on their way then still arrive.
#[derive(Clone, Debug)]
pub struct Stalling {
    pub after_bytes: u64,
}

impl Default for Stalling {
    fn default() -> Self {
        Self { after_bytes: 1 }
    }
}

impl Flaw for Stalling {
    fn sends_on(&self, arrived: u64) -> bool {
        arrived < self.after_bytes
    }
}
