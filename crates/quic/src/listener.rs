//! One socket that is listened on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use libp2p::core::transport::{ListenerId, TransportEvent};

use crate::address::from_socket;
use crate::interfaces::{Change, Interfaces};
use crate::{Connecting, Error, Meter};

pub type Event = TransportEvent<Connecting, Error>;

/// A listener. Dropping it closes the socket once the last of its connections is gone.
pub struct Listener {
    pub id: ListenerId,
    pub endpoint: noq::Endpoint,
    bound: SocketAddr,
    accept: BoxFuture<'static, Option<noq::Incoming>>,
    handshake_timeout: Duration,
    /// With so many handshakes under way, peers must prove their address.
    unproven_max: usize,
    /// Each handshake under way has a handle of it.
    handshakes: Arc<()>,
    meter: Meter,
    /// Only where every interface is listened on.
    interfaces: Option<Interfaces>,
    /// Where one address is listened on: it is not told yet.
    is_untold: bool,
}

fn accept(endpoint: &noq::Endpoint) -> BoxFuture<'static, Option<noq::Incoming>> {
    let endpoint = endpoint.clone();
    async move { endpoint.accept().await }.boxed()
}

impl Listener {
    /// # Errors
    /// If the socket or the machine's interfaces tell no address.
    pub fn new(
        id: ListenerId,
        endpoint: noq::Endpoint,
        (handshake_timeout, unproven_max): (Duration, usize),
        meter: Meter,
    ) -> Result<Self, Error> {
        let bound = endpoint.local_addr()?;
        let is_everywhere = bound.ip().is_unspecified();
        Ok(Self {
            id,
            accept: accept(&endpoint),
            endpoint,
            bound,
            handshake_timeout,
            unproven_max,
            handshakes: Arc::default(),
            meter,
            interfaces: is_everywhere.then(|| Interfaces::new(bound)).transpose()?,
            is_untold: !is_everywhere,
        })
    }

    /// Whether packets from its socket reach `remote`: one family, and loopback only from where loopback is heard.
    pub fn reaches(&self, remote: SocketAddr) -> bool {
        let (here, there) = (self.bound.ip(), remote.ip());
        here.is_ipv4() == there.is_ipv4() && (here.is_unspecified() || here.is_loopback() == there.is_loopback())
    }

    /// The next event; `None` if the endpoint is closed.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if std::mem::take(&mut self.is_untold) {
            return Poll::Ready(Some(Event::NewAddress { listener_id: self.id, listen_addr: from_socket(self.bound) }));
        }
        if let Some(Poll::Ready(change)) = self.interfaces.as_mut().map(|interfaces| interfaces.poll(cx)) {
            return Poll::Ready(Some(self.changed(change)));
        }
        loop {
            let Poll::Ready(incoming) = self.accept.poll_unpin(cx) else { return Poll::Pending };
            let Some(incoming) = incoming else { return Poll::Ready(None) };
            self.accept = accept(&self.endpoint);
            if let Some(event) = self.came(incoming) {
                return Poll::Ready(Some(event));
            }
        }
    }

    /// A peer begins a handshake; `None` if it has to prove its address first.
    fn came(&self, incoming: noq::Incoming) -> Option<Event> {
        let under_way = Arc::strong_count(&self.handshakes) - 1;
        if under_way >= self.unproven_max && !incoming.remote_address_validated() {
            // Without a proof there may always be a retry; if not, the peer starts anew.
            let _ = incoming.retry();
            return None;
        }
        Some(Event::Incoming {
            listener_id: self.id,
            send_back_addr: from_socket(incoming.remote_address()),
            upgrade: Connecting::accept(incoming, self.handshake_timeout, self.meter.clone(), self.handshakes.clone()),
            local_addr: from_socket(self.bound),
        })
    }

    fn changed(&self, change: std::io::Result<Change>) -> Event {
        let listener_id = self.id;
        match change {
            Ok(Change::Up(address)) => Event::NewAddress { listener_id, listen_addr: from_socket(address) },
            Ok(Change::Down(address)) => Event::AddressExpired { listener_id, listen_addr: from_socket(address) },
            Err(error) => Event::ListenerError { listener_id, error: error.into() },
        }
    }
}
