//! From message to bytes and back, under a limit.
//!
//! `types` knows no serialisation, so each message says which plain value (arrays, integers, tuples) it is laid out as.

use bincode::{Decode, Encode, config};
use lighter_types::{Bytes, Card, DiffId, SiteName, Tlsh};

/// Why bytes are not the message they should be. The sender is to blame, always.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("{message} of {found} bytes is over its limit of {limit}")]
    TooLarge { message: &'static str, found: usize, limit: usize },
    #[error("{message} cannot be read")]
    Malformed { message: &'static str, source: bincode::error::DecodeError },
    #[error("{message} has {left} bytes after its end")]
    Trailing { message: &'static str, left: usize },
    #[error("{message}: {field} is out of range")]
    OutOfRange { message: &'static str, field: &'static str },
}

/// The largest message of all, a blob answer; the per-message limit is checked on the bytes themselves first.
const ANY_MESSAGE_BYTES_MAX: usize = crate::BLOB_BYTES_MAX + 64;

const CONFIG: config::Configuration<config::LittleEndian, config::Varint, config::Limit<ANY_MESSAGE_BYTES_MAX>> =
    config::standard().with_limit::<ANY_MESSAGE_BYTES_MAX>();

/// A value with bytes of its own on the wire.
pub trait Message: Sized {
    /// What errors call it.
    const NAME: &'static str;
    /// The most bytes it may have. Nothing longer is read or written.
    const BYTES_MAX: usize;
    /// The plain value it is laid out as.
    #[doc(hidden)]
    type Layout: Encode + Decode<()>;
    #[doc(hidden)]
    fn to_layout(&self) -> Self::Layout;
    #[doc(hidden)]
    fn from_layout(layout: Self::Layout) -> Result<Self, WireError>;

    /// The message's bytes.
    ///
    /// # Errors
    /// [`WireError::TooLarge`] if there are more than [`Self::BYTES_MAX`]: the caller put too much in.
    fn encode(&self) -> Result<Vec<u8>, WireError> {
        // Plain values in memory fail to encode for one reason: bincode's own limit, the largest of all messages.
        let bytes = bincode::encode_to_vec(self.to_layout(), CONFIG).map_err(|_| WireError::TooLarge {
            message: Self::NAME,
            found: ANY_MESSAGE_BYTES_MAX + 1,
            limit: Self::BYTES_MAX,
        })?;
        Self::check_size(bytes.len())?;
        Ok(bytes)
    }

    /// Reads a message that fills `bytes` exactly. Allocates at most a small multiple of `bytes`.
    ///
    /// # Errors
    /// Any [`WireError`]; the sender is to blame.
    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        Self::check_size(bytes.len())?;
        let (layout, read) = bincode::decode_from_slice(bytes, CONFIG)
            .map_err(|source| WireError::Malformed { message: Self::NAME, source })?;
        if read != bytes.len() {
            return Err(WireError::Trailing { message: Self::NAME, left: bytes.len() - read });
        }
        Self::from_layout(layout)
    }

    /// # Errors
    /// [`WireError::TooLarge`] when a message of `found` bytes may not exist.
    fn check_size(found: usize) -> Result<(), WireError> {
        if found > Self::BYTES_MAX {
            return Err(WireError::TooLarge { message: Self::NAME, found, limit: Self::BYTES_MAX });
        }
        Ok(())
    }

    #[doc(hidden)]
    fn out_of_range(field: &'static str) -> WireError {
        WireError::OutOfRange { message: Self::NAME, field }
    }
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

/// At most [`crate::HOLDINGS_MAX`] cards.
pub(crate) fn cards<M: Message>(cards: Vec<CardLayout>) -> Result<Vec<Card>, WireError> {
    if cards.len() > crate::HOLDINGS_MAX {
        return Err(M::out_of_range("number of cards"));
    }
    Ok(cards.into_iter().map(card).collect())
}

pub(crate) fn diff_ids_layout(ids: &[DiffId]) -> Vec<[u8; 32]> {
    ids.iter().map(|id| *id.as_bytes()).collect()
}

/// At most `max` ids.
pub(crate) fn diff_ids<M: Message>(ids: Vec<[u8; 32]>, max: usize) -> Result<Vec<DiffId>, WireError> {
    if ids.len() > max {
        return Err(M::out_of_range("number of layers"));
    }
    Ok(ids.into_iter().map(DiffId::new).collect())
}

pub(crate) fn site_layout(site: Option<&SiteName>) -> String {
    site.map_or_else(String::new, |site| site.as_str().to_owned())
}

/// The empty text is no site.
pub(crate) fn site<M: Message>(text: &str) -> Result<Option<SiteName>, WireError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| M::out_of_range("site"))
}
