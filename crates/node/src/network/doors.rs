//! Lets peers in, before and behind the handshake, and counts connections.
//!
//! Before the handshake nothing is known of a peer but its address. Handshakes under way have places by transport and
//! by network (`doors/places.rs`), and addresses where members were seen have places of their own. So a flood of
//! connections without a key takes those of its own network over one transport. An address whose peers shook hands
//! often is let in less often (`doors/rates.rs`); so is a peer that comes back often. A refused peer comes back later.
//!
//! A node has `network.connections_max` connections, and two with one peer: two nodes that dial each other at once. The
//! entries of a connection go with it.

mod places;
mod rates;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, ListenError, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use places::{Carrier, Place, Places};
use rates::Rates;

/// Connections that this node is dialling at a time.
const DIALS_MAX: usize = 64;
/// Connections with one peer.
const PER_PEER_MAX: usize = 2;
/// A peer comes back this often at once, and once in this time after that: as often as a node dials one that it lost.
/// Two transports are dialled at the same time.
const RETURNS_AT_ONCE: u32 = 60;
const RETURN_EVERY: Duration = Duration::from_secs(1);
/// Handshakes that come to their end, of one address: as many as there are nodes behind a large site's one address, and
/// 16 a second after that. A handshake takes 2 to 3 ms of a core.
const HANDSHAKES_AT_ONCE: u32 = 256;
const HANDSHAKE_EVERY: Duration = Duration::from_micros(62_500);

/// See the module.
pub struct Doors {
    connections_max: usize,
    /// Handshakes of peers that came, and their places.
    coming: BTreeMap<ConnectionId, Place>,
    places: Places,
    /// Dials under way.
    dials: BTreeSet<ConnectionId>,
    /// Connections, by peer. No peer is here without one.
    made: BTreeMap<PeerId, BTreeSet<ConnectionId>>,
    returns: Rates<PeerId>,
    handshakes: Rates<IpAddr>,
}

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("too many handshakes of its network are under way")]
    Network,
    #[error("too many handshakes are under way")]
    All,
    #[error("its address shook hands too often")]
    Handshakes,
    #[error("it came back too often")]
    Returns,
    #[error("it has {PER_PEER_MAX} connections already")]
    Peer,
    #[error("there are {0} connections already")]
    Connections(usize),
    #[error("{DIALS_MAX} peers are being dialled already")]
    Dials,
}

impl Doors {
    pub fn new(connections_max: u32) -> Self {
        Self {
            connections_max: usize::try_from(connections_max).unwrap_or(usize::MAX),
            coming: BTreeMap::new(),
            places: Places::default(),
            dials: BTreeSet::new(),
            made: BTreeMap::new(),
            returns: Rates::new(RETURNS_AT_ONCE, RETURN_EVERY),
            handshakes: Rates::new(HANDSHAKES_AT_ONCE, HANDSHAKE_EVERY),
        }
    }

    fn come(&mut self, connection: ConnectionId, remote: &Multiaddr, now: Instant) -> Result<(), Refused> {
        let (ip, carrier) = source(remote);
        if self.handshakes.is_over(places::host(ip), now) {
            return Err(Refused::Handshakes);
        }
        let place = self.places.take(ip, carrier)?;
        self.coming.insert(connection, place);
        Ok(())
    }

    /// A peer has proved who it is.
    fn prove(&mut self, peer: PeerId, now: Instant) -> Result<(), Refused> {
        if self.returns.is_over(peer, now) {
            return Err(Refused::Returns);
        }
        self.returns.count(peer, now);
        self.check_room(peer)
    }

    fn check_room(&self, peer: PeerId) -> Result<(), Refused> {
        if self.made.get(&peer).is_some_and(|made| made.len() >= PER_PEER_MAX) {
            return Err(Refused::Peer);
        }
        let all: usize = self.made.values().map(BTreeSet::len).sum();
        if all >= self.connections_max { Err(Refused::Connections(self.connections_max)) } else { Ok(()) }
    }

    fn dial(&mut self, connection: ConnectionId) -> Result<(), Refused> {
        if self.dials.len() >= DIALS_MAX {
            return Err(Refused::Dials);
        }
        self.dials.insert(connection);
        Ok(())
    }

    fn made(&mut self, peer: PeerId, connection: ConnectionId, remote: &Multiaddr, now: Instant) {
        self.dials.remove(&connection);
        self.ended(connection, true, now);
        self.places.seen(source(remote).0);
        self.made.entry(peer).or_default().insert(connection);
    }

    fn closed(&mut self, peer: PeerId, connection: ConnectionId) {
        if let Some(made) = self.made.get_mut(&peer) {
            made.remove(&connection);
            if made.is_empty() {
                self.made.remove(&peer);
            }
        }
    }

    /// A handshake of a peer that came is over. It counts if it came to its end.
    fn ended(&mut self, connection: ConnectionId, is_whole: bool, now: Instant) {
        let Some(place) = self.coming.remove(&connection) else { return };
        if is_whole {
            self.handshakes.count(places::host(place.ip()), now);
        }
        self.places.give_back(place);
    }

    /// Entries that go with connections, and entries that go with time.
    #[cfg(test)]
    fn held(&self) -> (usize, usize) {
        let with_connections = self.coming.len() + self.dials.len() + self.made.len() + self.places.held();
        (with_connections, self.returns.held() + self.handshakes.held())
    }
}

/// The address that a peer comes from, and the transport.
fn source(remote: &Multiaddr) -> (IpAddr, Carrier) {
    let mut parts = remote.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::from(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::from(ip).to_canonical(),
        // No transport of a node has other addresses; if one does, they are one.
        _ => IpAddr::from([0, 0, 0, 0]),
    };
    let carrier = if matches!(parts.next(), Some(Protocol::Udp(_))) { Carrier::Quic } else { Carrier::Tcp };
    (ip, carrier)
}

impl NetworkBehaviour for Doors {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.come(connection, remote, Instant::now()).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.prove(peer, Instant::now()).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        _: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.dial(connection).map_err(ConnectionDenied::new)?;
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_room(peer).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                let remote = event.endpoint.get_remote_address();
                self.made(event.peer_id, event.connection_id, remote, Instant::now());
            }
            FromSwarm::ConnectionClosed(event) => self.closed(event.peer_id, event.connection_id),
            FromSwarm::DialFailure(event) => drop(self.dials.remove(&event.connection_id)),
            FromSwarm::ListenFailure(event) => {
                let is_whole = matches!(event.error, ListenError::Denied { .. } | ListenError::LocalPeerId { .. });
                self.ended(event.connection_id, is_whole, Instant::now());
            }
            // The enum is open to events of later versions; none of the others is about the life of a connection.
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}
