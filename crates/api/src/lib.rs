//! The admin API's types, shared by the node that serves it and by everything that calls it: paths, requests, answers,
//! events and problems.
//!
//! Sizes are bytes, times milliseconds unless a name says otherwise, ids their usual text. Fields are added, never
//! changed: a script that reads them keeps working. `src/tests.rs` holds the JSON of every type.

#![deny(clippy::float_arithmetic, clippy::iter_over_hash_type, clippy::wildcard_enum_match_arm)]

mod images;
mod layers;
mod number;
pub mod paths;
mod peers;
mod plans;
mod problem;
mod pulls;
mod releases;
mod rollout;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod text;

pub use images::{
    ARCHIVE_BYTES_HEADER, ARCHIVE_EXACT_HEADER, ARCHIVE_MANIFEST_HEADER, ARCHIVE_WHY_HEADER, ArchiveFormat,
    ArchiveRequest, ExportBlobs, ExportEvent, ExportRequest, Image, ImageArtifact, ImagePinRequest, ImportEvent,
    ImportRequest, ImportedLayer, LayerBlob, ReferenceQuery, RemoveRequest,
};
pub use layers::{Layer, PinRequest};
pub use peers::Peer;
pub use plans::{ImagePlan, ImageQuery, LayerPlan, Plan, Predictor};
pub use problem::{Problem, ProblemKind};
pub use pulls::{CancelRequest, PullEvent, PullRequest};
pub use releases::{ForgetRequest, HandoverRequest, ReleaseSignRequest, SignedRecord};
pub use rollout::{Rollout, RolloutImage, RolloutLayer, RolloutPatch, RolloutQuery, RolloutSite};
pub use status::{GaveWay, LimitsRequest, PullStatus, RacesStatus, ScrubStatus, Status, StreamsStatus, TrafficStatus};
pub use store::{GcReport, GcRequest, ScrubRequest, StoreStatus};
