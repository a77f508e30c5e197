//! Wraps a connection so that each of its substreams is counted and throttled.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};
use lighter_types::{Bytes, PeerId};
use tokio::time::Sleep;

use super::{Accountant, Direction, Protocol, Traffic};

/// A connection to one peer.
pub struct MeteredMuxer {
    inner: StreamMuxerBox,
    peer: Option<PeerId>,
    accountant: Accountant,
}

impl MeteredMuxer {
    /// `peer` is `None` for one whose key is not ed25519; it is counted with the unknown.
    pub fn new(inner: StreamMuxerBox, peer: Option<PeerId>, accountant: Accountant) -> Self {
        Self { inner, peer, accountant }
    }

    fn wrap(&self, inner: SubstreamBox) -> MeteredStream {
        MeteredStream {
            inner,
            peer: self.peer,
            accountant: self.accountant.clone(),
            protocol: Protocol::Other,
            negotiation: Some(Negotiation::default()),
            read_pause: None,
            write_pause: None,
        }
    }
}

impl StreamMuxer for MeteredMuxer {
    type Substream = MeteredStream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<MeteredStream>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_inbound(cx))?;
        if let Some(peer) = self.peer {
            self.accountant.openings.count(peer);
        }
        Poll::Ready(Ok(self.wrap(stream)))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<MeteredStream>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_outbound(cx))?;
        Poll::Ready(Ok(self.wrap(stream)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// One substream.
pub struct MeteredStream {
    inner: SubstreamBox,
    peer: Option<PeerId>,
    accountant: Accountant,
    protocol: Protocol,
    /// Until the protocol is known, or too many bytes went by without a name.
    negotiation: Option<Negotiation>,
    read_pause: Option<Pin<Box<Sleep>>>,
    write_pause: Option<Pin<Box<Sleep>>>,
}

/// The first bytes in both directions: multistream-select names the protocol in them in plain text.
#[derive(Default)]
struct Negotiation {
    seen: Vec<u8>,
    traffic: Traffic,
}

/// The negotiation of our longest protocol name is done within these bytes of both directions.
const NEGOTIATION_BYTES_MAX: usize = 512;

impl Negotiation {
    fn protocol(&self) -> Option<Protocol> {
        let names = [
            (lighter_wire::PATCH_PROTOCOL, Protocol::Patch),
            (lighter_wire::ASK_PROTOCOL, Protocol::Ask),
            (lighter_wire::GOSSIP_PROTOCOL, Protocol::Gossip),
            ("/ipfs/id/", Protocol::Identify),
            ("/ipfs/ping/", Protocol::Ping),
        ];
        names.into_iter().find(|(name, _)| self.has_seen(name)).map(|(_, protocol)| protocol)
    }

    fn has_seen(&self, name: &str) -> bool {
        self.seen.windows(name.len()).any(|window| window == name.as_bytes())
    }
}

impl MeteredStream {
    fn transferred(&mut self, direction: Direction, bytes: &[u8]) {
        self.accountant.bucket(direction).take(bytes.len());
        self.accountant.count(self.peer, self.protocol, direction, bytes.len());
        if let (Some(peer), Protocol::Gossip, Direction::Received) = (self.peer, self.protocol, direction) {
            self.accountant.openings.gossip(peer, bytes.len());
        }
        let Some(negotiation) = &mut self.negotiation else { return };
        match direction {
            Direction::Sent => negotiation.traffic.sent += Bytes(bytes.len() as u64),
            Direction::Received => negotiation.traffic.received += Bytes(bytes.len() as u64),
        }
        let room = NEGOTIATION_BYTES_MAX - negotiation.seen.len();
        negotiation.seen.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if let Some(protocol) = negotiation.protocol() {
            self.accountant.reassign(self.peer, protocol, negotiation.traffic);
            self.protocol = protocol;
            self.negotiation = None;
        } else if negotiation.seen.len() == NEGOTIATION_BYTES_MAX {
            self.negotiation = None;
        }
    }

    /// Waits until the cap allows at least one byte; how many at most.
    fn poll_allowed(&mut self, direction: Direction, wanted: usize, cx: &mut Context<'_>) -> Poll<usize> {
        let bucket = self.accountant.bucket(direction).clone();
        let pause = match direction {
            Direction::Sent => &mut self.write_pause,
            Direction::Received => &mut self.read_pause,
        };
        loop {
            if let Some(sleep) = pause {
                ready!(sleep.as_mut().poll(cx));
                *pause = None;
            }
            match bucket.available(wanted, Instant::now()) {
                Ok(bytes) => return Poll::Ready(bytes),
                Err(wait) => *pause = Some(Box::pin(tokio::time::sleep(wait))),
            }
        }
    }
}

impl AsyncRead for MeteredStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let allowed = ready!(self.poll_allowed(Direction::Received, buffer.len(), cx));
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer[..allowed]))?;
        self.transferred(Direction::Received, &buffer[..read]);
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for MeteredStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let allowed = ready!(self.poll_allowed(Direction::Sent, bytes.len(), cx));
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &bytes[..allowed]))?;
        self.transferred(Direction::Sent, &bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
