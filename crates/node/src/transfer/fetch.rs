//! The requester's side: opens the stream, takes the patch frame by frame, and has it applied as it comes.
//!
//! `begin` asks for the patch and holds the header against the request. `receive` takes the frames, and two workers
//! run beside it. The keeper (`keep`) checks each frame and syncs it to the partial patch. The applier (`apply`)
//! rebuilds the layer from the frames on disk. Both end when no more come; the applier commits a layer that is whole.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use lighter_engine::{FetchFailure, FetchStep, Fetched, Lie, LostCause, WorkInput};
use lighter_patch::{HEADER_BYTES_MAX, Header};
use lighter_store::PatchWriter;
use lighter_types::{Bytes, BytesPerSecond, Cause, Link};
use lighter_wire::{PatchReply, PatchRequest};
use tokio::sync::{mpsc, watch};

use super::apply::{Applied, Applying};
use super::asking::{list, with_list};
use super::claims::Sizes;
use super::failures::lost;
use super::job::{Begun, FetchJob, Start};
use super::keep::{Partial, discard};
use super::lists::Listed;
use super::part::checked;
use super::progress::{PROGRESS_BYTES, Progress};
use super::replies::{self, Replies};
use super::{
    CHUNK_TIMEOUT, HANDSHAKE_TIMEOUT, apply, beside, blocking, failures, read_message, tail, whole, within,
    write_message,
};
use crate::event::Event;
use crate::faults::Worker;
use crate::identity::to_libp2p;
use crate::links::Stopwatch;
use crate::part_layout::PartLayout;
use crate::shared::Shared;
use crate::tails::Tail;
use crate::traffic::Direction;

/// Payloads on their way to the disk, 1 MiB each.
const PAYLOADS_WAITING: usize = 4;
/// The engine hears of progress after this much time too, if bytes came.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Does the job; how it ended. If this is dropped midway, the frames that are synced stay on disk.
pub async fn fetch(job: FetchJob, control: lighter_streams::Control, shared: Arc<Shared>) -> WorkInput {
    shared.faults.strike(Worker::Fetch);
    let begun = tokio::select! {
        begun = begin(&job, control, &shared) => begun,
        () = job.cancelled.cancelled() => Err(FetchFailure::Stopped),
    };
    let result = match begun {
        Ok(begun) if tail::wanted(&job).is_some() => Err(tail::receive(begun, &job, &shared).await),
        Ok(begun) => {
            let patch = begun.start.patch;
            let _under_way = shared.under_way.begin();
            let result = receive(begun, &job, &shared).await;
            if let Err(FetchFailure::Lied(_) | FetchFailure::WrongResult { .. }) = result {
                let shared = shared.clone();
                // A panic was logged and counted.
                let _ = blocking(move || discard(&shared, patch)).await;
            }
            result
        }
        Err(failure) => Err(failure),
    };
    WorkInput::FetchEnded { fetch: job.fetch, result }
}

/// Asks for the patch and waits for its header.
async fn begin(job: &FetchJob, control: lighter_streams::Control, shared: &Arc<Shared>) -> Result<Begun, FetchFailure> {
    let asked = Instant::now();
    let listed = list(job.listed.clone(), shared.clone()).await;
    let mut request = with_list(job.request.clone(), listed.as_deref(), shared);
    if let (Some(patch), Some(resume)) = (tail::wanted(job), &mut request.resume) {
        resume.first_frame = shared.tails.get(patch).map_or(u32::MAX, |tail| tail.from());
    } else if let Some(resume) = request.resume.filter(|resume| resume.first_frame > 0) {
        // A relay is asked for a patch by its name, of which nothing is here yet.
        let shared = shared.clone();
        request.resume = blocking(move || checked(&shared.store, resume)).await?;
    }
    let sizes = sizes(job, shared).await?;
    let asked_from = request.resume.map_or(0, |resume| resume.first_frame);
    let (mut stream, start) = open(job, &request, listed.as_deref(), control, shared).await?;
    let header = read_header(&mut stream, job, &request, start).await?;
    sizes.check(&header).map_err(FetchFailure::Lied)?;
    let (target, from, bytes) = (job.request.target, job.from, header.patch_bytes());
    let waited_ms = milliseconds(asked);
    tracing::debug!(%target, %from, %bytes, first_frame = start.first_frame, waited_ms, "a patch comes");
    Ok(Begun { stream, start, header, sizes, listed, asked: asked_from })
}

