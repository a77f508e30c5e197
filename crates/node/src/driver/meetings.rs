//! Addresses of peers: those that this node gives when it refers a requester to a relay, and those that it dials when a
//! provider refers it to one.
//!
//! The addresses of a peer come from its connections and from what identify says of it. They are kept while it is
//! connected. The same facts tell whether others can reach a peer, and whether two connections of one peer are one too
//! many.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use lighter_types::PeerId;
use lighter_wire::{ADDRESS_BYTES_MAX, ADDRESSES_MAX};

use crate::identity::to_libp2p;

/// Peers that a provider named and that are not dialled yet.
const NAMED_MAX: usize = 64;
/// A node that dials several addresses of a peer at once closes all connections but one within this time.
const DOUBLE_MAX: Duration = Duration::from_secs(3);
/// Two nodes of one identity connect again and again sooner than this.
const DOUBLING_PAUSE: Duration = Duration::from_secs(10);

/// Addresses of connected peers, and of those that a provider named.
#[derive(Default)]
pub struct Meetings {
    connected: BTreeMap<PeerId, Whereabouts>,
    /// The addresses of each that are not dialled yet.
    named: BTreeMap<PeerId, Vec<Multiaddr>>,
    /// How often connections of a peer doubled, and when last.
    doublings: BTreeMap<PeerId, (u32, Instant)>,
}

#[derive(Default)]
struct Whereabouts {
    /// The address that this node reached it at.
    dialled: Option<Multiaddr>,
    /// The address that its connection comes from.
    observed: Option<IpAddr>,
    /// The addresses that it says it listens at.
    listens: Vec<Multiaddr>,
    /// Connections that it made, and since when.
    inbound: BTreeMap<ConnectionId, Instant>,
}

impl Meetings {
    pub fn connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint, now: Instant) {
        let place = self.connected.entry(peer).or_default();
        place.observed = ip_of(endpoint.get_remote_address());
        if endpoint.is_dialer() {
            place.dialled = Some(without_peer(endpoint.get_remote_address()));
        } else {
            place.inbound.insert(connection, now);
        }
    }

    /// One of a peer's connections ended.
    pub fn closed(&mut self, peer: PeerId, connection: ConnectionId) {
        if let Some(place) = self.connected.get_mut(&peer) {
            place.inbound.remove(&connection);
        }
    }

    /// Peers that made two connections which both last, each returned once, with the number of times that this happened
    /// without a pause. Either one connection is left over from a life that ended without a word, or two nodes use one
    /// identity. In both cases the connections must be made anew.
    pub fn doubled(&mut self, now: Instant) -> Vec<(PeerId, u32)> {
        let mut doubled = Vec::new();
        for (&peer, place) in &mut self.connected {
            if place.inbound.values().filter(|since| now.duration_since(**since) >= DOUBLE_MAX).count() > 1 {
                place.inbound.clear();
                doubled.push(peer);
            }
        }
        self.doublings.retain(|_, (_, last)| now.duration_since(*last) < DOUBLING_PAUSE);
        let counted = doubled.into_iter().map(|peer| {
            let (count, last) = self.doublings.entry(peer).or_insert((0, now));
            (*count, *last) = (*count + 1, now);
            (peer, *count)
        });
        counted.collect()
    }

    pub fn disconnected(&mut self, peer: PeerId) {
        self.connected.remove(&peer);
    }

    /// A connected peer says where it listens.
    pub fn identified(&mut self, peer: PeerId, listens: Vec<Multiaddr>) {
        if let Some(place) = self.connected.get_mut(&peer) {
            place.listens = listens.iter().take(ADDRESSES_MAX).map(without_peer).collect();
        }
    }

    /// Whether others may reach a peer: this node reached it, or sees it at an address that it listens at. Behind most
    /// NATs neither is the case.
    pub fn is_reachable(&self, peer: PeerId) -> bool {
        let Some(place) = self.connected.get(&peer) else { return false };
        let is_at_home = place.observed.is_none_or(|seen| {
            place.listens.is_empty() || place.listens.iter().any(|address| ip_of(address) == Some(seen))
        });
        place.dialled.is_some() || is_at_home
    }

    /// The addresses at which others may find a peer: the one this node reached it at, its ports at the IP address that
    /// it is seen at, and those it says it listens at. A loopback address is given only for a peer on this machine.
    pub fn addresses(&self, peer: PeerId) -> Vec<Vec<u8>> {
        let Some(place) = self.connected.get(&peer) else { return Vec::new() };
        let seen = place.listens.iter().filter_map(|address| place.observed.map(|ip| at(address, ip)));
        let mut all: Vec<Multiaddr> = Vec::new();
        for address in place.dialled.iter().cloned().chain(seen).chain(place.listens.iter().cloned()) {
            let is_near = place.observed.is_some_and(|ip| ip.is_loopback());
            let is_told = ip_of(&address).is_none_or(|ip| !is_local(ip) || is_near && ip.is_loopback());
            if is_told && !all.contains(&address) && address.len() <= ADDRESS_BYTES_MAX {
                all.push(address);
            }
        }
        all.truncate(ADDRESSES_MAX);
        all.into_iter().map(|address| address.to_vec()).collect()
    }

    /// A provider named a peer. Bytes that are no address are left out.
    pub fn named(&mut self, peer: PeerId, addresses: Vec<Vec<u8>>) {
        if self.named.len() >= NAMED_MAX {
            self.named.pop_first();
        }
        let addresses = addresses.into_iter().filter_map(|address| Multiaddr::try_from(address).ok()).collect();
        self.named.insert(peer, addresses);
    }

    /// Options to dial a peer that a provider named; `None` if no provider did, or if every address was dialled. All
    /// addresses of one transport are dialled, then those of the other: a handshake over TCP takes a third of the
    /// bytes, and QUIC's congestion control holds on bad links.
    pub fn dial(&mut self, peer: PeerId, quic_first: bool) -> Option<DialOpts> {
        let addresses = self.named.remove(&peer)?;
        let (first, rest): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| is_udp(address) == quic_first);
        let (first, rest) = if first.is_empty() { (rest, first) } else { (first, rest) };
        if first.is_empty() {
            return None;
        }
        self.named.insert(peer, rest);
        let options = DialOpts::peer_id(to_libp2p(peer)?).addresses(first);
        Some(options.condition(PeerCondition::DisconnectedAndNotDialing).build())
    }
}

