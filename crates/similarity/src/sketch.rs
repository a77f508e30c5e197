//! What a layer's file contents are made of, in about 1 KB: how much of one layer stands in a set of others.
//!
//! Source: FracMinHash (Irber et al., "Lightweight compositional analysis of metagenomes with FracMinHash and minimum
//! metagenome covers", 2022), with the threshold of a bottom-k sketch (Cohen and Kaplan, 2007), so that a sketch is
//! always full. Every window of the contents is hashed and the lowest hashes are kept. Two sketches are compared below
//! the lower of their thresholds, where both have everything: so they need not be of the same size, and they merge.
//!
//! There are two sets. *Plain* windows are bytes as they stand. In *masked* ones, what a linker rewrites when code
//! moves is blotted out (windows.rs). A plain window that is missing from the bases while masked ones are not, is old
//! code at a new address, which costs a patch little. docs/PREDICTION.md has the measurements.
//!
//! What it must not do: depend on how a stream was cut, on the order of files, or on the machine.

use crate::sketch::sample::SampleSet;

mod builder;
mod encoding;
mod sample;
mod windows;

pub use builder::SketchBuilder;
pub use encoding::{SKETCH_BYTES_MAX, SketchError};

pub(crate) use sample::{Level, SampleSet as Samples, coarsened};

/// The most plain windows that are kept.
pub(crate) const PLAIN_SAMPLES_MAX: usize = 400;
/// The most masked windows that are kept: twice as many, since a missing one weighs six times as much in a prediction
/// (docs/decisions/0011-sketch.md).
pub(crate) const MASKED_SAMPLES_MAX: usize = 800;

/// The sketch of one layer, or of several merged. At most 1,200 samples of four bytes in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch {
    content_bytes: u64,
    entries: u32,
    plain: SampleSet,
    masked: SampleSet,
}

impl Sketch {
    /// Bytes of file contents that were looked at: without tar headers, padding, and gzip files.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// Entries of the tar, folders and links included; for what is no tar, 0.
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// How many different windows of 16 bytes the contents have, estimated from the threshold: within 5 % two times of
    /// three, within 10 % nineteen times of twenty.
    pub fn distinct_windows(&self) -> u64 {
        self.plain.population()
    }

    /// Whether there was nothing to look at: such a sketch says nothing.
    pub fn is_empty(&self) -> bool {
        self.masked.values().is_empty()
    }

    /// The sketch of both contents together: what one builder would have made of them, but for windows whose short
    /// hashes collide. Sizes and entries are added up, so what stands in both counts twice there. Coarser than either:
    /// to compare a target with several bases, give them to `predict` as they are.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        Self {
            content_bytes: self.content_bytes.saturating_add(other.content_bytes),
            entries: self.entries.saturating_add(other.entries),
            plain: self.plain.merge(&other.plain, PLAIN_SAMPLES_MAX),
            masked: self.masked.merge(&other.masked, MASKED_SAMPLES_MAX),
        }
    }

    pub(crate) fn plain(&self) -> &SampleSet {
        &self.plain
    }

    pub(crate) fn masked(&self) -> &SampleSet {
        &self.masked
    }
}

#[cfg(test)]
pub(crate) mod tests;
