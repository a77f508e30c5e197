//! The admin API's values, as JSON has them. Sizes are bytes, times milliseconds unless the name says otherwise, ids
//! their usual text. Fields are added, never changed: a script that reads them goes on working.

use serde::{Deserialize, Serialize};

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub peer_id: String,
    pub site: Option<String>,
    pub listen: Vec<String>,
    pub uptime_s: u64,
    pub peers_connected: usize,
    pub peers_known: usize,
    pub layers: usize,
    pub pulls: Vec<PullStatus>,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub traffic: Vec<TrafficStatus>,
    pub upload_max: String,
    pub download_max: String,
    pub store: StoreStatus,
    /// What the operator should look at; empty when all is well.
    pub warnings: Vec<String>,
}

/// Bytes of one protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficStatus {
    pub protocol: String,
    pub sent_bytes: u64,
    pub received_bytes: u64,
}

/// A pull under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullStatus {
    pub pull: u64,
    pub image: String,
    pub last: Option<PullEvent>,
}

/// `GET /v1/store`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    pub layers: u64,
    pub layer_bytes: u64,
    pub patches: u64,
    pub patch_bytes: u64,
    pub partial_patches: u64,
    pub blobs: u64,
    pub images: u64,
    pub used_bytes: u64,
    pub bytes_max: u64,
    pub disk_free_bytes: u64,
}

/// `GET /v1/peers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub peer_id: String,
    pub site: Option<String>,
    pub connected: bool,
    pub cut_off: bool,
    pub layers: usize,
    pub last_heard_ms_ago: u64,
    /// Bytes a second of the latest transfers from it.
    pub rate: Option<u64>,
    pub sent_bytes: u64,
    pub received_bytes: u64,
}

/// `GET /v1/layers`, `GET /v1/layers/{diff_id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    pub diff_id: String,
    pub tar_bytes: u64,
    pub compressed_bytes: u64,
    pub tlsh: Option<String>,
    /// Images of this node that have it.
    pub images: Vec<String>,
    /// Whether the operator pinned it.
    pub pinned: bool,
    /// Peers believed to hold it; only of one layer alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<String>,
}

/// `GET /v1/images`, `GET /v1/images/show?reference=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub reference: String,
    pub manifest: String,
    pub config: String,
    pub layers: Vec<String>,
    pub tar_bytes: u64,
    /// Who signed the release that bound the name, and when (seconds since 1970).
    pub publisher: Option<String>,
    pub issued_s: Option<u64>,
    /// `os/architecture`; only of one image alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

/// `POST /v1/images/import`: answered by lines of [`ImportEvent`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRequest {
    /// As the node sees it: absolute.
    pub path: String,
    pub name: Option<String>,
    pub platform: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ImportEvent {
    Progress { layer: usize, layers: usize, tar_bytes: u64, blob_bytes: u64, blob_bytes_done: u64 },
    Done { reference: String, manifest: String, layers: Vec<ImportedLayer> },
    Failed { problem: Problem },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedLayer {
    pub diff_id: String,
    pub tar_bytes: u64,
    pub compressed_bytes: u64,
    pub held_before: bool,
}

/// `POST /v1/images/export`: answered by lines of [`ExportEvent`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRequest {
    pub reference: String,
    /// As the node sees it: absolute.
    pub path: String,
    /// Layers as gzip instead of plain tars.
    #[serde(default)]
    pub gzip: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ExportEvent {
    Progress { tar_bytes: u64 },
    Done { manifest: String },
    Failed { problem: Problem },
}

/// `POST /v1/images/pull`: answered by lines of [`PullEvent`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// `repository:tag`, or `repository@sha256:...`, or `sha256:...` for the manifest itself.
    pub image: String,
}

/// What happens during a pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum PullEvent {
    Resolved {
        manifest: String,
    },
    Layers {
        layers: Vec<String>,
        held: Vec<String>,
    },
    Fetching {
        layer: String,
        from: String,
        bases: Vec<String>,
        bytes: u64,
        exact: bool,
    },
    Progress {
        layer: String,
        received_bytes: u64,
        total_bytes: u64,
    },
    Retrying {
        layer: String,
        from: String,
        why: String,
    },
    /// A layer arrived: its patch has `patch_bytes`, of which this pull received `received_bytes`.
    Layer {
        layer: String,
        from: String,
        bases: Vec<String>,
        tar_bytes: u64,
        compressed_bytes: u64,
        patch_bytes: u64,
        received_bytes: u64,
        took_ms: u64,
    },
    /// All traffic of this node during the pull, every protocol and peer.
    Done {
        manifest: String,
        sent_bytes: u64,
        received_bytes: u64,
        took_ms: u64,
    },
    Failed {
        problem: Problem,
    },
}

