//! The stream that carries one patch.
//!
//! The requester opens it and sends a [`PatchRequest`], and behind it the have-list that it names, if any. The provider
//! sends any number of [`PatchReply::Working`], then one `Start`, `Refused` or `Referred`. After `Start` come the patch's header and its frames' payloads from the first one asked
//! for, back to back and with nothing between them: the header says how long each is. Then the stream ends.
//!
//! Messages on the stream have a length before them, two bytes, little endian; a have-list, four.

use bincode::{Decode, Encode};
use lighter_types::{BASES_MAX, Bytes, BytesPerSecond, DiffId, PatchId, PeerId};

use crate::codec::{self, Message, WireError};
use crate::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, Refusal};

/// What the requester wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchRequest {
    pub target: DiffId,
    /// Bases that the requester holds, the best first. Empty: the whole layer.
    pub bases: Vec<DiffId>,
    /// A have-list that follows the request: its name, which stands for a base of its own.
    pub have: Option<DiffId>,
    /// Where to go on, if a part of a patch is there already.
    pub resume: Option<Resume>,
    /// Whether the provider may name a peer that has the patch instead of sending it; absent from one that was referred.
    pub referable: Option<Referable>,
}

/// A requester that may be referred to another provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Referable {
    /// What it takes its own uplink for.
    pub uplink: BytesPerSecond,
    /// Whether others may be referred to it in turn.
    pub passes_on: bool,
}

/// The rest of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    pub patch: PatchId,
    /// The first frame that is missing.
    pub first_frame: u32,
    /// Of the encoder, as the patch's header names them: by them the same patch can be made again.
    pub settings: u32,
}

/// What the provider says before the patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatchReply {
    /// The patch is being made; this much of the target is done. Sent at least every five seconds.
    Working { target_bytes_done: Bytes },
    /// The patch follows: a header of `header_bytes`, then payloads from `first_frame` on. With a resume that the
    /// provider cannot serve, `patch` is another one and `first_frame` is 0.
    Start { patch: PatchId, header_bytes: u32, first_frame: u32 },
    /// There will be no patch.
    Refused(Refusal),
    /// This peer has the patch, or is getting it. It is to be asked as if a part of the patch were there, of none of its
    /// frames if it is so. The addresses are binary multiaddresses.
    Referred { peer: PeerId, patch: PatchId, settings: u32, addresses: Vec<Vec<u8>> },
}

#[doc(hidden)]
#[derive(Encode, Decode)]
pub enum PatchReplyLayout {
    Working(u64),
    Start([u8; 32], u32, u32),
    Refused(Refusal),
    Referred([u8; 32], [u8; 32], u32, Vec<Vec<u8>>),
}

impl Message for PatchRequest {
    const NAME: &'static str = "patch request";
    const BYTES_MAX: usize = 1024;
    type Layout = ([u8; 32], Vec<[u8; 32]>, Option<[u8; 32]>, Option<([u8; 32], u32, u32)>, Option<(u64, bool)>);

    fn to_layout(&self) -> Self::Layout {
        let resume = self.resume.map(|resume| (*resume.patch.as_bytes(), resume.first_frame, resume.settings));
        let have = self.have.map(|have| *have.as_bytes());
        let referable = self.referable.map(|referable| (referable.uplink.0, referable.passes_on));
        (*self.target.as_bytes(), codec::diff_ids_layout(&self.bases), have, resume, referable)
    }

    fn from_layout((target, bases, have, resume, referable): Self::Layout) -> Result<Self, WireError> {
        Ok(Self {
            target: DiffId::new(target),
            bases: codec::diff_ids::<Self>(bases, BASES_MAX)?,
            have: have.map(DiffId::new),
            resume: resume.map(|(patch, first_frame, settings)| Resume {
                patch: PatchId::new(patch),
                first_frame,
                settings,
            }),
            referable: referable.map(|(rate, passes_on)| Referable { uplink: BytesPerSecond(rate), passes_on }),
        })
    }
}

impl Message for PatchReply {
    const NAME: &'static str = "patch reply";
    const BYTES_MAX: usize = 1024;
    type Layout = PatchReplyLayout;

    fn to_layout(&self) -> PatchReplyLayout {
        match self {
            Self::Working { target_bytes_done } => PatchReplyLayout::Working(target_bytes_done.0),
            Self::Start { patch, header_bytes, first_frame } => {
                PatchReplyLayout::Start(*patch.as_bytes(), *header_bytes, *first_frame)
            }
            Self::Refused(refusal) => PatchReplyLayout::Refused(*refusal),
            Self::Referred { peer, patch, settings, addresses } => {
                PatchReplyLayout::Referred(*peer.as_bytes(), *patch.as_bytes(), *settings, addresses.clone())
            }
        }
    }

    fn from_layout(layout: PatchReplyLayout) -> Result<Self, WireError> {
        Ok(match layout {
            PatchReplyLayout::Working(done) => Self::Working { target_bytes_done: Bytes(done) },
            PatchReplyLayout::Start(patch, header_bytes, first_frame) => {
                Self::Start { patch: PatchId::new(patch), header_bytes, first_frame }
            }
            PatchReplyLayout::Refused(refusal) => Self::Refused(refusal),
            PatchReplyLayout::Referred(peer, patch, settings, addresses) => {
                let fits = |address: &Vec<u8>| address.len() <= ADDRESS_BYTES_MAX;
                if addresses.len() > ADDRESSES_MAX || !addresses.iter().all(fits) {
                    return Err(Self::out_of_range("addresses"));
                }
                Self::Referred { peer: PeerId::new(peer), patch: PatchId::new(patch), settings, addresses }
            }
        })
    }
}
