//! Small questions between two nodes, and their answers.

use std::time::Duration;

use bincode::{Decode, Encode};
use lighter_types::{BASES_MAX, Bytes, Card, DiffId, ImageReference, OciDigest, PatchId, SiteName};

use crate::codec::{self, CardLayout, Message, WireError};
use crate::release::{ReleaseLayout, SignedRelease};
use crate::{BLOB_BYTES_MAX, Incarnation, SKETCH_BYTES_MAX, SKETCHES_MAX};

/// A question to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// What do you hold?
    Holdings,
    /// What would `target` cost me from you, given that I hold `bases` (the best first)?
    Quote { target: DiffId, bases: Vec<DiffId> },
    /// Which manifest does this name stand for? Answered with a release that its publisher signed, or not at all.
    Resolve(ImageReference),
    /// The manifest or config with this digest, if it has at most `bytes_max` bytes. With a manifest comes its config.
    Blob { digest: OciDigest, bytes_max: u32 },
    /// The sketches of these layers. At most [`SKETCHES_MAX`].
    Sketches(Vec<DiffId>),
    /// Does this layer come to our site through you? Of those who are about to fetch it from outside, who has the lowest
    /// number does.
    Arrival { target: DiffId, number: u64 },
}

/// What a peer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Holdings(Holdings),
    Quote(Quote),
    Release(SignedRelease),
    /// A manifest or config. With a manifest its config, if the peer has that and both have [`BLOB_BYTES_MAX`] at most.
    Blob {
        bytes: Vec<u8>,
        config: Option<Vec<u8>>,
    },
    Refused(Refusal),
    /// One for each layer asked for, in that order; `None` for those that the peer has none of. Each at most
    /// [`SKETCH_BYTES_MAX`] bytes, which are still to be read as a sketch.
    Sketches(Vec<Option<Vec<u8>>>),
    Arrival(Arrival),
}

/// Whether a layer comes to a site through a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Not through this one.
    No,
    /// It is being fetched from outside, or about to be. So much of the patch has come.
    Coming { received: Bytes },
    /// The peer holds it.
    Held,
}

/// All that a node holds, at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdings {
    pub incarnation: Incarnation,
    pub version: u64,
    pub site: Option<SiteName>,
    pub cards: Vec<Card>,
}

/// What a patch would cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    pub offer: Offer,
    /// The bases that the patch reads from: some of those asked for, or none.
    pub bases: Vec<DiffId>,
    /// How long until the first byte could be sent: work before it in the queue, and encoding. At most 49 days.
    pub wait: Duration,
}

/// How much is known of the patch's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// The patch exists: its name and its whole size, header included.
    Ready { patch: PatchId, bytes: Bytes },
    /// It would have to be made.
    Predicted { bytes: Bytes },
}

/// Why a peer says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Refusal {
    /// It does not have what was asked for.
    NotHeld,
    /// It has as much to do as it may take on. Ask later, or elsewhere.
    Busy,
    /// It is about to stop.
    Stopping,
    /// It failed at it; the fault is its own.
    Failed,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotHeld => "it does not hold that",
            Self::Busy => "it is busy",
            Self::Stopping => "it is stopping",
            Self::Failed => "it failed at that",
        })
    }
}

#[doc(hidden)]
#[derive(Encode, Decode)]
pub enum RequestLayout {
    Holdings,
    Quote([u8; 32], Vec<[u8; 32]>),
    Resolve(String),
    Blob([u8; 32], u32),
    Sketches(Vec<[u8; 32]>),
    Arrival([u8; 32], u64),
}

impl Message for Request {
    const NAME: &'static str = "request";
    const BYTES_MAX: usize = 1024;
    type Layout = RequestLayout;

    fn to_layout(&self) -> RequestLayout {
        match self {
            Self::Holdings => RequestLayout::Holdings,
            Self::Quote { target, bases } => RequestLayout::Quote(*target.as_bytes(), codec::diff_ids_layout(bases)),
            Self::Resolve(reference) => RequestLayout::Resolve(reference.to_string()),
            Self::Blob { digest, bytes_max } => RequestLayout::Blob(*digest.as_bytes(), *bytes_max),
            Self::Sketches(layers) => RequestLayout::Sketches(codec::diff_ids_layout(layers)),
            Self::Arrival { target, number } => RequestLayout::Arrival(*target.as_bytes(), *number),
        }
    }

    fn from_layout(layout: RequestLayout) -> Result<Self, WireError> {
        Ok(match layout {
            RequestLayout::Holdings => Self::Holdings,
            RequestLayout::Quote(target, bases) => {
                Self::Quote { target: DiffId::new(target), bases: codec::diff_ids::<Self>(bases, BASES_MAX)? }
            }
            RequestLayout::Resolve(text) => {
                Self::Resolve(text.parse().map_err(|_| Self::out_of_range("image reference"))?)
            }
            RequestLayout::Blob(digest, bytes_max) => Self::Blob { digest: OciDigest::new(digest), bytes_max },
            RequestLayout::Sketches(layers) => Self::Sketches(codec::diff_ids::<Self>(layers, SKETCHES_MAX)?),
            RequestLayout::Arrival(target, number) => Self::Arrival { target: DiffId::new(target), number },
        })
    }
}

