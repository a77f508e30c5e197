//! Ids of 32 bytes, which are hashes: of layers, blobs, patches and other bytes.

use std::fmt;
use std::str::FromStr;

use crate::{ParseError, hex};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $wanted:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The 64 hexadecimal digits without the name of the algorithm. File names use this form.
            pub fn to_hex(&self) -> String {
                struct Hex<'a>(&'a [u8]);
                impl fmt::Display for Hex<'_> {
                    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        hex::write(f, self.0)
                    }
                }
                Hex(&self.0).to_string()
            }

            /// # Errors
            /// Anything but 64 lower-case hexadecimal digits.
            pub fn from_hex(text: &str) -> Result<Self, ParseError> {
                hex::read(text).map(Self).ok_or_else(|| ParseError::new(text, "64 lower-case hexadecimal digits"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                hex::write(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                text.strip_prefix($prefix)
                    .and_then(hex::read)
                    .map(Self)
                    .ok_or_else(|| ParseError::new(text, $wanted))
            }
        }
    };
}

name!(
    /// The id of a layer: the sha256 of its uncompressed tar (OCI image spec, "Layer DiffID").
    DiffId, "sha256:", "a DiffId: sha256: and 64 lower-case hexadecimal digits"
);
name!(
    /// The id of a blob in registries and manifests: the sha256 of its bytes.
    OciDigest, "sha256:", "an OCI digest: sha256: and 64 lower-case hexadecimal digits"
);
name!(
    /// The id of a patch: the blake3 of its header. The header contains the blake3 of every frame.
    PatchId, "blake3:", "a PatchId: blake3: and 64 lower-case hexadecimal digits"
);
name!(
    /// A blake3 hash.
    Blake3, "blake3:", "a blake3 hash: blake3: and 64 lower-case hexadecimal digits"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_as_they_parse() {
        let text = format!("sha256:{}", "0af9".repeat(16));
        let id: DiffId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(DiffId::from_hex(&id.to_hex()), Ok(id));
    }

    #[test]
    fn refuses_other_spellings() {
        for text in ["", "sha256:", "sha512:00", &format!("sha256:{}", "0AF9".repeat(16)), &"0af9".repeat(16)] {
            assert!(text.parse::<DiffId>().is_err(), "{text}");
        }
    }
}