/// Receives the frames. Two workers take them from here: the keeper checks each frame and syncs it to the partial
/// patch, and the applier rebuilds the layer from the frames that are on disk.
async fn receive(begun: Begun, job: &FetchJob, shared: &Arc<Shared>) -> Result<Fetched, FetchFailure> {
    let Begun { mut stream, start, header, sizes, listed, .. } = begun;
    let stop = job.cancelled.child_token();
    let _stopped_at_the_end = stop.clone().drop_guard();
    let (first_frame, tail, coming) = (start.first_frame, shared.tails.of(&header), Instant::now());
    let (frames, kept) = watch::channel(0);
    let progress = Progress { job, start, header: &header, frames: kept.clone(), growth: Arc::default(), shared };
    let (payloads, waiting) = mpsc::channel(PAYLOADS_WAITING);
    let mut came = Came { received: Bytes(start.header_bytes.into()), down: None };
    let mut taking = Box::pin(take(&mut stream, &progress, &tail, payloads, &mut came));
    let is_all_here = beside::until_alone(job, taking.as_mut()).await?;
    if job.beside.is_some() && shared.store.card(&job.request.target).is_some() {
        return Err(FetchFailure::Stopped);
    }
    let partial = {
        let (shared, header) = (shared.clone(), header.clone());
        blocking(move || Partial::open(&shared, &header, first_frame, &sizes)).await??
    };
    frames.send_replace(partial.kept);
    let file = partial.file().map_err(failures::of_opening)?;
    let arrival = shared.arrivals.begin(&header, &file, kept.clone(), tail.clone(), progress.growth.clone());
    let _arrival = arrival.map_err(failures::of_opening)?;
    let keeper = {
        let header = header.clone();
        blocking(move || partial.keep(&header, first_frame, waiting, &frames))
    };
    let applier = {
        let (shared, header, manifests, stop) = (shared.clone(), header.clone(), job.manifests.clone(), stop.clone());
        blocking(move || {
            let listed = listed.as_deref();
            let patch = Applying { header: &header, manifests: &manifests, listed, sizes, stop };
            rebuild(&shared, patch, &file, kept)
        })
    };
    let mut applier = std::pin::pin!(applier);
    let mut applied = None;
    let taken = tokio::select! {
        biased;
        () = std::future::ready(()), if is_all_here => Ok(()),
        taken = &mut taking => taken,
        () = job.cancelled.cancelled() => Err(FetchFailure::Stopped),
        // All frames were on disk already, or the applier failed.
        ended = &mut applier => {
            applied = Some(ended);
            Ok(())
        }
    };
    drop(taking);
    // No more payloads come: both workers end with what they have.
    let (writer, kept_all) = keeper.await?;
    if (*progress.frames.borrow() as usize) < header.frames().len() {
        // Without its last frames the layer is not whole: what is applied is thrown away.
        stop.cancel();
    }
    let came_ms = milliseconds(coming);
    let applied = match applied {
        Some(applied) => applied,
        None => progress.tell_until(applier, if taken.is_ok() { came.received } else { Bytes::ZERO }).await,
    };
    progress.tell(Bytes::ZERO).await;
    tracing::debug!(target = %job.request.target, came_ms, applied_ms = milliseconds(coming), "no more of a patch comes");
    match applied?? {
        Some(applied) => {
            let (shared, link) = (shared.clone(), Link { down: came.down, ..shared.links.seen(job.from) });
            blocking(move || keep_result(&shared, applied, writer, &header, (came.received, link))).await?
        }
        None if job.cancelled.is_cancelled() => Err(FetchFailure::Stopped),
        None => Err(kept_all.and(taken).err().unwrap_or(lost(LostCause::EndedEarly(FetchStep::Frames)))),
    }
}

/// Rebuilds the layer from the frames on disk.
fn rebuild(
    shared: &Shared,
    patch: Applying<'_>,
    file: &File,
    kept: watch::Receiver<u32>,
) -> Result<Option<Applied>, FetchFailure> {
    match PartLayout::of(patch.header) {
        PartLayout::Patch => apply::apply(shared, patch, file, kept),
        PartLayout::Layer => whole::take_in(shared, patch, file, kept),
    }
}

