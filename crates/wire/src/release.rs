//! Releases: a publisher's signed statement that an image name stands for a manifest.
//!
//! A peer passes on releases but cannot make one. A node accepts releases only from the publishers in its
//! configuration. If a node knows two releases of one name, it uses the one that was issued later.
//!
//! Version 2 names the image's companions: the index above its manifest, the other platforms' documents and the
//! artifacts that refer to the image, as one layer (docs/IMAGES.md). A release without companions is of version 1.
//!
//! Version 3 names the tar size of each layer and of the companions, and may name its own end. So a receiver needs to
//! believe no peer about a size. The manifest's digest binds the layers and their order. Releases of all three versions
//! are read and passed on.
//!
//! Further publishers sign the same statement: their signatures stand beside the first one. A signature over another
//! statement is worth nothing, so parts of two releases make no third.

use bincode::{Decode, Encode};
use lighter_types::{Bytes, DiffId, ImageReference, OciDigest, PeerId};

use crate::codec::{self, Message, WireError};

/// Size of an ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

/// The prefix of the signed bytes: without companions, with them, and with bounds. It keeps a signature that was made
/// for another purpose from passing as a release, and a release from passing as one of an earlier version.
const SIGNED_PREFIX_1: &[u8] = b"lighter release 1\0";
const SIGNED_PREFIX_2: &[u8] = b"lighter release 2\0";
const SIGNED_PREFIX_3: &[u8] = b"lighter release 3\0";

/// The most layers of an image that a release names the sizes of. The companions are one more.
pub const RELEASE_LAYERS_MAX: usize = 512;
/// The most signatures beside the first publisher's.
pub const COSIGNATURES_MAX: usize = 8;

/// The statement that a publisher signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub reference: ImageReference,
    pub manifest: OciDigest,
    /// Seconds since 1970 by the publisher's clock.
    pub issued_s: u64,
    /// The layer that holds the image's companions; absent if the image has none.
    pub companions: Option<DiffId>,
    /// Absent in a release of version 1 or 2.
    pub bounds: Option<Bounds>,
}

/// The sizes and the end that version 3 adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The tar bytes of each layer, in the order of the config's DiffIds; those of the companions last, if there are
    /// any. At most [`RELEASE_LAYERS_MAX`] and one.
    pub tar_bytes: Vec<Bytes>,
    /// Seconds since 1970 after which the release is old; absent if it never is.
    pub expires_s: Option<u64>,
}

/// A release with its publisher and signature. Decoding does not check the signature; the receiver must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRelease {
    pub release: Release,
    pub publisher: PeerId,
    pub signature: [u8; SIGNATURE_BYTES],
    /// Signatures of further publishers over the same statement. At most [`COSIGNATURES_MAX`].
    pub cosignatures: Vec<Cosignature>,
}

/// A further publisher's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
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
    bounds: Option<(Vec<u64>, Option<u64>)>,
    cosignatures: Vec<([u8; 32], [u8; SIGNATURE_BYTES])>,
}

impl Release {
    /// The signed size of the companions.
    pub fn companions_bytes(&self) -> Option<Bytes> {
        self.companions.and(self.bounds.as_ref()?.tar_bytes.last().copied())
    }

    /// The signed sizes of the image's layers, in the order of the config's DiffIds.
    pub fn layers_bytes(&self) -> Option<&[Bytes]> {
        let sizes = &self.bounds.as_ref()?.tar_bytes[..];
        match self.companions {
            Some(_) => sizes.split_last().map(|(_, layers)| layers),
            None => Some(sizes),
        }
    }

    pub fn expires_s(&self) -> Option<u64> {
        self.bounds.as_ref()?.expires_s
    }

