//! The relay: sockets around the model.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use lighter_tests::link::Conditions;
use lighter_tests::relay::{Relay, Settings, udp_address};

use crate::support::{SOON, loopback, until};

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((loopback(), 0)).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2000];
    let (length, from) = socket.recv_from(&mut buffer).expect("a datagram");
    (buffer[..length].to_vec(), from)
}

/// A target, a relay before it and a client that has sent one datagram: also the relay's port for the client.
fn relayed(settings: Settings) -> (UdpSocket, Relay, UdpSocket, SocketAddr) {
    let (target, client) = (socket(), socket());
    let relay = Relay::start(target.local_addr().unwrap(), settings).unwrap();
    client.send_to(b"first", relay.address()).unwrap();
    let (first, port) = receive(&target);
    assert_eq!(first, b"first");
    (target, relay, client, port)
}

#[test]
fn datagrams_go_both_ways_and_are_counted() {
    let (target, relay, client, port) = relayed(Settings::default());
    target.send_to(b"answer", port).unwrap();
    assert_eq!(receive(&client), (b"answer".to_vec(), relay.address()));
    let counts = relay.counts();
    assert_eq!((counts.up.delivered.bytes, counts.down.delivered.bytes), (5, 6));
    relay.reset_counts();
    assert_eq!(relay.counts().up.offered.datagrams, 0);
}

#[test]
fn each_client_has_a_port_of_its_own() {
    let (target, relay, _client, port) = relayed(Settings::default());
    let other = socket();
    other.send_to(b"other", relay.address()).unwrap();
    let (_, other_port) = receive(&target);
    assert_ne!(port, other_port);
    target.send_to(b"to the other", other_port).unwrap();
    assert_eq!(receive(&other).0, b"to the other");
}

#[test]
fn the_directions_differ() {
    let slow = Conditions { delay: Duration::from_millis(200), ..Conditions::default() };
    let lost = Conditions { loss: 1.0, ..Conditions::default() };
    let (target, relay, _client, port) = relayed(Settings { up: slow, down: lost, ..Settings::default() });
    target.send_to(b"answer", port).unwrap();
    until("the answer to be lost", SOON, || (relay.counts().down.lost == 1).then_some(()));
    assert_eq!(relay.counts().up.lost, 0);
}

#[test]
fn a_delayed_datagram_is_not_early() {
    let delay = Duration::from_millis(200);
    let started = std::time::Instant::now();
    let _all = relayed(Settings::both(&Conditions { delay, ..Conditions::default() }));
    assert!(started.elapsed() >= delay);
}

#[test]
fn a_rebound_client_has_a_new_port() {
    let (target, relay, client, port) = relayed(Settings::default());
    relay.rebind();
    until("the port to be given up", SOON, || (relay.rebound() == 1).then_some(()));
    client.send_to(b"second", relay.address()).unwrap();
    let (second, new_port) = receive(&target);
    assert_eq!(second, b"second");
    assert_ne!(port, new_port);
    target.send_to(b"answer", new_port).unwrap();
    assert_eq!(receive(&client).0, b"answer");
}

#[test]
fn a_nat_forgets_a_silent_client() {
    let forgets_after = Some(Duration::from_millis(50));
    let (target, relay, client, _) = relayed(Settings { forgets_after, ..Settings::default() });
    until("the client to be forgotten", SOON, || (relay.rebound() == 1).then_some(()));
    client.send_to(b"again", relay.address()).unwrap();
    assert_eq!(receive(&target).0, b"again");
}

#[test]
fn a_dropped_relay_gives_its_port_back() {
    let (_target, relay, _client, _) = relayed(Settings::default());
    let address = relay.address();
    drop(relay);
    UdpSocket::bind(address).expect("a free port");
}

#[test]
fn addresses_of_nodes_are_read() {
    assert_eq!(udp_address("/ip4/127.0.0.1/udp/4410/quic-v1"), Some(([127, 0, 0, 1], 4410).into()));
    assert_eq!(udp_address("/ip4/127.0.0.1/tcp/4410"), None);
    assert_eq!(udp_address("/ip6/::1/udp/4410/quic-v1"), None);
}
