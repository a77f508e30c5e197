//! Peers and links that misbehave: another PeerId, damaged datagrams, connections over and over, handshakes that are
//! begun and never ended.
//!
//! Each test has its own transports, over loopback. Nothing waits for the clock but the bound on a test that fails.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use futures::future::poll_fn;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use libp2p::core::muxing::{StreamMuxer as _, StreamMuxerBox};
use libp2p::core::transport::{DialOpts, ListenerId, PortUse, TransportEvent};
use libp2p::core::{Endpoint, Transport as _};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{DialError, SwarmEvent, dummy};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder};
use lighter_quic::{Config, Connection, Transport};
use tokio::net::UdpSocket;

const REUSE: DialOpts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };

fn transport() -> Transport {
    Transport::new(&Config::default(), &Keypair::generate_ed25519()).unwrap()
}

async fn listen(transport: &mut Transport) -> Multiaddr {
    transport.listen_on(ListenerId::next(), "/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()).unwrap();
    match poll_fn(|cx| Pin::new(&mut *transport).poll(cx)).await {
        TransportEvent::NewAddress { listen_addr, .. } => listen_addr,
        other => panic!("{other:?}"),
    }
}

async fn accept(transport: &mut Transport) -> Connection {
    match poll_fn(|cx| Pin::new(&mut *transport).poll(cx)).await {
        TransportEvent::Incoming { upgrade, .. } => upgrade.await.unwrap().1,
        other => panic!("{other:?}"),
    }
}

fn swarm() -> Swarm<dummy::Behaviour> {
    SwarmBuilder::with_existing_identity(Keypair::generate_ed25519())
        .with_tokio()
        .with_other_transport(|keys| {
            let transport = Transport::new(&Config::default(), keys)?;
            Ok(transport.map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection))))
        })
        .unwrap()
        .with_behaviour(|_| dummy::Behaviour)
        .unwrap()
        .build()
}

