//! The provider's side: reads the request, waits for the engine's decision, and sends the patch from its file.
//!
//! The engine hears of a stream when its request has come, with a have-list behind it if the request names one. Until
//! it decides, the requester hears every few seconds that the node is at work. A patch that is just arriving here is
//! sent frame by frame, as soon as each frame is on disk. The payloads of a whole layer at *plain* are made from it,
//! the next ones while one is sent. Each frame is checked against the header before it goes out.
//! A stream is over when the requester has all and says so: QUIC takes megabytes before the first packet leaves.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt, TryStreamExt, stream};
use lighter_engine::{DiskInput, PeerInput, StreamId};
use lighter_patch::{Header, plain_payload};
use lighter_store::{PatchReader, Store};
use lighter_streams::Place;
use lighter_types::{Bytes, BytesPerSecond, Link, PatchId, PeerId, ReadAt};
use lighter_wire::{FrameOrder, PatchReply, PatchRequest, Refusal};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::lists::receive;
use super::{CHUNK_TIMEOUT, HANDSHAKE_TIMEOUT, REQUEST_BYTES_MAX, busy_reply, framed, read_message, write_message};
use crate::arrivals::Arriving;
use crate::config::Rate;
use crate::damage::{OpenLayer, find_damaged};
use crate::defects;
use crate::event::{Event, Order};
use crate::faults::Worker;
use crate::headers;
use crate::links::Stopwatch;
use crate::shared::{FileBase, Shared};
use crate::traffic::Direction;

/// Bytes of a patch that are sent before the other side must have taken some.
const CHUNK_BYTES: usize = 256 << 10;
/// QUIC takes this much at most that the requester does not have yet.
const BUFFERED_MAX: Bytes = Bytes(3 << 20);
/// A requester gets what is on its way at this rate at least, after this time.
const LAST_BYTES_RATE: BytesPerSecond = BytesPerSecond(4096);
const LAST_BYTES_GRACE: Duration = Duration::from_secs(30);
/// The requester is told at least this often that its patch is being made.
const WORKING_EVERY: Duration = Duration::from_secs(5);
/// And so soon for the first time that a frame is waited for.
const WORKING_FIRST: Duration = Duration::from_secs(1);
/// Frames that are read, or made from their layer, while the frame before them is sent.
const FRAMES_AHEAD: usize = 2;
/// Orders that wait; progress beyond this is left out.
const ORDERS_WAITING: usize = 8;

/// Serves one stream until it is over. The engine hears of it when its request has come; until then it has a share of
/// what this peer's streams may hold.
pub async fn serve(id: StreamId, from: PeerId, mut stream: libp2p::Stream, share: Place, shared: Arc<Shared>) {
    let request = timeout(HANDSHAKE_TIMEOUT, read_message::<PatchRequest>(&mut stream)).await;
    let Ok(Ok(request)) = request else { return };
    // Held until the stream is over.
    let mut _list = None;
    let mut _place = None;
    if let Some(name) = request.have {
        let Some(place) = shared.lists.place(from) else {
            let refusing = lighter_streams::refuse(stream, busy_reply(0), REQUEST_BYTES_MAX);
            // A peer that does not take its reply gets no other.
            let _ = timeout(CHUNK_TIMEOUT, refusing).await;
            return;
        };
        _place = Some(place);
        match timeout(CHUNK_TIMEOUT, receive(&mut stream, name)).await {
            Ok(Ok(list)) => _list = Some(shared.lists.keep(list)),
            Ok(Err(error)) => return tracing::debug!(peer = %from, %error, "a have-list did not come"),
            Err(_) => return,
        }
    }
    drop(share);
    let (sender, orders) = mpsc::channel(ORDERS_WAITING);
    let opened = Event::StreamOpened { stream: id, from, request: request.clone(), orders: sender };
    if shared.events.send(opened).await.is_err() {
        return;
    }
    if let Err(error) = follow((id, from), &request, &mut stream, orders, &shared).await {
        tracing::debug!(peer = %from, %error, "a patch stream broke");
    }
}

