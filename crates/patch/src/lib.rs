//! Patches: the bytes that turn the bases into the target.
//!
//! [`encode`] makes a patch out of a target and up to eight bases, deterministically: the same target, bases and
//! settings give the same bytes for any number of threads. A patch is a [`Header`], whose blake3 is the patch's name,
//! and frames. Each frame rebuilds its own range of the target, independently of the others: [`verify_frame`] checks
//! its payload against the blake3 in the header, and [`apply_frame`] checks and then decodes it. [`vcdiff`] reads and
//! writes the standard format (RFC 3284) of the stock xdelta3 tool.
//!
//! What arrives from the network (headers and payloads) is hostile: every length has a cap before anything is
//! allocated, and everything that decodes it is written in Rust. C code encodes: xdelta3's and zstd's encoders read our own
//! layers, liblzma's also what a frame was decoded to, where that goes into an xz file. This crate touches no file, no clock and no random generator; callers bring a [`ReadAt`].
//!
//! The byte layout is in docs/PATCH.md; why xdelta3 is used as it is, in docs/decisions/0003-xdelta3.md.

#![deny(unsafe_code, clippy::float_arithmetic)]
#![deny(clippy::iter_over_hash_type)]

mod apply;
mod codec;
mod encode;
mod error;
mod export;
mod have;
mod header;
mod limits;
mod plan;
mod settings;

pub use apply::{RebuiltRange, apply_frame, frame_work, is_heavy, verify_frame};
pub use codec::{CodecId, codec_names};
pub use encode::{Patch, Source, encode, encode_to};
pub use error::{ApplyError, EncodeError, HeaderError};
pub use export::{ExportError, export_vcdiff};
pub use have::{Gathered, HAVE_FILES_MAX, HAVE_LIST_BYTES_MAX, HaveList, HaveListError};
pub use header::{Base, Frame, HEADER_BYTES_MAX, Header, VERSION};
pub use limits::{DELTA_TARGET_BYTES_MAX, FRAME_PAYLOAD_BYTES_MAX, FRAME_TARGET_BYTES_MAX, FRAMES_MAX};
pub use settings::{Method, Settings};
