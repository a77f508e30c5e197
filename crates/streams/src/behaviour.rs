//! The behaviour: it tells the shared state of connections, dials, and hands calls to handlers.

use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, DialError, DialFailure, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};

use crate::control::{Control, Incoming};
use crate::handler::Handler;
use crate::outbox::Action;
use crate::settings::Settings;
use crate::shared::{BusyReply, Shared};

/// The behaviour of one protocol. When it is dropped, every call ends with [`crate::OpenError::Stopped`].
pub struct Behaviour {
    shared: Shared,
}

impl Behaviour {
    /// `busy` makes the reply to a stream beyond the bounds.
    pub fn new(protocol: StreamProtocol, settings: Settings, busy: BusyReply) -> Self {
        Self { shared: Shared::new(protocol, settings, busy) }
    }

    /// Opens streams.
    pub fn control(&self) -> Control {
        Control::new(self.shared.clone())
    }

    /// Accepts streams, until it is dropped. `None` while there is one already. Without one, the protocol is not
    /// offered to peers.
    pub fn accept(&self) -> Option<Incoming> {
        let mut state = self.shared.lock();
        if state.is_accepting {
            return None;
        }
        state.is_accepting = true;
        drop(state);
        Some(Incoming::new(self.shared.clone()))
    }
}

impl Drop for Behaviour {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = ();

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, connection, self.shared.clone()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, connection, self.shared.clone()))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                self.shared.lock().outbox.connected(event.peer_id, event.connection_id);
            }
            FromSwarm::ConnectionClosed(event) => {
                let mut state = self.shared.lock();
                state.outbox.closed(event.peer_id, event.connection_id);
                let streams = state.inbox.forget(event.peer_id, event.connection_id);
                drop(state);
                drop(streams);
            }
            // Another dial of the same peer is under way, and its end comes here too.
            FromSwarm::DialFailure(DialFailure { error: DialError::DialPeerConditionFalse(_), .. }) => {}
            FromSwarm::DialFailure(DialFailure { peer_id: Some(peer), error, .. }) => {
                self.shared.lock().outbox.dial_failed(peer, &error.to_string());
            }
            _ => {}
        }
        self.shared.wake_behaviour();
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<(), THandlerInEvent<Self>>> {
        self.shared.poll_action(cx).map(|action| match action {
            Action::Dial(peer) => {
                let opts = DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing).build();
                ToSwarm::Dial { opts }
            }
            Action::Hand { peer, connection, open } => {
                ToSwarm::NotifyHandler { peer_id: peer, handler: NotifyHandler::One(connection), event: open }
            }
        })
    }
}
