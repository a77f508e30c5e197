//! What is told of a layer.

use crate::{Bytes, DiffId, Tlsh};

/// What a node tells others of a layer it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card {
    pub diff_id: DiffId,
    /// Size of the uncompressed tar.
    pub tar_bytes: Bytes,
    /// What the layer costs without a base: its size compressed on its own.
    pub compressed_bytes: Bytes,
    /// Absent for layers under 50 bytes and for uniform data, of which TLSH makes no digest.
    pub tlsh: Option<Tlsh>,
}
