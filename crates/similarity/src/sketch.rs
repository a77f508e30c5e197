//! Sketches: samples of the file contents of a layer and of its entries, in under 2 KB. From sketches, a node
//! estimates the share of one layer that a set of other layers contains.
//!
//! The method is FracMinHash (Irber et al., "Lightweight compositional analysis of metagenomes with FracMinHash and
//! minimum metagenome covers", 2022), with the threshold of a bottom-k sketch (Cohen and Kaplan, 2007):
//!
//! 1. Hash every window of 16 bytes of the contents (windows.rs).
//! 2. Keep the lowest hashes, a fixed number of them. The *threshold* is the lowest hash that was not kept (sample.rs).
//! 3. To compare two sketches, look only at hashes below the lower of both thresholds, where both sketches are complete
//!    (containment.rs). So sketches of layers of different sizes compare.
//!
//! A sketch has three sets of samples of contents. *Plain* windows are the bytes as they are. In *masked* windows, the
//! bytes that a linker rewrites when code moves are replaced by zeros. *Long* windows are 256 masked bytes (long.rs).
//! If the bases lack a plain window but have the masked one, then it is old code at a new address; if they have the
//! masked window but lack the long one, then something near it changed. docs/PREDICTION.md has the measurements.
//!
//! Samples cannot count a small difference, so masked and long windows have odd sketches too (parity.rs).
//!
//! Two more sets are samples of the entries of the tar: their whole *headers*, and their *paths* alone (entries.rs). If
//! the bases lack a header but have the path, then the entry has another time, owner or mode.
//!
//! A sketch must not depend on the cuts between the pieces of a stream, on the order of files, or on the machine.

use crate::sketch::parity::Parities;
use crate::sketch::sample::SampleSet;

mod builder;
mod encoding;
mod entries;
mod long;
mod machine;
mod parity;
mod sample;
mod windows;

pub use builder::SketchBuilder;
pub use encoding::{SKETCH_BYTES_MAX, SketchError};

pub(crate) use parity::Difference;
pub(crate) use sample::{Level, SampleSet as Samples, coarsened};
pub(crate) use windows::ODD_RATE;

/// The most plain samples. They say how much code moved, which costs little.
pub(crate) const PLAIN_SAMPLES_MAX: usize = 200;
/// The most masked samples: a missing masked window adds most to a prediction (docs/decisions/0011-sketch.md).
pub(crate) const MASKED_SAMPLES_MAX: usize = 550;
/// The most samples of long windows.
pub(crate) const LONG_SAMPLES_MAX: usize = 400;
/// The most samples of headers, and of paths: a missing header costs few bytes, so a rough share is enough.
pub(crate) const ENTRY_SAMPLES_MAX: usize = 64;

/// The sketch of one layer. Holds at most 1,278 samples of four bytes, and 704 bytes of odd sketches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch {
    content_bytes: u64,
    entries: u32,
    /// The share of the contents that are executables of Go, in 1/255.
    go: u8,
    /// Boxed: a sketch is a part of inputs of the engine, and most inputs are small.
    windows: Box<WindowSets>,
    of_entries: Box<EntrySamples>,
}

/// Samples of the contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WindowSets {
    plain: SampleSet,
    masked: SampleSet,
    masked_odd: Parities,
    long: SampleSet,
    long_odd: Parities,
}

/// Windows of one kind: samples, and an odd sketch of one in `odd_rate` of them.
#[derive(Clone, Copy)]
pub(crate) struct Windows<'a> {
    pub(crate) samples: &'a SampleSet,
    pub(crate) odd: &'a Parities,
    pub(crate) odd_rate: u64,
    /// Samples of plain windows of the same contents.
    pub(crate) plain: &'a SampleSet,
    pub(crate) content_bytes: u64,
}

/// Samples of the entries of a tar.
#[derive(Clone, Debug, PartialEq, Eq)]
struct EntrySamples {
    headers: SampleSet,
    paths: SampleSet,
}

impl Sketch {
    /// The bytes of file contents that were hashed. Tar headers, padding and gzip files do not count.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// The entries of the tar, including folders and links. 0 if the bytes are no tar.
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// The number of different windows of 16 bytes in the contents, estimated from the threshold. The error is below 7
    /// % in two of three cases and below 14 % in nineteen of twenty.
    pub fn distinct_windows(&self) -> u64 {
        self.plain().population()
    }

    /// Whether the sketch has no samples, because there were no contents to hash.
    pub fn is_empty(&self) -> bool {
        self.windows.masked.values().is_empty()
    }

    pub(crate) fn go(&self) -> u8 {
        self.go
    }

    pub(crate) fn plain(&self) -> &SampleSet {
        &self.windows.plain
    }

    pub(crate) fn masked(&self) -> Windows<'_> {
        let WindowSets { plain, masked, masked_odd, .. } = &*self.windows;
        Windows { samples: masked, odd: masked_odd, odd_rate: ODD_RATE, plain, content_bytes: self.content_bytes }
    }

    pub(crate) fn long(&self) -> Windows<'_> {
        let WindowSets { plain, long, long_odd, .. } = &*self.windows;
        Windows { samples: long, odd: long_odd, odd_rate: 1, plain, content_bytes: self.content_bytes }
    }

    pub(crate) fn headers(&self) -> &SampleSet {
        &self.of_entries.headers
    }

    pub(crate) fn paths(&self) -> &SampleSet {
        &self.of_entries.paths
    }
}

#[cfg(test)]
pub(crate) mod tests;
