//! The events of the fleet's queue.

use lighter_engine::{AskId, FetchFailure, Input, StreamId};
use lighter_wire::Request;

use crate::faults::Happening;
use crate::queue::Micros;

/// Something that happens at its moment. An event that names a life of a node is for that life: after a restart it does
/// nothing.
pub enum Due {
    Wake(usize),
    /// An input of a node's engine.
    Input {
        node: usize,
        life: u32,
        input: Box<Input>,
    },
    /// Gossip is sent, later than other messages.
    Late {
        from: usize,
        to: usize,
        bytes: u64,
        input: Box<Input>,
    },
    /// A question arrives at `to`.
    Question {
        to: usize,
        from: usize,
        life: u32,
        ask: AskId,
        request: Box<Request>,
    },
    /// A question that has no answer yet has failed.
    AskTimeout {
        node: usize,
        life: u32,
        ask: AskId,
    },
    /// The request for a patch arrives at the provider.
    Opened(StreamId),
    /// Bytes of a patch arrive at the requester.
    Piece {
        stream: StreamId,
        bytes: u64,
    },
    /// A provider that holds back sends some more.
    Drip(StreamId),
    /// A node says once more that a patch comes through it, which was asked for at that moment.
    Pretends {
        stream: StreamId,
        since: Micros,
    },
    /// All of a patch is applied.
    Applied(StreamId),
    /// A node that floods others sends some more.
    Flood {
        node: usize,
        life: u32,
    },
    /// The requester learns that nothing will come of a stream.
    Ends {
        stream: StreamId,
        failure: Box<FetchFailure>,
    },
    /// The operator asks for a pull, by its number.
    Begin(usize),
    Happens(Happening),
    /// The other nodes notice that a node is gone.
    Noticed {
        node: usize,
        life: u32,
    },
    /// The nodes on both sides of an uplink notice that it is cut.
    CutNoticed {
        site: usize,
        since: Micros,
    },
    /// An uplink that was away since then is in use again.
    Reopened {
        site: usize,
        since: Micros,
    },
    /// The first message of a handshake arrives at `to`.
    Dialed {
        from: usize,
        life: u32,
        to: usize,
    },
    /// The last message of a handshake leaves `to`.
    Answered {
        from: usize,
        life: u32,
        to: usize,
    },
    /// The handshake is over.
    Met {
        from: usize,
        life: u32,
        to: usize,
    },
    /// Two nodes look whether anything still goes over their connection.
    Idle {
        one: usize,
        other: usize,
    },
    /// The moment until which a test runs the fleet.
    Pause,
}
