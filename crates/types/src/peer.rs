//! The identity of a node: its ed25519 public key, printed as libp2p prints it.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;

/// The identity of a node: its ed25519 public key.
///
/// Prints as libp2p's PeerId, `12D3KooW...`: the base58 of the identity multihash of the key in protobuf (libp2p specs,
/// peer-ids, "ed25519"). Nodes use no other type of key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId([u8; 32]);

/// The bytes before the key: identity multihash (00) of 36 bytes (24); in protobuf, key type ed25519 (08 01) and a key
/// of 32 bytes (12 20).
const PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
/// The length of [`PREFIX`] and the key.
const MULTIHASH_BYTES: usize = 38;
const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

impl PeerId {
    pub const fn new(public_key: [u8; 32]) -> Self {
        Self(public_key)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The bytes of libp2p's PeerId for this key.
    pub fn to_multihash(&self) -> [u8; MULTIHASH_BYTES] {
        let mut bytes = [0; MULTIHASH_BYTES];
        bytes[..PREFIX.len()].copy_from_slice(&PREFIX);
        bytes[PREFIX.len()..].copy_from_slice(&self.0);
        bytes
    }

    /// The key in the bytes of libp2p's PeerId; `None` if the key is not an ed25519 key.
    pub fn from_multihash(bytes: &[u8]) -> Option<Self> {
        bytes.strip_prefix(&PREFIX)?.try_into().ok().map(Self)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = self.to_multihash();
        let mut digits = Vec::with_capacity(52);
        while number.iter().any(|&byte| byte != 0) {
            let mut rest = 0u32;
            for byte in &mut number {
                let value = rest << 8 | u32::from(*byte);
                *byte = (value / 58) as u8;
                rest = value % 58;
            }
            digits.push(BASE58[rest as usize]);
        }
        // base58 writes each leading zero byte as a digit. The multihash begins with one zero byte.
        digits.push(BASE58[0]);
        digits.iter().rev().try_for_each(|&digit| write!(f, "{}", digit as char))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PeerId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        base58_to_multihash(text)
            .and_then(|bytes| Self::from_multihash(&bytes))
            .filter(|id| id.to_string() == text)
            .ok_or_else(|| ParseError::new(text, "a PeerId of an ed25519 key: 12D3KooW and 44 more base58 characters"))
    }
}

/// Decodes base58; `None` for other characters and for a number that does not fit.
fn base58_to_multihash(text: &str) -> Option<[u8; MULTIHASH_BYTES]> {
    let mut number = [0u8; MULTIHASH_BYTES];
    for character in text.bytes() {
        let mut carry = BASE58.iter().position(|&digit| digit == character)?;
        for byte in number.iter_mut().rev() {
            let value = usize::from(*byte) * 58 + carry;
            *byte = (value & 0xff) as u8;
            carry = value >> 8;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A test vector of the libp2p specification, peer-ids.
    #[test]
    fn parses_and_prints_as_libp2p_does() {
        let text = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
        let id: PeerId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(PeerId::from_multihash(&id.to_multihash()), Some(id));
    }

    #[test]
    fn refuses_texts_that_are_no_ed25519_peer_id() {
        for text in ["", "12D3KooW", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", "0OIl"] {
            assert!(text.parse::<PeerId>().is_err(), "{text}");
        }
    }
}
