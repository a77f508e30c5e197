//! The addresses of this machine's interfaces, for a listener on the unspecified address.

use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use if_watch::IfEvent;
use if_watch::tokio::IfWatcher;

/// A change of the addresses that a listener is reached at.
pub enum Change {
    Up(SocketAddr),
    Down(SocketAddr),
}

/// Watches the interfaces for addresses of the listener's family.
pub struct Interfaces {
    watcher: IfWatcher,
    bound: SocketAddr,
}

impl Interfaces {
    /// # Errors
    /// If the machine does not tell of its interfaces.
    pub fn new(bound: SocketAddr) -> std::io::Result<Self> {
        Ok(Self { watcher: IfWatcher::new()?, bound })
    }

    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<Change>> {
        while let Poll::Ready(event) = self.watcher.poll_if_event(cx) {
            let change = match event? {
                IfEvent::Up(net) => self.listened(net.addr()).map(Change::Up),
                IfEvent::Down(net) => self.listened(net.addr()).map(Change::Down),
            };
            if let Some(change) = change {
                return Poll::Ready(Ok(change));
            }
        }
        Poll::Pending
    }

    /// Where the listener is reached at an address of the machine.
    fn listened(&self, ip: IpAddr) -> Option<SocketAddr> {
        (ip.is_ipv4() == self.bound.is_ipv4()).then(|| SocketAddr::new(ip, self.bound.port()))
    }
}
