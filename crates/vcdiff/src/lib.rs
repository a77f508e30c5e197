//! The standard delta format VCDIFF (RFC 3284) as the stock xdelta3 tool reads and writes it, and xdelta3 itself.
//!
//! - [`decode_vcdiff`] applies a file without secondary compression (`xdelta3 -S none`) and with the default code
//!   table. The file may have an application header, Adler-32 checksums, and windows that copy from the source or from
//!   the target.
//! - [`FILE_HEADER`] and [`WindowWriter`] write such a file.
//! - [`find_copies`] runs xdelta3's C code on two layers of this machine, and returns the copies that it finds.
//!
//! This room is the only one with C bindings of the project's own and with `unsafe`, both in `xdelta3.rs`. The C code
//! reads layers of this machine only. Files of others are decoded by safe Rust; every length has a cap before anything
//! is allocated.
//!
//! Why xdelta3 is used as it is stands in docs/decisions/0003-xdelta3.md.

#![deny(unsafe_code, clippy::float_arithmetic, clippy::iter_over_hash_type, clippy::wildcard_enum_match_arm)]

mod code_table;
mod copies;
mod decode;
mod error;
mod file;
mod window;
mod write;
mod xdelta3;

pub use copies::{Copy, SEGMENT_BYTES_MAX, base_window, find_copies, matching_bytes};
pub use decode::decode_vcdiff;
pub use error::{Feature, VcdiffError};
pub use file::Limits;
pub use write::{FILE_HEADER, WindowWriter};
