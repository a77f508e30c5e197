//! Streams that come: each is served or refused, in fair turns, and nothing is kept of a peer that went.
//!
//! A hub accepts, and peers open. The hub's counts say when all streams came: only then does a test take some or look
//! at the replies, so that the queue is as full as the test wants it.

use std::time::Duration;

use futures::future::join_all;

use super::*;
use crate::is_unsupported;

/// 30 peers open 342 streams at the same moment, and nobody takes any until all of them came.
async fn check_storm(kind: Kind, settings: Settings, busy_min: usize) {
    const STREAMS: usize = 342;
    let (hub, incoming) = Peer::accepting(kind, settings).await;
    let mut peers = Vec::new();
    for _ in 0..30 {
        let peer = Peer::start(kind, Settings::default()).await;
        peer.meets(&hub).await;
        peers.push(peer);
    }
    let asking = (0..STREAMS).map(|index| {
        let control = &peers[index % peers.len()].control;
        async { ask(control.open(hub.id).await.unwrap()).await.unwrap() }
    });
    let serving = async {
        until(|| hub.control.counts().queued + hub.control.counts().busy as usize == STREAMS).await;
        serve(incoming).await;
    };
    let replies = tokio::select! {
        replies = join_all(asking) => replies,
        () = serving => panic!("the hub stopped"),
    };
    let served = replies.iter().filter(|reply| *reply == SERVED).count();
    let busy = replies.iter().filter(|reply| *reply == BUSY).count();
    assert_eq!(served + busy, STREAMS, "{kind:?}: some got neither");
    assert!(busy >= busy_min && served > 0, "{kind:?}: {busy} busy, {served} served");
    assert_eq!(hub.control.counts(), crate::Counts { queued: 0, busy: busy as u64, resets: 0 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_342_streams_at_once_none_is_lost() {
    for kind in KINDS {
        check_storm(kind, Settings::default(), 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_stream_beyond_the_queue_gets_busy() {
    for kind in KINDS {
        let settings = Settings { queued_max: 100, queued_per_peer_max: 4, ..Settings::default() };
        check_storm(kind, settings, 242).await;
    }
}

/// How a peer treats a stream that will be refused.
#[derive(Clone, Copy, Debug)]
enum Opener {
    Asks,
    /// Sends as much as is read of it before it reads: more than a window.
    SendsAll,
    /// Sends more than that, and reads meanwhile.
    SendsMore,
    ClosesItsSide,
    OnlyReads,
}

const READ_MAX: usize = 1 << 20;

/// The reply, without the end of the stream.
async fn reply_of(mut reader: impl futures::AsyncRead + Unpin) -> [u8; 1] {
    let mut reply = [0];
    reader.read_exact(&mut reply).await.unwrap();
    reply
}

#[tokio::test]
async fn the_opener_gets_the_busy_reply_whatever_it_sends() {
    for kind in KINDS {
        let settings = Settings { queued_max: 0, refusal_read_bytes_max: READ_MAX, ..Settings::default() };
        let (hub, _incoming) = Peer::accepting(kind, settings).await;
        let peer = Peer::start(kind, Settings::default()).await;
        peer.meets(&hub).await;
        use Opener::{Asks, ClosesItsSide, OnlyReads, SendsAll, SendsMore};
        for opener in [Asks, SendsAll, SendsMore, ClosesItsSide, OnlyReads] {
            let mut stream = peer.control.open(hub.id).await.unwrap();
            match opener {
                Asks => stream.write_all(b"request\n").await.unwrap(),
                SendsAll => stream.write_all(&vec![0; READ_MAX]).await.unwrap(),
                SendsMore => {
                    let (reader, mut writer) = stream.split();
                    let much = vec![0; 4 * READ_MAX];
                    // Sending comes to no end, or finds that nobody reads any more.
                    let mut sending = std::pin::pin!(async {
                        let _ = writer.write_all(&much).await;
                        std::future::pending::<()>().await;
                    });
                    tokio::select! {
                        reply = reply_of(reader) => assert_eq!(reply, BUSY, "{kind:?} {opener:?}"),
                        () = &mut sending => {}
                    }
                    continue;
                }
                ClosesItsSide => {
                    stream.write_all(b"request\n").await.unwrap();
                    stream.close().await.unwrap();
                }
                OnlyReads => {}
            }
            // A flush fails where writing did.
            let _ = stream.flush().await;
            assert_eq!(read(stream).await.unwrap(), BUSY, "{kind:?} {opener:?}");
        }
        assert_eq!(hub.control.counts().resets, 0);
    }
}

#[tokio::test]
async fn a_peer_that_opens_many_does_not_hold_up_another() {
    let settings = Settings { queued_per_peer_max: 8, taken_per_peer_max: 2, ..Settings::default() };
    let (hub, mut incoming) = Peer::accepting(Kind::Memory, settings).await;
    let (loud, calm) =
        (Peer::start(Kind::Memory, Settings::default()).await, Peer::start(Kind::Memory, Settings::default()).await);
    loud.meets(&hub).await;
    calm.meets(&hub).await;
    // Three hundred that say nothing but the protocol's name; the peer keeps them open.
    let mut silent = Vec::new();
    for index in 0..300 {
        let mut stream = loud.control.open(hub.id).await.unwrap();
        // A stream that was refused or reset cannot be written to.
        let _ = stream.flush().await;
        if index < 8 {
            until(|| hub.control.counts().queued == index + 1).await;
        }
        silent.push(stream);
    }
    until(|| turned_away(&hub.control) == 292).await;
    assert_eq!(hub.control.counts().queued, 8);
    let asking = tokio::spawn({
        let (control, hub) = (calm.control.clone(), hub.id);
        async move { ask(control.open(hub).await.unwrap()).await.unwrap() }
    });
    until(|| hub.control.counts().queued == 9).await;
    let (first, mut second) = (incoming.next().await.unwrap(), incoming.next().await.unwrap());
    assert_eq!((first.peer, second.peer), (loud.id, calm.id));
    second.stream.write_all(SERVED).await.unwrap();
    second.stream.close().await.unwrap();
    assert_eq!(asking.await.unwrap(), SERVED);
    let third = incoming.next().await.unwrap();
    assert_eq!(third.peer, loud.id);
    let mut fourth = take_now(&mut incoming);
    assert!(fourth.is_none(), "two of a peer are taken at a time");
    drop(first);
    fourth = take_now(&mut incoming);
    assert_eq!(fourth.map(|inbound| inbound.peer), Some(loud.id));
}

/// Streams that got the busy reply or were reset.
fn turned_away(control: &Control) -> u64 {
    let counts = control.counts();
    counts.busy + counts.resets
}

/// The stream that can be taken now.
fn take_now(incoming: &mut Incoming) -> Option<crate::Inbound> {
    futures::FutureExt::now_or_never(incoming.next()).flatten()
}

#[tokio::test]
async fn a_peer_that_keeps_its_side_open_holds_a_refusal_for_its_time_alone() {
    for kind in KINDS {
        let settings = Settings {
            queued_max: 0,
            refusals_per_connection_max: 2,
            refusal_timeout: Duration::from_millis(300),
            ..Settings::default()
        };
        let (hub, _incoming) = Peer::accepting(kind, settings).await;
        let peer = Peer::start(kind, Settings::default()).await;
        peer.meets(&hub).await;
        let mut streams = Vec::new();
        for _ in 0..5 {
            let mut stream = peer.control.open(hub.id).await.unwrap();
            let _ = stream.write_all(b"request\n").await;
            let _ = stream.flush().await;
            streams.push(stream);
        }
        until(|| turned_away(&hub.control) == 5).await;
        let counts = hub.control.counts();
        assert!(counts.busy >= 2, "{kind:?}: {counts:?}");
        // One connection is all that is left.
        until(|| hub.control.held() == 1).await;
        drop(streams);
    }
}

#[tokio::test]
async fn streams_of_a_peer_that_left_are_gone() {
    for kind in KINDS {
        let (hub, _incoming) = Peer::accepting(kind, Settings::default()).await;
        let peer = Peer::start(kind, Settings::default()).await;
        peer.meets(&hub).await;
        let mut streams = Vec::new();
        for _ in 0..10 {
            let mut stream = peer.control.open(hub.id).await.unwrap();
            stream.write_all(b"request\n").await.unwrap();
            stream.flush().await.unwrap();
            streams.push(stream);
        }
        until(|| hub.control.counts().queued == 10).await;
        let id = hub.id;
        peer.does(move |swarm| swarm.disconnect_peer_id(id).unwrap()).await;
        until(|| hub.control.counts().queued == 0 && hub.control.held() == 0).await;
    }
}

#[tokio::test]
async fn without_a_taker_the_protocol_is_not_offered() {
    for kind in KINDS {
        let (hub, incoming) = Peer::accepting(kind, Settings::default()).await;
        let peer = Peer::start(kind, Settings::default()).await;
        peer.meets(&hub).await;
        let mut early = peer.control.open(hub.id).await.unwrap();
        early.write_all(b"request\n").await.unwrap();
        early.flush().await.unwrap();
        until(|| hub.control.counts().queued == 1).await;
        drop(incoming);
        let error = read(early).await.err();
        assert!(error.is_none_or(|error| !is_unsupported(&error)), "{kind:?}: a stream that waited is reset");
        let error = ask(peer.control.open(hub.id).await.unwrap()).await.unwrap_err();
        assert!(is_unsupported(&error), "{kind:?}: {error:?}");
        assert_eq!(hub.control.counts().queued, 0);
    }
}
