//! Multiaddresses of QUIC: `/ip4/A/udp/N/quic-v1` and `/ip6/A/udp/N/quic-v1`, with or without `/p2p/PEER` at the end.

use std::net::{IpAddr, SocketAddr};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// The socket's address; `None` if this is no address of QUIC version 1.
pub fn to_socket(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::from(ip),
        Protocol::Ip6(ip) => IpAddr::from(ip),
        _ => return None,
    };
    let Protocol::Udp(port) = parts.next()? else { return None };
    let Protocol::QuicV1 = parts.next()? else { return None };
    match (parts.next(), parts.next()) {
        (None | Some(Protocol::P2p(_)), None) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

pub fn from_socket(address: SocketAddr) -> Multiaddr {
    Multiaddr::empty().with(address.ip().into()).with(Protocol::Udp(address.port())).with(Protocol::QuicV1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, expected: Option<&str>) {
        let parsed = to_socket(&address.parse().expect("a multiaddress"));
        assert_eq!(parsed, expected.map(|socket| socket.parse().expect("a socket address")), "{address}");
    }

    #[test]
    fn addresses_of_quic_are_read_and_others_are_not() {
        let peer = "12D3KooW9xk7Zp1gejwfwNpfm6L9zH5NL4Bx5rm94LRYJJHJuARZ";
        check("/ip4/192.0.2.1/udp/4410/quic-v1", Some("192.0.2.1:4410"));
        check("/ip6/2001:db8::1/udp/1/quic-v1", Some("[2001:db8::1]:1"));
        check(&format!("/ip4/192.0.2.1/udp/4410/quic-v1/p2p/{peer}"), Some("192.0.2.1:4410"));
        check(&format!("/ip4/192.0.2.1/udp/4410/quic-v1/p2p/{peer}/p2p-circuit"), None);
        check("/ip4/192.0.2.1/udp/4410/quic-v1/tcp/1", None);
        check("/ip4/192.0.2.1/udp/4410/quic", None);
        check("/ip4/192.0.2.1/udp/4410", None);
        check("/ip4/192.0.2.1/tcp/4410", None);
        check("/dns4/hub.example/udp/4410/quic-v1", None);
    }

    #[test]
    fn an_address_comes_back_as_it_was() {
        for socket in ["192.0.2.1:4410", "[2001:db8::1]:65535"] {
            let socket: SocketAddr = socket.parse().expect("a socket address");
            assert_eq!(to_socket(&from_socket(socket)), Some(socket));
        }
    }
}
