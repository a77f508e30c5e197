//! The state of a layer that comes as its compressed blob (`blobs.rs`).

use lighter_types::{Bytes, DiffId, PeerId};

/// A layer that waits for its blob, or is unpacked out of it.
#[derive(Debug)]
pub struct ByBlob {
    pub blob: DiffId,
    pub is_here: bool,
    pub came: Option<Came>,
}

/// How a blob came that was fetched meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Came {
    pub from: PeerId,
    pub patch_bytes: Bytes,
    pub received: Bytes,
    pub wasted: Bytes,
}
