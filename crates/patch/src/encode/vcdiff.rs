//! Frames of VCDIFF: for the stock tool, and as the baseline of the delta codec.
//!
//! Segment by segment: match with each base, cut into frames (`plan`), encode every frame by the codec that gives the
//! fewest bytes. Several threads match segments and encode frames; the results are put together in order.

use std::io;
use std::ops::Range;

use lighter_delta::{parallel, zstd};
use lighter_vcdiff::{Copy, base_window, find_copies, matching_bytes};

use super::progress::Progress;
use super::source::{EncodedFrame, Source};
use crate::codec::{self, STORED, VCDIFF, ZSTD};
use crate::error::EncodeError;
use crate::limits::FRAME_PAYLOAD_BYTES_MAX;
use crate::plan::{Candidate, FramePlan, fits, plan};
use crate::settings::Settings;

/// Most bases that a segment is matched against with the full level. Among more, a fast pass chooses.
const BASES_FULL_MAX: usize = 2;
/// xdelta3's level, and that of the fast pass: a tenth of the time.
const LEVEL: u8 = 9;
const SCREENING_LEVEL: u8 = 1;
/// zstd's level for frames without a base.
const ZSTD_LEVEL: u8 = 19;
/// Ranges in which the fast pass compares bases.
const SCREENING_BLOCK_BYTES: usize = 1 << 20;
/// A frame that copies less than one byte in so many is also tried alone, by zstd.
const FEW_COPIES: u32 = 8;
/// The memory that a thread takes to encode a frame: its range, LZMA's or zstd's tables.
const FRAME_MEMORY_BYTES: u64 = 192 << 20;

/// Encodes the target in frames of VCDIFF, or compressed alone where no base is of use.
///
/// # Errors
/// As [`super::encode_to`].
pub(super) fn encode(
    target: &Source<'_>,
    bases: &[Source<'_>],
    settings: &Settings,
    progress: &Progress<'_>,
    out: &mut dyn FnMut(Vec<EncodedFrame>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let encoder = Encoder { target, bases, settings, progress };
    encoder.segments().chunks(encoder.segments_at_once()).try_for_each(|batch| out(encoder.encode_batch(batch)?))
}

/// A segment of the target in memory, and its frames.
struct Planned {
    target: Vec<u8>,
    frames: Vec<FramePlan>,
}

struct Encoder<'a> {
    target: &'a Source<'a>,
    bases: &'a [Source<'a>],
    settings: &'a Settings,
    progress: &'a Progress<'a>,
}

