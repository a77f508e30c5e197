//! What reaches the task that owns the engine, and what it orders from the tasks that serve streams.

use lighter_engine::{Input, QuestionId, StreamId, Wanted};
use lighter_types::{Bytes, DiffId, PatchId, PeerId};
use lighter_wire::{Answer, PatchRequest, Refusal};
use tokio::sync::{mpsc, oneshot};

use crate::api;

/// What reaches the driver from its tasks.
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
    /// The store's answer to a peer's question.
    Answered {
        question: QuestionId,
        answer: Answer,
    },
    Command(Command),
}

/// What the admin API asks for.
pub enum Command {
    Status(oneshot::Sender<api::Status>),
    Peers(oneshot::Sender<Vec<api::Peer>>),
    Holders(DiffId, oneshot::Sender<Vec<PeerId>>),
    /// Events go to `listener` for as long as it listens; the pull goes on without.
    Pull {
        image: String,
        wanted: Wanted,
        listener: Option<mpsc::Sender<api::PullEvent>>,
    },
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

/// What the engine wants done on a stream.
#[derive(Clone, Debug)]
pub enum Order {
    Working { target_bytes_done: Bytes },
    Serve { patch: PatchId, first_frame: u32 },
    Refuse(Refusal),
    Refer { to: PeerId, patch: PatchId, settings: u32, addresses: Vec<Vec<u8>> },
}