    /// The bytes that a publisher signs: a prefix, the length and text of the reference, the manifest digest, the
    /// time, and the companions if there are any. Version 3 says first whether there are companions, and adds the
    /// sizes and the end.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let text = self.reference.as_str().as_bytes();
        let mut bytes = match (&self.bounds, self.companions) {
            (Some(_), _) => SIGNED_PREFIX_3,
            (None, Some(_)) => SIGNED_PREFIX_2,
            (None, None) => SIGNED_PREFIX_1,
        }
        .to_vec();
        bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        bytes.extend_from_slice(text);
        bytes.extend_from_slice(self.manifest.as_bytes());
        bytes.extend_from_slice(&self.issued_s.to_le_bytes());
        if self.bounds.is_some() {
            bytes.push(u8::from(self.companions.is_some()));
        }
        bytes.extend(self.companions.iter().flat_map(DiffId::as_bytes));
        if let Some(Bounds { tar_bytes, expires_s }) = &self.bounds {
            bytes.extend_from_slice(&(tar_bytes.len() as u32).to_le_bytes());
            bytes.extend(tar_bytes.iter().flat_map(|size| size.0.to_le_bytes()));
            bytes.push(u8::from(expires_s.is_some()));
            bytes.extend(expires_s.iter().flat_map(|end| end.to_le_bytes()));
        }
        bytes
    }
}

impl SignedRelease {
    /// The publishers that are said to have signed, with their signatures: the first one first.
    pub fn signatures(&self) -> impl Iterator<Item = (PeerId, &[u8; SIGNATURE_BYTES])> {
        let further = self.cosignatures.iter().map(|further| (further.publisher, &further.signature));
        std::iter::once((self.publisher, &self.signature)).chain(further)
    }

    /// A record that an earlier program kept; it ends before the bounds, or before the companions.
    fn decode_older(bytes: &[u8]) -> Option<Self> {
        let with = |missing: &[u8]| codec::decode::<Self>(&[bytes, missing].concat()).ok();
        let version_2 = with(&[0, 0]).filter(|older| older.release.bounds.is_none() && older.cosignatures.is_empty());
        version_2.or_else(|| with(&[0, 0, 0]).filter(|older| older.release.companions.is_none()))
    }
}

impl Message for SignedRelease {
    const NAME: &'static str = "signed release";
    const BYTES_MAX: usize = 6144;
    type Layout = ReleaseLayout;

    fn to_layout(&self) -> ReleaseLayout {
        ReleaseLayout {
            reference: self.release.reference.to_string(),
            manifest: *self.release.manifest.as_bytes(),
            issued_s: self.release.issued_s,
            publisher: *self.publisher.as_bytes(),
            signature: self.signature,
            companions: self.release.companions.map(|layer| *layer.as_bytes()),
            bounds: self
                .release
                .bounds
                .as_ref()
                .map(|bounds| (bounds.tar_bytes.iter().map(|size| size.0).collect(), bounds.expires_s)),
            cosignatures: self
                .cosignatures
                .iter()
                .map(|further| (*further.publisher.as_bytes(), further.signature))
                .collect(),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        codec::decode(bytes).or_else(|error| Self::decode_older(bytes).ok_or(error))
    }

    fn from_layout(layout: ReleaseLayout) -> Result<Self, WireError> {
        let reference = Self::parse(&layout.reference)?;
        let (manifest, companions) = (OciDigest::new(layout.manifest), layout.companions.map(DiffId::new));
        let sizes = layout.bounds.as_ref().map_or(0, |(sizes, _)| sizes.len());
        Self::check_limit("number of sizes", sizes, RELEASE_LAYERS_MAX + 1)?;
        Self::check_limit("number of cosignatures", layout.cosignatures.len(), COSIGNATURES_MAX)?;
        let bounds = layout
            .bounds
            .map(|(sizes, expires_s)| Bounds { tar_bytes: sizes.into_iter().map(Bytes).collect(), expires_s });
        let further = layout.cosignatures.into_iter();
        Ok(Self {
            release: Release { reference, manifest, issued_s: layout.issued_s, companions, bounds },
            publisher: PeerId::new(layout.publisher),
            signature: layout.signature,
            cosignatures: further
                .map(|(publisher, signature)| Cosignature { publisher: PeerId::new(publisher), signature })
                .collect(),
        })
    }
}
