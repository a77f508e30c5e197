//! Releases: a publisher's signed statement that an image name stands for a manifest.
//!
//! A peer passes on releases but cannot make one. A node accepts releases only from the publishers in its
//! configuration. If a node knows two releases of one name, it uses the one that was issued later.
//!
//! Version 2 names the image's companions: the index above its manifest, the other platforms' documents and the
//! artifacts that refer to the image, as one layer (docs/IMAGES.md). A release without companions is of version 1.

use bincode::{Decode, Encode};
use lighter_types::{DiffId, ImageReference, OciDigest, PeerId};

use crate::codec::{self, Message, WireError};

/// Size of an ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

/// The prefix of the signed bytes, without companions and with them. It keeps a signature that was made for another
/// purpose from passing as a release, and a release whose companions were taken away from passing as one without.
const SIGNED_PREFIX_1: &[u8] = b"lighter release 1\0";
const SIGNED_PREFIX_2: &[u8] = b"lighter release 2\0";

/// The statement that a publisher signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub reference: ImageReference,
    pub manifest: OciDigest,
    /// Seconds since 1970 by the publisher's clock.
    pub issued_s: u64,
    /// The layer that holds the image's companions; absent if the image has none.
    pub companions: Option<DiffId>,
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
    companions: Option<[u8; 32]>,
}

impl Release {
    /// The bytes that a publisher signs: a prefix, the length and text of the reference, the manifest digest, the time,
    /// and the companions if there are any.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let text = self.reference.as_str().as_bytes();
        let mut bytes = if self.companions.is_some() { SIGNED_PREFIX_2 } else { SIGNED_PREFIX_1 }.to_vec();
        bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        bytes.extend_from_slice(text);
        bytes.extend_from_slice(self.manifest.as_bytes());
        bytes.extend_from_slice(&self.issued_s.to_le_bytes());
        bytes.extend(self.companions.iter().flat_map(DiffId::as_bytes));
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
            companions: self.release.companions.map(|layer| *layer.as_bytes()),
        }
    }

    /// A record that was kept by an earlier program ends before the companions.
    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        codec::decode(bytes).or_else(|error| {
            let without = codec::decode::<Self>(&[bytes, &[0]].concat()).ok();
            without.filter(|older| older.release.companions.is_none()).ok_or(error)
        })
    }

    fn from_layout(layout: ReleaseLayout) -> Result<Self, WireError> {
        let reference = Self::parse(&layout.reference)?;
        let (manifest, companions) = (OciDigest::new(layout.manifest), layout.companions.map(DiffId::new));
        Ok(Self {
            release: Release { reference, manifest, issued_s: layout.issued_s, companions },
            publisher: PeerId::new(layout.publisher),
            signature: layout.signature,
        })
    }
}
