//! A stand-in for the crates.io package `cabac`, for preflate-rs.
//!
//! preflate-rs keeps its corrections by that package. The package is LGPL, so a binary under Apache-2.0 or MIT cannot
//! link it without further duties (docs/decisions/0010-delta-codec.md). This package takes its place by
//! `[patch.crates-io]`: [`CabacWriter`], [`CabacReader`] and [`vp8`] have the names and signatures that preflate-rs
//! calls, over the arithmetic coder of `lighter-coder`. The format is not that of the package: only this stand-in can
//! read what it writes.

#![deny(clippy::float_arithmetic, clippy::iter_over_hash_type, clippy::wildcard_enum_match_arm)]

mod adaptive;

pub use adaptive::{CabacReader, CabacWriter};

/// The reader and the writer, under the module name that preflate-rs uses.
pub mod vp8 {
    pub use crate::adaptive::{AdaptiveReader as VP8Reader, AdaptiveWriter as VP8Writer, Context as VP8Context};
}
