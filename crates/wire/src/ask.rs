//! Small questions between two nodes, and their answers.
//!
//! The asker opens a substream, sends one [`Request`], and reads one [`Answer`] to the end of the substream. A peer
//! answers with the variant that belongs to the question, or with [`Answer::Refused`]:
//!
//! | request | answer | used for |
//! |---|---|---|
//! | `Holdings` | `Holdings` | learn what a peer holds, after a missed announcement |
//! | `Quote` | `Quote` | learn the size of a patch and the wait for it, before choosing a provider |
//! | `Resolve` | `Release` | learn which manifest an image name stands for |
//! | `Blob` | `Blob` | fetch a manifest together with its config, or one blob alone |
//! | `Sketches` | `Sketches` | fetch sketches of missing layers, to predict the sizes of patches |
//! | `Arrival` | `Arrival` | find a neighbour at the same site that already fetches a layer from outside |
//!
//! A peer may answer anything, so the asker checks each answer: the digest of a blob, the signature of a release, and
//! the layout of a sketch. A count or a length over its limit fails to decode ([`WireError::OutOfRange`]).
//!
//! `*Layout` types are the bincode shape of each message. Their order of variants and fields is the order on the wire:
//! append, never reorder, and give the protocol a new version for any change.

use std::time::Duration;

use bincode::{Decode, Encode};
use lighter_types::{BASES_MAX, Bytes, Card, DiffId, ImageReference, OciDigest, PatchId, SiteName};

use crate::codec::{self, CardLayout, Message, WireError};
use crate::release::{ReleaseLayout, SignedRelease};
use crate::{BLOB_BYTES_MAX, HOLDINGS_MAX, Incarnation, ListDigest, SKETCH_BYTES_MAX, SKETCHES_MAX};

/// A question to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Asks which layers the peer holds. The asker knows the list with the digest `known`.
    Holdings { known: Option<ListDigest> },
    /// Asks for the cost of a patch that turns `bases` into `target`. The asker holds the bases; the best one is first.
    Quote { target: DiffId, bases: Vec<DiffId> },
    /// Asks which manifest a name stands for. The peer answers with a release that a publisher signed, or refuses.
    Resolve(ImageReference),
    /// Asks for a manifest or a config of at most `bytes_max` bytes.
    Blob { digest: OciDigest, bytes_max: u32 },
    /// Asks for the sketches of at most [`SKETCHES_MAX`] layers.
    Sketches(Vec<DiffId>),
    /// Asks a peer at the same site whether it fetches a layer from outside the site. `number` breaks the tie between
    /// nodes that are about to start: the node with the lowest number fetches from outside.
    Arrival { target: DiffId, number: u64 },
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Holdings(Holdings),
    Quote(Quote),
    Release(SignedRelease),
    /// A manifest or a config. A manifest comes with its config if the peer has the config and the two together have at
    /// most [`BLOB_BYTES_MAX`] bytes.
    Blob {
        bytes: Vec<u8>,
        config: Option<Vec<u8>>,
    },
    Refused(Refusal),
    /// One entry for each layer of the request, in the order of the request; `None` where the peer has no sketch. An
    /// entry has at most [`SKETCH_BYTES_MAX`] bytes, which the asker still has to decode as a sketch.
    Sketches(Vec<Option<Vec<u8>>>),
    Arrival(Arrival),
}

/// Whether a peer brings a layer to its site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The peer does not fetch the layer from outside the site.
    No,
    /// The peer fetches the layer from outside the site, or is about to. It has received this much of the patch.
    Coming { received: Bytes },
    /// The peer holds the layer.
    Held,
}

/// The layers that a node holds, at one version of its holdings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdings {
    pub incarnation: Incarnation,
    pub version: u64,
    pub site: Option<SiteName>,
    /// The digest of all layers at this version.
    pub digest: ListDigest,
    pub list: Listed,
}

impl Holdings {
    /// All of these layers.
    pub fn all(incarnation: Incarnation, version: u64, site: Option<SiteName>, cards: Vec<Card>) -> Self {
        let digest = cards.iter().map(|card| card.diff_id).collect();
        Self { incarnation, version, site, digest, list: Listed::All(cards) }
    }
}

/// The list of a node's layers, for an asker that may know an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// The list that the asker knows.
    Unchanged,
    /// That list, with these changes.
    Difference { added: Vec<Card>, removed: Vec<DiffId> },
    /// All layers.
    All(Vec<Card>),
}

/// The cost of a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    pub offer: Offer,
    /// The bases that the patch reads: a subset of those in the request, possibly empty.
    pub bases: Vec<DiffId>,
    /// The time until the provider can send the first byte: earlier work in its queue, and encoding. At most 49 days.
    pub wait: Duration,
}

/// The size of the patch in a quote, and how certain it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// The patch exists; `bytes` is its exact size, header included.
    Ready { patch: PatchId, bytes: Bytes },
    /// The provider still has to make the patch; `bytes` is a prediction.
    Predicted { bytes: Bytes },
}

