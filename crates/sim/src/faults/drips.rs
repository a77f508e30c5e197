//! Nodes that send a few bytes a second, so that a fetch from them never stalls.

use super::Flaw;
use super::per_site::PerSite;
use crate::queue::Micros;

/// Just over what a stall timeout asks for: 4 KiB in 20 s.
const DRIP: u64 = 210;

pub type Drips = PerSite<Dripping>;

/// A node that sends no more than so many bytes a second on each stream, after it sent some at once.
#[derive(Clone, Debug)]
pub struct Dripping {
    pub at_once: u64,
    pub bytes_per_second: u64,
}

impl Default for Dripping {
    fn default() -> Self {
        Self { at_once: 0, bytes_per_second: DRIP }
    }
}

impl Flaw for Dripping {
    fn sent_by(&self, time: Micros) -> u64 {
        self.at_once + self.bytes_per_second * (time / 1_000_000)
    }
}
