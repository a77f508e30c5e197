//! The stream that carries one patch.
//!
//! 1. The requester opens the stream and sends a [`PatchRequest`]. If the request names a have-list, the have-list
//!    follows.
//! 2. The provider sends any number of [`PatchReply::Working`] while it makes the patch.
//! 3. The provider sends one `Start`, `Refused` or `Referred`.
//! 4. After `Start`, the provider sends the patch's header and then its frames, beginning with `first_frame`: for each
//!    of them [`PatchReply::Frame`] and its payload, whose length is in the header. A provider that waits for a frame
//!    itself sends any number of `Working` before it. Then the stream ends.
//!    A requester that gets the first frames from another peer asks for them from the last one down ([`FrameOrder`]),
//!    and closes the stream where the two meet.
//!
//! A length precedes each message: two bytes, little endian. The length of a have-list has four bytes.

use bincode::{Decode, Encode};
use lighter_types::{BASES_MAX, Bytes, BytesPerSecond, DiffId, PatchId, PeerId};

use crate::codec::{self, Message, WireError};
use crate::terms::{Terms, TermsLayout};
use crate::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, Refusal};

/// Asks for a patch that rebuilds a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchRequest {
    pub target: DiffId,
    /// Bases that the requester holds, the best first. With no base, the patch carries the whole layer.
    pub bases: Vec<DiffId>,
    /// The name of a have-list that follows the request. The patch may use the files of the list as one more base.
    pub have: Option<DiffId>,
    /// Where to continue a patch of which the requester has a part.
    pub resume: Option<Resume>,
    /// Present if the provider may refer the requester to another peer. A requester that follows a referral leaves it
    /// out.
    pub referable: Option<Referable>,
    pub terms: Terms,
}

impl PatchRequest {
    /// The order in which frames of this patch are wanted.
    pub fn order_of(&self, patch: PatchId) -> FrameOrder {
        self.resume.filter(|resume| resume.patch == patch).map_or(FrameOrder::Up, |resume| resume.order)
    }
}

/// The terms of a requester that accepts referrals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Referable {
    /// The requester's own estimate of its uplink.
    pub uplink: BytesPerSecond,
    /// Whether the provider may later refer other requesters to this one.
    pub passes_on: bool,
}

/// A patch of which the requester has the first frames, or the last ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    pub patch: PatchId,
    /// The first frame that the requester lacks. From the last frame down: the first of those that it has, which is the
    /// number of frames if it has none; a higher number counts as that.
    pub first_frame: u32,
    /// The encoder's settings, as in the patch's header. With them the provider can make the same patch again.
    pub settings: u32,
    pub order: FrameOrder,
}

/// The order in which a provider sends the frames of a patch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum FrameOrder {
    /// From `first_frame` up to the last one.
    #[default]
    Up,
    /// From the one before `first_frame` down to the first one.
    Down,
}

/// A message of the provider: before the patch, and before each of its frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatchReply {
    /// The provider is making the patch and has encoded this much of the target. Or it waits for the patch or its next
    /// frame itself: then the number grows with each byte that comes to it, or to one of the peers that it comes
    /// through. Sent at least every five seconds.
    Working { done: Bytes },
    /// The patch follows: a header of `header_bytes`, then the payloads from `first_frame` on, or from the one before
    /// it down. If the provider cannot serve the requested resume, `patch` is a different patch and `first_frame` is 0.
    Start { patch: PatchId, header_bytes: u32, first_frame: u32 },
    /// The provider sends no patch.
    Refused(Refusal),
    /// Another peer has the patch or is fetching it. The requester asks that peer with a [`Resume`] of this patch, from
    /// frame 0 if it has none of its frames. The addresses are binary multiaddresses.
    Referred { peer: PeerId, patch: PatchId, settings: u32, addresses: Vec<Vec<u8>> },
    /// The payload of the next frame follows.
    Frame,
}

#[doc(hidden)]
#[derive(Encode, Decode)]
pub enum PatchReplyLayout {
    Working(u64),
    Start([u8; 32], u32, u32),
    Refused(Refusal),
    Referred([u8; 32], [u8; 32], u32, Vec<Vec<u8>>),
    Frame,
}

/// Patch, first frame, settings, order.
type ResumeLayout = ([u8; 32], u32, u32, FrameOrder);

/// Target, bases, have-list, resume, referable as uplink and whether it passes on, terms.
type PatchRequestLayout =
    ([u8; 32], Vec<[u8; 32]>, Option<[u8; 32]>, Option<ResumeLayout>, Option<(u64, bool)>, TermsLayout);

impl Message for PatchRequest {
    const NAME: &'static str = "patch request";
    const BYTES_MAX: usize = 1024;
    type Layout = PatchRequestLayout;

    fn to_layout(&self) -> Self::Layout {
        let resume = self.resume;
        let resume = resume.map(|of| (*of.patch.as_bytes(), of.first_frame, of.settings, of.order));
        let have = self.have.map(|have| *have.as_bytes());
        let referable = self.referable.map(|referable| (referable.uplink.0, referable.passes_on));
        (*self.target.as_bytes(), codec::diff_ids_layout(&self.bases), have, resume, referable, self.terms.to_layout())
    }

    fn from_layout((target, bases, have, resume, referable, terms): Self::Layout) -> Result<Self, WireError> {
        Ok(Self {
            target: DiffId::new(target),
            bases: codec::diff_ids::<Self>(bases, BASES_MAX)?,
            have: have.map(DiffId::new),
            resume: resume.map(|(patch, first_frame, settings, order)| Resume {
                patch: PatchId::new(patch),
                first_frame,
                settings,
                order,
            }),
            referable: referable.map(|(rate, passes_on)| Referable { uplink: BytesPerSecond(rate), passes_on }),
            terms: Terms::from_layout::<Self>(terms)?,
        })
    }
}

impl Message for PatchReply {
    const NAME: &'static str = "patch reply";
    const BYTES_MAX: usize = 1024;
    type Layout = PatchReplyLayout;

    fn to_layout(&self) -> PatchReplyLayout {
        match self {
            Self::Working { done } => PatchReplyLayout::Working(done.0),
            Self::Start { patch, header_bytes, first_frame } => {
                PatchReplyLayout::Start(*patch.as_bytes(), *header_bytes, *first_frame)
            }
            Self::Refused(refusal) => PatchReplyLayout::Refused(*refusal),
            Self::Referred { peer, patch, settings, addresses } => {
                PatchReplyLayout::Referred(*peer.as_bytes(), *patch.as_bytes(), *settings, addresses.clone())
            }
            Self::Frame => PatchReplyLayout::Frame,
        }
    }

    fn from_layout(layout: PatchReplyLayout) -> Result<Self, WireError> {
        Ok(match layout {
            PatchReplyLayout::Working(done) => Self::Working { done: Bytes(done) },
            PatchReplyLayout::Start(patch, header_bytes, first_frame) => {
                Self::Start { patch: PatchId::new(patch), header_bytes, first_frame }
            }
            PatchReplyLayout::Refused(refusal) => Self::Refused(refusal.checked::<Self>()?),
            PatchReplyLayout::Referred(peer, patch, settings, addresses) => {
                Self::check_limit("number of addresses", addresses.len(), ADDRESSES_MAX)?;
                let longest = addresses.iter().map(Vec::len).max().unwrap_or(0);
                Self::check_limit("length of an address", longest, ADDRESS_BYTES_MAX)?;
                Self::Referred { peer: PeerId::new(peer), patch: PatchId::new(patch), settings, addresses }
            }
            PatchReplyLayout::Frame => Self::Frame,
        })
    }
}
