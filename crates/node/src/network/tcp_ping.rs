//! Pings over TCP alone.
//!
//! TCP says nothing on an idle connection, and notices a dead peer late. QUIC does both by itself: a keep-alive and its
//! acknowledgement are two datagrams, a ping and its answer are four. So over QUIC no ping is sent or answered.

use std::task::{Context, Poll};
use std::time::Duration;

use either::Either;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId, ping};

/// See the module.
pub struct TcpPing(ping::Behaviour);

impl TcpPing {
    pub fn new(interval: Duration) -> Self {
        Self(ping::Behaviour::new(ping::Config::new().with_interval(interval)))
    }
}

fn is_tcp(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::Tcp(_)))
}

impl NetworkBehaviour for TcpPing {
    type ConnectionHandler = Either<THandler<ping::Behaviour>, dummy::ConnectionHandler>;
    type ToSwarm = ping::Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !is_tcp(remote) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        self.0.handle_established_inbound_connection(connection, peer, local, remote).map(Either::Left)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !is_tcp(address) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        self.0.handle_established_outbound_connection(connection, peer, address, role, port_use).map(Either::Left)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.0.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        let Either::Left(event) = event;
        self.0.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.0.poll(cx).map(|action| action.map_in(Either::Left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a connection from and to this address is pinged.
    fn check(address: &str, expected: bool) {
        let (mut ping, address, peer) =
            (TcpPing::new(Duration::from_secs(25)), address.parse().unwrap(), PeerId::random());
        let connection = ConnectionId::new_unchecked(1);
        let inbound = ping.handle_established_inbound_connection(connection, peer, &address, &address).unwrap();
        let outbound = ping
            .handle_established_outbound_connection(connection, peer, &address, Endpoint::Dialer, PortUse::Reuse)
            .unwrap();
        assert_eq!([inbound.is_left(), outbound.is_left()], [expected; 2], "{address}");
    }

    #[test]
    fn only_connections_over_tcp_are_pinged() {
        check("/ip4/10.0.0.1/tcp/4410", true);
        check("/dns4/hub.example/tcp/4410", true);
        check("/ip4/10.0.0.1/udp/4410/quic-v1", false);
        check("/ip6/fd00::1/udp/4410/quic-v1", false);
    }
}
