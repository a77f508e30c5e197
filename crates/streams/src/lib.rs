//! A libp2p behaviour for a protocol whose messages are streams: it queues what comes, and opens what is asked for.
//!
//! No inbound stream is lost in silence. Streams wait in a queue that is bounded per peer and in all ([`Incoming`]
//! takes them, one peer after the other). The behaviour answers a stream beyond the bounds with a reply of the user's
//! ("busy, come back in a second") and closes it. Replies are bounded too; a stream beyond those is reset, counted and
//! logged.
//!
//! [`Control::open`] opens streams, several at a time on one connection, in the order of the calls. It dials a peer
//! that is not connected. Every failure keeps its cause ([`OpenError`]).
//!
//! One behaviour speaks one protocol. The state of a connection or a call ends with it ([`Control::held`]).
//! docs/decisions/0018-streams.md says why this stands in place of libp2p-stream.

mod behaviour;
mod control;
mod handler;
mod inbox;
mod outbox;
mod refusal;
mod settings;
mod shared;
#[cfg(test)]
mod tests;

pub use behaviour::Behaviour;
pub use control::{Control, Inbound, Incoming, Place};
pub use outbox::{OpenError, OpenStep};
pub use refusal::refuse;
pub use settings::Settings;
pub use shared::{BusyReply, Counts};

/// Whether a read failed because the peer does not speak the protocol.
///
/// With `Version::V1Lazy` a stream is open before the peer has agreed to the protocol. The first read tells.
pub fn is_unsupported(error: &std::io::Error) -> bool {
    use libp2p::core::upgrade::NegotiationError;
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<NegotiationError>());
    matches!(cause, Some(NegotiationError::Failed))
}
