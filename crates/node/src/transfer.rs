//! Patches on streams: the requester's side, the provider's side, and making them.
//!
//! The stream's protocol is in `lighter_wire`; here are its bytes on a libp2p stream, its timeouts, and the workers. A
//! task's result is the one answer that it owes (`driver/work.rs`), also when its stream breaks. A task that is dropped
//! midway leaves frames that were synced, and nothing else.

mod apply;
mod asking;
mod beside;
mod claims;
mod decoding;
mod encode;
mod failures;
mod fetch;
mod job;
mod keep;
mod lists;
mod part;
mod progress;
mod replies;
mod serve;
mod tail;
mod whole;

use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use lighter_engine::{FetchFailure, FetchStep, LostCause};
use lighter_patch::HAVE_LIST_BYTES_MAX;
use lighter_types::broken;
use lighter_wire::{Message, PatchReply, PatchRequest, Refusal};
use tokio::time::timeout;

pub use encode::{EncodeJob, effort_of, encode};
pub use fetch::fetch;
pub use job::{Beside, FetchJob};
pub use part::part_on_disk;
pub use serve::serve;

/// The request that comes first on a stream.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A chunk that the other side does not take or bring for this long ends the stream. Longer than any stall timeout of
/// the engine's: this only cleans up.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(120);

/// The time that a peer is asked to wait for each stream in the queue. The node takes a stream as soon as it has a
/// place, so that a full queue means a node under load: 1,024 streams are 10 s.
const QUEUED_STREAM_MS: u32 = 10;
/// The most that a requester sends on a stream: a request, and a have-list behind it.
pub const REQUEST_BYTES_MAX: usize = 2 + PatchRequest::BYTES_MAX + 4 + HAVE_LIST_BYTES_MAX;

/// The reply to a stream for which there is no place, with this many streams before it.
pub fn busy_reply(queued: usize) -> Vec<u8> {
    let queued_ms = u32::try_from(queued).unwrap_or(u32::MAX).saturating_mul(QUEUED_STREAM_MS);
    let retry_after_ms = queued_ms.min(Refusal::RETRY_AFTER_MS_MAX);
    let reply = PatchReply::Refused(Refusal::Busy { retry_after_ms });
    framed(&reply).unwrap_or_else(|_| {
        broken("a refusal that cannot be written");
        Vec::new()
    })
}

/// Work that blocks, begun at once.
fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, FetchFailure>> {
    let working = tokio::task::spawn_blocking(work);
    async { working.await.map_err(|error| failures::of_worker(&error)) }
}

/// Work on the stream that may take this long.
async fn within<T>(
    time: Duration,
    step: FetchStep,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, FetchFailure> {
    match timeout(time, work).await {
        Ok(done) => done.map_err(|error| failures::of_link(step, error)),
        Err(_) => Err(failures::lost(LostCause::TimedOut { step, after: time })),
    }
}

/// A message with its length before it.
fn framed<M: Message>(message: &M) -> io::Result<Vec<u8>> {
    let bytes = message.encode().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let length = u16::try_from(bytes.len()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok([&length.to_le_bytes()[..], &bytes].concat())
}

/// Writes a message with its length before it.
async fn write_message<M: Message>(stream: &mut (impl AsyncWrite + Unpin), message: &M) -> io::Result<()> {
    stream.write_all(&framed(message)?).await?;
    stream.flush().await
}

/// Reads a message with its length before it. A length over the message's limit is refused before it is read.
async fn read_message<M: Message>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<M> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let length = usize::from(u16::from_le_bytes(length));
    M::check_size(length).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    M::decode(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
