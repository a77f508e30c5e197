//! Dials race: an address where nobody answers holds up no other.

use std::net::UdpSocket;

use crate::support::{Address, Fleet, NodeProcess, SOON, loopback, until};

/// A hub that listens at these addresses, and an edge that dials `bootstrap` of them.
fn connect(listen: &[String], bootstrap: impl FnOnce(&NodeProcess) -> Vec<String>) -> Fleet {
    let mut fleet = Fleet::create(2);
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    hub.set(format!("network.listen={listen:?}"));
    hub.start();
    edge.bootstrap = bootstrap(hub).into_iter().map(Address::of).collect();
    edge.start();
    until("a connection", SOON, || (edge.status()["peers_connected"] == 1).then_some(()));
    fleet
}

/// The line of the edge's log that names the address it is connected at.
fn connected_at(fleet: &Fleet) -> String {
    let log = fleet.nodes[1].log();
    let line = log.lines().find(|line| line.contains("connected") && line.contains("address"));
    line.expect("a line about the connection").to_owned()
}

#[test]
fn an_address_where_nobody_answers_holds_up_no_other() {
    let silent = UdpSocket::bind((loopback(), 0)).unwrap();
    silent.set_read_timeout(Some(SOON)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let fleet = connect(&[format!("/ip4/{}/tcp/0", loopback())], |hub| {
        vec![format!("/ip4/{}/udp/{port}/quic-v1/p2p/{}", loopback(), hub.peer_id), hub.address().to_owned()]
    });
    assert!(connected_at(&fleet).contains("/tcp/"), "{}", connected_at(&fleet));
    assert!(silent.recv(&mut [0; 2000]).unwrap() >= 1200, "QUIC was tried");
}
