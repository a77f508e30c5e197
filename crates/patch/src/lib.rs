//! Patches: the bytes that turn the bases into the target. This room has the container, have-lists and the table of
//! codecs.
//!
//! [`encode`] makes a patch out of a target and up to eight bases, deterministically: the same target, bases and
//! settings give the same bytes for any number of threads. A patch is a [`Header`], whose blake3 is the patch's name,
//! and frames. Each frame rebuilds its own range of the target, independently of the others: [`verify_frame`] checks
//! its payload against the blake3 in the header, and [`apply_frame`] checks and then decodes it. [`export_vcdiff`]
//! writes a patch as a file of the standard format (RFC 3284).
//!
//! Headers and payloads from the network are hostile: every length has a cap before anything is allocated, and Rust
//! decodes them. A node refuses codecs that nodes never make ([`Header::check_from_peer`]). C code encodes: the
//! encoders of xdelta3 and zstd read layers of this machine, and liblzma recompresses contents for xz files. This crate
//! touches no file, no clock and no random generator; callers bring a [`lighter_types::ReadAt`].
//!
//! The byte layout is in docs/PATCH.md; the rooms are in docs/decisions/0015-rooms-of-the-patch.md.

#![deny(unsafe_code, clippy::float_arithmetic, clippy::iter_over_hash_type, clippy::wildcard_enum_match_arm)]

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

pub use apply::{Moves, RebuiltRange, apply_frame, apply_frame_while, frame_weight, frame_work, verify_frame};
pub use codec::{CodecId, codec_names};
pub use encode::{Patch, Source, encode, encode_to, plain_header, plain_payload};
pub use error::{ApplyError, EncodeError, HeaderError};
pub use export::{ExportError, export_vcdiff};
pub use have::{Gathered, HAVE_FILES_MAX, HAVE_LIST_BYTES_MAX, HaveList, HaveListError};
pub use header::{Base, Frame, HEADER_BYTES_MAX, Header};
pub use lighter_delta::Weight;
pub use limits::{DELTA_TARGET_BYTES_MAX, FRAME_PAYLOAD_BYTES_MAX, FRAME_TARGET_BYTES_MAX, FRAMES_MAX, VERSION};
pub use settings::{Method, Settings};