/// Commits a layer that is its own patch, or keeps the patch of one that is committed.
fn keep_result(
    shared: &Shared,
    applied: Applied,
    writer: PatchWriter,
    header: &Header,
    came: (Bytes, Link),
) -> Result<Fetched, FetchFailure> {
    let writer = match &applied.part {
        Some(part) => whole::commit(shared, &applied, part, writer, header).map(|()| None)?,
        None => Some(writer),
    };
    Ok(apply::fetched(shared, applied, writer, header, came))
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The bounds on the layer's size.
async fn sizes(job: &FetchJob, shared: &Arc<Shared>) -> Result<Sizes, FetchFailure> {
    let (layer, announced, signed) = (job.request.target, job.tar_bytes_max, job.signed_bytes);
    let (manifests, shared) = (job.manifests.clone(), shared.clone());
    blocking(move || Sizes::of(&shared.store, layer, &manifests, announced, signed)).await
}

/// Opens the stream, sends the request, and waits for the patch to begin.
async fn open(
    job: &FetchJob,
    request: &PatchRequest,
    listed: Option<&Listed>,
    control: lighter_streams::Control,
    shared: &Shared,
) -> Result<(libp2p::Stream, Start), FetchFailure> {
    let peer = to_libp2p(job.from)
        .ok_or_else(|| lost(LostCause::Dial("its key is of no kind that can be dialled".to_owned())))?;
    let mut stream = control.open(peer).await.map_err(failures::of_open)?;
    let mut early = None;
    match (within(HANDSHAKE_TIMEOUT, FetchStep::Request, write_message(&mut stream, request)).await, listed) {
        (Ok(()), Some(listed)) => {
            shared.input(WorkInput::FetchWorking { fetch: job.fetch, done: Bytes::ZERO, total: None }).await;
            early = send_list(&mut stream, listed).await?;
        }
        (Ok(()), None) => {}
        // A peer that refused at once may have stopped reading; its reply is there.
        (Err(failure), _) => early = Some(read_message(&mut stream).await.map_err(|_| failure)?),
    }
    let mut replies = Replies::default();
    loop {
        let reply = match early.take() {
            Some(reply) => reply,
            None => read_message(&mut stream).await.map_err(|error| failures::of_link(FetchStep::Reply, error))?,
        };
        match reply {
            PatchReply::Working { done } => {
                if replies.is_told(Instant::now()).map_err(FetchFailure::Lied)? {
                    shared.input(WorkInput::FetchWorking { fetch: job.fetch, done, total: None }).await;
                }
            }
            PatchReply::Refused(refusal) => return Err(FetchFailure::Refused(refusal)),
            PatchReply::Referred { peer, .. } if request.referable.is_none() => {
                return Err(FetchFailure::Lied(Lie::UnaskedReferral(peer)));
            }
            PatchReply::Referred { peer: to, patch, settings, addresses } => {
                // The driver must have the addresses before the engine acts on the referral.
                let _ = shared.events.send(Event::Referred { to, addresses }).await;
                return Err(FetchFailure::Referred { to, patch, settings });
            }
            PatchReply::Start { patch, header_bytes, first_frame } => {
                return Ok((stream, Start { patch, header_bytes, first_frame }));
            }
            PatchReply::Frame => return Err(replies::out_of_place()),
        }
    }
}

/// Sends the have-list, and reads meanwhile: a peer that refuses stops reading. Its reply, if it came.
async fn send_list(stream: &mut libp2p::Stream, listed: &Listed) -> Result<Option<PatchReply>, FetchFailure> {
    let (mut reader, mut writer) = stream.split();
    let mut reading = std::pin::pin!(read_message::<PatchReply>(&mut reader));
    let sending = within(CHUNK_TIMEOUT, FetchStep::Request, listed.send(&mut writer));
    let read = tokio::select! {
        biased;
        read = &mut reading => read,
        sent = sending => {
            let read = reading.await;
            // The reply counts, whether or not the list was sent.
            if read.is_err() {
                sent?;
            }
            read
        }
    };
    read.map(Some).map_err(|error| failures::of_link(FetchStep::Reply, error))
}

/// Reads the header and holds it against what was asked for and promised.
async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
    job: &FetchJob,
    request: &PatchRequest,
    start: Start,
) -> Result<Header, FetchFailure> {
    if start.header_bytes as usize > HEADER_BYTES_MAX {
        return Err(FetchFailure::Lied(Lie::HeaderTooLong { found: start.header_bytes, max: HEADER_BYTES_MAX }));
    }
    let mut bytes = vec![0; start.header_bytes as usize];
    within(CHUNK_TIMEOUT, FetchStep::Header, stream.read_exact(&mut bytes)).await?;
    let header = match Header::decode(&bytes).and_then(|header| header.check_from_peer().map(|()| header)) {
        Ok(header) => header,
        Err(error) => return Err(FetchFailure::Lied(Lie::Unreadable(Cause::new(error)))),
    };
    if header.id() != start.patch {
        return Err(FetchFailure::Lied(Lie::OtherPatch { promised: start.patch, found: header.id() }));
    }
    if header.target() != job.request.target {
        return Err(FetchFailure::Lied(Lie::OtherTarget { asked: job.request.target, found: header.target() }));
    }
    for base in header.bases().iter().map(|base| base.diff_id) {
        if !request.bases.contains(&base) && request.have != Some(base) {
            return Err(FetchFailure::Lied(Lie::BaseNotOffered(base)));
        }
    }
    let asked = request.resume.filter(|resume| resume.patch == start.patch).map_or(0, |resume| resume.first_frame);
    if start.first_frame > asked {
        return Err(FetchFailure::Lied(Lie::FramesSkipped { first: start.first_frame, asked }));
    }
    Ok(header)
}