/// `POST /v1/images/cancel`: the pull of this image, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRequest {
    pub image: String,
}

/// `POST /v1/layers/pin`: keeps a layer from being evicted, or lets go of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinRequest {
    pub diff_id: String,
    pub pinned: bool,
}

/// `POST /v1/images/remove`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveRequest {
    pub reference: String,
}

/// `POST /v1/limits`: rates such as `"20 Mbit/s"`; what is left out stays. Answered by the limits in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsRequest {
    pub upload_max: Option<String>,
    pub download_max: Option<String>,
}

/// `GET /v1/plan?image=`: how the layers of an image would be got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePlan {
    pub image: String,
    pub manifest: String,
    pub layers: Vec<LayerPlan>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerPlan {
    pub layer: String,
    pub held: bool,
    /// The cheapest first: that is the one chosen. A peer's quote can still change it.
    pub plans: Vec<Plan>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub peer: String,
    pub bases: Vec<String>,
    /// Of the layer to the first base.
    pub tlsh_distance: Option<u32>,
    /// What the cards say of the best of the bases by itself.
    #[serde(default)]
    pub tlsh_bytes: u64,
    /// What the sketches say of all bases together, and by how many percent that may be off; absent without a sketch of
    /// the layer.
    #[serde(default)]
    pub sketch_bytes: Option<u64>,
    #[serde(default)]
    pub sketch_error_percent: Option<u32>,
    /// Which of the two counts: `sketch` or `tlsh`.
    #[serde(default)]
    pub counted: String,
    /// Layers that the peer does not hold, and whose files it would be told by a have-list: the patch gets smaller by that.
    #[serde(default)]
    pub listed: Vec<String>,
    /// What counts, corrected by what earlier patches turned out to be; without what a have-list saves.
    pub predicted_bytes: u64,
    pub predicted_ms: u64,
    /// Why it stands where it stands.
    pub why: String,
}

/// `GET /v1/rollout?from=&to=`: what nodes that hold one image would need of another, as this node holds both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    pub from: RolloutImage,
    pub to: RolloutImage,
    /// Of both images, each once.
    pub layers: Vec<RolloutLayer>,
    /// Of the layers of `to` that `from` lacks.
    pub patches: Vec<RolloutPatch>,
    /// The nodes that this one knows of, by their site.
    pub sites: Vec<RolloutSite>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutImage {
    pub reference: String,
    pub manifest: String,
    pub layers: Vec<String>,
    /// Bytes of its manifest and of its config.
    pub documents: [u64; 2],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutLayer {
    pub layer: String,
    pub tar_bytes: u64,
    pub compressed_bytes: u64,
}

/// A patch at the default effort. Without bases it is the whole layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutPatch {
    pub layer: String,
    pub bases: Vec<String>,
    pub bytes: u64,
    /// Whether it was made before, and the bytes are its own; else they are predicted.
    pub exact: bool,
    pub encode_ms: u64,
    pub apply_ms: u64,
}

/// Nodes of a site; of none, where it is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutSite {
    pub site: Option<String>,
    pub nodes: u64,
    /// Nodes that hold all layers of `from`, and of `to`.
    pub hold_from: u64,
    pub hold_to: u64,
}

/// `POST /v1/store/gc`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcRequest {
    pub dry_run: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcReport {
    pub dry_run: bool,
    pub removed: Vec<String>,
    pub bytes: u64,
}

/// What went wrong, and whose fault it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub kind: ProblemKind,
    pub message: String,
}

/// Decides the exit code of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// What was asked for makes no sense or is not there.
    Request,
    NotFound,
    /// Data that fails its checks: an image, an archive.
    BadData,
    /// Nobody could provide it.
    Network,
    /// Disk, permissions, memory.
    Machine,
    Cancelled,
}
