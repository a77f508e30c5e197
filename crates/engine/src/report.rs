//! Reports of a pull to the operator, and why a pull fails.

use lighter_types::{Bytes, DiffId, ImageReference, OciDigest, PeerId};

use crate::failure::{LocalFailure, Setback, UnusableImage};

/// A report of a pull to the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The name stands for this manifest. `companions` is the layer with what comes beside the image, if any.
    Resolved {
        manifest: OciDigest,
        companions: Option<DiffId>,
    },
    /// The layers of the image; those in `held` were here before.
    Layers {
        layers: Vec<DiffId>,
        held: Vec<DiffId>,
    },
    /// A layer comes from this peer, as a patch to these bases.
    Fetching {
        target: DiffId,
        from: PeerId,
        bases: Vec<DiffId>,
        bytes: Bytes,
        exact: bool,
    },
    Progress {
        target: DiffId,
        received: Bytes,
        total: Bytes,
    },
    /// The layer's compressed blob is here, and the layer is unpacked out of it.
    Unpacking {
        target: DiffId,
    },
    /// An attempt failed; the pull goes on.
    Retrying {
        target: DiffId,
        from: PeerId,
        why: Setback,
    },
    /// A second source was tried beside one that was late, and the faster of the two is kept.
    Raced {
        target: DiffId,
        late: PeerId,
        beside: PeerId,
        kept: PeerId,
    },
    /// A layer is here. `wasted` are bytes that came for it and were of no use: from sources that were left, or twice.
    Layer {
        target: DiffId,
        from: PeerId,
        bases: Vec<DiffId>,
        patch_bytes: Bytes,
        received: Bytes,
        wasted: Bytes,
    },
    Done {
        manifest: OciDigest,
    },
    Failed {
        why: PullFailure,
    },
}

/// Why a pull ended without its image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullFailure {
    #[error("no connected peer has a release of {reference} signed by a trusted publisher ({asked} asked)")]
    NotResolved { reference: ImageReference, asked: usize },
    #[error("no connected peer has {digest} ({asked} asked)")]
    BlobNotFound { digest: OciDigest, asked: usize },
    #[error("no peer that can be reached holds layer {target}")]
    NoSource { target: DiffId },
    #[error("layer {target} failed from every peer; at last from {from}: {why}")]
    Exhausted { target: DiffId, from: PeerId, why: Box<Setback> },
    #[error("this node takes on no more pulls now ({max} at most)")]
    TooMany { max: usize },
    #[error("the image cannot be used: {0}")]
    Unusable(UnusableImage),
    #[error(transparent)]
    Local(LocalFailure),
    #[error("it was cancelled")]
    Cancelled,
    #[error("the node is stopping; the pull goes on when it starts again")]
    Stopping,
}
