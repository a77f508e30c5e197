//! Why something failed, in types: the engine reacts to the one to blame, never to a text.
//!
//! A failure keeps its cause as far as somebody acts on it or an operator has to know it. Texts are lower-case
//! fragments that the command line puts into sentences.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lighter_similarity::SketchError;
use lighter_types::{Blame, Bytes, Cause, DiffId, OciDigest, PatchId, PeerId};
use lighter_wire::Refusal;

/// Why this machine did not do its part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalFailure {
    #[error("the disk of {path} is full: {needed} needed, {free} free beyond what stays free")]
    DiskFull { path: PathBuf, needed: Bytes, free: Bytes },
    #[error(
        "no room for {needed}: of the store's budget of {budget}, {available} are left after all that may give way"
    )]
    BudgetFull { needed: Bytes, available: Bytes, budget: Bytes },
    /// The store, an encoder or a decoder of this machine failed.
    #[error("{0}")]
    Failed(Cause),
    /// A peer continues a patch where this node has less of it than it said.
    #[error("frames from {first} on came, but only {held} are on disk")]
    PartShrank { first: u32, held: u32 },
    #[error("the work ended in a panic")]
    Panicked,
    #[error("the work was aborted")]
    Aborted,
}

impl LocalFailure {
    pub fn blame(&self) -> Blame {
        match self {
            Self::DiskFull { .. }
            | Self::BudgetFull { .. }
            | Self::Failed(_)
            | Self::PartShrank { .. }
            | Self::Aborted => Blame::Machine,
            Self::Panicked => Blame::Bug,
        }
    }
}

/// Why a fetch failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchFailure {
    #[error("the peer was lost: {0}")]
    Lost(LostCause),
    #[error("the peer refused: {0}")]
    Refused(Refusal),
    #[error("the peer says that {to} has the patch")]
    Referred { to: PeerId, patch: PatchId, settings: u32 },
    /// Every frame was what the patch's name promised, and the result is another layer.
    #[error("the result of patch {patch} is not the layer: {why}")]
    WrongResult { patch: PatchId, why: Cause },
    #[error("the peer sent wrong bytes: {0}")]
    Lied(Lie),
    #[error("base {0} is damaged or gone on this machine")]
    BaseGone(DiffId),
    /// No peer lied: a file of the have-list has the hash of another file.
    #[error("the result is not the layer, with a have-list by which files may be taken for one another")]
    Listed,
    #[error(transparent)]
    Local(LocalFailure),
    /// This machine lacks room for a size that only the peer claims.
    #[error("what the peer claims to send finds no room: {0}")]
    NoRoom(LocalFailure),
    #[error("it was stopped")]
    Stopped,
}

/// How a peer was lost. The texts are for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LostCause {
    /// The text names the addresses that were tried.
    #[error("{0}")]
    Dial(String),
    #[error("it does not speak this node's version of the patch stream")]
    Unsupported,
    #[error("this node opens as many streams as it may")]
    ManyOpening,
    #[error("the connection was closed while {0}")]
    ConnectionClosed(FetchStep),
    #[error("it did not answer within {} s while {step}", .after.as_secs())]
    TimedOut { step: FetchStep, after: Duration },
    /// `why` is the system's or the transport's text.
    #[error("the stream broke while {step}: {why}")]
    Broken { step: FetchStep, why: String },
    #[error("it ended the stream while {0}")]
    EndedEarly(FetchStep),
    /// A patch of a later build, or one that is too much work for its layer: no lie, and of no use.
    #[error("its patch cannot be used here: {0}")]
    Unusable(Cause),
}

/// The steps of a fetch, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchStep {
    Dialling,
    Opening,
    Request,
    /// The peer makes the patch, or has it wait for its turn.
    Reply,
    Header,
    Frames,
}

impl fmt::Display for FetchStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dialling => "it was dialled",
            Self::Opening => "the stream was opened",
            Self::Request => "the request was sent",
            Self::Reply => "its reply was awaited",
            Self::Header => "the header came",
            Self::Frames => "frames came",
        })
    }
}

