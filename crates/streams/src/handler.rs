//! The part of the behaviour that lives with one connection: it opens streams, queues those that come, and refuses
//! those without a place.
//!
//! Streams of a connection are alike, so a new one goes to the call that waits longest, whichever request it answers.
//! That keeps the order of the calls, which libp2p does not, and wastes no stream on a call that ended meanwhile.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::core::upgrade::UpgradeInfo;
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandler, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{ConnectionHandlerEvent, ConnectionId, Stream, StreamUpgradeError, SubstreamProtocol};
use libp2p::{InboundUpgrade, OutboundUpgrade, PeerId, StreamProtocol};

use crate::outbox::{Open, OpenError, OpenStep};
use crate::refusal::refuse;
use crate::shared::{Placed, Shared};

/// See the module.
pub struct Handler {
    peer: PeerId,
    connection: ConnectionId,
    shared: Shared,
    /// Calls without their stream, the oldest first; as many as `Settings::opens_per_peer_max`.
    waiting: VecDeque<Open>,
    /// Streams that libp2p is opening.
    opening: usize,
    /// Busy replies that are being written.
    refusals: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Handler {
    pub fn new(peer: PeerId, connection: ConnectionId, shared: Shared) -> Self {
        Self { peer, connection, shared, waiting: VecDeque::new(), opening: 0, refusals: FuturesUnordered::new() }
    }

    fn came(&mut self, stream: Stream) {
        match self.shared.queue(self.peer, self.connection, stream, self.refusals.len()) {
            Placed::Queued | Placed::Reset => {}
            Placed::Refuse { stream, reply, place } => {
                let settings = self.shared.settings.clone();
                self.refusals.push(Box::pin(async move {
                    let refusing = refuse(stream, reply, settings.refusal_read_bytes_max);
                    // A peer that does not take its reply, or went, gets no other.
                    let _ = tokio::time::timeout(settings.refusal_timeout, refusing).await;
                    drop(place);
                }));
            }
        }
    }

    /// Gives the result to the call that waits longest. Without one, a stream is dropped.
    fn opened(&mut self, mut result: Result<Stream, OpenError>) {
        self.opening -= 1;
        while let Some(open) = self.waiting.pop_front() {
            match open.answer.send(result) {
                Ok(()) => return,
                // The call ended; the next one takes it.
                Err(unsent) => result = unsent,
            }
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Infallible;
    type InboundProtocol = Upgrade;
    type OutboundProtocol = Upgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade> {
        let is_accepting = self.shared.lock().is_accepting;
        SubstreamProtocol::new(Upgrade(is_accepting.then(|| self.shared.protocol.clone())), ())
    }

    fn connection_keep_alive(&self) -> bool {
        !self.waiting.is_empty() || !self.refusals.is_empty()
    }

    fn on_behaviour_event(&mut self, open: Open) {
        self.waiting.retain(|open| !open.answer.is_canceled());
        self.waiting.push_back(open);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Upgrade, Upgrade>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => self.came(protocol),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, .. }) => {
                self.opened(Ok(protocol));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => self.opened(Err(match error {
                StreamUpgradeError::Timeout => OpenError::TimedOut { step: OpenStep::Opening },
                StreamUpgradeError::NegotiationFailed => OpenError::Unsupported,
                StreamUpgradeError::Io(error) => OpenError::Io(error.kind()),
                StreamUpgradeError::Apply(never) => match never {},
            })),
            // The enum is open to events of later versions; none of the others concerns this protocol.
            _ => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Upgrade, (), Infallible>> {
        while let Poll::Ready(Some(())) = self.refusals.poll_next_unpin(cx) {}
        self.waiting.retain(|open| !open.answer.is_canceled());
        if self.opening < self.waiting.len().min(self.shared.settings.opening_per_connection_max) {
            self.opening += 1;
            let protocol = SubstreamProtocol::new(Upgrade(Some(self.shared.protocol.clone())), ())
                .with_timeout(self.shared.settings.open_timeout);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }
}

/// The one protocol, or none; its stream as it is.
pub struct Upgrade(Option<StreamProtocol>);

impl UpgradeInfo for Upgrade {
    type Info = StreamProtocol;
    type InfoIter = std::option::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Upgrade {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

impl OutboundUpgrade<Stream> for Upgrade {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}
