//! Handovers: a publisher's signed statement that another key takes its place for one repository.
//!
//! A peer passes on handovers but cannot make one. They travel with the releases of their repository. A key hands a
//! repository over once: a second statement by it is not obeyed, so a key that was stolen later cannot take it back.

use bincode::{Decode, Encode};
use lighter_types::{ImageReference, PeerId};

use crate::codec::{Message, WireError};
use crate::release::SIGNATURE_BYTES;

/// The prefix of the signed bytes. It keeps a signature that was made for another purpose from passing as a handover.
const HANDOVER_PREFIX: &[u8] = b"lighter handover 1\0";

/// The statement that a publisher signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The repository, as its releases name it.
    pub repository: String,
    pub from: PeerId,
    pub to: PeerId,
    /// Seconds since 1970 by the publisher's clock. Its releases before that keep counting.
    pub issued_s: u64,
}

/// A handover with the signature of the key that hands over. Decoding does not check the signature; the receiver must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHandover {
    pub handover: Handover,
    pub signature: [u8; SIGNATURE_BYTES],
}

#[doc(hidden)]
#[derive(Encode, Decode)]
pub struct HandoverLayout {
    repository: String,
    from: [u8; 32],
    to: [u8; 32],
    issued_s: u64,
    signature: [u8; SIGNATURE_BYTES],
}

impl Handover {
    /// The bytes that the publisher signs: a prefix, the length and text of the repository, both keys, the time.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let text = self.repository.as_bytes();
        let mut bytes = HANDOVER_PREFIX.to_vec();
        bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        bytes.extend_from_slice(text);
        bytes.extend_from_slice(self.from.as_bytes());
        bytes.extend_from_slice(self.to.as_bytes());
        bytes.extend_from_slice(&self.issued_s.to_le_bytes());
        bytes
    }
}

impl Message for SignedHandover {
    const NAME: &'static str = "signed handover";
    const BYTES_MAX: usize = 512;
    type Layout = HandoverLayout;

    fn to_layout(&self) -> HandoverLayout {
        HandoverLayout {
            repository: self.handover.repository.clone(),
            from: *self.handover.from.as_bytes(),
            to: *self.handover.to.as_bytes(),
            issued_s: self.handover.issued_s,
            signature: self.signature,
        }
    }

    fn from_layout(layout: HandoverLayout) -> Result<Self, WireError> {
        // The rules for names are those of references.
        let reference: ImageReference = Self::parse(&format!("{}:latest", layout.repository))?;
        let (from, to) = (PeerId::new(layout.from), PeerId::new(layout.to));
        let repository = reference.repository().to_owned();
        let handover = Handover { repository, from, to, issued_s: layout.issued_s };
        Ok(Self { handover, signature: layout.signature })
    }
}