/// Why a peer refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Refusal {
    /// The peer does not hold the requested item.
    NotHeld,
    /// The peer has as much work as it accepts. The asker may try later, or try another peer.
    Busy,
    /// The peer is shutting down.
    Stopping,
    /// The peer failed to do the work, through a fault of its own.
    Failed,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotHeld => "the peer does not hold the item",
            Self::Busy => "the peer is busy",
            Self::Stopping => "the peer is shutting down",
            Self::Failed => "the peer failed to do the work",
        })
    }
}

#[doc(hidden)]
#[derive(Encode, Decode)]
pub enum RequestLayout {
    Holdings(Option<[u8; ListDigest::BYTES]>),
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
            Self::Holdings { known } => RequestLayout::Holdings(known.map(ListDigest::to_bytes)),
            Self::Quote { target, bases } => RequestLayout::Quote(*target.as_bytes(), codec::diff_ids_layout(bases)),
            Self::Resolve(reference) => RequestLayout::Resolve(reference.to_string()),
            Self::Blob { digest, bytes_max } => RequestLayout::Blob(*digest.as_bytes(), *bytes_max),
            Self::Sketches(layers) => RequestLayout::Sketches(codec::diff_ids_layout(layers)),
            Self::Arrival { target, number } => RequestLayout::Arrival(*target.as_bytes(), *number),
        }
    }

    fn from_layout(layout: RequestLayout) -> Result<Self, WireError> {
        Ok(match layout {
            RequestLayout::Holdings(known) => Self::Holdings { known: known.map(ListDigest::from_bytes) },
            RequestLayout::Quote(target, bases) => {
                Self::Quote { target: DiffId::new(target), bases: codec::diff_ids::<Self>(bases, BASES_MAX)? }
            }
            RequestLayout::Resolve(text) => Self::Resolve(Self::parse(&text)?),
            RequestLayout::Blob(digest, bytes_max) => Self::Blob { digest: OciDigest::new(digest), bytes_max },
            RequestLayout::Sketches(layers) => Self::Sketches(codec::diff_ids::<Self>(layers, SKETCHES_MAX)?),
            RequestLayout::Arrival(target, number) => Self::Arrival { target: DiffId::new(target), number },
        })
    }
}

#[doc(hidden)]
#[derive(Encode, Decode)]
pub enum AnswerLayout {
    Holdings(u64, u64, String, [u8; ListDigest::BYTES], ListedLayout),
    /// PatchId if the patch exists, bytes of the patch, bases, wait in milliseconds.
    Quote(Option<[u8; 32]>, u64, Vec<[u8; 32]>, u32),
    Release(ReleaseLayout),
    Blob(Vec<u8>, Option<Vec<u8>>),
    Refused(Refusal),
    Sketches(Vec<Option<Vec<u8>>>),
    Arrival(ArrivalLayout),
}

#[doc(hidden)]
#[derive(Encode, Decode)]
pub enum ListedLayout {
    Unchanged,
    Difference(Vec<CardLayout>, Vec<[u8; 32]>),
    All(Vec<CardLayout>),
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
                holdings.digest.to_bytes(),
                listed_layout(&holdings.list),
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
            AnswerLayout::Holdings(incarnation, version, site, digest, list) => Self::Holdings(Holdings {
                incarnation: Incarnation(incarnation),
                version,
                site: codec::site::<Self>(&site)?,
                digest: ListDigest::from_bytes(digest),
                list: listed(list)?,
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
            AnswerLayout::Blob(bytes, config) => {
                let both = bytes.len() + config.as_ref().map_or(0, Vec::len);
                Self::check_limit("size of manifest and config", both, BLOB_BYTES_MAX)?;
                Self::Blob { bytes, config }
            }
            AnswerLayout::Refused(refusal) => Self::Refused(refusal),
            AnswerLayout::Sketches(sketches) => {
                Self::check_limit("number of sketches", sketches.len(), SKETCHES_MAX)?;
                let longest = sketches.iter().flatten().map(Vec::len).max().unwrap_or(0);
                Self::check_limit("size of a sketch", longest, SKETCH_BYTES_MAX)?;
                Self::Sketches(sketches)
            }
            AnswerLayout::Arrival(ArrivalLayout::No) => Self::Arrival(Arrival::No),
            AnswerLayout::Arrival(ArrivalLayout::Coming(received)) => {
                Self::Arrival(Arrival::Coming { received: Bytes(received) })
            }
            AnswerLayout::Arrival(ArrivalLayout::Held) => Self::Arrival(Arrival::Held),
        })
    }
}

fn listed_layout(list: &Listed) -> ListedLayout {
    match list {
        Listed::Unchanged => ListedLayout::Unchanged,
        Listed::Difference { added, removed } => {
            ListedLayout::Difference(codec::cards_layout(added), codec::diff_ids_layout(removed))
        }
        Listed::All(cards) => ListedLayout::All(codec::cards_layout(cards)),
    }
}

fn listed(layout: ListedLayout) -> Result<Listed, WireError> {
    Ok(match layout {
        ListedLayout::Unchanged => Listed::Unchanged,
        ListedLayout::Difference(added, removed) => Listed::Difference {
            added: codec::cards::<Answer>(added)?,
            removed: codec::diff_ids::<Answer>(removed, HOLDINGS_MAX)?,
        },
        ListedLayout::All(cards) => Listed::All(codec::cards::<Answer>(cards)?),
    })
}
