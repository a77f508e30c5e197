//! Nodes that say to their neighbours that every layer comes through them, and send nothing.

use lighter_types::Bytes;

use super::Flaw;
use super::per_site::PerSite;
use crate::queue::Micros;

pub type Pretends = PerSite<Pretender>;

/// A node that says that so many bytes come to it every second, of every layer.
#[derive(Clone, Debug, Default)]
pub struct Pretender {
    pub bytes_per_second: u64,
}

impl Flaw for Pretender {
    fn pretended(&self, time: Micros) -> Option<Bytes> {
        Some(Bytes(self.bytes_per_second * (time / 1_000_000)))
    }
}
