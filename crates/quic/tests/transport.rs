//! Two endpoints over loopback: with each other, and with libp2p's own QUIC transport.
//!
//! Both directions are tried: who dials and who listens take other paths. Each test binds a port of its own, which the
//! machine chooses.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::UdpSocket;
use std::pin::Pin;
use std::time::Duration;

use futures::future::poll_fn;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p::core::Endpoint;
use libp2p::core::StreamMuxer as _;
use libp2p::core::muxing::{StreamMuxerBox, SubstreamBox};
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, PortUse, TransportEvent};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, Transport as _};
use lighter_quic::{Config, Transport};

type Any = Boxed<(PeerId, StreamMuxerBox)>;

fn ours(keys: &Keypair) -> Any {
    let transport = Transport::new(&Config::default(), keys).unwrap();
    transport.map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection))).boxed()
}

fn libp2ps(keys: &Keypair) -> Any {
    let transport = libp2p::quic::tokio::Transport::new(libp2p::quic::Config::new(keys));
    transport.map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection))).boxed()
}

async fn event(transport: &mut Any) -> TransportEvent<<Any as libp2p::Transport>::ListenerUpgrade, std::io::Error> {
    poll_fn(|cx| Pin::new(&mut *transport).poll(cx)).await
}

async fn listen(transport: &mut Any, address: &str) -> (ListenerId, Multiaddr) {
    let id = ListenerId::next();
    transport.listen_on(id, address.parse().unwrap()).unwrap();
    match event(transport).await {
        TransportEvent::NewAddress { listener_id, listen_addr } if listener_id == id => (id, listen_addr),
        other => panic!("{other:?}"),
    }
}

const REUSE: DialOpts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };

type Side = (PeerId, StreamMuxerBox);