/// Something that a provider sent and no honest provider sends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lie {
    /// A message, header or frame that does not decode, or fails its hash.
    #[error("{0}")]
    Unreadable(Cause),
    #[error("a header of {found} bytes, of which at most {max} are allowed")]
    HeaderTooLong { found: u32, max: usize },
    #[error("patch {found} where {promised} was promised")]
    OtherPatch { promised: PatchId, found: PatchId },
    #[error("a patch for {found} where {asked} was asked for")]
    OtherTarget { asked: DiffId, found: DiffId },
    #[error("a target of {found} where the layer has {max}")]
    TargetTooLarge { found: Bytes, max: Bytes },
    #[error("a target of {found} where {signed} is signed")]
    OtherSize { found: Bytes, signed: Bytes },
    #[error("base {0} that was not offered")]
    BaseNotOffered(DiffId),
    #[error("base {base} of {claimed}; it has {found}")]
    BaseBytes { base: DiffId, claimed: Bytes, found: Bytes },
    #[error("frames from {first} on where {asked} was asked for")]
    FramesSkipped { first: u32, asked: u32 },
    #[error("a referral to {0} that was not asked for")]
    UnaskedReferral(PeerId),
}

/// Why a question got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskFailure {
    #[error("the peer could not be reached or did not answer in time")]
    Unreachable,
    #[error("the peer answered with something that is not an answer")]
    Malformed,
    #[error("the release is not signed by a publisher that this node trusts")]
    NotTrusted,
}

/// Why an attempt to get a layer from a peer came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Setback {
    #[error(transparent)]
    Fetch(FetchFailure),
    #[error("it stalled")]
    Stalled,
    #[error("another source was faster")]
    Slow,
    #[error("it was no faster than the source that it was tried beside")]
    Beaten,
    #[error("{0}")]
    Refused(Refusal),
    #[error(transparent)]
    Unanswered(AskFailure),
    #[error("an answer to another question")]
    OtherAnswer,
    #[error("a quote for bases that are not here")]
    ForeignBases,
    #[error("it could not be reached")]
    Unreachable,
    #[error("it names {0}, which failed")]
    NamesFailed(PeerId),
}

/// Why a patch could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncodeFailure {
    /// A layer that it needs is damaged or was removed.
    LayerGone(DiffId),
    Local(LocalFailure),
}

/// Why a blob was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobFailure {
    /// The bytes do not have the digest: their sender lied.
    WrongDigest,
    Local(LocalFailure),
}

/// Why an image cannot be used although its digests are right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableImage {
    /// Its author wrote a document that breaks its own format.
    #[error("{0}")]
    Damaged(Cause),
    /// It is of a kind or a size that this node does not take.
    #[error("{0}")]
    Unsupported(Cause),
    /// Its publisher signed another size of a layer than the layer has.
    #[error("{publisher} signed {signed} for layer {layer}, which has {found}")]
    WrongSize { publisher: PeerId, layer: DiffId, signed: Bytes, found: Bytes },
    /// Its publisher signed the sizes of another number of layers.
    #[error("{publisher} signed the sizes of {signed} layers, and the image has {found}")]
    WrongCount { publisher: PeerId, signed: usize, found: usize },
}

impl UnusableImage {
    pub fn blame(&self) -> Blame {
        match self {
            Self::Damaged(_) | Self::WrongSize { .. } | Self::WrongCount { .. } => Blame::Peer,
            Self::Unsupported(_) => Blame::Version,
        }
    }
}

/// The act that a peer is cut off for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Offence {
    #[error("it sent wrong bytes: {0}")]
    Lied(Lie),
    #[error("patch {patch}, which it named, does not give the layer: {why}")]
    WrongResult { patch: PatchId, why: Cause },
    #[error("a manifest or config for {0} with another sha256")]
    WrongDigest(OciDigest),
    #[error(transparent)]
    Sketches(SketchLie),
    /// Far more messages than any honest node sends.
    #[error("a flood of messages")]
    Flood,
}

/// The fault in the sketches that a peer sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SketchLie {
    #[error("{found} sketches of {asked} layers")]
    Count { asked: usize, found: usize },
    #[error("sketch of layer {layer}")]
    Unreadable { layer: DiffId, source: SketchError },
    #[error("a sketch that is not that of layer {0}")]
    OtherLayer(DiffId),
}
