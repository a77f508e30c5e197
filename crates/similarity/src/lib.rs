//! How alike two layers are, and what a patch between them would weigh: the TLSH digest of a stream and the distance
//! between two; the sketch of a layer's contents; predictions of patch bytes from either, and what corrects them. Pure
//! functions of their inputs, in integers: the same answer on every machine, in the node and in the simulator.
//!
//! What it must not do: read files, clocks or random numbers. The method and its error on real layers are in
//! docs/PREDICTION.md.

#![cfg_attr(not(test), deny(clippy::float_arithmetic))]
#![deny(clippy::iter_over_hash_type, clippy::wildcard_enum_match_arm)]

mod calibration;
mod containment;
mod distance;
mod hasher;
mod predict;
mod sketch;
mod sketched;

pub use calibration::Calibration;
pub use distance::{DISTANCE_MAX, Distance, distance};
pub use hasher::{TLSH_INPUT_BYTES_MAX, TLSH_INPUT_BYTES_MIN, TlshHasher};
pub use predict::{
    ExpectedError, PATCH_BYTES_MIN, Prediction, RankedBase, predict_patch_bytes, predict_with_bases, rank_bases,
};
pub use sketch::{SKETCH_BYTES_MAX, Sketch, SketchBuilder, SketchError};
pub use sketched::{ChosenBases, choose_bases, keep_bases, predict};