async fn follow(
    (id, from): (StreamId, PeerId),
    request: &PatchRequest,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    mut orders: mpsc::Receiver<Order>,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    let mut done = Bytes::ZERO;
    loop {
        let order = match timeout(WORKING_EVERY, orders.recv()).await {
            Ok(Some(order)) => order,
            // The node is stopping.
            Ok(None) => Order::Refuse(Refusal::Stopping),
            Err(_) => Order::Working { done },
        };
        match order {
            Order::Working { done: so_far } => {
                done = so_far;
                within(write_message(stream, &PatchReply::Working { done })).await?;
            }
            Order::Refuse(refusal) => {
                within(write_message(stream, &PatchReply::Refused(refusal))).await?;
                return within(stream.close()).await;
            }
            Order::Refer { to, patch, settings, addresses } => {
                let referred = PatchReply::Referred { peer: to, patch, settings, addresses };
                within(write_message(stream, &referred)).await?;
                return within(stream.close()).await;
            }
            Order::Serve { patch, first_frame } => {
                shared.faults.strike(Worker::ServeStream);
                let stopwatch = Stopwatch::start(&shared.accountant, from, Direction::Sent);
                let asked = Asked { patch, first_frame, order: request.order_of(patch) };
                if let Some(source) = send(stream, asked, shared).await? {
                    let link = seen(from, &source, &stopwatch, shared);
                    shared.input(PeerInput::StreamServed { stream: id, link }).await;
                }
                return Ok(());
            }
        }
    }
}

/// The link, as a transfer that ended showed it. A patch that still came went out no faster than it came. QUIC knows
/// the path's rate, and the cap on uploads lies above QUIC.
fn seen(to: PeerId, source: &Source, stopwatch: &Stopwatch<'_>, shared: &Shared) -> Link {
    let link = shared.links.seen(to);
    let up = if shared.links.is_quic(to) { link.up } else { stopwatch.rate() };
    let (Rate(upload_max), _) = shared.accountant.limits();
    let up = up.map(|rate| capped(rate, upload_max));
    Link { up: up.filter(|_| !matches!(source, Source::Arriving(_))), ..link }
}

/// A rate under the cap on uploads.
fn capped(rate: BytesPerSecond, upload_max: Option<BytesPerSecond>) -> BytesPerSecond {
    upload_max.map_or(rate, |max| rate.min(max))
}

/// The frames of a patch that a requester lacks.
#[derive(Clone, Copy)]
struct Asked {
    patch: PatchId,
    first_frame: u32,
    order: FrameOrder,
}

impl Asked {
    /// The frames to send of so many, and the first of them as the reply names it.
    fn frames(self, count: u32) -> (u32, Vec<u32>) {
        match self.order {
            FrameOrder::Up => {
                let first = if self.first_frame <= count { self.first_frame } else { 0 };
                (first, (first..count).collect())
            }
            FrameOrder::Down => {
                let before = self.first_frame.min(count);
                (before, (0..before).rev().collect())
            }
        }
    }
}

