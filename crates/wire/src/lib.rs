//! Every message that crosses the wire: its bytes, its limits, its version.
//!
//! A message is a bincode 2 value (little endian, variable-length integers) under an explicit size limit, and the limit
//! is checked before anything is allocated. Bytes left over are an error: a message has one spelling and one end. The
//! byte tables are in docs/WIRE.md, held true by the golden vectors in this crate's tests.
//!
//! A change of layout is a new version in the protocol's name. A node speaks exactly one version of each protocol, so
//! nodes of different versions exchange nothing over it (docs/WIRE.md, "Versions").

#![cfg_attr(not(test), deny(clippy::float_arithmetic))]
#![deny(clippy::iter_over_hash_type, clippy::wildcard_enum_match_arm)]

mod announcement;
mod ask;
mod codec;
mod patch_stream;
mod release;
mod versions;

pub use announcement::{Announcement, Incarnation, News};
pub use ask::{Answer, Arrival, Holdings, Offer, Quote, Refusal, Request};
pub use codec::{Message, WireError};
pub use patch_stream::{PatchReply, PatchRequest, Referable, Resume};
pub use release::{Release, SIGNATURE_BYTES, SignedRelease};
pub use versions::OtherVersion;

/// Gossipsub speaks by this name: one hop, without a mesh.
pub const GOSSIP_PROTOCOL: &str = "/lighter/gossip/1";
/// Gossipsub topic of [`Announcement`]s.
pub const ANNOUNCE_TOPIC: &str = "lighter/announce/1";
/// Request-response protocol of [`Request`] and [`Answer`].
pub const ASK_PROTOCOL: &str = "/lighter/ask/4";
/// Stream protocol of [`PatchRequest`], [`PatchReply`] and the patch itself.
pub const PATCH_PROTOCOL: &str = "/lighter/patch/4";

/// Addresses that a peer is named with, and the bytes of one: eight fit [`PatchReply`].
pub const ADDRESSES_MAX: usize = 8;
pub const ADDRESS_BYTES_MAX: usize = 112;
/// Sketches that one request may ask for, so that it stays under [`Request`]'s limit.
pub const SKETCHES_MAX: usize = 16;
/// The longest sketch (docs/PREDICTION.md). What its bytes say is not this crate's business.
pub const SKETCH_BYTES_MAX: usize = 1227;
/// Layers that one node announces or hands out. At 84 bytes a card this stays under [`Answer`]'s limit.
pub const HOLDINGS_MAX: usize = 16_384;
/// The largest manifest or config: the limit that registries keep (OCI distribution spec, "Pushing manifests").
pub const BLOB_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests;