fn is_udp(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::Udp(_)))
}

fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(ip.into()),
        Some(Protocol::Ip6(ip)) => Some(ip.into()),
        _ => None,
    }
}

fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified()
}

/// The same port at another address of the same kind.
fn at(address: &Multiaddr, ip: IpAddr) -> Multiaddr {
    let same_kind = ip_of(address).is_some_and(|old| old.is_ipv4() == ip.is_ipv4());
    let replaced = address.replace(0, |_| same_kind.then(|| Protocol::from(ip)));
    replaced.unwrap_or_else(|| address.clone())
}

fn without_peer(address: &Multiaddr) -> Multiaddr {
    address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(remote: &str, is_dialled: bool, listens: &[&str]) -> Vec<String> {
        let (meetings, peer) = meetings(remote, is_dialled, listens);
        let addresses = meetings.addresses(peer).into_iter();
        addresses.map(|bytes| Multiaddr::try_from(bytes).unwrap().to_string()).collect()
    }

    fn meetings(remote: &str, is_dialled: bool, listens: &[&str]) -> (Meetings, PeerId) {
        let mut meetings = Meetings::default();
        let (peer, remote) = (PeerId::new([1; 32]), remote.parse::<Multiaddr>().unwrap());
        let endpoint = if is_dialled {
            ConnectedPoint::Dialer {
                address: remote,
                role_override: libp2p::core::Endpoint::Dialer,
                port_use: libp2p::core::transport::PortUse::Reuse,
            }
        } else {
            ConnectedPoint::Listener { local_addr: remote.clone(), send_back_addr: remote }
        };
        meetings.connected(peer, ConnectionId::new_unchecked(1), &endpoint, Instant::now());
        meetings.identified(peer, listens.iter().map(|address| address.parse().unwrap()).collect());
        (meetings, peer)
    }

    #[test]
    fn a_peer_is_told_of_by_where_it_was_reached_seen_and_says_it_is() {
        let listens = ["/ip4/127.0.0.1/udp/4410/quic-v1", "/ip4/10.0.0.7/udp/4410/quic-v1", "/ip6/::1/tcp/4410"];
        let seen = "/ip4/203.0.113.9/udp/50000/quic-v1";
        let at_its_port = "/ip4/203.0.113.9/udp/4410/quic-v1";
        let private = "/ip4/10.0.0.7/udp/4410/quic-v1";
        assert_eq!(named(seen, false, &listens), [at_its_port, private]);
        assert_eq!(named(seen, true, &listens), [seen, at_its_port, private]);
    }

    #[test]
    fn one_transport_is_dialled_and_then_the_other() {
        let keys = libp2p::identity::Keypair::generate_ed25519();
        let peer = crate::identity::from_libp2p(&keys.public().to_peer_id()).unwrap();
        let addresses = ["/ip4/10.0.0.7/tcp/4410", "/ip4/10.0.0.7/udp/4410/quic-v1", "/ip6/fd00::7/tcp/4410"];
        for quic_first in [true, false] {
            let mut meetings = Meetings::default();
            let bytes = addresses.iter().map(|address| address.parse::<Multiaddr>().unwrap().to_vec());
            meetings.named(peer, bytes.collect());
            assert!(meetings.dial(peer, quic_first).is_some());
            assert_eq!(meetings.named[&peer].len(), if quic_first { 2 } else { 1 });
            assert!(meetings.dial(peer, quic_first).is_some());
            assert_eq!(meetings.named[&peer].len(), 0);
            assert!(meetings.dial(peer, quic_first).is_none());
        }
    }

    #[test]
    fn a_peer_seen_at_another_address_than_it_listens_on_is_behind_a_nat() {
        assert!(is_reachable("/ip4/10.0.0.7/udp/50000/quic-v1", false));
        assert!(!is_reachable("/ip4/203.0.113.9/udp/50000/quic-v1", false));
        assert!(is_reachable("/ip4/203.0.113.9/udp/4410/quic-v1", true), "this node reached it");
        assert!(!Meetings::default().is_reachable(PeerId::new([1; 32])));
    }

    /// Whether others may reach a peer that listens at 10.0.0.7 and is seen at this address.
    fn is_reachable(remote: &str, is_dialled: bool) -> bool {
        let (meetings, peer) = meetings(remote, is_dialled, &["/ip4/10.0.0.7/udp/4410/quic-v1"]);
        meetings.is_reachable(peer)
    }

    #[test]
    fn loopback_is_told_of_a_peer_on_this_machine_alone() {
        let listens = ["/ip4/127.0.0.1/udp/4410/quic-v1"];
        assert_eq!(named("/ip4/127.0.0.1/udp/50000/quic-v1", false, &listens), listens);
        assert_eq!(named("/dns4/hub.example/udp/4410/quic-v1", true, &listens), ["/dns4/hub.example/udp/4410/quic-v1"]);
    }

    #[test]
    fn two_connections_that_a_peer_made_are_one_too_many_if_both_last() {
        let (mut meetings, peer) = meetings("/ip4/203.0.113.9/udp/50000/quic-v1", false, &[]);
        let endpoint = ConnectedPoint::Listener {
            local_addr: "/ip4/10.0.0.1/tcp/1".parse().unwrap(),
            send_back_addr: "/ip4/203.0.113.9/tcp/50001".parse().unwrap(),
        };
        let (start, second) = (Instant::now(), ConnectionId::new_unchecked(2));
        let [third, fourth] = [3, 4].map(ConnectionId::new_unchecked);
        assert_eq!(meetings.doubled(later(start, 9)), [], "one is fine");
        meetings.connected(peer, second, &endpoint, later(start, 10));
        assert_eq!(meetings.doubled(later(start, 12)), []);
        meetings.closed(peer, second);
        assert_eq!(meetings.doubled(later(start, 20)), [], "the peer chose one of two");
        meetings.connected(peer, second, &endpoint, later(start, 30));
        assert_eq!(meetings.doubled(later(start, 33)), [(peer, 1)]);
        assert_eq!(meetings.doubled(later(start, 34)), [], "once");
        for (seconds, count, why) in [(35, 2, "soon after"), (60, 1, "a while after")] {
            meetings.connected(peer, third, &endpoint, later(start, seconds));
            meetings.connected(peer, fourth, &endpoint, later(start, seconds));
            assert_eq!(meetings.doubled(later(start, seconds + 3)), [(peer, count)], "{why}");
        }
    }

    fn later(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_text_that_is_no_address_is_not_dialled() {
        let mut meetings = Meetings::default();
        let keys = libp2p::identity::Keypair::generate_ed25519();
        let peer = crate::identity::from_libp2p(&keys.public().to_peer_id()).unwrap();
        assert!(meetings.dial(peer, true).is_none(), "it was not named");
        meetings.named(peer, vec![vec![255, 255]]);
        assert!(meetings.dial(peer, true).is_none());
        meetings.named(peer, vec![vec![255], "/ip4/10.0.0.1/tcp/1".parse::<Multiaddr>().unwrap().to_vec()]);
        assert!(meetings.dial(peer, true).is_some());
        assert!(meetings.dial(peer, true).is_none(), "once");
    }
}
