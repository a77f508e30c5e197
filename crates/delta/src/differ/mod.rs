//! From a target and its bases to the steps of frames.
//!
//! 1. [`files`] cuts the layers into the entries of their tars.
//! 2. [`draft`] makes copies of entries and [`contents`] that a base has; [`twins`] of contents that stand earlier in
//!    the target.
//! 3. [`pairs`] finds the files that a changed file may have been changed from, by [`names`] and in several
//!    [`orders`]. [`streams`] decompresses their compressed streams ([`gzip`], [`zip`], xz files). [`loading`] reads
//!    the bytes of the bases into the [`material`].
//! 4. [`matches`] compares contents byte by byte, with an [`index`] of the material. [`writer`] makes steps of the
//!    matches, and [`weave`] puts them in their places in the target.
//! 5. [`plan`] does all of that, by a [`search`] of some effort. [`frames`] cuts the steps into frames and encodes
//!    them.
//!
//! The result depends on the layers and the settings only, not on the number of threads.

mod blocks;
mod contents;
mod counterparts;
mod draft;
mod elf;
mod evidence;
mod executables;
mod fatbins;
mod files;
mod frames;
mod gzip;
mod headers;
mod index;
mod loading;
mod long;
mod matches;
mod material;
mod names;
mod orders;
mod pairs;
mod plan;
mod regions;
mod repeats;
mod samples;
mod search;
mod steps;
mod streams;
#[cfg(test)]
mod tests;
mod twins;
mod weave;
mod writer;
mod zip;

pub use files::{Entry, Files, each_entry};
pub use frames::{EncodedFrame, cut, encode_frames};
pub use plan::{Drafted, plan};
pub use repeats::copy_repeats;
pub use search::{Search, style};
pub use steps::{Layers, Planned, drop_unused};
