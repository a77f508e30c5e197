//! The words of the project as types: ids, byte counts, moments, cards. They parse and print; how they are laid out in
//! bytes is the business of `wire` and `store`.

mod card;
mod hash;
mod hex;
mod peer;
mod quantity;
mod reference;
mod tlsh;

pub use card::Card;
pub use hash::{Blake3, DiffId, OciDigest, PatchId};
pub use peer::PeerId;
pub use quantity::{Bytes, BytesPerSecond, Moment};
pub use reference::{ImageReference, SiteName};
pub use tlsh::{TLSH_BYTES, Tlsh};

/// Why a piece of text is not the value it was read as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {wanted}")]
pub struct ParseError {
    /// The text, cut at 80 characters.
    pub text: String,
    /// What would have been right, with an example.
    pub wanted: &'static str,
}

impl ParseError {
    fn new(text: &str, wanted: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), wanted }
    }
}
