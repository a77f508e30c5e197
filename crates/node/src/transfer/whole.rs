//! Takes in a large layer that comes as it is: its download is the layer (`part_layout`). So there is nothing to apply.
//! The frames are on disk, checked and synced, before they are read here; this worker hashes them as they come, and
//! the commit renames the file. It is a worker's job: it blocks.

use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use lighter_engine::{FetchFailure, FetchStep, LostCause};
use lighter_image::scan_tar_with;
use lighter_patch::Header;
use lighter_store::{LayerPartReader, PatchWriter, StoreError};
use lighter_types::{Bytes, Cause};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::apply::{Applied, Applying, Written, hashes_of};
use super::failures;
use super::part::changed_frame;
use crate::faults::Worker;
use crate::growing::Growth;
use crate::images;
use crate::later;
use crate::shared::Shared;

/// Hashes the frames of a partial patch as they are told of in `frames`. `Ok(None)`: no more came before the layer's
/// end, or the work was stopped.
pub fn take_in(
    shared: &Shared,
    patch: Applying<'_>,
    partial: &File,
    frames: watch::Receiver<u32>,
) -> Result<Option<Applied>, FetchFailure> {
    shared.faults.strike(Worker::Apply);
    let Applying { header, manifests, stop, .. } = patch;
    let file = partial.try_clone().map_err(failures::of_opening)?;
    let part = LayerPartReader::new(file);
    let growth = shared.growing.begin(header.target(), partial, header.target_bytes()).map_err(failures::of_opening)?;
    let mut source = Arrived { header, part, growth, frames, stop, there: 0, reading: Duration::ZERO, failed: None };
    let hashes = hashes_of(shared, manifests, header.target());
    let mut named = manifests.iter();
    let blob = named.find_map(|manifest| images::compressed_bytes(&shared.store, *manifest, header.target()));
    let scanned = scan_tar_with(hashes, "the layer", &mut source, blob, &mut Written(header.target()));
    let Arrived { part, reading, failed, .. } = source;
    match (scanned, failed) {
        (Ok(scan), None) => Ok(Some(Applied { scan, took: reading, hashes, part: Some(part) })),
        (_, Some(Ended::Cut)) => Ok(None),
        (_, Some(Ended::Failed(error))) => {
            Err(failures::of_disk(failures::PartialError { act: "read", source: error }))
        }
        (Err(error), None) => Err(failures::of_disk(error)),
    }
}

/// Commits a layer that was taken in.
pub fn commit(
    shared: &Shared,
    applied: &Applied,
    part: &LayerPartReader,
    writer: PatchWriter,
    header: &Header,
) -> Result<(), FetchFailure> {
    later::note_for(&shared.store, header.target(), applied.hashes).map_err(failures::of_store)?;
    let file = writer.file().try_clone().map_err(failures::of_opening)?;
    let committed = writer.finish_layer(part, applied.scan.card, applied.scan.sketch.to_bytes(), shared.uses.now());
    committed.map_err(|error| not_committed(error, &file, header))
}

/// Why a layer was not committed: with another sha256 it is the patch's fault, unless frames on this disk are not what
/// they were when they came. Then the next fetch drops the part, and begins anew.
fn not_committed(error: StoreError, file: &File, header: &Header) -> FetchFailure {
    if !matches!(error, StoreError::Mismatch { .. }) {
        return failures::of_store(error);
    }
    match changed_frame(header, header.target_bytes(), file) {
        Some(frame) => {
            let why = format!("frame {frame} changed on this disk");
            failures::lost(LostCause::Broken { step: FetchStep::Frames, why })
        }
        None => FetchFailure::WrongResult { patch: header.id(), why: Cause::new(error) },
    }
}

/// The bytes of a layer, as far as they are on disk.
struct Arrived<'a> {
    header: &'a Header,
    part: LayerPartReader,
    /// Tells of the bytes that are on disk.
    growth: Growth<'a>,
    /// Frames on disk, from the first on. Closed when no more will come.
    frames: watch::Receiver<u32>,
    stop: CancellationToken,
    /// The bytes that are on disk, as far as is known.
    there: u64,
    reading: Duration,
    failed: Option<Ended>,
}

enum Ended {
    Cut,
    Failed(io::Error),
}

impl Arrived<'_> {
    /// Goes on with the layer's bytes; 0 at its end.
    fn read_next(&mut self, buffer: &mut [u8]) -> Result<usize, Ended> {
        let done = self.part.bytes().0;
        if done == self.header.target_bytes().0 {
            return Ok(0);
        }
        if self.stop.is_cancelled() {
            return Err(Ended::Cut);
        }
        if done == self.there {
            self.wait(done)?;
        }
        let count = buffer.len().min(usize::try_from(self.there - done).unwrap_or(usize::MAX));
        let began = Instant::now();
        self.part.read_exact(&mut buffer[..count]).map_err(Ended::Failed)?;
        self.reading += began.elapsed();
        Ok(count)
    }

    /// Waits until bytes from this one on are there.
    fn wait(&mut self, done: u64) -> Result<(), Ended> {
        let frames = self.header.frames();
        let next = frames.partition_point(|frame| frame.target_offset + u64::from(frame.target_bytes) <= done);
        let is_there = self.frames.wait_for(|kept| *kept as usize > next);
        let kept = *Handle::current().block_on(is_there).map_err(|_| Ended::Cut)?;
        let last = frames.get(kept as usize - 1).ok_or(Ended::Cut)?;
        self.there = last.target_offset + u64::from(last.target_bytes);
        self.growth.reached(Bytes(self.there));
        Ok(())
    }
}

impl Read for Arrived<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_next(buffer).map_err(|ended| {
            self.failed = Some(ended);
            io::Error::other("the layer ended early")
        })
    }
}
