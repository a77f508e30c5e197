//! Addresses that a node can listen on, and addresses that it can dial.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Why a node cannot listen on an address, if it cannot.
pub fn cannot_listen(address: &Multiaddr) -> Option<String> {
    let parts: Vec<Protocol<'_>> = address.iter().collect();
    let can = matches!(parts.split_first(), Some((host, rest)) if is_ip(host) && is_transport(rest));
    (!can).then(|| {
        format!(
            "{address} must be /ip4/ADDRESS or /ip6/ADDRESS, followed by /udp/PORT/quic-v1 or /tcp/PORT and no more"
        )
    })
}

/// Why a node cannot dial an address of a peer, if it cannot.
pub fn cannot_dial(address: &Multiaddr) -> Option<String> {
    let parts: Vec<Protocol<'_>> = address.iter().collect();
    let can = matches!(parts.as_slice(), [host, rest @ .., Protocol::P2p(_)]
        if (is_ip(host) || is_name(host)) && is_transport(rest));
    (!can).then(|| {
        format!(
            "{address} must be /ip4, /ip6, /dns, /dns4 or /dns6 and a host, followed by /udp/PORT/quic-v1 or /tcp/PORT, and \
             end in /p2p/<PeerId>"
        )
    })
}

fn is_ip(host: &Protocol<'_>) -> bool {
    matches!(host, Protocol::Ip4(_) | Protocol::Ip6(_))
}

fn is_name(host: &Protocol<'_>) -> bool {
    matches!(host, Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_))
}

fn is_transport(parts: &[Protocol<'_>]) -> bool {
    matches!(parts, [Protocol::Tcp(_)] | [Protocol::Udp(_), Protocol::QuicV1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(why: impl Fn(&Multiaddr) -> Option<String>, more: &str, good: &[&str], bad: &[&str]) {
        for text in good.iter().map(|text| format!("{text}{more}")) {
            assert_eq!(why(&text.parse().unwrap()), None);
        }
        for text in bad.iter().map(|text| format!("{text}{more}")) {
            assert!(why(&text.parse().unwrap()).is_some_and(|why| why.contains(&text)), "{text}");
        }
    }

    #[test]
    fn nodes_listen_on_ip_addresses() {
        let good = ["/ip4/0.0.0.0/udp/4410/quic-v1", "/ip6/::/tcp/0"];
        let bad =
            ["/ip4/0.0.0.0/udp/4410", "/ip4/0.0.0.0/tcp/1/ws", "/dns4/hub.example/tcp/1", "/ip4/0.0.0.0", "/tcp/1"];
        check(cannot_listen, "", &good, &bad);
    }

    #[test]
    fn nodes_dial_addresses_and_names_of_peers() {
        let peer = "/p2p/12D3KooWQnNhYR2THNXu7iS7mYxy4GizAYKJ8gYDUjfUykEKAnpb";
        let good = ["/ip4/10.0.0.1/udp/4410/quic-v1", "/dns/hub.example/tcp/1", "/dns6/hub.example/tcp/1"];
        let bad =
            ["/ip4/10.0.0.1/udp/4410", "/dnsaddr/h.example", "/dns4/hub.example", "/ip4/10.0.0.1/tcp/1/ws", "/unix/a"];
        check(cannot_dial, peer, &good, &bad);
        check(cannot_dial, "", &[], &["/ip4/10.0.0.1/tcp/1"]);
    }
}
