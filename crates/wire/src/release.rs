//! Releases: a publisher's signed statement that an image name stands for a manifest.
//!
//! A peer passes on releases but cannot make one. A node accepts releases only from the publishers in its
//! configuration. If a node knows two releases of one name, it uses the one that was issued later.

use bincode::{Decode, Encode};
use lighter_types::{ImageReference, OciDigest, PeerId};

use crate::codec::{Message, WireError};

/// Size of an ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

/// The prefix of the signed bytes. It keeps a signature that was made for another purpose from passing as a release.
const SIGNED_PREFIX: &[u8] = b"lighter release 1\0";

/// The statement that a publisher signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub reference: ImageReference,
    pub manifest: OciDigest,
    /// Seconds since 1970 by the publisher's clock.
    pub issued_s: u64,
}

/// A release with its publisher and signature. Decoding does not check the signature; the receiver must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRelease {
    pub release: Release,
    pub publisher: PeerId,
    pub signature: [u8; SIGNATURE_BYTES],
}

#[doc(hidden)]
#[derive(Encode, Decode)]
pub struct ReleaseLayout {
    reference: String,
    manifest: [u8; 32],
    issued_s: u64,
    publisher: [u8; 32],
    signature: [u8; SIGNATURE_BYTES],
}

impl Release {
    /// The bytes that a publisher signs: a prefix, the length and text of the reference, the manifest digest, the time.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let text = self.reference.as_str().as_bytes();
        let mut bytes = SIGNED_PREFIX.to_vec();
        bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        bytes.extend_from_slice(text);
        bytes.extend_from_slice(self.manifest.as_bytes());
        bytes.extend_from_slice(&self.issued_s.to_le_bytes());
        bytes
    }
}

impl Message for SignedRelease {
    const NAME: &'static str = "signed release";
    const BYTES_MAX: usize = 1024;
    type Layout = ReleaseLayout;

    fn to_layout(&self) -> ReleaseLayout {
        ReleaseLayout {
            reference: self.release.reference.to_string(),
            manifest: *self.release.manifest.as_bytes(),
            issued_s: self.release.issued_s,
            publisher: *self.publisher.as_bytes(),
            signature: self.signature,
        }
    }

    fn from_layout(layout: ReleaseLayout) -> Result<Self, WireError> {
        let reference = Self::parse(&layout.reference)?;
        Ok(Self {
            release: Release { reference, manifest: OciDigest::new(layout.manifest), issued_s: layout.issued_s },
            publisher: PeerId::new(layout.publisher),
            signature: layout.signature,
        })
    }
}
