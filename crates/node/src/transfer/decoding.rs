//! Decodes the frames of a patch in their order, each as soon as it is on disk. Where frames are small, a thread of its
//! own decodes the next one while the applier hashes and writes the one before it.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use lighter_engine::{FetchFailure, LostCause};
use lighter_patch::{ApplyError, FRAME_PAYLOAD_BYTES_MAX, Header, Moves, RebuiltRange};
use lighter_types::{Cause, ReadAt};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::claims::WorkLeft;
use super::failures;

/// Why there is no next range before the target's end.
pub enum Ended {
    Cut,
    Failed(FetchFailure),
}

/// The range that a frame rebuilt, and the time that decoding took. `None` at the target's end.
pub type Decoded = Result<Option<(RebuiltRange, Duration)>, Ended>;

/// The ranges of a target, one after another.
pub enum Ranges<'a> {
    /// Each is decoded when it is asked for.
    Here(Decoder<'a>),
    /// They come from the thread of [`Decoder::run`].
    Ahead(Receiver<Decoded>),
}

impl Ranges<'_> {
    pub fn next(&mut self) -> Decoded {
        match self {
            Self::Here(decoder) => decoder.next(),
            // A decoder that panics says nothing; its thread's end does.
            Self::Ahead(ranges) => ranges.recv().unwrap_or(Err(Ended::Cut)),
        }
    }
}

pub struct Decoder<'a> {
    header: &'a Header,
    bases: Vec<&'a dyn ReadAt>,
    partial: &'a File,
    /// Frames on disk, from the first on. Closed when no more will come.
    frames: watch::Receiver<u32>,
    stop: CancellationToken,
    runtime: Handle,
    work: WorkLeft,
    /// The frame to decode next.
    next: u32,
    /// Read with the first frame.
    moves: Moves,
}

impl<'a> Decoder<'a> {
    /// A decoder of the frames of a partial patch. It ends early when it is stopped, also within a frame.
    pub fn new(
        header: &'a Header,
        bases: Vec<&'a dyn ReadAt>,
        (partial, frames): (&'a File, watch::Receiver<u32>),
        stop: CancellationToken,
    ) -> Self {
        let (runtime, work, moves) = (Handle::current(), WorkLeft::new(header), Moves::default());
        Self { header, bases, partial, frames, stop, runtime, work, next: 0, moves }
    }

    /// Whether a second frame may be decoded while one is held: frames of patches with bases can take most of the
    /// memory that applying may take.
    pub fn may_run_ahead(&self) -> bool {
        let is_small = |frame: &lighter_patch::Frame| frame.target_bytes <= FRAME_PAYLOAD_BYTES_MAX;
        self.header.bases().is_empty() && self.header.frames().iter().all(is_small)
    }

    /// Decodes all frames, and gives each range to `out`: the next one is decoded until it is taken.
    pub fn run(mut self, out: &SyncSender<Decoded>) {
        loop {
            let decoded = self.next();
            let is_last = !matches!(decoded, Ok(Some(_)));
            if out.send(decoded).is_err() || is_last {
                return;
            }
        }
    }

    fn next(&mut self) -> Decoded {
        if self.next as usize == self.header.frames().len() {
            return Ok(None);
        }
        let payload = self.payload()?;
        let work = self.header.frame(self.next).map_or(0, |frame| lighter_patch::frame_work(frame, &payload));
        let unusable = |error| failures::lost(LostCause::Unusable(Cause::new(error)));
        self.work.take(work).map_err(|error| Ended::Failed(unusable(error)))?;
        let began = Instant::now();
        if self.next == 0 {
            self.moves =
                Moves::read(self.header, &payload).map_err(|error| Ended::Failed(failures::of_apply(error)))?;
        }
        let going = || if self.stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let sources = (&self.bases[..], &self.moves);
        let range = match lighter_patch::apply_frame_while(self.header, self.next, &payload, sources, &going) {
            Ok(range) => range,
            Err(ApplyError::Stopped { .. }) => return Err(Ended::Cut),
            Err(error) => return Err(Ended::Failed(failures::of_apply(error))),
        };
        self.next += 1;
        Ok(Some((range, began.elapsed())))
    }

    /// Waits for the next frame, and reads it.
    fn payload(&mut self) -> Result<Vec<u8>, Ended> {
        let frame = self.header.frame(self.next).ok_or(Ended::Cut)?;
        let is_there = self.frames.wait_for(|kept| *kept > self.next);
        let waited = self.runtime.block_on(self.stop.run_until_cancelled(is_there));
        waited.ok_or(Ended::Cut)?.map_err(|_| Ended::Cut)?;
        let mut payload = vec![0; frame.payload_bytes as usize];
        let read = self.partial.read_exact_at(&mut payload, frame.payload_offset);
        read.map_err(|source| Ended::Failed(failures::of_disk(failures::PartialError { act: "read", source })))?;
        Ok(payload)
    }
}
