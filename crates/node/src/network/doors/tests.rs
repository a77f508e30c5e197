//! Floods of handshakes at the swarm of a node, over loopback; and what connections leave behind.
//!
//! On Linux all of 127.0.0.0/8 is this host, so that a flood comes from a network of its own.

use std::net::{Ipv4Addr, SocketAddr};

use futures::StreamExt;
use libp2p::Swarm;
use libp2p::swarm::SwarmEvent;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};

use super::*;
use crate::config::Config;
use crate::identity::Identity;
use crate::links::Links;
use crate::network::{Behaviour, swarm};
use crate::traffic::Accountant;

/// Connections of the flood: three times what a node had places for, in all.
const FLOOD: usize = 200;

fn identity() -> Identity {
    Identity::create(tempfile::tempdir().unwrap().path()).unwrap()
}

/// The swarm of a node of a fleet of these members.
fn node(identity: &Identity, members: &[&Identity]) -> Swarm<Behaviour> {
    let mut config = Config::default();
    config.fleet.members = members.iter().map(|member| member.peer_id()).collect();
    let accountant = Accountant::new(config.network.upload_max, config.network.download_max);
    swarm(&config, identity, &accountant, &Links::default()).unwrap()
}

async fn listen(swarm: &mut Swarm<Behaviour>, address: &str) -> Multiaddr {
    swarm.listen_on(address.parse().unwrap()).unwrap();
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return address;
        }
    }
}

/// A connection over TCP from another network of this host, on which nothing is ever sent.
async fn half_open(to: &Multiaddr) -> TcpStream {
    let port = to.iter().find_map(|part| if let Protocol::Tcp(port) = part { Some(port) } else { None });
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 9, 9, 1), 0))).unwrap();
    socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port.unwrap()))).await.unwrap()
}

/// Dials, and waits until both have the connection.
async fn meet(hub: &mut Swarm<Behaviour>, edge: &mut Swarm<Behaviour>, address: &Multiaddr) {
    edge.dial(address.clone()).unwrap();
    let (mut hub_has_it, mut edge_has_it) = (false, false);
    while !hub_has_it || !edge_has_it {
        tokio::select! {
            event = hub.select_next_some() => {
                hub_has_it |= matches!(event, SwarmEvent::ConnectionEstablished { peer_id, .. } if peer_id == *edge.local_peer_id());
            }
            event = edge.select_next_some() => match event {
                SwarmEvent::ConnectionEstablished { .. } => edge_has_it = true,
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                _ => {}
            },
        }
    }
}

#[tokio::test]
async fn connections_without_a_key_keep_no_member_out() {
    let (hub_identity, identities) = (identity(), [identity(), identity()]);
    let [over_tcp, over_quic] = &identities;
    let mut hub = node(&hub_identity, &[over_tcp, over_quic]);
    let tcp = listen(&mut hub, "/ip4/127.0.0.1/tcp/0").await;
    let quic = listen(&mut hub, "/ip4/127.0.0.1/udp/0/quic-v1").await;
    let mut flood = Vec::new();
    for _ in 0..FLOOD {
        flood.push(half_open(&tcp).await);
    }
    // The machine hands connections over in the order in which they came: the flood before the member.
    let mut edge = node(over_tcp, &[&hub_identity]);
    meet(&mut hub, &mut edge, &tcp).await;
    let coming = hub.behaviour().doors.coming.len();
    assert_eq!(coming, places::NEW_NARROW_MAX, "the flood has the places of its network");
    let mut edge = node(over_quic, &[&hub_identity]);
    meet(&mut hub, &mut edge, &quic).await;
    assert_eq!(flood.len(), FLOOD);
}

/// It takes as long as a handshake over TCP may take.
#[tokio::test]
async fn a_connection_that_says_nothing_gives_its_place_back() {
    let mut hub = node(&identity(), &[]);
    let tcp = listen(&mut hub, "/ip4/127.0.0.1/tcp/0").await;
    let mut silent = half_open(&tcp).await;
    let mut most = 0;
    loop {
        most = most.max(hub.behaviour().doors.coming.len());
        if let SwarmEvent::IncomingConnectionError { .. } = hub.select_next_some().await {
            break;
        }
    }
    assert_eq!((most, hub.behaviour().doors.coming.len()), (1, 0));
    // The node may have begun to negotiate. Then the connection ends.
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest).await;
    assert!(rest.len() < 64, "{rest:?}");
}

#[test]
fn a_peer_that_comes_back_over_and_over_is_held_off() {
    let (mut doors, now, remote) = (Doors::new(10), Instant::now(), "/ip4/192.0.2.1/tcp/1".parse().unwrap());
    let (loud, calm) = (PeerId::random(), PeerId::random());
    let mut let_in = 0;
    for number in 0..300 {
        let connection = ConnectionId::new_unchecked(number);
        if doors.come(connection, &remote, now).is_err() {
            continue;
        }
        match doors.prove(loud, now) {
            Ok(()) => {
                doors.made(loud, connection, &remote, now);
                doors.closed(loud, connection);
                let_in += 1;
            }
            Err(refused) => {
                assert_eq!(refused, Refused::Returns);
                doors.ended(connection, true, now);
            }
        }
    }
    assert_eq!(let_in, RETURNS_AT_ONCE);
    let connection = ConnectionId::new_unchecked(1000);
    assert_eq!(doors.come(connection, &remote, now), Err(Refused::Handshakes), "its address has no more handshakes");
    let other = "/ip4/192.0.2.2/tcp/1".parse().unwrap();
    assert_eq!(doors.come(connection, &other, now).and_then(|()| doors.prove(calm, now)), Ok(()));
    assert_eq!(doors.prove(loud, now + RETURN_EVERY), Ok(()));
}

#[test]
fn a_thousand_connections_leave_nothing() {
    let (mut doors, began, peer) = (Doors::new(10), Instant::now(), PeerId::random());
    let remote = "/ip4/192.0.2.1/udp/1/quic-v1".parse().unwrap();
    for number in 0..1000 {
        let now = began + RETURN_EVERY * number;
        let [came, failed, dialled] = [0, 1, 2].map(|part| ConnectionId::new_unchecked(number as usize * 3 + part));
        assert_eq!(doors.come(came, &remote, now).and_then(|()| doors.prove(peer, now)), Ok(()));
        doors.made(peer, came, &remote, now);
        assert_eq!(doors.come(failed, &remote, now), Ok(()));
        doors.ended(failed, false, now);
        assert_eq!(doors.dial(dialled), Ok(()));
        doors.made(peer, dialled, &remote, now);
        assert_eq!(doors.check_room(peer), Err(Refused::Peer));
        doors.closed(peer, came);
        doors.closed(peer, dialled);
    }
    assert_eq!(doors.held(), (0, 2), "nothing but how often the peer and its address came");
}

#[test]
fn connections_have_a_cap() {
    let (mut doors, now, remote) = (Doors::new(3), Instant::now(), "/ip4/192.0.2.1/tcp/1".parse().unwrap());
    for number in 0..3 {
        let peer = PeerId::random();
        assert_eq!(doors.prove(peer, now), Ok(()));
        doors.made(peer, ConnectionId::new_unchecked(number), &remote, now);
    }
    assert_eq!(doors.prove(PeerId::random(), now), Err(Refused::Connections(3)));
}
