//! Small questions between two nodes, and their answers.
//!
//! The asker opens a substream, sends one [`Request`], and reads one [`Answer`] to the end of the substream. A peer
//! answers with the variant that belongs to the question, or with [`Answer::Refused`]:
//!
//! | request | answer | used for |
//! |---|---|---|
//! | `Holdings` | `Holdings` | learn what a peer holds, after a missed announcement |
//! | `Quote` | `Quote` | learn the size of a patch and the wait for it, before choosing a provider |
//! | `Image` | `Image` | learn what an image name stands for, its documents, and the cost of its layers |
//! | `Blob` | `Blob` | fetch a manifest together with its config, or one blob alone |
//! | `Sketches` | `Sketches` | fetch sketches of missing layers, to predict the sizes of patches |
//! | `Arrival` | `Arrival` | find a neighbour at the same site that already fetches a layer from outside |
//!
//! A peer may answer anything, so the asker checks each answer: the digest of a blob, the signature of a release, and
//! the layout of a sketch. A count or a length over its limit fails to decode ([`WireError::OutOfRange`]).
//!
//! `*Layout` types are the bincode shape of each message. Their order of variants and fields is the order on the wire:
//! append, never reorder, and give the protocol a new version for any change.

use bincode::{Decode, Encode};
use lighter_types::{BASES_MAX, Bytes, Card, DiffId, OciDigest, SiteName};

use crate::codec::{self, CardLayout, Message, WireError};
use crate::image::{self, ImageAnswer, ImageAnswerLayout, ImageRequest, ImageRequestLayout};
use crate::quote::{Quote, QuoteLayout, quote, quote_layout};
use crate::terms::{Terms, TermsLayout};
use crate::{BLOB_BYTES_MAX, HOLDINGS_MAX, Incarnation, ListDigest, SKETCH_BYTES_MAX, SKETCHES_MAX};

/// A question to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Asks which layers the peer holds. The asker knows the list with the digest `known`.
    Holdings { known: Option<ListDigest> },
    /// Asks for the cost of a patch that turns `bases` into `target`. The asker holds the bases; the best one is first.
    Quote { target: DiffId, bases: Vec<DiffId>, terms: Terms },
    /// Asks about an image: its release, its documents, the cost of its layers.
    Image(ImageRequest),
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
    /// Boxed: the largest of the answers.
    Image(Box<ImageAnswer>),
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

/// Why a peer refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Refusal {
    /// The peer does not hold the requested item.
    NotHeld,
    /// The peer has as much work as it accepts. The asker may try another peer, or this one again after that time. 0:
    /// when the asker likes. At most [`Refusal::RETRY_AFTER_MS_MAX`].
    Busy { retry_after_ms: u32 },
    /// The peer is shutting down.
    Stopping,
    /// The peer failed to do the work, through a fault of its own.
    Failed,
}

impl Refusal {
    /// Ten minutes. A reader refuses more.
    pub const RETRY_AFTER_MS_MAX: u32 = 600_000;
    /// Busy, for as long as the asker thinks.
    pub const BUSY: Self = Self::Busy { retry_after_ms: 0 };

    pub fn is_busy(self) -> bool {
        matches!(self, Self::Busy { .. })
    }

    /// The refusal as `M` brought it.
    pub(crate) fn checked<M: Message>(self) -> Result<Self, WireError> {
        if let Self::Busy { retry_after_ms } = self {
            M::check_limit("time to retry after", retry_after_ms as usize, Self::RETRY_AFTER_MS_MAX as usize)?;
        }
        Ok(self)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotHeld => "the peer does not hold the item",
            Self::Busy { .. } => "the peer is busy",
            Self::Stopping => "the peer is shutting down",
            Self::Failed => "the peer failed to do the work",
        })
    }
}

#[doc(hidden)]
#[derive(Encode, Decode)]
pub enum RequestLayout {
    Holdings(Option<[u8; ListDigest::BYTES]>),
    Quote([u8; 32], Vec<[u8; 32]>, TermsLayout),
    Image(ImageRequestLayout),
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
            Self::Quote { target, bases, terms } => {
                RequestLayout::Quote(*target.as_bytes(), codec::diff_ids_layout(bases), terms.to_layout())
            }
            Self::Image(request) => RequestLayout::Image(image::request_layout(request)),
            Self::Blob { digest, bytes_max } => RequestLayout::Blob(*digest.as_bytes(), *bytes_max),
            Self::Sketches(layers) => RequestLayout::Sketches(codec::diff_ids_layout(layers)),
            Self::Arrival { target, number } => RequestLayout::Arrival(*target.as_bytes(), *number),
        }
    }

    fn from_layout(layout: RequestLayout) -> Result<Self, WireError> {
        Ok(match layout {
            RequestLayout::Holdings(known) => Self::Holdings { known: known.map(ListDigest::from_bytes) },
            RequestLayout::Quote(target, bases, terms) => Self::Quote {
                target: DiffId::new(target),
                bases: codec::diff_ids::<Self>(bases, BASES_MAX)?,
                terms: Terms::from_layout::<Self>(terms)?,
            },
            RequestLayout::Image(layout) => Self::Image(image::request::<Self>(layout)?),
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
    Quote(QuoteLayout),
    Image(Box<ImageAnswerLayout>),
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
    const BYTES_MAX: usize = BLOB_BYTES_MAX + crate::ANSWER_SLACK_BYTES;
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
            Self::Quote(quote) => AnswerLayout::Quote(quote_layout(quote)),
            Self::Image(answer) => AnswerLayout::Image(Box::new(image::answer_layout(answer))),
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
            AnswerLayout::Quote(layout) => Self::Quote(quote::<Self>(layout)?),
            AnswerLayout::Image(layout) => Self::Image(Box::new(image::answer::<Self>(*layout)?)),
            AnswerLayout::Blob(bytes, config) => {
                image::check_documents::<Self>(&[Some(&bytes), config.as_ref()])?;
                Self::Blob { bytes, config }
            }
            AnswerLayout::Refused(refusal) => Self::Refused(refusal.checked::<Self>()?),
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
