//! Encoding and decoding of messages, under a size limit.
//!
//! The crate `types` has no serialisation, so each [`Message`] names a layout: a plain value of arrays, integers and
//! tuples, which bincode encodes. Encoding goes from message to layout to bytes, decoding goes back and checks the
//! ranges that bincode does not know: counts, lengths and names.

use std::str::FromStr;

use bincode::{Decode, Encode, config};
use lighter_types::{Bytes, Card, DiffId, ParseError, SiteName, Tlsh};

/// Why bytes are not the expected message. When decoding fails, the sender is to blame.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("{message} has {found} bytes, its limit is {limit}")]
    TooLarge { message: &'static str, found: usize, limit: usize },
    #[error("{message} cannot be decoded")]
    Malformed { message: &'static str, source: bincode::error::DecodeError },
    #[error("{message} has {left} bytes after its end")]
    Trailing { message: &'static str, left: usize },
    #[error("{message}: {field} is {found}, its limit is {limit}")]
    OutOfRange { message: &'static str, field: &'static str, found: usize, limit: usize },
    #[error("{message} holds a text that does not parse")]
    BadText { message: &'static str, source: ParseError },
}

/// The size of the largest message, a blob answer. bincode enforces this limit for all messages. [`Message::decode`]
/// checks the limit of the message type before it calls bincode.
const ANY_MESSAGE_BYTES_MAX: usize = crate::BLOB_BYTES_MAX + crate::ANSWER_SLACK_BYTES;

const CONFIG: config::Configuration<config::LittleEndian, config::Varint, config::Limit<ANY_MESSAGE_BYTES_MAX>> =
    config::standard().with_limit::<ANY_MESSAGE_BYTES_MAX>();

/// A value that nodes send to each other.
pub trait Message: Sized {
    /// The message's name in errors.
    const NAME: &'static str;
    /// The most bytes that the message may have. A longer one is neither read nor written.
    const BYTES_MAX: usize;
    /// The plain value that bincode encodes in place of the message.
    #[doc(hidden)]
    type Layout: Encode + Decode<()>;
    #[doc(hidden)]
    fn to_layout(&self) -> Self::Layout;
    #[doc(hidden)]
    fn from_layout(layout: Self::Layout) -> Result<Self, WireError>;

    /// The message's bytes.
    ///
    /// # Errors
    /// [`WireError::TooLarge`] if there are more than [`Self::BYTES_MAX`]: the caller made too large a message.
    fn encode(&self) -> Result<Vec<u8>, WireError> {
        // A plain value fails to encode for one reason only: it exceeds bincode's limit.
        let bytes = bincode::encode_to_vec(self.to_layout(), CONFIG).map_err(|_| WireError::TooLarge {
            message: Self::NAME,
            found: ANY_MESSAGE_BYTES_MAX + 1,
            limit: Self::BYTES_MAX,
        })?;
        Self::check_size(bytes.len())?;
        Ok(bytes)
    }

    /// Decodes a message that fills `bytes` exactly. Allocates at most a small multiple of the length of `bytes`.
    ///
    /// # Errors
    /// Any [`WireError`]; the sender is to blame.
    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode(bytes)
    }

    /// # Errors
    /// [`WireError::TooLarge`] when `found` is over [`Self::BYTES_MAX`].
    fn check_size(found: usize) -> Result<(), WireError> {
        if found > Self::BYTES_MAX {
            return Err(WireError::TooLarge { message: Self::NAME, found, limit: Self::BYTES_MAX });
        }
        Ok(())
    }

    #[doc(hidden)]
    fn check_limit(field: &'static str, found: usize, limit: usize) -> Result<(), WireError> {
        if found > limit {
            return Err(WireError::OutOfRange { message: Self::NAME, field, found, limit });
        }
        Ok(())
    }

    #[doc(hidden)]
    fn parse<T: FromStr<Err = ParseError>>(text: &str) -> Result<T, WireError> {
        text.parse().map_err(|source| WireError::BadText { message: Self::NAME, source })
    }
}

/// [`Message::decode`] for messages of one version.
pub(crate) fn decode<M: Message>(bytes: &[u8]) -> Result<M, WireError> {
    M::check_size(bytes.len())?;
    let (layout, read) = bincode::decode_from_slice(bytes, CONFIG)
        .map_err(|source| WireError::Malformed { message: M::NAME, source })?;
    if read != bytes.len() {
        return Err(WireError::Trailing { message: M::NAME, left: bytes.len() - read });
    }
    M::from_layout(layout)
}

pub(crate) type CardLayout = ([u8; 32], u64, u64, Option<[u8; 35]>);

pub(crate) fn card_layout(card: &Card) -> CardLayout {
    let tlsh = card.tlsh.map(|tlsh| *tlsh.as_bytes());
    (*card.diff_id.as_bytes(), card.tar_bytes.0, card.compressed_bytes.0, tlsh)
}

pub(crate) fn card((diff_id, tar_bytes, compressed_bytes, tlsh): CardLayout) -> Card {
    Card {
        diff_id: DiffId::new(diff_id),
        tar_bytes: Bytes(tar_bytes),
        compressed_bytes: Bytes(compressed_bytes),
        tlsh: tlsh.map(Tlsh::new),
    }
}

pub(crate) fn cards_layout(cards: &[Card]) -> Vec<CardLayout> {
    cards.iter().map(card_layout).collect()
}

/// Fails for more than [`crate::HOLDINGS_MAX`] cards.
pub(crate) fn cards<M: Message>(cards: Vec<CardLayout>) -> Result<Vec<Card>, WireError> {
    M::check_limit("number of cards", cards.len(), crate::HOLDINGS_MAX)?;
    Ok(cards.into_iter().map(card).collect())
}

pub(crate) fn diff_ids_layout(ids: &[DiffId]) -> Vec<[u8; 32]> {
    ids.iter().map(|id| *id.as_bytes()).collect()
}

/// Fails for more than `max` ids.
pub(crate) fn diff_ids<M: Message>(ids: Vec<[u8; 32]>, max: usize) -> Result<Vec<DiffId>, WireError> {
    M::check_limit("number of layers", ids.len(), max)?;
    Ok(ids.into_iter().map(DiffId::new).collect())
}

pub(crate) fn site_layout(site: Option<&SiteName>) -> String {
    site.map_or_else(String::new, |site| site.as_str().to_owned())
}

/// An empty text means that the node has no site.
pub(crate) fn site<M: Message>(text: &str) -> Result<Option<SiteName>, WireError> {
    if text.is_empty() {
        return Ok(None);
    }
    M::parse(text).map(Some)
}
