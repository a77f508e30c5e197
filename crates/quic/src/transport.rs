//! The transport: its listeners, and the sockets that it dials from.
//!
//! A dial with port reuse goes out of a listener's socket, so that a NAT gives both the same binding. Without a
//! listener of the family, such dials share one socket. An endpoint lives as long as anything uses it.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use libp2p::core::transport::{DialOpts, ListenerId, PortUse, TransportError, TransportEvent};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use socket2::{Domain, Socket, Type};

use crate::address::to_socket;
use crate::batch::BatchingRuntime;
use crate::config::Settings;
use crate::listener::{Event, Listener};
use crate::{Config, Connecting, Connection, Error, Meter};

/// The transport.
pub struct Transport {
    settings: Settings,
    listeners: Vec<Listener>,
    /// Listeners that were removed, until the swarm is told: at most one for each that it ever had open.
    closed: VecDeque<ListenerId>,
    /// The sockets for dials without a listener, by whether they are of IPv6.
    dialers: BTreeMap<bool, noq::Endpoint>,
    meter: Meter,
    waker: Option<Waker>,
}

impl Transport {
    /// # Errors
    /// If the identity gives no certificate.
    pub fn new(config: &Config, keys: &Keypair) -> Result<Self, Error> {
        Ok(Self {
            settings: Settings::new(config, keys)?,
            listeners: Vec::new(),
            closed: VecDeque::new(),
            dialers: BTreeMap::new(),
            meter: Meter::default(),
            waker: None,
        })
    }

    /// The meter of all its connections.
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    fn endpoints(&self) -> impl Iterator<Item = &noq::Endpoint> {
        self.listeners.iter().map(|listener| &listener.endpoint).chain(self.dialers.values())
    }

    /// Connections whose state is kept, those that end included.
    pub fn open_connections(&self) -> usize {
        self.endpoints().map(noq::Endpoint::open_connections).sum()
    }

    /// Waits until no connection of the present endpoints has state. Dropping it midway loses nothing.
    pub fn idle(&self) -> impl Future<Output = ()> + use<> {
        let endpoints: Vec<noq::Endpoint> = self.endpoints().cloned().collect();
        async move {
            for endpoint in endpoints {
                endpoint.wait_idle().await;
            }
        }
    }

    /// An endpoint that dials `remote`.
    fn dialer(&mut self, remote: SocketAddr, port_use: PortUse) -> Result<noq::Endpoint, Error> {
        match port_use {
            PortUse::New => self.create_dialer(remote),
            PortUse::Reuse => {
                if let Some(listener) = self.listeners.iter().find(|listener| listener.reaches(remote)) {
                    return Ok(listener.endpoint.clone());
                }
                if let Some(endpoint) = self.dialers.get(&remote.is_ipv6()) {
                    return Ok(endpoint.clone());
                }
                let endpoint = self.create_dialer(remote)?;
                self.dialers.insert(remote.is_ipv6(), endpoint.clone());
                Ok(endpoint)
            }
        }
    }

    fn create_dialer(&self, remote: SocketAddr) -> Result<noq::Endpoint, Error> {
        let ip = if remote.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        self.endpoint(SocketAddr::new(ip, 0), None)
    }

    fn endpoint(&self, address: SocketAddr, server: Option<noq::ServerConfig>) -> Result<noq::Endpoint, Error> {
        let endpoint = self.settings.endpoint.clone();
        Ok(noq::Endpoint::new(endpoint, server, bind(address)?, Arc::new(BatchingRuntime))?)
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A socket of one family only: both families can listen on one port.
fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(socket2::Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

impl From<Error> for TransportError<Error> {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl libp2p::Transport for Transport {
    type Output = (PeerId, Connection);
    type Error = Error;
    type ListenerUpgrade = Connecting;
    type Dial = Connecting;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Error>> {
        let Some(socket) = to_socket(&address) else { return Err(TransportError::MultiaddrNotSupported(address)) };
        let endpoint = self.endpoint(socket, Some(self.settings.server.clone()))?;
        let (timeout, unproven_max) = (self.settings.handshake_timeout, self.settings.unproven_max);
        self.listeners.push(Listener::new(id, endpoint, (timeout, unproven_max), self.meter.clone())?);
        // Dials go out of the listener from now on; the dialer ends with its last connection.
        self.dialers.remove(&socket.is_ipv6());
        self.wake();
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let Some(index) = self.listeners.iter().position(|listener| listener.id == id) else { return false };
        self.listeners.remove(index).endpoint.close(noq::VarInt::from_u32(0), &[]);
        self.closed.push_back(id);
        self.wake();
        true
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<Error>> {
        let remote = to_socket(&address).filter(|socket| socket.port() != 0 && !socket.ip().is_unspecified());
        let Some(remote) = remote else { return Err(TransportError::MultiaddrNotSupported(address)) };
        let endpoint = self.dialer(remote, options.port_use)?;
        let (client, timeout) = (self.settings.client.clone(), self.settings.handshake_timeout);
        let peer = address.iter().find_map(|part| if let Protocol::P2p(peer) = part { Some(peer) } else { None });
        Ok(Connecting::dial(endpoint, client, (remote, peer), timeout, self.meter.clone()))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Event> {
        if let Some(listener_id) = self.closed.pop_front() {
            return Poll::Ready(TransportEvent::ListenerClosed { listener_id, reason: Ok(()) });
        }
        for index in 0..self.listeners.len() {
            let Poll::Ready(event) = self.listeners[index].poll(cx) else { continue };
            // The next listener comes first next time, so that a busy one starves none.
            self.listeners.rotate_left(index + 1);
            return Poll::Ready(match event {
                Some(event) => event,
                None => {
                    let listener = self.listeners.pop();
                    let Some(listener) = listener else { continue };
                    TransportEvent::ListenerClosed { listener_id: listener.id, reason: Ok(()) }
                }
            });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
