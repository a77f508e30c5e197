//! Protocols that are spoken on standing connections alone.
//!
//! A node that was referred to another connects for a patch: who it is, what it holds and whether it is still there is
//! nobody's business then, and each protocol's first words are bytes on two uplinks. Such a connection is left out of
//! the behaviour within; who was connected to finds that it speaks none of those protocols. With no stream open, the
//! swarm closes it after a while.

use std::collections::{BTreeMap, BTreeSet};
use std::task::{Context, Poll};

use either::Either;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

/// A behaviour that does not hear of visits.
pub struct Home<B> {
    pub inner: B,
    /// Peers that are being dialled for a visit.
    dialled: BTreeSet<PeerId>,
    visits: BTreeSet<ConnectionId>,
    /// The connections that the inner behaviour knows of.
    standing: BTreeMap<PeerId, BTreeSet<ConnectionId>>,
}

impl<B> Home<B> {
    pub fn new(inner: B) -> Self {
        Self { inner, dialled: BTreeSet::new(), visits: BTreeSet::new(), standing: BTreeMap::new() }
    }

    /// The next connection to this peer that this node makes is a visit.
    pub fn visit(&mut self, peer: PeerId) {
        self.dialled.insert(peer);
    }

    /// The event as the inner behaviour hears it, with the counts of standing connections alone; `None` for a visit.
    fn standing_event<'a>(&mut self, event: FromSwarm<'a>) -> Option<FromSwarm<'a>> {
        match event {
            FromSwarm::ConnectionEstablished(event) if !self.visits.contains(&event.connection_id) => {
                let standing = self.standing.entry(event.peer_id).or_default();
                let other_established = standing.len();
                standing.insert(event.connection_id);
                Some(FromSwarm::ConnectionEstablished(ConnectionEstablished { other_established, ..event }))
            }
            FromSwarm::ConnectionClosed(event) if !self.visits.remove(&event.connection_id) => {
                let standing = self.standing.entry(event.peer_id).or_default();
                standing.remove(&event.connection_id);
                let remaining_established = standing.len();
                if remaining_established == 0 {
                    self.standing.remove(&event.peer_id);
                }
                Some(FromSwarm::ConnectionClosed(ConnectionClosed { remaining_established, ..event }))
            }
            FromSwarm::ConnectionEstablished(_) | FromSwarm::ConnectionClosed(_) => None,
            FromSwarm::AddressChange(event) if self.visits.contains(&event.connection_id) => None,
            FromSwarm::DialFailure(event) => {
                self.visits.remove(&event.connection_id);
                event.peer_id.map(|peer| self.dialled.remove(&peer));
                Some(FromSwarm::DialFailure(event))
            }
            event => Some(event),
        }
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Home<B> {
    type ConnectionHandler = Either<THandler<B>, dummy::ConnectionHandler>;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(connection, peer, local, remote).map(Either::Left)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.dialled.remove(&peer) {
            self.visits.insert(connection);
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        let handler = self.inner.handle_established_outbound_connection(connection, peer, address, role, port_use);
        handler.map(Either::Left)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let Some(event) = self.standing_event(event) {
            self.inner.on_swarm_event(event);
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        let Either::Left(event) = event;
        self.inner.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx).map(|action| match action.map_in(Either::Left) {
            // Any that it knows of.
            ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::Any, event } => {
                let standing = self.standing.get(&peer_id).and_then(BTreeSet::first);
                let handler = standing.map_or(NotifyHandler::Any, |connection| NotifyHandler::One(*connection));
                ToSwarm::NotifyHandler { peer_id, handler, event }
            }
            action => action,
        })
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::{ConnectedPoint, transport::PortUse};

    use super::*;

    /// The count of other connections that the inner behaviour hears of when these are made; `None`: it hears nothing.
    fn made(home: &mut Home<()>, peer: PeerId, connection: usize, all: usize) -> Option<usize> {
        let address: Multiaddr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        let endpoint = ConnectedPoint::Dialer { address, role_override: Endpoint::Dialer, port_use: PortUse::Reuse };
        let event = FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id: peer,
            connection_id: ConnectionId::new_unchecked(connection),
            endpoint: &endpoint,
            failed_addresses: &[],
            other_established: all,
        });
        home.standing_event(event).map(|event| match event {
            FromSwarm::ConnectionEstablished(event) => event.other_established,
            event => panic!("{event:?}"),
        })
    }

    #[test]
    fn a_visit_is_not_told_of_and_not_counted() {
        let (mut home, peer) = (Home::new(()), PeerId::random());
        home.visits.insert(ConnectionId::new_unchecked(1));
        assert_eq!(made(&mut home, peer, 1, 0), None);
        assert_eq!(made(&mut home, peer, 2, 1), Some(0));
        assert_eq!(made(&mut home, peer, 3, 2), Some(1));
    }
}
