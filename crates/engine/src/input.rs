//! The inputs of the engine: [`Engine::step`](crate::Engine::step) takes one [`Input`] at a time.
//!
//! Inputs are grouped by their source. Each group is matched once and whole, in `machines/inputs.rs`, without a
//! wildcard: the compiler names a new input that no machine handles.

use std::time::Duration;

use lighter_similarity::{Calibration, Sketch};
use lighter_types::{Bytes, Card, DiffId, Link, Pace, PatchId, PeerId};
use lighter_wire::{Announcement, Answer, PatchRequest, Request};

use crate::calibrations::Scope;
use crate::event::{
    AskId, CachedPatch, EncodeId, FetchId, Fetched, ImageFound, ImageRead, KeptList, Part, PullId, QuestionId,
    StreamId, Wanted, Work,
};
use crate::failure::{AskFailure, BlobFailure, EncodeFailure, FetchFailure, LocalFailure};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    Disk(DiskInput),
    Peer(PeerInput),
    Work(WorkInput),
    Operator(OperatorInput),
    /// A moment that [`Effect::WakeAt`](crate::Effect::WakeAt) named has come.
    Tick,
}

/// News of the disk: at the start one input for each item, later one for each change.
#[derive(Clone, Debug)]
pub enum DiskInput {
    /// A layer was committed: verified, synced, in the index. [`WorkInput::FetchEnded`] brings the news of a layer that
    /// a fetch brought, not this input. A layer without a sketch is planned with by its card alone.
    LayerHeld { card: Card, sketch: Option<Sketch> },
    /// The card of a held layer is complete: it was committed before its TLSH digest was made.
    LayerDescribed(Card),
    /// Every layer that was on disk at the start was told. Without this input, they are the list of the start when the
    /// node first names it.
    LayersTold,
    /// A layer was removed or found damaged.
    LayerGone(DiffId),
    /// A patch is in the cache, made here or received and proved by its result.
    PatchHeld(CachedPatch),
    /// A patch left the cache.
    PatchGone(PatchId),
    /// A part of a patch is on disk from an earlier life of this node.
    PartHeld { target: DiffId, part: Part },
    /// A calibration that this node learned in an earlier life.
    CalibrationHeld { scope: Scope, calibration: Calibration },
    /// The pace that this node learned in an earlier life.
    PaceHeld(Work, Pace),
    /// The link to a peer, as an earlier life learned it.
    LinkHeld { peer: PeerId, link: Link },
    /// The list of a peer that this node knew in an earlier life.
    ListHeld(KeptList),
}

/// Acts of peers: connections, gossip, questions, streams.
#[derive(Clone, Debug)]
pub enum PeerInput {
    Connected(PeerId),
    /// The transport shows this of the link to a peer that connected.
    LinkSeen {
        peer: PeerId,
        link: Link,
    },
    /// A peer that connected missed an announcement before it could hear any.
    Missed,
    /// The last connection to the peer closed.
    Lost(PeerId),
    /// [`Effect::Connect`] failed.
    Unreachable(PeerId),
    /// Gossip arrived; its signature proves `from`.
    Announced {
        from: PeerId,
        announcement: Announcement,
    },
    /// A peer asks. Answered by [`Effect::Answer`], at once or after [`Effect::LookUpImage`], or by
    /// [`Effect::AnswerFromStore`].
    Asked {
        question: QuestionId,
        from: PeerId,
        request: Request,
    },
    /// A peer asks for a patch on a stream. Answered by [`Effect::Serve`], [`Effect::Refer`] or
    /// [`Effect::Refuse`].
    StreamOpened {
        stream: StreamId,
        from: PeerId,
        request: PatchRequest,
    },
    /// A patch went over the stream to its end, and showed this of the link. Sent once, before
    /// [`PeerInput::StreamClosed`], for each stream that was served to its end.
    StreamServed {
        stream: StreamId,
        link: Link,
    },
    /// The stream is over: served to its end, or broken.
    StreamClosed(StreamId),
    /// The peer opened this many streams since the last count, of any protocol, whether or not a message came on them;
    /// or it sent gossip that costs as much.
    StreamsAccepted {
        from: PeerId,
        streams: u32,
    },
}

/// Progress and results of the work that the engine asked for. Exactly one of these answers each effect of the second
/// group; `FetchWorking`, `FetchProgress` and `EncodeProgress` answer nothing.
#[derive(Clone, Debug)]
pub enum WorkInput {
    /// Answers [`Effect::Ask`]. A release in it has a good signature by a publisher that the operator trusts.
    Answered { ask: AskId, answer: Result<Answer, AskFailure> },
    /// [`Effect::Fetch`] goes on: the provider is still making the patch, or gets it itself. `done` is the provider's
    /// word for that: bytes of the target that are encoded, or bytes of the patch that came to it, and to the peer that
    /// it gets it from, and so on. `total` is the bytes of the patch once its header is here: then the provider waits
    /// for the next frame.
    FetchWorking { fetch: FetchId, done: Bytes, total: Option<Bytes> },
    /// [`Effect::Fetch`] goes on: bytes came. Sent every few seconds while they do, within a frame too: over a thin
    /// link a frame takes longer than the stall timeout.
    FetchProgress { fetch: FetchId, part: Part },
    /// Answers [`Effect::Fetch`].
    FetchEnded { fetch: FetchId, result: Result<Fetched, FetchFailure> },
    /// Answers [`Effect::Unpack`]. The layer was committed, and no [`DiskInput::LayerHeld`] brings the same news; or it
    /// is not in the blob, or could not be unpacked, as the caller's log says.
    Unpacked { layer: DiffId, held: Option<(Card, Option<Sketch>)> },
    /// [`Effect::Encode`] goes on.
    EncodeProgress { encode: EncodeId, target_bytes_done: Bytes },
    /// Answers [`Effect::Encode`].
    EncodeEnded { encode: EncodeId, took: Duration, result: Result<CachedPatch, EncodeFailure> },
    /// Answers [`Effect::LookUpImage`].
    ImageLookedUp { question: QuestionId, from: PeerId, found: Result<ImageFound, LocalFailure> },
    /// Answers [`Effect::ReadImage`].
    ImageRead { pull: PullId, read: ImageRead },
    /// Answers [`Effect::KeepBlob`]: whether all of it has its digest and is on disk.
    BlobKept { pull: PullId, result: Result<(), BlobFailure> },
    /// Answers [`Effect::CommitImage`].
    ImageCommitted { pull: PullId, result: Result<(), LocalFailure> },
}

/// Wishes of the operator.
#[expect(clippy::large_enum_variant, reason = "an input lives for one step, and pulls are few")]
#[derive(Clone, Debug)]
pub enum OperatorInput {
    /// The operator will ask for plans for these layers: ask peers for their sketches.
    SketchesWanted(Vec<DiffId>),
    /// The operator wants an image.
    PullAsked {
        pull: PullId,
        wanted: Wanted,
    },
    PullCancelled(PullId),
    /// The node is about to stop: take on nothing new, tell the peers.
    Stop,
}

impl From<DiskInput> for Input {
    fn from(input: DiskInput) -> Self {
        Self::Disk(input)
    }
}

impl From<PeerInput> for Input {
    fn from(input: PeerInput) -> Self {
        Self::Peer(input)
    }
}

impl From<WorkInput> for Input {
    fn from(input: WorkInput) -> Self {
        Self::Work(input)
    }
}

impl From<OperatorInput> for Input {
    fn from(input: OperatorInput) -> Self {
        Self::Operator(input)
    }
}
