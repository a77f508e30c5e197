//! Every message that crosses the wire: its bytes, its limits and its version.
//!
//! Nodes exchange messages over three protocols:
//!
//! | protocol | messages | pattern | module |
//! |---|---|---|---|
//! | gossip | [`Announcement`] | one node tells all its peers what it holds | `announcement` |
//! | ask | [`Request`], [`Answer`] | one small question, one answer | `ask` |
//! | patch | [`PatchRequest`], [`PatchReply`] | one stream that carries one patch | `patch_stream` |
//!
//! A [`SignedRelease`] travels inside an answer (module `release`), and so does a [`SignedHandover`] (`handover`). A
//! [`ListDigest`] stands for a list of layers (in `list`).
//!
//! A message is a bincode 2 value (little endian, variable-length integers). Each message type has a size limit, which
//! the reader checks before it allocates anything. Bytes after the end of a message are an error. docs/WIRE.md shows
//! the bytes in tables; the golden vectors in this crate's tests check those tables.
//!
//! A protocol's name ends with its version. A change of layout takes a new version. A node speaks exactly one version
//! of each protocol, so nodes of different versions exchange nothing over it (docs/WIRE.md, "Versions").

#![cfg_attr(not(test), deny(clippy::float_arithmetic))]
#![deny(clippy::iter_over_hash_type, clippy::wildcard_enum_match_arm)]

mod announcement;
mod ask;
mod codec;
mod handover;
mod image;
mod list;
mod patch_stream;
mod quote;
mod recipes;
mod release;
mod terms;
mod versions;

pub use announcement::{Announcement, Incarnation, News};
pub use ask::{Answer, Arrival, Holdings, Listed, Refusal, Request};
pub use codec::{Message, WireError};
pub use handover::{Handover, SignedHandover};
pub use image::{Documents, ImageAnswer, ImageName, ImageRequest, LayerOffer};
pub use list::ListDigest;
pub use patch_stream::{FrameOrder, PatchReply, PatchRequest, Referable, Resume};
pub use quote::{Offer, Quote};
pub use recipes::{BlobSource, ImageRecipes};
pub use release::{Bounds, COSIGNATURES_MAX, Cosignature, RELEASE_LAYERS_MAX, Release, SIGNATURE_BYTES, SignedRelease};
pub use terms::Terms;
pub use versions::OtherVersion;

/// The protocol name of gossipsub, which sends each message one hop and builds no mesh.
pub const GOSSIP_PROTOCOL: &str = "/lighter/gossip/2";
/// The gossipsub topic of [`Announcement`]s.
pub const ANNOUNCE_TOPIC: &str = "lighter/announce/1";
/// The request-response protocol of [`Request`] and [`Answer`].
pub const ASK_PROTOCOL: &str = "/lighter/ask/10";
/// The stream protocol of [`PatchRequest`], [`PatchReply`] and the patch itself.
pub const PATCH_PROTOCOL: &str = "/lighter/patch/9";

/// The most addresses that a referral gives for a peer.
pub const ADDRESSES_MAX: usize = 8;
/// The longest address in bytes. Eight addresses of this length fit in a [`PatchReply`].
pub const ADDRESS_BYTES_MAX: usize = 112;
/// The most sketches that one request may ask for. A request of this many layers stays under [`Request`]'s limit.
pub const SKETCHES_MAX: usize = 16;
/// The longest sketch in bytes (docs/PREDICTION.md). This crate does not read a sketch's bytes.
pub const SKETCH_BYTES_MAX: usize = 2031;
/// The most cards in one message. A card takes at most 84 bytes, so that this many stay under [`Answer`]'s limit.
pub const HOLDINGS_MAX: usize = 16_384;
/// The largest manifest or config in bytes: the limit of registries (OCI distribution spec, "Pushing manifests").
pub const BLOB_BYTES_MAX: usize = 4 << 20;
/// The most bytes of an image's recipes: those of 512 layers, or of one of 64 GiB with a checkpoint every 4 MiB.
pub const RECIPES_BYTES_MAX: usize = 1 << 20;
/// The most layers that recipes are for.
pub const RECIPES_MAX: usize = 512;

/// The most layer offers in an answer about an image. An offer takes at most 309 bytes.
pub const LAYER_OFFERS_MAX: usize = 128;
/// The most handovers in an answer about an image.
pub const HANDOVERS_MAX: usize = 4;
/// The room of an answer beside the bytes of a manifest and config: a release, handovers, offers, lengths.
const ANSWER_SLACK_BYTES: usize = 48 << 10;

#[cfg(test)]
mod tests;