/// Sends what the requester lacks of the patch, and waits until it has it; the source it was read from. `None` if there
/// is no such patch.
async fn send(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    asked: Asked,
    shared: &Arc<Shared>,
) -> io::Result<Option<Source>> {
    let patch = asked.patch;
    let opened = match shared.arrivals.get(patch) {
        Some(arriving) => Some(Source::Arriving(arriving)),
        None => {
            let (store, view) = (shared.store.clone(), shared.views.get(patch));
            blocking(move || match view {
                Some(header) => Ok(open_view(&store, header)),
                None => open(&store, patch),
            })
            .await?
        }
    };
    let Some(mut source) = opened else {
        shared.input(DiskInput::PatchGone(patch)).await;
        within(write_message(stream, &PatchReply::Refused(Refusal::Failed))).await?;
        within(stream.close()).await?;
        return Ok(None);
    };
    let _under_way = shared.under_way.begin();
    let header = source.header();
    let (first_frame, frames) = asked.frames(header.frames().len() as u32);
    let (mut reader, mut writer) = stream.split();
    // The requester sends nothing more; it closes its side.
    let mut end = [0];
    let mut ended = std::pin::pin!(reader.read(&mut end));
    let sent = {
        let sending = send_frames(&mut writer, asked.patch, (first_frame, frames), &mut source, shared);
        // The requester may have had the rest of a long patch from another peer.
        let may_end = header.patch_bytes() >= lighter_engine::Settings::TAIL_BYTES_MIN;
        tokio::select! {
            biased;
            end = &mut ended, if may_end => match end? {
                0 => return Ok(Some(source)),
                _ => return Err(io::ErrorKind::InvalidData.into()),
            },
            sent = sending => sent,
        }
    };
    if let Err(Unsent { error, frame }) = sent {
        if let Some(frame) = frame {
            leave_damaged(patch, frame, source, shared).await?;
        }
        return Err(error);
    }
    let wait = LAST_BYTES_GRACE + header.patch_bytes().min(BUFFERED_MAX).at(LAST_BYTES_RATE);
    timeout(wait, ended).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(Some(source))
}

/// Why frames were not sent: the frame that is damaged on disk, if that is why.
struct Unsent {
    error: io::Error,
    frame: Option<u32>,
}

impl From<io::Error> for Unsent {
    fn from(error: io::Error) -> Self {
        Self { error, frame: None }
    }
}

/// Sends the header and these frames, and ends this side of the stream.
async fn send_frames(
    writer: &mut (impl AsyncWrite + Unpin),
    patch: PatchId,
    (first_frame, frames): (u32, Vec<u32>),
    source: &mut Source,
    shared: &Shared,
) -> Result<(), Unsent> {
    let bytes = source.header().encode();
    let start = PatchReply::Start { patch, header_bytes: bytes.len() as u32, first_frame };
    within(write_message(writer, &start)).await?;
    within(writer.write_all(&bytes)).await?;
    let reading = source.clone();
    // A frame that still comes is not read before it is here.
    let at_once = if let Source::View(_) = source { 1 + FRAMES_AHEAD } else { 1 };
    let payloads = stream::iter(frames.clone()).map(|index| read_frame(&reading, index, shared)).buffered(at_once);
    let mut payloads = std::pin::pin!(payloads);
    for index in frames {
        if let Source::Arriving(arriving) = source {
            until_here(writer, arriving, index).await?;
        }
        let Some(payload) = payloads.try_next().await?.flatten() else {
            return Err(Unsent { error: io::ErrorKind::InvalidData.into(), frame: Some(index) });
        };
        within(writer.write_all(&framed(&PatchReply::Frame)?)).await?;
        for chunk in payload.chunks(CHUNK_BYTES) {
            within(writer.write_all(chunk)).await?;
        }
    }
    Ok(within(writer.close()).await?)
}

/// Waits for a frame of a patch that still comes, and tells the requester how much of the patch is here. Over a thin
/// uplink a frame takes minutes.
async fn until_here(writer: &mut (impl AsyncWrite + Unpin), arriving: &mut Arriving, index: u32) -> io::Result<()> {
    let mut patience = WORKING_FIRST;
    loop {
        match timeout(patience, arriving.has(index)).await {
            Ok(true) => return Ok(()),
            Ok(false) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(_) => {
                let done = arriving.growth.done();
                within(write_message(writer, &PatchReply::Working { done })).await?;
                patience = WORKING_EVERY;
            }
        }
    }
}

