//! Names of hosts in addresses, looked up by the system each time a peer is dialled.
//!
//! The C library reads its configuration again when it changes: a laptop that joins another network, a hub whose name
//! moves, a line in /etc/hosts. A machine without any resolver still reaches addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use libp2p::core::Transport;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::{Multiaddr, Protocol};

/// Addresses of a name that are dialled, one after the other.
const ADDRESSES_MAX: usize = 8;
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(15);

/// A transport that dials names by their addresses.
pub struct Names<O> {
    inner: Arc<Mutex<Boxed<O>>>,
}

impl<O> Names<O> {
    pub fn new(inner: Boxed<O>) -> Self {
        Self { inner: Arc::new(Mutex::new(inner)) }
    }
}

impl<O: Send + 'static> Transport for Names<O> {
    type Output = O;
    type Error = io::Error;
    type ListenerUpgrade = <Boxed<O> as Transport>::ListenerUpgrade;
    type Dial = BoxFuture<'static, io::Result<O>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        lock(&self.inner).listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        lock(&self.inner).remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let Some(name) = Name::of(&address) else { return Ok(lock(&self.inner).dial(address, options)?.boxed()) };
        let inner = self.inner.clone();
        let dial = async move {
            let mut failure = io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", name.host));
            for ip in name.look_up().await?.into_iter().take(ADDRESSES_MAX) {
                let dialled = lock(&inner).dial(with_ip(&address, ip), options);
                let result = match dialled {
                    Ok(dial) => dial.await,
                    Err(error) => Err(io::Error::other(error)),
                };
                match result {
                    Ok(output) => return Ok(output),
                    Err(error) => failure = error,
                }
            }
            Err(failure)
        };
        Ok(dial.boxed())
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Pin::new(&mut *lock(&self.inner)).poll(cx)
    }
}

fn lock<T>(inner: &Mutex<T>) -> MutexGuard<'_, T> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of a host, and the family of the addresses that are wanted of it.
#[derive(Debug, PartialEq, Eq)]
struct Name {
    host: String,
    family: Family,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Any,
    V4,
    V6,
}

impl Name {
    /// The name that an address begins with.
    fn of(address: &Multiaddr) -> Option<Self> {
        let (host, family) = match address.iter().next()? {
            Protocol::Dns(host) => (host, Family::Any),
            Protocol::Dns4(host) => (host, Family::V4),
            Protocol::Dns6(host) => (host, Family::V6),
            _ => return None,
        };
        Some(Self { host: host.into_owned(), family })
    }

    async fn look_up(&self) -> io::Result<Vec<IpAddr>> {
        let failed = |why: String| io::Error::other(format!("cannot resolve {}: {why}", self.host));
        let found = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((self.host.as_str(), 0))).await;
        let found = found.map_err(|_| failed(format!("no answer in {} s", LOOKUP_TIMEOUT.as_secs())))?;
        let mut addresses = Vec::new();
        for ip in found.map_err(|error| failed(error.to_string()))?.map(|address: SocketAddr| address.ip()) {
            if self.family.has(ip) && !addresses.contains(&ip) {
                addresses.push(ip);
            }
        }
        Ok(addresses)
    }
}

impl Family {
    fn has(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
        }
    }
}

/// The address with an IP address in place of the name that it begins with.
fn with_ip(address: &Multiaddr, ip: IpAddr) -> Multiaddr {
    std::iter::once(Protocol::from(ip)).chain(address.iter().skip(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_becomes_an_address() {
        let name = Name::of(&address("/dns4/hub.example/udp/4410/quic-v1")).unwrap();
        assert_eq!(name, Name { host: "hub.example".to_owned(), family: Family::V4 });
        assert_eq!(Name::of(&address("/ip4/10.0.0.1/tcp/1")), None);
        let found = with_ip(&address("/dns/hub.example/udp/4410/quic-v1"), "::1".parse().unwrap());
        assert_eq!(found, address("/ip6/::1/udp/4410/quic-v1"));
    }

    #[tokio::test]
    async fn names_are_looked_up_by_the_system() {
        let found = Name { host: "localhost".to_owned(), family: Family::V4 }.look_up().await.unwrap();
        assert_eq!(found, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
        let failed = Name { host: "nowhere.invalid".to_owned(), family: Family::Any }.look_up().await.unwrap_err();
        assert!(failed.to_string().contains("cannot resolve nowhere.invalid"), "{failed}");
    }
}
