//! What waits for its moment.

use lighter_engine::{AskId, Input, StreamId};
use lighter_wire::Request;

/// What comes of time passing.
pub enum Due {
    Wake(usize),
    /// For the node's life in which it was asked for.
    Input {
        node: usize,
        life: u32,
        input: Box<Input>,
    },
    /// Gossip that is sent only now.
    Late {
        from: usize,
        to: usize,
        bytes: u64,
        input: Box<Input>,
    },
    Question {
        to: usize,
        from: usize,
        life: u32,
        ask: AskId,
        request: Box<Request>,
    },
    /// A question that has no answer by now has none.
    AskTimeout {
        node: usize,
        life: u32,
        ask: AskId,
    },
    Opened(StreamId),
    Piece {
        stream: StreamId,
        bytes: u64,
    },
    Applied(StreamId),
    DiskFull(StreamId),
    Begin(usize),
    Happens(usize),
    /// The others notice that a node is gone.
    Noticed {
        node: usize,
        life: u32,
    },
    CutNoticed(usize),
    /// Somebody wants to connect; then, that it may.
    Dialed {
        from: usize,
        life: u32,
        to: usize,
    },
    Answered {
        from: usize,
        life: u32,
        to: usize,
    },
    Met {
        from: usize,
        life: u32,
        to: usize,
    },
    /// A connection that nothing may go over any more.
    Idle {
        one: usize,
        other: usize,
    },
}