/// A patch is damaged on disk: the node makes it again when it is wanted.
async fn leave_damaged(patch: PatchId, frame: u32, source: Source, shared: &Arc<Shared>) -> io::Result<()> {
    tracing::error!(%patch, frame, "a cached patch is damaged on disk; it is dropped and made again");
    // A stream that also serves it keeps it for now, and comes here too.
    let of = shared.clone();
    let _ = blocking(move || {
        if let Source::View(view) = &source {
            of.views.remove(patch);
            // Or the header is not of this encoder, whose payloads are others then.
            find_damaged([&view.0], &of);
        }
        drop(source);
        Ok(of.store.remove_patch(&patch))
    })
    .await?;
    shared.input(DiskInput::PatchGone(patch)).await;
    Ok(())
}

/// The source that a patch is read from.
#[derive(Clone)]
enum Source {
    /// Its file, leased.
    Cached(Arc<(PatchReader, Arc<Header>)>),
    /// The layer itself, leased: every payload is made from a range of it.
    View(Arc<(OpenLayer, Arc<Header>)>),
    Arriving(Arriving),
}

impl Source {
    fn header(&self) -> Arc<Header> {
        match self {
            Self::Cached(cached) => cached.1.clone(),
            Self::View(view) => view.1.clone(),
            Self::Arriving(arriving) => arriving.header.clone(),
        }
    }

    /// A frame's payload, as it is there.
    fn payload(&self, index: u32) -> io::Result<Vec<u8>> {
        let header = self.header();
        let frame = header.frame(index).ok_or(io::ErrorKind::InvalidInput)?;
        let mut payload = vec![0; frame.payload_bytes as usize];
        match self {
            Self::Cached(cached) => cached.0.file().read_exact_at(&mut payload, frame.payload_offset)?,
            Self::View(view) => return plain_payload(&header, index, &view.0.1).map_err(io::Error::other),
            Self::Arriving(arriving) => arriving.read_exact_at(index, frame, &mut payload)?,
        }
        Ok(payload)
    }
}

/// A frame's payload; `None` if it cannot be read or is not what the header names: the receiver would take this node
/// for a liar. All streams together make as many payloads at a time as the machine has cores.
async fn read_frame(source: &Source, index: u32, shared: &Shared) -> io::Result<Option<Vec<u8>>> {
    let is_made = matches!(source, Source::View(_));
    let _turn = if is_made { shared.payload_makers.acquire().await.ok() } else { None };
    let source = source.clone();
    blocking(move || {
        let payload = source.payload(index).ok();
        Ok(payload.filter(|payload| lighter_patch::verify_frame(&source.header(), index, payload).is_ok()))
    })
    .await
}

/// A patch in the cache; `None` if it is not there any more, or damaged.
fn open(store: &Store, patch: PatchId) -> io::Result<Option<Source>> {
    let Ok(Some(reader)) = store.open_patch(&patch) else { return Ok(None) };
    let Ok(header) = headers::read(&reader).map(Arc::new) else { return Ok(None) };
    if headers::is_alone(&header, &reader) {
        return Ok(open_view(store, header));
    }
    Ok(Some(Source::Cached(Arc::new((reader, header)))))
}

/// A patch that is a view of its target; `None` if the layer is not held any more, or cannot be read.
fn open_view(store: &Store, header: Arc<Header>) -> Option<Source> {
    let layer = store.open_layer(&header.target()).ok().flatten()?;
    let layer = FileBase::new(layer).ok().filter(|layer| layer.len() == header.target_bytes())?;
    Some(Source::View(Arc::new(((header.target(), layer), header))))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        defects::task_failed("reading a patch", &error);
        io::Error::other(error)
    })?
}

async fn within(work: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    timeout(CHUNK_TIMEOUT, work).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_no_faster_than_the_cap_on_uploads() {
        let [slow, fast] = [1000, 5000].map(BytesPerSecond);
        assert_eq!(capped(fast, Some(slow)), slow);
        assert_eq!(capped(slow, Some(fast)), slow);
        assert_eq!(capped(fast, None), fast);
    }
}
