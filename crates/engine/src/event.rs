//! The effects of the engine, and the parts that effects and inputs are made of.
//!
//! The caller performs effects in their order. Effects of the first group are fire and forget. Each effect of the
//! second group, below the empty line in [`Effect`], carries an id and is answered by exactly one input with the same
//! id. The engine sets no timeout on it: the caller owes the answer, a failure if nothing else ([`Open`](crate::Open)
//! helps it to keep count).

use std::collections::BTreeMap;
use std::time::Duration;

use lighter_similarity::{Calibration, Sketch};
use lighter_types::{Bytes, Card, DiffId, Effort, ImageReference, Link, Moment, OciDigest, Pace, PatchId, PeerId};
use lighter_wire::{
    Announcement, Answer, Documents, FrameOrder, ImageRequest, PatchRequest, Refusal, Request, Resume, SignedHandover,
    SignedRelease, Terms,
};

use crate::calibrations::Scope;
use crate::failure::{LocalFailure, Offence, UnusableImage};
use crate::report::Report;

macro_rules! token {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);
    };
}

token!(/// A question that this node put to a peer. Chosen by the engine.
    AskId);
token!(/// A question that a peer put to this node. Chosen by the caller.
    QuestionId);
token!(/// One attempt to get a layer from one peer. Chosen by the engine.
    FetchId);
token!(/// One patch being made. Chosen by the engine.
    EncodeId);
token!(/// A stream on which a peer waits for a patch. Chosen by the caller.
    StreamId);
token!(/// An image being pulled. Chosen by the caller.
    PullId);

/// Something the caller must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Gossip this.
    Announce(Announcement),
    Answer {
        question: QuestionId,
        answer: Answer,
    },
    /// Answer a `Blob` request from what is on disk.
    AnswerFromStore {
        question: QuestionId,
        request: Request,
    },
    /// Tell the peer that its patch is being made, or comes here: so many bytes are done where it is made, or came to
    /// those before this node.
    Working {
        stream: StreamId,
        done: Bytes,
    },
    /// Send the patch from its frame `first_frame` on, or from the one before it down if the peer asked for that order
    /// of this patch; if it is still coming, as it comes.
    Serve {
        stream: StreamId,
        patch: PatchId,
        first_frame: u32,
    },
    Refuse {
        stream: StreamId,
        refusal: Refusal,
    },
    /// Tell the peer that `to` has the patch, or is getting it, and its addresses.
    Refer {
        stream: StreamId,
        to: PeerId,
        patch: PatchId,
        settings: u32,
    },
    /// Connect to a peer that a [`FetchFailure::Referred`] named.
    Connect(PeerId),
    /// Close all connections to the peer and accept none for this long.
    CutOff {
        peer: PeerId,
        lasting: Duration,
        offence: Offence,
    },
    /// Give up on a fetch; its [`FetchEnded`](crate::WorkInput::FetchEnded) still comes.
    StopFetch(FetchId),
    /// Give up on an encode; its [`EncodeEnded`](crate::WorkInput::EncodeEnded) still comes.
    StopEncode(EncodeId),
    /// Tell the operator.
    Report {
        pull: PullId,
        report: Report,
    },
    /// Keep the calibration for [`CalibrationHeld`](crate::DiskInput::CalibrationHeld) of the next life, in place of
    /// the one kept for this scope.
    KeepCalibration {
        scope: Scope,
        calibration: Calibration,
    },
    /// Keep the pace for [`PaceHeld`](crate::DiskInput::PaceHeld) of the next life.
    KeepPace(Work, Pace),
    /// Keep what is known of the link to a peer for [`LinkHeld`](crate::DiskInput::LinkHeld) of the next life, in place
    /// of what was kept; or forget it.
    KeepLink {
        peer: PeerId,
        link: Option<Link>,
    },
    /// Keep these lists of other peers for [`ListHeld`](crate::DiskInput::ListHeld) of the next life, in place of those
    /// kept for these peers. An empty list is not kept.
    KeepLists(Vec<KeptList>),
    /// Send [`Input::Tick`](crate::Input::Tick) at this moment or soon after. A later `WakeAt` takes its place.
    WakeAt(Moment),

    Ask {
        ask: AskId,
        to: PeerId,
        request: Request,
    },
    /// Get a patch and apply it. The peer does not hold the layers in `listed`: name their files to it by a have-list,
    /// if that can be made. The request does not name the list yet.
    ///
    /// A request for the last frames ([`FrameOrder::Down`]) applies nothing. The frames that it brings are kept for the
    /// fetches that bring the first ones of the same patch, as long as one of them or this one goes on. It goes on
    /// until it is stopped, even if nothing is missing any more.
    ///
    /// `signed_bytes` is the size of the layer by what a publisher signed. Without it, what the peer says of the size
    /// is a claim: nothing gives way to it before its bytes come.
    Fetch {
        fetch: FetchId,
        from: PeerId,
        request: PatchRequest,
        listed: Vec<DiffId>,
        beside: Option<Beside>,
        signed_bytes: Option<Bytes>,
    },
    Encode {
        encode: EncodeId,
        target: DiffId,
        bases: Vec<DiffId>,
        effort: Effort,
    },
    /// Unpack a layer out of its compressed blob. Both are named as layers. `signed_bytes` as in [`Effect::Fetch`].
    Unpack {
        layer: DiffId,
        blob: DiffId,
        signed_bytes: Option<Bytes>,
    },
    /// Find out what the disk has of an image that `from` asks about. `release` is that of an image on its way here,
    /// which the disk does not have yet.
    LookUpImage {
        question: QuestionId,
        from: PeerId,
        request: ImageRequest,
        release: Option<SignedRelease>,
    },
    /// Find out from the disk which layers the image has.
    ReadImage {
        pull: PullId,
        manifest: OciDigest,
    },
    /// Check the manifest, or another blob, against the digest and keep it; and the config, if it is the one that the
    /// manifest names; and the recipes, which nothing vouches for.
    KeepBlob {
        pull: PullId,
        digest: OciDigest,
        documents: Documents,
    },
    /// All layers are held: make the image known under its name.
    CommitImage {
        pull: PullId,
        manifest: OciDigest,
        release: Option<SignedRelease>,
    },
}

