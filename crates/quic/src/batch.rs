//! A runtime for noq whose sockets hand several datagrams to the kernel in one call.
//!
//! noq-proto makes datagrams one by one, because its own batches can end the process (decision 17, "A panic"). The task
//! of a connection makes up to 20 of them in a turn. A [`Batch`] holds them until the turn ends, and sends those of one
//! length to one address in one call (UDP_SEGMENT of Linux): the kernel's work for a call is most of what a datagram
//! costs. A [`Turn`] wraps each task of noq; it knows when a turn ends, and sends what is left.
//!
//! Datagrams keep their order, and none waits longer than a turn, unless the socket is full. Without the kernel's help
//! (`max_transmit_segments` is 1) each one goes at once.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use noq::udp::{EcnCodepoint, RecvMeta, Transmit};
use noq::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime, UdpSender};

/// An IP packet has 65,535 bytes at most, its headers included; the kernel makes the batch as one.
const BATCH_BYTES_MAX: usize = 60_000;
/// The kernel's own limit (UDP_MAX_SEGMENTS in Linux before 6.8).
const BATCH_DATAGRAMS_MAX: usize = 64;

/// Datagrams that noq makes in a turn of a connection's task: `MAX_TRANSMIT_DATAGRAMS` of noq 1.4.
const TURN_DATAGRAMS: usize = 20;

thread_local! {
    /// The batches that got something in the turn that this thread runs. `None` outside a turn.
    static TURN: RefCell<Option<Vec<SharedBatch>>> = const { RefCell::new(None) };
}

type SharedBatch = Arc<Mutex<Batch>>;

/// tokio's runtime, with batches.
#[derive(Debug)]
pub struct BatchingRuntime;

impl Runtime for BatchingRuntime {
    fn new_timer(&self, at: std::time::Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        TokioRuntime.spawn(Box::pin(Turn { task: Some(task), unsent: Vec::new() }));
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Box<dyn AsyncUdpSocket>> {
        Ok(Box::new(BatchingSocket(TokioRuntime.wrap_udp_socket(socket)?)))
    }

    fn now(&self) -> std::time::Instant {
        TokioRuntime.now()
    }
}

/// A task of noq. Dropping it midway loses the datagrams that a full socket did not take.
struct Turn {
    /// `None` once it has ended.
    task: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Batches that a full socket did not take in an earlier turn, and those of this one.
    unsent: Vec<SharedBatch>,
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(mut task) = self.task.take() {
            let turn = TurnGuard::begin(std::mem::take(&mut self.unsent));
            let polled = task.as_mut().poll(cx);
            self.unsent = turn.end();
            if polled.is_pending() {
                self.task = Some(task);
            }
        }
        // An error is the socket's end. noq hears of it when it sends or receives next.
        self.unsent.retain(|batch| lock(batch).poll_flush(cx).is_pending());
        if self.task.is_none() && self.unsent.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Marks this thread as one that runs a turn, until it is dropped: also if the task panics.
struct TurnGuard;

impl TurnGuard {
    fn begin(unsent: Vec<SharedBatch>) -> Self {
        TURN.replace(Some(unsent));
        Self
    }

    fn end(self) -> Vec<SharedBatch> {
        TURN.take().unwrap_or_default()
    }
}

impl Drop for TurnGuard {
    fn drop(&mut self) {
        TURN.take();
    }
}

#[derive(Debug)]
struct BatchingSocket(Box<dyn AsyncUdpSocket>);

impl AsyncUdpSocket for BatchingSocket {
    fn create_sender(&self) -> Pin<Box<dyn UdpSender>> {
        Box::pin(BatchingSender(Arc::new(Mutex::new(Batch::new(self.0.create_sender())))))
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_recv(cx, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn max_receive_segments(&self) -> NonZeroUsize {
        self.0.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.0.may_fragment()
    }
}

/// Sends for one task of noq.
#[derive(Debug)]
struct BatchingSender(SharedBatch);

impl UdpSender for BatchingSender {
    fn poll_send(self: Pin<&mut Self>, transmit: &Transmit<'_>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        TURN.with_borrow_mut(|turn| {
            let mut batch = lock(&self.0);
            let Some(turn) = turn else { return batch.poll_send_now(transmit, cx) };
            let was_empty = batch.is_empty();
            let sent = batch.poll_send(transmit, cx);
            if was_empty && !batch.is_empty() {
                turn.push(self.0.clone());
            }
            sent
        })
    }

