//! Nodes that send wrong bytes, for documents and for patches.

use lighter_engine::{FetchFailure, Lie};
use lighter_types::Cause;

use super::Flaw;
use super::per_site::PerSite;

pub type Lies = PerSite<Liar>;

/// A node whose bytes fail their hashes.
#[derive(Clone, Debug, Default)]
pub struct Liar;

impl Flaw for Liar {
    fn document(&self, _bytes: Vec<u8>) -> Vec<u8> {
        b"not that".to_vec()
    }

    fn sent(&self, _arrived: u64, _of: u64) -> Result<(), FetchFailure> {
        Err(FetchFailure::Lied(Lie::Unreadable(Cause::new(OtherHash))))
    }
}

/// The lie of a [`Liar`].
#[derive(Debug, thiserror::Error)]
#[error("a frame of other bytes")]
struct OtherHash;
