//! The provider's side: reads the request, waits for the engine's decision, and sends the patch from its file.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncWrite, AsyncWriteExt};
use lighter_engine::{Input, StreamId};
use lighter_patch::Header;
use lighter_store::PatchReader;
use lighter_types::{Bytes, PatchId, PeerId};
use lighter_wire::{PatchReply, PatchRequest, Refusal};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{CHUNK_TIMEOUT, HANDSHAKE_TIMEOUT, read_message, write_message};
use crate::driver::Event;
use crate::shared::Shared;

/// What the engine wants done on a stream.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    Working { target_bytes_done: Bytes },
    Serve { patch: PatchId, first_frame: u32 },
    Refuse(Refusal),
}

/// How much of a patch is read and sent at a time.
const CHUNK_BYTES: u64 = 256 << 10;
/// The requester is told at least this often that its patch is being made.
const WORKING_EVERY: Duration = Duration::from_secs(5);
/// Orders that wait; progress beyond this is left out.
const ORDERS_WAITING: usize = 8;

/// Serves one stream and tells the engine when it is over. A stream whose request does not come ends unheard.
pub async fn serve(id: StreamId, from: PeerId, mut stream: libp2p::Stream, shared: Arc<Shared>) {
    let request = timeout(HANDSHAKE_TIMEOUT, read_message::<PatchRequest>(&mut stream)).await;
    let Ok(Ok(request)) = request else { return };
    let (sender, orders) = mpsc::channel(ORDERS_WAITING);
    let opened = Event::StreamOpened { stream: id, from, request, orders: sender };
    if shared.events.send(opened).await.is_err() {
        return;
    }
    if let Err(error) = follow(&mut stream, orders, &shared).await {
        tracing::debug!(peer = %from, %error, "a patch stream broke");
    }
    shared.input(Input::StreamClosed(id)).await;
}

async fn follow(
    stream: &mut (impl AsyncWrite + Unpin),
    mut orders: mpsc::Receiver<Order>,
    shared: &Shared,
) -> io::Result<()> {
    let mut done = Bytes::ZERO;
    loop {
        let order = match timeout(WORKING_EVERY, orders.recv()).await {
            Ok(Some(order)) => order,
            // The node is stopping.
            Ok(None) => Order::Refuse(Refusal::Stopping),
            Err(_) => Order::Working { target_bytes_done: done },
        };
        match order {
            Order::Working { target_bytes_done } => {
                done = target_bytes_done;
                within(write_message(stream, &PatchReply::Working { target_bytes_done })).await?;
            }
            Order::Refuse(refusal) => {
                within(write_message(stream, &PatchReply::Refused(refusal))).await?;
                return within(stream.close()).await;
            }
            Order::Serve { patch, first_frame } => return send(stream, patch, first_frame, shared).await,
        }
    }
}

async fn send(
    stream: &mut (impl AsyncWrite + Unpin),
    patch: PatchId,
    first_frame: u32,
    shared: &Shared,
) -> io::Result<()> {
    let store = shared.store.clone();
    let opened = blocking(move || open(&store, patch)).await?;
    let Some((file, header)) = opened else {
        shared.input(Input::PatchGone(patch)).await;
        within(write_message(stream, &PatchReply::Refused(Refusal::Failed))).await?;
        return within(stream.close()).await;
    };
    let first_frame = if first_frame as usize <= header.frames().len() { first_frame } else { 0 };
    let bytes = header.encode();
    let start = PatchReply::Start { patch, header_bytes: bytes.len() as u32, first_frame };
    within(write_message(stream, &start)).await?;
    within(stream.write_all(&bytes)).await?;
    let end = header.patch_bytes().0;
    let mut offset = header.frame(first_frame).map_or(end, |frame| frame.payload_offset);
    let file = Arc::new(file);
    while offset < end {
        let count = CHUNK_BYTES.min(end - offset);
        let reader = file.clone();
        let chunk = blocking(move || {
            let mut chunk = vec![0; count as usize];
            reader.file().read_exact_at(&mut chunk, offset).map(|()| chunk)
        })
        .await?;
        within(stream.write_all(&chunk)).await?;
        offset += count;
    }
    within(stream.close()).await
}

/// The patch's file, leased, and its header; `None` if it is not cached any more, or damaged.
fn open(store: &lighter_store::Store, patch: PatchId) -> io::Result<Option<(PatchReader, Header)>> {
    let Ok(Some(reader)) = store.open_patch(&patch) else { return Ok(None) };
    let mut file = reader.file().try_clone()?;
    io::Seek::rewind(&mut file)?;
    let header = Header::read_from(&mut file);
    Ok(header.ok().filter(|header| header.id() == patch).map(|header| (reader, header)))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

async fn within(work: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    timeout(CHUNK_TIMEOUT, work).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