/// Connects both; gives the dialer's side, then the listener's.
async fn connect(dialer: &mut Any, listener: &mut Any, address: Multiaddr) -> (Side, Side) {
    let dialing = dialer.dial(address, REUSE).unwrap();
    let accepting = async {
        match event(listener).await {
            TransportEvent::Incoming { upgrade, .. } => upgrade.await.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let (dialed, accepted) = futures::join!(dialing, accepting);
    (dialed.unwrap(), accepted)
}

async fn open(connection: &mut StreamMuxerBox) -> SubstreamBox {
    poll_fn(|cx| Pin::new(&mut *connection).poll_outbound(cx)).await.unwrap()
}

async fn accept(connection: &mut StreamMuxerBox) -> SubstreamBox {
    poll_fn(|cx| Pin::new(&mut *connection).poll_inbound(cx)).await.unwrap()
}

/// Sends `bytes` and reads them back, whichever end opened the stream.
async fn echo(near: &mut StreamMuxerBox, far: &mut StreamMuxerBox, bytes: usize) {
    let sent: Vec<u8> = (0..bytes).map(|index| (index * 7 % 251) as u8).collect();
    let ask = async {
        let mut stream = open(near).await;
        let mut received = Vec::new();
        stream.write_all(&sent).await.unwrap();
        stream.close().await.unwrap();
        stream.read_to_end(&mut received).await.unwrap();
        received
    };
    let answer = async {
        let mut stream = accept(far).await;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        stream.write_all(&all).await.unwrap();
        stream.close().await.unwrap();
    };
    let (received, ()) = futures::join!(ask, answer);
    assert!(received == sent, "{} bytes of {bytes}", received.len());
}

async fn check(dialer: fn(&Keypair) -> Any, listener: fn(&Keypair) -> Any, address: &str) {
    let keys = [Keypair::generate_ed25519(), Keypair::generate_ed25519()];
    let [mut near, mut far] = [dialer(&keys[0]), listener(&keys[1])];
    let (_, address) = listen(&mut far, address).await;
    let ((far_peer, mut dialed), (near_peer, mut accepted)) = connect(&mut near, &mut far, address).await;
    assert_eq!([near_peer, far_peer], [0, 1].map(|index: usize| keys[index].public().to_peer_id()));
    // More than a window, in both directions, opened by both ends.
    echo(&mut dialed, &mut accepted, 8 << 20).await;
    echo(&mut accepted, &mut dialed, 1000).await;
}

#[tokio::test]
async fn two_ends_talk_over_ip4() {
    check(ours, ours, "/ip4/127.0.0.1/udp/0/quic-v1").await;
}

#[tokio::test]
async fn two_ends_talk_over_ip6() {
    check(ours, ours, "/ip6/::1/udp/0/quic-v1").await;
}

#[tokio::test]
async fn it_dials_libp2ps_own_transport() {
    check(ours, libp2ps, "/ip4/127.0.0.1/udp/0/quic-v1").await;
}

#[tokio::test]
async fn libp2ps_own_transport_dials_it() {
    check(libp2ps, ours, "/ip4/127.0.0.1/udp/0/quic-v1").await;
}

#[tokio::test]
async fn a_listener_everywhere_names_addresses_that_can_be_dialled() {
    let mut transport = ours(&Keypair::generate_ed25519());
    let (_, address) = listen(&mut transport, "/ip4/0.0.0.0/udp/0/quic-v1").await;
    let text = address.to_string();
    assert!(!text.contains("0.0.0.0") && !text.contains("/udp/0/"), "{text}");
}

#[tokio::test]
async fn both_families_listen_on_one_port() {
    let mut transport = ours(&Keypair::generate_ed25519());
    let (_, four) = listen(&mut transport, "/ip4/127.0.0.1/udp/0/quic-v1").await;
    let six = four.to_string().replace("/ip4/127.0.0.1", "/ip6/::1");
    // Another process may have this port of the other family; this one may not.
    if UdpSocket::bind(("::1", 0)).is_ok() {
        transport.listen_on(ListenerId::next(), six.parse().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn a_dial_goes_out_of_the_listeners_port() {
    let mut near = ours(&Keypair::generate_ed25519());
    let mut far = ours(&Keypair::generate_ed25519());
    let (_, near_address) = listen(&mut near, "/ip4/127.0.0.1/udp/0/quic-v1").await;
    let (_, far_address) = listen(&mut far, "/ip4/127.0.0.1/udp/0/quic-v1").await;
    let dialing = near.dial(far_address, REUSE).unwrap();
    let accepting = async {
        match event(&mut far).await {
            TransportEvent::Incoming { upgrade, send_back_addr, .. } => (upgrade.await.unwrap(), send_back_addr),
            other => panic!("{other:?}"),
        }
    };
    let (dialed, (_, seen)) = futures::join!(dialing, accepting);
    dialed.unwrap();
    assert_eq!(seen, near_address);
}

#[tokio::test]
async fn a_listener_that_is_removed_says_so_and_hears_no_more() {
    let mut near = ours(&Keypair::generate_ed25519());
    let mut far = ours(&Keypair::generate_ed25519());
    let (id, address) = listen(&mut far, "/ip4/127.0.0.1/udp/0/quic-v1").await;
    assert!(far.remove_listener(id));
    assert!(!far.remove_listener(id));
    assert!(matches!(event(&mut far).await, TransportEvent::ListenerClosed { listener_id, .. } if listener_id == id));
    assert!(event(&mut far).now_or_never().is_none(), "nothing more to tell");
    let config = Config { handshake_timeout: Duration::from_millis(300), ..Config::default() };
    let mut hasty = Transport::new(&config, &Keypair::generate_ed25519()).unwrap();
    assert!(hasty.dial(address.clone(), REUSE).unwrap().await.is_err());
    drop(near.dial(address, REUSE));
}

#[tokio::test]
async fn addresses_of_other_transports_are_left_to_them() {
    let mut transport = ours(&Keypair::generate_ed25519());
    for address in ["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/0.0.0.0/udp/1/quic-v1"] {
        assert!(transport.dial(address.parse().unwrap(), REUSE).is_err(), "{address}");
    }
    assert!(transport.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/1".parse().unwrap()).is_err());
}

/// One direction ends while the other goes on.
#[tokio::test]
async fn a_stream_is_closed_by_halves() {
    let mut near = ours(&Keypair::generate_ed25519());
    let mut far = ours(&Keypair::generate_ed25519());
    let (_, address) = listen(&mut far, "/ip4/127.0.0.1/udp/0/quic-v1").await;
    let ((_, mut dialed), (_, mut accepted)) = connect(&mut near, &mut far, address).await;
    let mut stream = open(&mut dialed).await;
    stream.write_all(b"question").await.unwrap();
    stream.close().await.unwrap();
    stream.close().await.unwrap();
    assert!(stream.write_all(b"more").await.is_err());
    let mut other = accept(&mut accepted).await;
    let mut question = Vec::new();
    other.read_to_end(&mut question).await.unwrap();
    other.write_all(b"answer").await.unwrap();
    drop(other);
    let mut answer = Vec::new();
    let end = stream.read_to_end(&mut answer).await;
    assert_eq!(question, b"question");
    assert!(end.is_err() || answer == b"answer", "a stream that is dropped without close is reset");
}