#[tokio::test]
async fn a_peer_with_another_id_is_refused() {
    let (mut near, mut far) = (swarm(), swarm());
    far.listen_on("/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()).unwrap();
    let SwarmEvent::NewListenAddr { address, .. } = far.select_next_some().await else { panic!("no address") };
    near.dial(address.with(Protocol::P2p(PeerId::random()))).unwrap();
    let refused = async {
        loop {
            if let SwarmEvent::OutgoingConnectionError { error, .. } = near.select_next_some().await {
                return error;
            }
        }
    };
    let error = futures::select! {
        error = refused.fuse() => error,
        () = async { loop { far.select_next_some().await; } }.fuse() => panic!("it listens for ever"),
    };
    assert!(matches!(error, DialError::WrongPeerId { obtained, .. } if obtained == *far.local_peer_id()), "{error}");
}

/// Forwards datagrams between its dialer and `target`, and damages one in ten.
async fn damage(near: UdpSocket, target: SocketAddr) {
    let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut dialer = None;
    let (mut out, mut back) = (vec![0; 65_536], vec![0; 65_536]);
    for datagram in 0_usize.. {
        let damaged = |bytes: &mut [u8]| {
            if datagram % 10 == 9 {
                let place = datagram * 31 % bytes.len();
                bytes[place] ^= 1;
            }
        };
        tokio::select! {
            received = near.recv_from(&mut out) => {
                let (length, from) = received.unwrap();
                dialer = Some(from);
                damaged(&mut out[..length]);
                far.send_to(&out[..length], target).await.unwrap();
            }
            received = far.recv_from(&mut back) => {
                let (length, _) = received.unwrap();
                damaged(&mut back[..length]);
                if let Some(dialer) = dialer {
                    near.send_to(&back[..length], dialer).await.unwrap();
                }
            }
        }
    }
}

#[tokio::test]
async fn damaged_datagrams_cost_time_and_no_byte() {
    let (mut near, mut far) = (transport(), transport());
    let address = listen(&mut far).await.to_string();
    let port = address.split('/').nth(4).unwrap().parse().unwrap();
    let relay = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let through = format!("/ip4/127.0.0.1/udp/{}/quic-v1", relay.local_addr().unwrap().port());
    let relay = tokio::spawn(damage(relay, SocketAddr::from(([127, 0, 0, 1], port))));
    let dialing = near.dial(through.parse().unwrap(), REUSE).unwrap();
    let (dialed, mut accepted) = futures::join!(dialing, accept(&mut far));
    let (_, mut dialed) = dialed.unwrap();
    let sent: Vec<u8> = (0..1 << 20).map(|index: u32| (index * 7 % 251) as u8).collect();
    let sending = async {
        let mut stream = poll_fn(|cx| Pin::new(&mut dialed).poll_outbound(cx)).await.unwrap();
        stream.write_all(&sent).await.unwrap();
        stream.close().await.unwrap();
        stream
    };
    let receiving = async {
        let mut received = Vec::new();
        let mut stream = poll_fn(|cx| Pin::new(&mut accepted).poll_inbound(cx)).await.unwrap();
        stream.read_to_end(&mut received).await.unwrap();
        received
    };
    let (_stream, received) = futures::join!(sending, receiving);
    assert!(received == sent, "{} bytes", received.len());
    relay.abort();
}

/// `make bench BENCH="links --row reconnects"` has 10,000 of them at a node.
#[tokio::test]
async fn connections_one_after_the_other_keep_no_state() {
    let (mut near, mut far) = (transport(), transport());
    let address = listen(&mut far).await;
    for _ in 0..300 {
        let dialing = near.dial(address.clone(), REUSE).unwrap();
        let (dialed, accepted) = futures::join!(dialing, accept(&mut far));
        let (_, mut dialed) = dialed.unwrap();
        poll_fn(|cx| Pin::new(&mut dialed).poll_close(cx)).await.unwrap();
        drop(accepted);
    }
    let idle = futures::future::join(near.idle(), far.idle());
    tokio::time::timeout(Duration::from_secs(60), idle).await.unwrap();
    assert_eq!((near.open_connections(), far.open_connections()), (0, 0));
}

/// The first datagrams of dials that hear nothing, each of another connection.
async fn first_datagrams(near: &mut Transport, count: usize) -> Vec<Vec<u8>> {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address: Multiaddr =
        format!("/ip4/127.0.0.1/udp/{}/quic-v1", silent.local_addr().unwrap().port()).parse().unwrap();
    let mut datagrams: Vec<Vec<u8>> = Vec::new();
    while datagrams.len() < count {
        let mut dialing = near.dial(address.clone(), REUSE).unwrap();
        let mut datagram = vec![0; 2048];
        let length = tokio::select! {
            length = silent.recv(&mut datagram) => length.unwrap(),
            _ = &mut dialing => panic!("nobody answers"),
        };
        datagram.truncate(length);
        // Others say more of a connection, or that its dial ended.
        if datagrams.iter().all(|other| connection(other) != connection(&datagram)) {
            datagrams.push(datagram);
        }
    }
    datagrams
}

/// The connection that a datagram with a long header is for (RFC 9000, section 17.2).
fn connection(datagram: &[u8]) -> &[u8] {
    &datagram[6..6 + usize::from(datagram[5])]
}

fn is_retry(datagram: &[u8]) -> bool {
    datagram[0] & 0xf0 == 0xf0
}

/// Handshakes that are begun and never ended, as from made-up addresses.
#[tokio::test]
async fn with_many_handshakes_under_way_a_peer_must_prove_its_address() {
    let (mut near, mut far) = (transport(), transport());
    let address = listen(&mut far).await;
    let port: u16 = address.to_string().split('/').nth(4).unwrap().parse().unwrap();
    let unproven_max = Config::default().unproven_max;
    let flood = first_datagrams(&mut near, unproven_max + 1).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut under_way = Vec::new();
    for datagram in &flood[..unproven_max] {
        socket.send_to(datagram, ("127.0.0.1", port)).await.unwrap();
        match poll_fn(|cx| Pin::new(&mut far).poll(cx)).await {
            TransportEvent::Incoming { upgrade, .. } => under_way.push(upgrade),
            other => panic!("{other:?}"),
        }
    }
    socket.send_to(&flood[unproven_max], ("127.0.0.1", port)).await.unwrap();
    let retried = async {
        let mut reply = vec![0; 2048];
        loop {
            let length = socket.recv(&mut reply).await.unwrap();
            if is_retry(&reply[..length]) {
                return;
            }
        }
    };
    tokio::select! {
        () = retried => {}
        event = poll_fn(|cx| Pin::new(&mut far).poll(cx)) => panic!("{event:?}"),
    }
    // A peer that is where it says comes in, a round trip later.
    let dialing = near.dial(address, REUSE).unwrap();
    let (dialed, _accepted) = futures::join!(dialing, accept(&mut far));
    dialed.unwrap();
    assert_eq!(under_way.len(), unproven_max);
}