#[doc(hidden)]
#[derive(Encode, Decode)]
pub enum AnswerLayout {
    Holdings(u64, u64, String, Vec<CardLayout>),
    /// The patch if it exists, its bytes, bases, milliseconds to wait.
    Quote(Option<[u8; 32]>, u64, Vec<[u8; 32]>, u32),
    Release(ReleaseLayout),
    Blob(Vec<u8>, Option<Vec<u8>>),
    Refused(Refusal),
    Sketches(Vec<Option<Vec<u8>>>),
    Arrival(ArrivalLayout),
}

#[doc(hidden)]
#[derive(Encode, Decode)]
pub enum ArrivalLayout {
    No,
    Coming(u64),
    Held,
}

impl Message for Answer {
    const NAME: &'static str = "answer";
    const BYTES_MAX: usize = BLOB_BYTES_MAX + 64;
    type Layout = AnswerLayout;

    fn to_layout(&self) -> AnswerLayout {
        match self {
            Self::Holdings(holdings) => AnswerLayout::Holdings(
                holdings.incarnation.0,
                holdings.version,
                codec::site_layout(holdings.site.as_ref()),
                codec::cards_layout(&holdings.cards),
            ),
            Self::Quote(quote) => {
                let (patch, bytes) = match quote.offer {
                    Offer::Ready { patch, bytes } => (Some(*patch.as_bytes()), bytes),
                    Offer::Predicted { bytes } => (None, bytes),
                };
                let wait_ms = u32::try_from(quote.wait.as_millis()).unwrap_or(u32::MAX);
                AnswerLayout::Quote(patch, bytes.0, codec::diff_ids_layout(&quote.bases), wait_ms)
            }
            Self::Release(release) => AnswerLayout::Release(release.to_layout()),
            Self::Blob { bytes, config } => AnswerLayout::Blob(bytes.clone(), config.clone()),
            Self::Refused(refusal) => AnswerLayout::Refused(*refusal),
            Self::Sketches(sketches) => AnswerLayout::Sketches(sketches.clone()),
            Self::Arrival(arrival) => match arrival {
                Arrival::No => AnswerLayout::Arrival(ArrivalLayout::No),
                Arrival::Coming { received } => AnswerLayout::Arrival(ArrivalLayout::Coming(received.0)),
                Arrival::Held => AnswerLayout::Arrival(ArrivalLayout::Held),
            },
        }
    }

    fn from_layout(layout: AnswerLayout) -> Result<Self, WireError> {
        Ok(match layout {
            AnswerLayout::Holdings(incarnation, version, site, cards) => Self::Holdings(Holdings {
                incarnation: Incarnation(incarnation),
                version,
                site: codec::site::<Self>(&site)?,
                cards: codec::cards::<Self>(cards)?,
            }),
            AnswerLayout::Quote(patch, bytes, bases, wait_ms) => {
                let bytes = Bytes(bytes);
                let offer = match patch {
                    Some(patch) => Offer::Ready { patch: PatchId::new(patch), bytes },
                    None => Offer::Predicted { bytes },
                };
                let bases = codec::diff_ids::<Self>(bases, BASES_MAX)?;
                Self::Quote(Quote { offer, bases, wait: Duration::from_millis(wait_ms.into()) })
            }
            AnswerLayout::Release(release) => Self::Release(SignedRelease::from_layout(release)?),
            AnswerLayout::Blob(bytes, config) if bytes.len() + config.as_ref().map_or(0, Vec::len) > BLOB_BYTES_MAX => {
                return Err(Self::out_of_range("blob size"));
            }
            AnswerLayout::Blob(bytes, config) => Self::Blob { bytes, config },
            AnswerLayout::Refused(refusal) => Self::Refused(refusal),
            AnswerLayout::Sketches(sketches) if sketches.len() > SKETCHES_MAX => {
                return Err(Self::out_of_range("number of sketches"));
            }
            AnswerLayout::Sketches(sketches)
                if sketches.iter().flatten().any(|sketch| sketch.len() > SKETCH_BYTES_MAX) =>
            {
                return Err(Self::out_of_range("size of a sketch"));
            }
            AnswerLayout::Sketches(sketches) => Self::Sketches(sketches),
            AnswerLayout::Arrival(ArrivalLayout::No) => Self::Arrival(Arrival::No),
            AnswerLayout::Arrival(ArrivalLayout::Coming(received)) => {
                Self::Arrival(Arrival::Coming { received: Bytes(received) })
            }
            AnswerLayout::Arrival(ArrivalLayout::Held) => Self::Arrival(Arrival::Held),
        })
    }
}
