//! The delta codec: the difference between a range of a tar and what similar layers hold.
//!
//! A frame of this codec is a program of steps ([`program`]: copies, matches, headers, compressed streams, new bytes)
//! and the contents that the steps need ([`models`]). The decoder walks over the program ([`frame`]); the encoder walks
//! the same way over a program that the differ made ([`differ`]).
//!
//! To encode: [`Drafted`] finds what the bases have of the target, [`plan`] makes steps of it, [`drop_unused`] leaves
//! out bases, [`cut`] cuts the steps into frames, [`encode_frames`] encodes a frame. To decode: [`decode`] makes a
//! [`Rebuilt`] of a payload.
//!
//! Payloads come from the network and are hostile: every length has a cap before anything is allocated, and safe Rust
//! decodes them. liblzma recompresses contents for xz files. Both sides compute in integers, so that every machine gets
//! the same bytes. This crate opens no file; callers bring a [`lighter_types::ReadAt`].
//!
//! The layout of a payload is in docs/PATCH.md; the reasons are in docs/decisions/0010-delta-codec.md.

#![deny(unsafe_code, clippy::float_arithmetic, clippy::iter_over_hash_type, clippy::wildcard_enum_match_arm)]

mod compare;
mod compressed;
mod differ;
mod error;
mod frame;
mod limits;
mod models;
mod moves;
mod overhead;
pub mod parallel;
mod payload;
mod prefix;
mod program;
mod rebuilt;
mod sources;
mod take;
mod work;
pub mod zstd;

/// For the fuzz targets, and for tests of other rooms.
#[doc(hidden)]
pub use compressed::{fatbin, lz4};
pub use differ::{
    Drafted, EncodedFrame, Entry, Files, Layers, Planned, Search, copy_repeats, cut, drop_unused, each_entry,
    encode_frames, plan, style,
};
pub use error::CodecError;
pub use frame::{Going, Style, decode};
pub use limits::{PAYLOAD_BYTES_MAX, TARGET_BYTES_MAX};
pub use moves::Map;
pub use payload::{Weight, moves, work};
pub use rebuilt::{Piece, Rebuilt};
