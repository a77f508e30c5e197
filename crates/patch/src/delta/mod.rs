//! Codec 3: the delta between a range of a tar and what similar layers hold.

mod bytes;
mod contents;
mod deflate;
mod frame;
mod full;
mod header;
mod hits;
mod light;
mod mixer;
mod numbers;
mod payload;
mod program;
mod rebuilt;
mod references;
mod sources;
mod symbols;
mod window;

pub(crate) use deflate::{Apart, apart, inflate_front, trailer};
pub(crate) use frame::{MATERIAL_BYTES_MAX, Style, decode, encode};
pub(crate) use payload::{DEFLATE_WORK, is_full, work};
pub(crate) use program::{INFLATED_MAX, Inflated, Program, STEPS_MAX, Step};
pub(crate) use rebuilt::{Piece, Rebuilt};
pub(crate) use sources::INFLATED_BYTES_MAX;
