//! Arithmetic coding, for the patch engine's models and for those of preflate-rs.
//!
//! preflate-rs keeps its corrections by the crates.io package `cabac`, which is LGPL and so cannot be linked into a
//! binary under Apache-2.0 or MIT without strings (docs/decisions/0010-delta-codec.md). This package stands in for it:
//! [`CabacWriter`], [`CabacReader`] and [`vp8`] have the names and signatures that preflate-rs calls, over our coder.
//! What is written here can only be read here.

#![cfg_attr(not(test), deny(clippy::float_arithmetic))]
#![deny(clippy::iter_over_hash_type, clippy::wildcard_enum_match_arm)]

mod adaptive;
mod ans;
mod coder;

pub use adaptive::{CabacReader, CabacWriter};
pub use ans::{AnsDecoder, AnsEncoder};
pub use coder::{Coder, Decoder, Encoder, SYMBOLS, Starts, SymbolCoder};

/// The reader and the writer, under the module name that preflate-rs knows.
pub mod vp8 {
    pub use crate::adaptive::{AdaptiveReader as VP8Reader, AdaptiveWriter as VP8Writer, Context as VP8Context};
}
