//! Pulls: what is asked for, and what happens meanwhile.

use lighter_types::{Bytes, DiffId, OciDigest, PeerId};
use serde::{Deserialize, Serialize};

use crate::{Problem, number, text};

/// The body of [`IMAGES_PULL`](crate::paths::IMAGES_PULL). The answer is lines of [`PullEvent`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// `repository:tag`, or `repository@sha256:...`, or `sha256:...` of the manifest. The text itself names the pull,
    /// in the status and in a [`CancelRequest`].
    pub image: String,
}

/// An event of a pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum PullEvent {
    /// The name stands for this manifest. `companions` is the layer with the image's index, its other platforms'
    /// documents and its artifacts; absent if it has none.
    Resolved {
        #[serde(with = "text")]
        manifest: OciDigest,
        #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
        companions: Option<DiffId>,
    },
    Layers {
        #[serde(with = "text::list")]
        layers: Vec<DiffId>,
        #[serde(with = "text::list")]
        held: Vec<DiffId>,
    },
    Fetching {
        #[serde(with = "text")]
        layer: DiffId,
        #[serde(with = "text")]
        from: PeerId,
        #[serde(with = "text::list")]
        bases: Vec<DiffId>,
        #[serde(with = "number")]
        bytes: Bytes,
        /// Whether the bytes are the patch's own; else they are predicted.
        exact: bool,
    },
    Progress {
        #[serde(with = "text")]
        layer: DiffId,
        /// Bytes of the patch on disk, earlier parts included.
        #[serde(with = "number")]
        received_bytes: Bytes,
        #[serde(with = "number")]
        total_bytes: Bytes,
    },
    /// A layer's compressed blob is here, and the layer is unpacked out of it.
    Unpacking {
        #[serde(with = "text")]
        layer: DiffId,
    },
    /// A transfer failed; the pull goes on.
    Retrying {
        #[serde(with = "text")]
        layer: DiffId,
        #[serde(with = "text")]
        from: PeerId,
        why: String,
    },
    /// A layer arrived. This pull received `received_bytes` of its patch: fewer than `patch_bytes` after a resumption.
    Layer {
        #[serde(with = "text")]
        layer: DiffId,
        #[serde(with = "text")]
        from: PeerId,
        #[serde(with = "text::list")]
        bases: Vec<DiffId>,
        #[serde(with = "number")]
        tar_bytes: Bytes,
        #[serde(with = "number")]
        compressed_bytes: Bytes,
        #[serde(with = "number")]
        patch_bytes: Bytes,
        #[serde(with = "number")]
        received_bytes: Bytes,
        took_ms: u64,
    },
    /// All traffic of this node during the pull, every protocol and peer.
    Done {
        #[serde(with = "text")]
        manifest: OciDigest,
        #[serde(with = "number")]
        sent_bytes: Bytes,
        #[serde(with = "number")]
        received_bytes: Bytes,
        took_ms: u64,
    },
    Failed {
        problem: Problem,
    },
}

/// The body and the answer of [`IMAGES_CANCEL`](crate::paths::IMAGES_CANCEL).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRequest {
    /// As in the [`PullRequest`].
    pub image: String,
}