impl Encoder<'_> {
    fn segments(&self) -> Vec<Range<u64>> {
        let bytes = self.target.bytes.len().0;
        let segment = self.settings.segment_bytes();
        (0..bytes).step_by(segment as usize).map(|start| start..(start + segment).min(bytes)).collect()
    }

    /// How many segments are matched at the same time: as many as threads and memory allow, and one at least.
    fn segments_at_once(&self) -> usize {
        let base_bytes = self.bases.iter().map(|base| base.bytes.len().0).max().unwrap_or(0);
        let each = matching_bytes(base_bytes.min(self.settings.window_bytes()), self.settings.segment_bytes());
        self.settings.threads.min((self.settings.memory_bytes_max.0 / each) as usize).max(1)
    }

    fn encode_batch(&self, segments: &[Range<u64>]) -> Result<Vec<EncodedFrame>, EncodeError> {
        let threads = self.settings.threads;
        let plan_threads = (threads / segments.len().max(1)).max(1);
        let planned = parallel::map(segments, threads, |segment| self.plan_segment(segment, plan_threads))?;
        let work: Vec<(u64, &[u8], &FramePlan)> = planned
            .iter()
            .zip(segments)
            .flat_map(|(planned, segment)| {
                planned.frames.iter().map(|frame| (segment.start, planned.target.as_slice(), frame))
            })
            .collect();
        let frame_threads = threads.min((self.settings.memory_bytes_max.0 / FRAME_MEMORY_BYTES) as usize).max(1);
        let frames = parallel::map(&work, frame_threads, |&(start, target, frame)| {
            let frames = self.encode_frame(start, target, frame)?;
            self.progress.add(u64::from(frame.range.end - frame.range.start))?;
            Ok::<_, EncodeError>(frames)
        })?;
        Ok(frames.into_iter().flatten().collect())
    }

    fn plan_segment(&self, segment: &Range<u64>, threads: usize) -> Result<Planned, EncodeError> {
        let target = read(self.target, segment)?;
        let mut candidates = Vec::new();
        for base in self.choose_bases(segment, &target)? {
            self.progress.add(0)?;
            let copies = self.match_base(segment, &target, base, LEVEL)?;
            candidates.push(Candidate { base, copies });
        }
        let frames = plan(&target, &candidates, threads);
        Ok(Planned { target, frames })
    }

    fn match_base(
        &self,
        segment: &Range<u64>,
        target: &[u8],
        base: usize,
        level: u8,
    ) -> Result<Vec<Copy>, EncodeError> {
        let source = &self.bases[base];
        let target_bytes = self.target.bytes.len().0;
        let window = base_window(segment, target_bytes, source.bytes.len().0, self.settings.window_bytes());
        Ok(find_copies(target, &read(source, &window)?, window.start, level))
    }

    /// The bases worth a full match: all, if they are few; else the one that a fast match finds to hold most of the
    /// segment, and the one that holds most of the rest.
    fn choose_bases(&self, segment: &Range<u64>, target: &[u8]) -> Result<Vec<usize>, EncodeError> {
        if self.bases.len() <= BASES_FULL_MAX {
            return Ok((0..self.bases.len()).collect());
        }
        let mut missing = Vec::new();
        for base in 0..self.bases.len() {
            self.progress.add(0)?;
            let mut blocks = vec![SCREENING_BLOCK_BYTES as u64; target.len().div_ceil(SCREENING_BLOCK_BYTES)];
            for copy in self.match_base(segment, target, base, SCREENING_LEVEL)? {
                let mut position = copy.at as usize;
                while position < copy.end() as usize {
                    let end = (position / SCREENING_BLOCK_BYTES + 1) * SCREENING_BLOCK_BYTES;
                    let end = end.min(copy.end() as usize);
                    blocks[position / SCREENING_BLOCK_BYTES] -= (end - position) as u64;
                    position = end;
                }
            }
            missing.push(blocks);
        }
        let mut chosen: Vec<usize> = Vec::new();
        let mut best = vec![SCREENING_BLOCK_BYTES as u64; target.len().div_ceil(SCREENING_BLOCK_BYTES)];
        while chosen.len() < BASES_FULL_MAX {
            let with = |base: usize| -> Vec<u64> { best.iter().zip(&missing[base]).map(|(a, b)| *a.min(b)).collect() };
            let sum = |base: usize| with(base).iter().sum::<u64>();
            let Some(base) = (0..self.bases.len()).filter(|base| !chosen.contains(base)).min_by_key(|&base| sum(base))
            else {
                break;
            };
            best = with(base);
            chosen.push(base);
        }
        Ok(chosen)
    }

    /// One frame, or several if it turns out longer than a payload may be.
    fn encode_frame(&self, start: u64, target: &[u8], frame: &FramePlan) -> Result<Vec<EncodedFrame>, EncodeError> {
        self.progress.add(0)?;
        let bytes = &target[frame.range.start as usize..frame.range.end as usize];
        let target_offset = start + u64::from(frame.range.start);
        if fits(frame) {
            let encoded =
                self.encode_smallest(bytes, frame).map_err(|source| EncodeError::Compress { target_offset, source })?;
            if encoded.payload.len() <= FRAME_PAYLOAD_BYTES_MAX as usize {
                return Ok(vec![encoded]);
            }
        }
        let mut frames = Vec::new();
        for half in frame.halves() {
            frames.extend(self.encode_frame(start, target, &half)?);
        }
        Ok(frames)
    }

    fn encode_smallest(&self, bytes: &[u8], frame: &FramePlan) -> io::Result<EncodedFrame> {
        let mut tried = Vec::with_capacity(3);
        if frame.base.is_some() {
            tried.push((VCDIFF.id, frame.base, codec::vcdiff::encode(bytes, &frame.copies)?));
        }
        let copied: u32 = frame.copies.iter().map(|copy| copy.bytes).sum();
        if copied < bytes.len() as u32 / FEW_COPIES || frame.base.is_none() {
            tried.push((ZSTD.id, None, zstd::encode(bytes, ZSTD_LEVEL)?));
        }
        let smallest = tried.into_iter().min_by_key(|(_, _, payload)| payload.len());
        let (codec, base, payload) = smallest
            .filter(|(_, _, payload)| payload.len() < bytes.len())
            .unwrap_or_else(|| (STORED.id, None, bytes.to_vec()));
        Ok(EncodedFrame { codec, base, target_bytes: bytes.len() as u64, payload })
    }
}

/// A range of a layer in memory.
fn read(layer: &Source<'_>, range: &Range<u64>) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    layer.bytes.read_exact_at(&mut bytes, range.start).map_err(|source| EncodeError::Read {
        layer: layer.diff_id,
        offset: range.start,
        source,
    })?;
    Ok(bytes)
}
