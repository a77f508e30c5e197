//! Recipes: a few hundred bytes from which the exact compressed blob of a layer is rebuilt out of its tar.
//!
//! An [`Engine`] is one behaviour class of one compressor: it makes the bytes that the compressor would make, in safe
//! Rust. Framing (headers, members, blocks of pgzip and pigz) stands outside the engines.

#![deny(clippy::float_arithmetic, clippy::iter_over_hash_type, clippy::wildcard_enum_match_arm)]

mod bits;
mod chain_table;
mod correct;
mod deflate;
mod encoder;
mod engine;
mod error;
mod find;
mod goflate;
mod gzip;
mod header;
mod huffman;
mod input;
mod kpflate;
mod libzstd;
mod pgzip;
mod rebuild;
mod recipe;
#[cfg(test)]
mod sample;
mod tables;
mod tokens;
mod zlib;
mod zstd;

pub use bits::BitPosition;
pub use correct::correct;
pub use encoder::{Class, Encoder};
pub use engine::{Engine, Mark, Start};
pub use error::{FindError, ReadError, RebuildError};
pub use find::{Found, Nearest, Reason, Unknown, find, find_among};
pub use libzstd::{LibZstdCall, Threads};
pub use rebuild::Rebuild;
pub use recipe::{Checkpoint, Corrected, Encoded, Form, Framing, Member, Piece, Recipe};

#[cfg(test)]
mod tests;