/// A fetch beside another one of the same layer. Until the other one has ended, it keeps what comes in memory, and
/// takes no more than so many bytes. Then it goes on as any fetch, from the part on disk that the other one left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    pub fetch: FetchId,
    pub bytes_max: Bytes,
}

/// Work whose pace is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    Encode,
    Apply,
}

/// The image that the operator wants.
#[expect(clippy::large_enum_variant, reason = "one for each pull, and moved once")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The image that the name stands for. `known` is the newest believed release of it on disk.
    Name { reference: ImageReference, known: Option<SignedRelease> },
    /// Exactly this manifest.
    Manifest(OciDigest),
}

/// A patch in this node's cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedPatch {
    pub patch: PatchId,
    pub target: DiffId,
    pub bases: Vec<DiffId>,
    /// The whole file, header included.
    pub bytes: Bytes,
    /// The effort of the encoder that made it; absent if it was another encoder than this node's.
    pub effort: Option<Effort>,
}

/// All layers that a peer held when it last said so, in no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptList {
    pub peer: PeerId,
    pub cards: Vec<Card>,
}

/// The cost of a patch at the default effort for a peer that holds some layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prospect {
    /// Those of the layers that it would read from; none is the whole layer.
    pub bases: Vec<DiffId>,
    pub bytes: Bytes,
    /// Whether such a patch is in the cache, and its bytes are known.
    pub is_known: bool,
    /// The expected time to make it and to apply it on this machine.
    pub encode: Duration,
    pub apply: Duration,
}

/// How much of a patch is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub patch: PatchId,
    /// The settings of the encoder that made it.
    pub settings: u32,
    pub bases: Vec<DiffId>,
    /// Frames checked and on disk: 0 to this number, exclusive.
    pub frames: u32,
    /// Bytes of the patch that came, the header and those of a frame that is not whole yet included. From the end of
    /// the patch, if the last frames were asked for.
    pub bytes: Bytes,
    /// The whole patch.
    pub bytes_total: Bytes,
}

impl Part {
    /// Where to go on.
    pub fn resume(&self) -> Resume {
        Resume { patch: self.patch, first_frame: self.frames, settings: self.settings, order: FrameOrder::Up }
    }
}

/// A layer that arrived and was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub card: Card,
    pub sketch: Option<Sketch>,
    pub patch: CachedPatch,
    /// The settings of the encoder that made the patch.
    pub settings: u32,
    /// Bytes of the patch that this fetch received; fewer than the patch has if it resumed.
    pub received: Bytes,
    /// The time that applying all of the patch took, without waiting for bytes, hashing and writing.
    pub applying: Duration,
    /// The link to the peer, as far as the transfer showed it.
    pub link: Link,
}

/// The facts on disk about an image that a peer asks about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFound {
    /// The release of the reference that the peer asked for.
    pub release: Option<SignedRelease>,
    /// The handovers of its repository. The engine passes them on; the caller obeys them.
    pub handovers: Vec<SignedHandover>,
    /// The documents, if the peer wants them and does not know this manifest.
    pub documents: Option<Documents>,
    /// The layers that the documents name, in order; none if the request has no list.
    pub layers: Vec<DiffId>,
    /// The terms of the request.
    pub terms: Terms,
}

/// The compressed blob of a layer: its name as a layer, and its bytes by the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerBlob {
    pub name: DiffId,
    pub bytes: Bytes,
}

/// The answer of the disk about an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageRead {
    /// The manifest or config with this digest must be had first.
    Missing {
        digest: OciDigest,
        bytes_max: u32,
    },
    /// These layers, in order. The engine knows which of them are held. `sizes` has the bytes of those whose size the
    /// manifest names: layers that are not compressed. `blobs` has the compressed blobs of layers that may come as
    /// those.
    Layers {
        layers: Vec<DiffId>,
        sizes: BTreeMap<DiffId, Bytes>,
        blobs: BTreeMap<DiffId, LayerBlob>,
    },
    Unusable(UnusableImage),
    Local(LocalFailure),
}

impl ImageRead {
    /// Layers of which the manifest names no size.
    pub fn layers(layers: Vec<DiffId>) -> Self {
        Self::Layers { layers, sizes: BTreeMap::new(), blobs: BTreeMap::new() }
    }
}
