//! Who a node is: its ed25519 public key, printed as libp2p prints it.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;

/// A node's identity: its ed25519 public key.
///
/// Printed as libp2p's PeerId, `12D3KooW...`: base58 of the identity multihash of the key in protobuf
/// (libp2p specs, peer-ids, "ed25519"). Other key types are not used in a fleet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId([u8; 32]);

/// Identity multihash (0x00), 36 bytes; protobuf: key type ed25519 (08 01), 32 bytes of key (12 20).
const PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
/// [`PREFIX`] and the key.
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

    /// The key in libp2p's PeerId bytes, if it is an ed25519 one.
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
        // base58 writes each leading zero byte as a digit of its own; the multihash begins with one.
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
        let error = || ParseError::new(text, "a PeerId of an ed25519 key: 12D3KooW and 44 more base58 characters");
        let mut number = [0u8; MULTIHASH_BYTES];
        for character in text.bytes() {
            let mut carry = BASE58.iter().position(|&digit| digit == character).ok_or_else(error)?;
            for byte in number.iter_mut().rev() {
                let value = usize::from(*byte) * 58 + carry;
                *byte = (value & 0xff) as u8;
                carry = value >> 8;
            }
            if carry != 0 {
                return Err(error());
            }
        }
        let id = Self::from_multihash(&number).ok_or_else(error)?;
        if id.to_string() == text { Ok(id) } else { Err(error()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the libp2p specification, peer-ids, test vectors.
    #[test]
    fn reads_and_prints_as_libp2p_does() {
        let text = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
        let id: PeerId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(PeerId::from_multihash(&id.to_multihash()), Some(id));
    }

    #[test]
    fn refuses_what_is_no_ed25519_peer() {
        for text in ["", "12D3KooW", "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", "0OIl"] {
            assert!(text.parse::<PeerId>().is_err(), "{text}");
        }
    }
}
