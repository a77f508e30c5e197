//! The types that all crates share: ids, byte counts, moments, cards. They parse and print. The crates `wire` and
//! `store` define their layout in bytes. [`ReadAt`] is how all crates read layers: by position.

#![cfg_attr(not(test), deny(clippy::float_arithmetic))]
#![deny(clippy::iter_over_hash_type, clippy::wildcard_enum_match_arm)]

mod base_cache;
mod blame;
mod card;
mod cause;
mod effort;
mod hash;
mod hex;
mod invariant;
mod link;
mod pace;
mod peer;
mod prefer;
mod quantity;
mod read_at;
mod reference;
mod tlsh;

pub use base_cache::BaseCache;
pub use blame::Blame;
pub use card::Card;
pub use cause::{Cause, error_chain};
pub use effort::Effort;
pub use hash::{Blake3, DiffId, OciDigest, PatchId};
pub use invariant::{Reporter, broken, on_broken};
pub use link::Link;
pub use pace::Pace;
pub use peer::PeerId;
pub use prefer::Prefer;
pub use quantity::{Bytes, BytesPerSecond, Moment};
pub use read_at::{File, ReadAt};
pub use reference::{ImageReference, SiteName};
pub use tlsh::{TLSH_BYTES, Tlsh};

/// The most bases of a patch, and of a request for one. The container, the encoder and the wire share this limit.
pub const BASES_MAX: usize = 8;

/// A text that does not parse as the expected value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {wanted}")]
pub struct ParseError {
    /// The first 80 characters of the text.
    pub text: String,
    /// A description of the expected text, with an example.
    pub wanted: &'static str,
}

impl ParseError {
    fn new(text: &str, wanted: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), wanted }
    }
}
