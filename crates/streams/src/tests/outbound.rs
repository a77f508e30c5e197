//! Streams that are opened: many at once, to peers that are there and to those that are not.

use std::time::Duration;

use futures::future::join_all;

use super::*;
use crate::{OpenError, OpenStep};

#[tokio::test]
async fn many_streams_open_at_once_on_one_connection() {
    for kind in KINDS {
        let settings = Settings { queued_per_peer_max: 200, taken_per_peer_max: 200, ..Settings::default() };
        let (hub, incoming) = Peer::accepting(kind, settings).await;
        let peer = Peer::start(kind, Settings::default()).await;
        peer.meets(&hub).await;
        let serving = tokio::spawn(serve(incoming));
        let asking = (0..100).map(|_| async { ask(peer.control.open(hub.id).await.unwrap()).await.unwrap() });
        assert!(join_all(asking).await.iter().all(|reply| reply == SERVED), "{kind:?}");
        serving.abort();
    }
}

#[tokio::test]
async fn all_calls_fail_with_the_dial() {
    for kind in KINDS {
        let peer = Peer::start(kind, Settings::default()).await;
        let nobody = PeerId::random();
        let unknown = join_all((0..3).map(|_| peer.control.open(nobody))).await;
        assert!(unknown.iter().all(|result| matches!(result, Err(OpenError::Dial(_)))), "{unknown:?}");
        // Another peer is where the address leads.
        let other = Peer::start(kind, Settings::default()).await;
        peer.dials(nobody, other.address.clone()).await;
        let wrong = join_all((0..3).map(|_| peer.control.open(nobody))).await;
        assert!(wrong.iter().all(|result| matches!(result, Err(OpenError::Dial(_)))), "{wrong:?}");
        until(|| peer.control.held() == 0).await;
    }
}

/// An address where nobody answers, for as long as the listener lives.
fn silent() -> (std::net::TcpListener, Multiaddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
    (listener, address.parse().unwrap())
}

#[tokio::test]
async fn a_call_that_is_dropped_frees_its_place() {
    let (_listener, address) = silent();
    let peer = Peer::start(Kind::Tcp, Settings { opens_per_peer_max: 1, ..Settings::default() }).await;
    let other = PeerId::random();
    peer.dials(other, address).await;
    let mut first = Box::pin(peer.control.open(other));
    assert!(futures::poll!(&mut first).is_pending());
    assert_eq!(peer.control.open(other).await.unwrap_err(), OpenError::Busy);
    drop(first);
    assert!(futures::poll!(Box::pin(peer.control.open(other))).is_pending());
    assert_eq!(peer.control.held(), 0);
}

#[tokio::test]
async fn the_step_that_took_too_long_is_told() {
    let (_listener, address) = silent();
    let settings = Settings { open_timeout: Duration::from_millis(50), ..Settings::default() };
    let peer = Peer::start(Kind::Tcp, settings).await;
    let other = PeerId::random();
    peer.dials(other, address).await;
    let error = peer.control.open(other).await.unwrap_err();
    assert_eq!(error, OpenError::TimedOut { step: OpenStep::Dialling });
    assert_eq!(error.to_string(), "the time was over while the peer was dialled");
}

#[tokio::test]
async fn a_peer_without_the_protocol_is_told_apart() {
    let hub = Peer::start(Kind::Memory, Settings::default()).await;
    let eager = Peer::run(Kind::Memory, swarm(Kind::Memory, Settings::default(), Version::V1)).await;
    eager.meets(&hub).await;
    assert_eq!(eager.control.open(hub.id).await.unwrap_err(), OpenError::Unsupported);
}

#[tokio::test]
async fn calls_and_the_taker_end_with_the_behaviour() {
    let (_listener, address) = silent();
    let (peer, mut incoming) = Peer::accepting(Kind::Tcp, Settings::default()).await;
    let other = PeerId::random();
    peer.dials(other, address).await;
    let control = peer.control.clone();
    let mut call = Box::pin(control.open(other));
    assert!(futures::poll!(&mut call).is_pending());
    drop(peer);
    assert_eq!(call.await.unwrap_err(), OpenError::Stopped);
    assert!(incoming.next().await.is_none());
    assert_eq!(control.open(other).await.unwrap_err(), OpenError::Stopped);
    assert_eq!(control.held(), 0);
}