/// The part of a patch that came.
struct Came {
    /// Bytes, the header included.
    received: Bytes,
    /// The rate at which the second half came, if the link was the limit.
    down: Option<BytesPerSecond>,
}

/// Reads the payloads and passes them on, and counts the bytes. In the end it tells the provider that all is here.
async fn take(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    progress: &Progress<'_>,
    tail: &Arc<Tail>,
    payloads: mpsc::Sender<Vec<u8>>,
    came: &mut Came,
) -> Result<(), FetchFailure> {
    tail.first_came(progress.start.first_frame);
    let frames = progress.header.frames().get(progress.start.first_frame as usize..).unwrap_or_default();
    let half = came.received + Bytes(frames.iter().map(|frame| u64::from(frame.payload_bytes)).sum::<u64>() / 2);
    let accountant = &progress.shared.accountant;
    let mut stopwatch: Option<Stopwatch<'_>> = None;
    let mut blocked = Duration::ZERO;
    let mut reported = (came.received, Instant::now());
    let mut replies = Replies::default();
    for (index, frame) in (progress.start.first_frame..).zip(frames) {
        tokio::select! {
            biased;
            () = tail.has(index) => return tail::met(stream, index, tail, progress, &payloads).await,
            begun = replies.until_frame(stream, progress.header, &progress.growth, (progress.job, progress.shared)) => begun?,
        }
        let mut payload = vec![0; frame.payload_bytes as usize];
        let mut filled = 0;
        while filled < payload.len() {
            if let Some(beside) = &progress.job.beside {
                beside.may_take(came.received).await;
            }
            let count = tokio::select! {
                biased;
                () = tail.has(index) => return tail::met(stream, index, tail, progress, &payloads).await,
                count = within(CHUNK_TIMEOUT, FetchStep::Frames, stream.read(&mut payload[filled..])) => count?,
            };
            if count == 0 {
                return Err(lost(LostCause::EndedEarly(FetchStep::Frames)));
            }
            filled += count;
            came.received += Bytes(count as u64);
            if stopwatch.is_none() && came.received >= half {
                stopwatch = Some(Stopwatch::start(accountant, progress.job.from, Direction::Received));
                blocked = Duration::ZERO;
            }
            if (came.received - reported.0).0 >= PROGRESS_BYTES || reported.1.elapsed() >= PROGRESS_EVERY {
                reported = (came.received, Instant::now());
                progress.tell(came.received).await;
            }
        }
        let passing = Instant::now();
        if payloads.send(payload).await.is_err() {
            // The keeper ended early; it says why.
            return Ok(());
        }
        tail.first_came(index + 1);
        blocked += passing.elapsed();
    }
    let stopwatch = stopwatch.filter(|stopwatch| blocked * 4 < stopwatch.elapsed());
    came.down = stopwatch.and_then(|stopwatch| stopwatch.rate());
    // Whether the provider hears of it or not, all is here.
    let _ = stream.close().await;
    Ok(())
}
