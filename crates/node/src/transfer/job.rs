//! One attempt to get one layer from one peer: its terms, and how its patch begins.

use std::sync::Arc;

use lighter_engine::FetchId;
use lighter_patch::Header;
use lighter_types::{Bytes, DiffId, OciDigest, PatchId, PeerId};
use lighter_wire::PatchRequest;
use tokio_util::sync::CancellationToken;

use super::claims::Sizes;
use super::lists::Listed;

/// One attempt to get one layer from one peer.
pub struct FetchJob {
    pub fetch: FetchId,
    pub from: PeerId,
    pub request: PatchRequest,
    /// Layers whose files go to the peer as a have-list.
    pub listed: Vec<DiffId>,
    /// The layer's size as the fleet announces it: a patch that claims more is a lie.
    pub tar_bytes_max: Bytes,
    /// Its size by what a publisher signed: a patch that claims another is a lie.
    pub signed_bytes: Option<Bytes>,
    /// The manifests of the images that are being pulled.
    pub manifests: Vec<OciDigest>,
    pub cancelled: CancellationToken,
    /// The fetch beside which this one runs.
    pub beside: Option<Beside>,
}

/// The fields of `PatchReply::Start`.
#[derive(Clone, Copy)]
pub struct Start {
    pub patch: PatchId,
    pub header_bytes: u32,
    pub first_frame: u32,
}

/// A patch whose header came; its frames come next on the stream.
pub struct Begun {
    pub stream: libp2p::Stream,
    pub start: Start,
    pub header: Header,
    pub sizes: Sizes,
    pub listed: Option<Arc<Listed>>,
    /// The frame from which on frames were asked for, or before which.
    pub asked: u32,
}

/// The fetch that another one runs beside.
pub struct Beside {
    /// Cancelled when it has ended.
    pub over: CancellationToken,
    /// The bytes that may come until then. The engine keeps them to a few MiB.
    pub bytes_max: Bytes,
}

impl Beside {
    /// Waits while as many bytes are here as may be.
    pub async fn may_take(&self, received: Bytes) {
        if received >= self.bytes_max {
            self.over.cancelled().await;
        }
    }
}
