//! Cards: the facts about a layer that nodes announce to each other.

use crate::{Bytes, DiffId, Tlsh};

/// The facts about a held layer that a node announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card {
    pub diff_id: DiffId,
    /// Size of the uncompressed tar.
    pub tar_bytes: Bytes,
    /// The size of the compressed layer: the cost of a transfer without a base.
    pub compressed_bytes: Bytes,
    /// Absent for layers under 50 bytes and for uniform data, for which TLSH has no digest.
    pub tlsh: Option<Tlsh>,
}
