//! Similarity of layers, and predictions of the bytes of a patch between them.
//!
//! The crate computes the TLSH digest of a stream and the distance of two digests, the sketch of a layer's contents,
//! predictions of patch bytes from digests or sketches, and a calibration that corrects the predictions. All results
//! are pure functions of their inputs, in integers, so that every node and the simulator give the same answer.
//!
//! The crate must not read files, clocks or random numbers. docs/PREDICTION.md has the method and its error on real
//! layers.

#![cfg_attr(not(test), deny(clippy::float_arithmetic))]
#![deny(clippy::iter_over_hash_type, clippy::wildcard_enum_match_arm)]

mod calibration;
mod containment;
mod distance;
mod hasher;
mod predict;
mod sketch;
mod sketched;
mod work;

pub use calibration::Calibration;
pub use distance::{DISTANCE_MAX, Distance, distance};
pub use hasher::{TLSH_INPUT_BYTES_MAX, TLSH_INPUT_BYTES_MIN, TlshHasher};
pub use predict::{
    ExpectedError, PATCH_BYTES_MIN, Prediction, RankedBase, predict_patch_bytes, predict_with_bases, rank_bases,
};
pub use sketch::{SKETCH_BYTES_MAX, Sketch, SketchBuilder, SketchError};
pub use sketched::{ChosenBases, choose_bases, keep_bases, predict};
