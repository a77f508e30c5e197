//! The fetch of the last frames of a patch, beside the fetch of the first ones: from the last frame down, until the two
//! meet. It keeps checked frames for that fetch ([`Tail`]), and applies nothing. Then it waits until it is stopped:
//! what it brought must not go before the other fetch has taken it.

use std::sync::Arc;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use lighter_engine::{FetchFailure, FetchStep, Lie, LostCause, Part, WorkInput};
use lighter_patch::Header;
use lighter_types::{Bytes, PatchId};
use lighter_wire::FrameOrder;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::failures::{self, lost};
use super::job::{Begun, FetchJob};
use super::progress::{PROGRESS_BYTES, Progress};
use super::replies::Replies;
use super::{CHUNK_TIMEOUT, blocking, within};
use crate::arrivals::Growth;
use crate::shared::Shared;
use crate::tails::Tail;

/// After two fetches met, the bytes on their way are taken for so long, and no more of them than this, so that the
/// provider learns that all is here.
const LAST_BYTES_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);
const LAST_BYTES_MAX: u64 = 4 << 20;

/// The patch whose last frames a job asks for.
pub fn wanted(job: &FetchJob) -> Option<PatchId> {
    job.request.resume.filter(|resume| resume.order == FrameOrder::Down).map(|resume| resume.patch)
}

/// Takes the last frames. It never brings the layer: it ends when it is stopped, or fails.
pub async fn receive(begun: Begun, job: &FetchJob, shared: &Arc<Shared>) -> FetchFailure {
    let Begun { mut stream, start, header, asked, .. } = begun;
    if wanted(job) != Some(start.patch) {
        return lost(LostCause::EndedEarly(FetchStep::Header));
    }
    let tail = shared.tails.of(&header);
    let asked = asked.min(header.frames().len() as u32);
    if let Err(failure) = check_first(start.first_frame, asked, tail.from()) {
        return failure;
    }
    let taken = tokio::select! {
        taken = take(&mut stream, (&header, asked), &tail, job, shared) => taken,
        () = job.cancelled.cancelled() => Err(FetchFailure::Stopped),
    };
    if let Err(failure) = taken {
        return failure;
    }
    let (target, from) = (job.request.target, job.from);
    tracing::debug!(%target, %from, bytes = %tail.bytes(), "a patch came from both ends");
    drop(stream);
    job.cancelled.cancelled().await;
    FetchFailure::Stopped
}

/// Checks that the frames before `asked` come, and are of use where all frames from `from` up are here. The tail may
/// have changed since the question: the last frame of an earlier fetch was kept late, or the fetch of the first frames
/// ended, and the tail with it. Neither is the provider's fault.
fn check_first(first: u32, asked: u32, from: u32) -> Result<(), FetchFailure> {
    if first != asked {
        return Err(FetchFailure::Lied(Lie::FramesSkipped { first, asked }));
    }
    if first < from {
        return Err(lost(LostCause::EndedEarly(FetchStep::Header)));
    }
    Ok(())
}

/// Takes the frames before `asked`, down to the first one that came otherwise. Those that are here are left out.
async fn take(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    (header, asked): (&Header, u32),
    tail: &Arc<Tail>,
    job: &FetchJob,
    shared: &Arc<Shared>,
) -> Result<(), FetchFailure> {
    let mut reported = Bytes::ZERO;
    let (mut replies, growth) = (Replies::default(), Growth::default());
    for index in (0..asked).rev() {
        let Some(frame) = header.frame(index) else { break };
        tokio::select! {
            biased;
            () = tail.has_first(index) => {
                end(stream).await;
                return Ok(());
            }
            begun = replies.until_frame(stream, header, &growth, (job, shared)) => begun?,
        }
        let mut payload = vec![0; frame.payload_bytes as usize];
        let mut filled = 0;
        while filled < payload.len() {
            let count = tokio::select! {
                biased;
                () = tail.has_first(index) => {
                    end(stream).await;
                    return Ok(());
                }
                count = within(CHUNK_TIMEOUT, FetchStep::Frames, stream.read(&mut payload[filled..])) => count?,
            };
            if count == 0 {
                return Err(lost(LostCause::EndedEarly(FetchStep::Frames)));
            }
            filled += count;
            let bytes = tail.bytes() + Bytes(filled as u64);
            if (bytes - reported).0 >= PROGRESS_BYTES {
                reported = bytes;
                tell(bytes, header, job, shared).await;
            }
        }
        let (tail, store, of) = (tail.clone(), shared.store.clone(), header.clone());
        blocking(move || {
            lighter_patch::verify_frame(&of, index, &payload).map_err(failures::of_apply)?;
            tail.keep(&store, index, &payload).map_err(failures::of_store)
        })
        .await??;
    }
    tell(tail.bytes(), header, job, shared).await;
    end(stream).await;
    Ok(())
}

async fn tell(bytes: Bytes, header: &Header, job: &FetchJob, shared: &Shared) {
    let part = Part {
        patch: header.id(),
        settings: header.settings_id(),
        bases: header.bases().iter().map(|base| base.diff_id).collect(),
        frames: 0,
        bytes,
        bytes_total: header.patch_bytes(),
    };
    shared.input(WorkInput::FetchProgress { fetch: job.fetch, part }).await;
}

/// The fetch of the first frames met the tail: tells the provider that all is here, and passes the frames of the tail
/// on in its place.
pub async fn met(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    first: u32,
    tail: &Arc<Tail>,
    progress: &Progress<'_>,
    payloads: &mpsc::Sender<Vec<u8>>,
) -> Result<(), FetchFailure> {
    let passing = async {
        for index in first..progress.header.frames().len() as u32 {
            let reading = tail.clone();
            let read = blocking(move || reading.read(index)).await?;
            if payloads.send(read.map_err(failures::of_opening)?).await.is_err() {
                // The keeper ended early; it says why.
                break;
            }
        }
        Ok(())
    };
    futures::join!(end(stream), passing).1
}

/// Tells the provider that all is here, and takes what is on its way.
async fn end(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let ending = async {
        let _ = stream.close().await;
        let mut rest = stream.take(LAST_BYTES_MAX);
        let mut chunk = vec![0; 64 << 10];
        while rest.read(&mut chunk).await.is_ok_and(|count| count > 0) {}
    };
    // Whether the provider hears of it or not, all is here.
    let _ = timeout(LAST_BYTES_TIMEOUT, ending).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_that_changed_since_the_question_makes_no_liar() {
        assert_eq!(check_first(9, 9, 9), Ok(()));
        assert_eq!(check_first(9, 9, 8), Ok(()), "a frame came late");
        let gone = check_first(9, 9, 12).unwrap_err();
        assert!(matches!(gone, FetchFailure::Lost(_)), "what was behind them went: {gone}");
        for first in [8, 10] {
            let skipped = FetchFailure::Lied(Lie::FramesSkipped { first, asked: 9 });
            assert_eq!(check_first(first, 9, 9), Err(skipped));
        }
    }
}
