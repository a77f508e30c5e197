//! TLSH digests, 35 bytes each: 3 bytes of checksum, length and quartiles, then 32 bytes of buckets.

use std::fmt;
use std::str::FromStr;

use crate::{ParseError, hex};

/// Size of a digest with 128 buckets and a one-byte checksum (TLSH paper, section III).
pub const TLSH_BYTES: usize = 35;

/// The locality-sensitive digest of a layer's tar. Prints as `T1` and 70 upper-case hexadecimal digits, like the TLSH
/// tools.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tlsh([u8; TLSH_BYTES]);

impl Tlsh {
    pub const fn new(bytes: [u8; TLSH_BYTES]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; TLSH_BYTES] {
        &self.0
    }
}

impl fmt::Display for Tlsh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("T1")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Tlsh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Tlsh {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.strip_prefix("T1")
            .filter(|digits| !digits.contains(|c: char| c.is_ascii_lowercase()))
            .and_then(|digits| hex::read(&digits.to_ascii_lowercase()))
            .map(Self)
            .ok_or_else(|| ParseError::new(text, "a TLSH digest: T1 and 70 upper-case hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_print_as_they_parse() {
        let text = format!("T1{}", "A0".repeat(TLSH_BYTES));
        assert_eq!(text.parse::<Tlsh>().unwrap().to_string(), text);
        assert!("T1".parse::<Tlsh>().is_err());
        assert!(text.to_ascii_lowercase().parse::<Tlsh>().is_err());
    }
}
