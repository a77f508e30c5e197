//! Recipes: a few hundred bytes from which the exact compressed blob of a layer is rebuilt out of its tar.
//!
//! An [`Engine`] is one behaviour class of one compressor: it makes the bytes that the compressor would make, in safe
//! Rust. Framing (headers, members, blocks of pgzip and pigz) stands outside the engines.

#![deny(clippy::float_arithmetic, clippy::iter_over_hash_type, clippy::wildcard_enum_match_arm)]

mod engine;
mod zstd;

pub use engine::Engine;
pub use zstd::{Class as ZstdClass, Ending as ZstdEnding, Level as ZstdLevel, Zstd};
