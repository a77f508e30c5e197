//! Messages to the task that owns the engine, and its orders to the tasks that serve streams.

use lighter_engine::{Input, StreamId, Wanted};
use lighter_types::{Bytes, DiffId, OciDigest, PatchId, PeerId};
use lighter_wire::{Answer, PatchRequest, Refusal, Request};
use tokio::sync::{mpsc, oneshot};

use crate::api;

/// A message to the driver from one of its tasks.
pub enum Event {
    Input(Input),
    /// A peer's request for a patch was read; orders for the stream go to `orders`.
    StreamOpened {
        stream: StreamId,
        from: PeerId,
        request: PatchRequest,
        orders: mpsc::Sender<Order>,
    },
    /// A provider names another one, at these binary multiaddresses.
    Referred {
        to: PeerId,
        addresses: Vec<Vec<u8>>,
    },
    Command(Command),
}

/// A request of the admin API, or of the registry endpoint.
pub enum Command {
    Status(oneshot::Sender<api::Status>),
    Peers(oneshot::Sender<Vec<api::Peer>>),
    Holders(DiffId, oneshot::Sender<Vec<PeerId>>),
    /// The connected nodes behind the same uplink.
    Neighbours(oneshot::Sender<Vec<PeerId>>),
    /// Asks a peer something that the engine need not know. Without an answer, `reply` is dropped.
    Ask {
        to: PeerId,
        request: Request,
        reply: oneshot::Sender<Answer>,
    },
    /// Events go to `listener` for as long as it listens; the pull goes on without.
    Pull {
        image: String,
        wanted: Wanted,
        listener: Option<mpsc::Sender<api::PullEvent>>,
    },
    /// Pulls an image by its manifest and gives it no name. `image` is what the pull is called.
    FetchLayers {
        image: String,
        manifest: OciDigest,
        listener: mpsc::Sender<api::PullEvent>,
    },
    /// A scrub begins now, if none is under way. The answer is how it stands then.
    Scrub(oneshot::Sender<api::ScrubStatus>),
    /// Whether there was such a pull.
    Cancel {
        image: String,
        reply: oneshot::Sender<bool>,
    },
    Rollout {
        from: api::RolloutImage,
        to: api::RolloutImage,
        reply: oneshot::Sender<Result<api::Rollout, api::Problem>>,
    },
    Plan {
        image: String,
        wanted: Wanted,
        reply: oneshot::Sender<Result<api::ImagePlan, api::Problem>>,
    },
}

/// An order of the engine for a stream.
#[derive(Clone, Debug)]
pub enum Order {
    Working { done: Bytes },
    Serve { patch: PatchId, first_frame: u32 },
    Refuse(Refusal),
    Refer { to: PeerId, patch: PatchId, settings: u32, addresses: Vec<Vec<u8>> },
}
