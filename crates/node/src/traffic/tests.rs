//! The account that each byte is counted in.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::poll_fn;
use futures::io::Cursor;
use libp2p::core::StreamMuxer;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerEvent};

use super::*;

fn peer(seed: u8) -> Option<PeerId> {
    Some(PeerId::new([seed; 32]))
}

#[test]
fn sums_by_peer_and_protocol() {
    let accountant = Accountant::new(Rate::UNLIMITED, Rate::UNLIMITED);
    accountant.count(peer(1), Protocol::Patch, Direction::Sent, 10);
    accountant.count(peer(1), Protocol::Ask, Direction::Received, 5);
    accountant.count(peer(2), Protocol::Patch, Direction::Sent, 3);
    assert_eq!(accountant.total(), Traffic { sent: Bytes(13), received: Bytes(5) });
    assert_eq!(accountant.of_protocol(Protocol::Patch).sent, Bytes(13));
    assert_eq!(accountant.of_peer(PeerId::new([1; 32])), Traffic { sent: Bytes(10), received: Bytes(5) });
}

#[test]
fn negotiation_is_counted_with_its_protocol() {
    let accountant = Accountant::new(Rate::UNLIMITED, Rate::UNLIMITED);
    accountant.count(peer(1), Protocol::Other, Direction::Sent, 40);
    accountant.reassign(peer(1), Protocol::Gossip, Traffic { sent: Bytes(40), received: Bytes(0) });
    assert_eq!(accountant.of_protocol(Protocol::Other), Traffic::default());
    assert_eq!(accountant.of_protocol(Protocol::Gossip).sent, Bytes(40));
}

#[test]
fn beyond_the_cap_peers_are_counted_together() {
    let accountant = full();
    accountant.count(peer(255), Protocol::Ping, Direction::Sent, 10);
    assert_eq!(accountant.total().sent, Bytes(ACCOUNTS_MAX as u64 + 10));
    assert_eq!(accountant.of_peer(PeerId::new([255; 32])), Traffic::default());
    assert!(accountant.traffic().len() <= ACCOUNTS_MAX + 1);
}

#[test]
fn beyond_the_cap_negotiation_is_counted_once() {
    let accountant = full();
    let before = accountant.total().sent;
    accountant.count(peer(255), Protocol::Other, Direction::Sent, 40);
    accountant.reassign(peer(255), Protocol::Gossip, Traffic { sent: Bytes(40), received: Bytes(0) });
    assert_eq!(accountant.total().sent, before + Bytes(40));
    assert_eq!(accountant.of_protocol(Protocol::Other), Traffic::default());
    assert_eq!(accountant.of_protocol(Protocol::Gossip).sent, Bytes(40));
}

const ACCOUNTS_MAX: usize = PEERS_MAX * Protocol::ALL.len();

/// An accountant that tells no more peers apart: each of so many sent a byte.
fn full() -> Accountant {
    let accountant = Accountant::new(Rate::UNLIMITED, Rate::UNLIMITED);
    for number in 0..ACCOUNTS_MAX as u64 {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        accountant.count(Some(PeerId::new(key)), Protocol::Ping, Direction::Sent, 1);
    }
    accountant
}

/// A connection on which the peer opens streams without end.
struct Flood;

impl StreamMuxer for Flood {
    type Substream = Cursor<Vec<u8>>;
    type Error = io::Error;

    fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
        Poll::Ready(Ok(Cursor::default()))
    }

    fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn streams_that_a_peer_opens_are_counted() {
    let accountant = Accountant::new(Rate::UNLIMITED, Rate::UNLIMITED);
    let mut muxer = MeteredMuxer::new(StreamMuxerBox::new(Flood), peer(1), accountant.clone());
    for _ in 0..7 {
        poll_fn(|cx| Pin::new(&mut muxer).poll_inbound(cx)).await.unwrap();
    }
    assert_eq!(accountant.openings.take().into_iter().collect::<Vec<_>>(), [(PeerId::new([1; 32]), 7)]);
    assert!(accountant.openings.take().is_empty());
}

#[test]
fn gossip_of_a_peer_is_counted_by_its_bytes() {
    let openings = Openings::default();
    let (one, other) = (PeerId::new([1; 32]), PeerId::new([2; 32]));
    (0..1024).for_each(|_| openings.gossip(one, 300));
    openings.gossip(other, 200);
    openings.count(one);
    assert_eq!(openings.take().into_iter().collect::<Vec<_>>(), [(one, 301)]);
}