    // noq-proto makes one datagram at a time.
    fn max_transmit_segments(&self) -> NonZeroUsize {
        NonZeroUsize::MIN
    }
}

/// Whatever a panic left, the bytes are whole datagrams: they are appended in one step.
fn lock(batch: &SharedBatch) -> MutexGuard<'_, Batch> {
    batch.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Datagrams of one length to one address; the last one may be shorter.
#[derive(Debug)]
struct Batch {
    sender: Pin<Box<dyn UdpSender>>,
    bytes: Vec<u8>,
    datagrams: usize,
    way: Option<Way>,
    /// The length of each datagram but the last.
    length: usize,
}

/// All that datagrams of a batch have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    destination: SocketAddr,
    source: Option<IpAddr>,
    ecn: Option<EcnCodepoint>,
}

impl Way {
    fn of(transmit: &Transmit<'_>) -> Self {
        Self { destination: transmit.destination, source: transmit.src_ip, ecn: transmit.ecn }
    }
}

impl Batch {
    fn new(sender: Pin<Box<dyn UdpSender>>) -> Self {
        Self { sender, bytes: Vec::new(), datagrams: 0, way: None, length: 0 }
    }

    fn is_empty(&self) -> bool {
        self.datagrams == 0
    }

    /// Takes a datagram, or waits until the socket takes those before it.
    fn poll_send(&mut self, transmit: &Transmit<'_>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_single = transmit.segment_size.is_none();
        if !is_single || self.sender.max_transmit_segments() == NonZeroUsize::MIN {
            return self.poll_send_now(transmit, cx);
        }
        if !self.has_place_for(transmit) {
            ready!(self.poll_flush(cx))?;
            (self.way, self.length) = (Some(Way::of(transmit)), transmit.contents.len());
        }
        if self.datagrams == 1 {
            // A second one means a bulk. A turn has no more than these.
            self.bytes.reserve((TURN_DATAGRAMS - 1) * self.length);
        }
        self.bytes.extend_from_slice(transmit.contents);
        self.datagrams += 1;
        Poll::Ready(Ok(()))
    }

    /// Sends what waits, and then this.
    fn poll_send_now(&mut self, transmit: &Transmit<'_>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        self.sender.as_mut().poll_send(transmit, cx)
    }

    /// A search for the MTU is one datagram that is longer than the others. Where it does not fit the interface, the
    /// kernel refuses all that goes with it, and noq takes that for a lack of segmentation. So a shorter datagram
    /// follows two of one length only.
    fn has_place_for(&self, transmit: &Transmit<'_>) -> bool {
        let length = transmit.contents.len();
        let most = self.sender.max_transmit_segments().get().min(BATCH_DATAGRAMS_MAX);
        let is_whole = self.bytes.len() == self.datagrams * self.length;
        !self.is_empty()
            && is_whole
            && self.way == Some(Way::of(transmit))
            && self.datagrams < most
            && self.bytes.len() + length <= BATCH_BYTES_MAX
            && (length == self.length || (length < self.length && self.datagrams > 1))
    }

    /// Sends all that waits. An error drops it, as a link drops datagrams.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(way) = self.way.filter(|_| !self.is_empty()) else { return Poll::Ready(Ok(())) };
        let transmit = Transmit {
            destination: way.destination,
            ecn: way.ecn,
            contents: &self.bytes,
            segment_size: (self.datagrams > 1).then_some(self.length),
            src_ip: way.source,
        };
        let sent = ready!(self.sender.as_mut().poll_send(&transmit, cx));
        // Not kept: thousands of idle connections would keep 29 KB each.
        self.bytes = Vec::new();
        self.datagrams = 0;
        Poll::Ready(sent)
    }
}

#[cfg(test)]
mod tests;
