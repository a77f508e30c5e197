//! Codec 3: the delta between a range of a tar and what similar layers hold.

mod bytes;
mod compressed;
mod contents;
mod deflate;
mod frame;
mod full;
mod header;
mod hits;
mod light;
mod mixer;
mod payload;
mod prefix;
mod program;
mod rebuilt;
mod references;
mod sources;
mod window;
mod xz;

pub(crate) use compressed::{Apart, Way, apart, content};
pub(crate) use deflate::trailer;
pub(crate) use frame::{MATERIAL_BYTES_MAX, Style, decode, encode};
pub(crate) use payload::{is_heavy, work, work_of};
pub(crate) use program::{INFLATED_MAX, Inflated, Program, STEPS_MAX, Step};
pub(crate) use rebuilt::{Piece, Rebuilt};
pub(crate) use sources::INFLATED_BYTES_MAX;
pub(crate) use xz::is_xz;
