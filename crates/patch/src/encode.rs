//! From a target and its bases to a patch.
//!
//! Segment by segment: match against each base (`matcher`), cut into frames (`plan`), encode every frame by the codec
//! that gives the fewest bytes. Segments are matched, and frames encoded, on several threads; results are put together
//! in order, so the number of threads never shows. Nothing but a failing read, a cancel or a wrong argument is an
//! error: what cannot be matched is compressed alone, what cannot be compressed is stored.

use std::io::{self, Write};
use std::ops::{ControlFlow, Range};
use std::sync::{Mutex, PoisonError};

use lighter_types::{Blake3, Bytes, DiffId, PatchId};

use crate::codec::{encode_stored, encode_vcdiff, encode_zstd};
use crate::header::FrameEntry;
use crate::matcher::{base_window, find_copies, matching_bytes};
use crate::parallel;
use crate::plan::{Candidate, FramePlan, fits, plan};
use crate::{
    BASES_MAX, Base, CodecId, EncodeError, FRAME_PAYLOAD_BYTES_MAX, FRAMES_MAX, Header, HeaderError, ReadAt, Settings,
};

/// Most bases that a segment is matched against with the level of the settings. Among more, a fast pass chooses.
const BASES_FULL_MAX: usize = 2;
/// xdelta3's level for that pass: a tenth of the time of level 9.
const SCREENING_LEVEL: u8 = 1;
/// Ranges in which the fast pass compares bases.
const SCREENING_BLOCK_BYTES: usize = 1 << 20;
/// A frame that copies less than one byte in so many is also tried alone, by zstd.
const FEW_COPIES: u32 = 8;
/// What a thread takes to encode a frame: its range, LZMA's or zstd's tables.
const FRAME_MEMORY_BYTES: u64 = 192 << 20;

/// A layer to read: the target, or a base.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Its name. It is not checked here.
    pub diff_id: DiffId,
    /// Its tar.
    pub bytes: &'a dyn ReadAt,
}

/// A patch in memory.
#[derive(Clone, Debug)]
pub struct Patch {
    /// What the patch is.
    pub header: Header,
    /// The payload of each frame of the header.
    pub payloads: Vec<Vec<u8>>,
}

impl Patch {
    /// The patch's name.
    pub fn id(&self) -> PatchId {
        self.header.id()
    }

    /// The length of the patch: header and payloads.
    pub fn bytes(&self) -> Bytes {
        self.header.patch_bytes()
    }

    /// Writes the patch as a file: the header, then the payloads back to back.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.header.encode())?;
        self.payloads.iter().try_for_each(|payload| out.write_all(payload))
    }
}

/// Makes the patch that turns `bases` into `target`, in memory: [`encode_to`] with the payloads collected.
///
/// # Errors
/// As [`encode_to`].
pub fn encode(
    target: &Source<'_>,
    bases: &[Source<'_>],
    settings: &Settings,
    progress: &(dyn Fn(Bytes) -> ControlFlow<()> + Sync),
) -> Result<Patch, EncodeError> {
    let mut payloads = Vec::new();
    let header = encode_to(target, bases, settings, progress, &mut |payload| {
        payloads.push(payload);
        Ok(())
    })?;
    Ok(Patch { header, payloads })
}

/// Makes the patch that turns `bases` into `target`. Without bases it is the compressed target. Each frame's payload is
/// given to `out`, in order, as soon as its segment is done; the header is known when the last has been.
///
/// `progress` is told how many bytes of the target are encoded, a number that never falls, from any thread; it is also
/// called with an unchanged number between steps, and ends the encoding with `Break`. Matching a segment of 128 MiB
/// against a base, up to some fifteen seconds, is one step. Bases that no frame reads are not in the header.
///
/// Allocates about [`Settings::memory_bytes_max`] (one segment and one frame at a time are always allowed), and the
/// payloads of as many segments of 128 MiB as there are threads.
///
/// # Errors
/// See [`EncodeError`]. Whatever the layers hold, there is a patch.
pub fn encode_to(
    target: &Source<'_>,
    bases: &[Source<'_>],
    settings: &Settings,
    progress: &(dyn Fn(Bytes) -> ControlFlow<()> + Sync),
    out: &mut dyn FnMut(Vec<u8>) -> io::Result<()>,
) -> Result<Header, EncodeError> {
    check(bases, settings)?;
    let encoder = Encoder { target, bases, settings, progress: Progress { report: progress, done: Mutex::new(0) } };
    let mut frames = Vec::new();
    for batch in encoder.segments().chunks(encoder.segments_at_once()) {
        for frame in encoder.encode_batch(batch)? {
            frames.push((frame.base, frame.entry()));
            out(frame.payload).map_err(EncodeError::Output)?;
        }
        if frames.len() > FRAMES_MAX {
            return Err(EncodeError::TooLong { target_bytes: target.bytes.len() });
        }
    }
    put_together(target, bases, settings, &frames)
}

fn check(bases: &[Source<'_>], settings: &Settings) -> Result<(), EncodeError> {
    settings.check()?;
    if bases.len() > BASES_MAX {
        return Err(EncodeError::TooManyBases { found: bases.len() });
    }
    for (index, base) in bases.iter().enumerate() {
        if bases[..index].iter().any(|other| other.diff_id == base.diff_id) {
            return Err(EncodeError::RepeatedBase(base.diff_id));
        }
    }
    Ok(())
}

/// Makes the header, with the bases that are used, in the order given.
fn put_together(
    target: &Source<'_>,
    bases: &[Source<'_>],
    settings: &Settings,
    frames: &[(Option<usize>, FrameEntry)],
) -> Result<Header, EncodeError> {
    let used: Vec<usize> =
        (0..bases.len()).filter(|&base| frames.iter().any(|(other, _)| *other == Some(base))).collect();
    let place = |base: usize| used.iter().position(|&other| other == base).map(|place| place as u8);
    let entries: Vec<FrameEntry> =
        frames.iter().map(|&(base, entry)| FrameEntry { base: base.and_then(place), ..entry }).collect();
    let table =
        used.iter().map(|&base| Base { diff_id: bases[base].diff_id, bytes: bases[base].bytes.len() }).collect();
    Header::new(settings.id(), target.diff_id, target.bytes.len(), table, &entries)
        .map_err(|error| target_changed(target, error))
}

/// Frames that do not make a header: the target's length changed under the encoder.
fn target_changed(target: &Source<'_>, error: HeaderError) -> EncodeError {
    let offset = target.bytes.len().0;
    EncodeError::Read { layer: target.diff_id, offset, source: io::Error::other(error) }
}

struct EncodedFrame {
    codec: CodecId,
    /// Index into the bases given.
    base: Option<usize>,
    target_bytes: u32,
    payload: Vec<u8>,
}

impl EncodedFrame {
    /// Its entry, without the base, whose place in the table is not known yet.
    fn entry(&self) -> FrameEntry {
        FrameEntry {
            codec: self.codec,
            base: None,
            target_bytes: self.target_bytes,
            payload_bytes: self.payload.len() as u32,
            payload_hash: Blake3::new(*blake3::hash(&self.payload).as_bytes()),
        }
    }
}

struct Progress<'a> {
    report: &'a (dyn Fn(Bytes) -> ControlFlow<()> + Sync),
    done: Mutex<u64>,
}

impl Progress<'_> {
    /// # Errors
    /// [`EncodeError::Cancelled`].
    fn add(&self, bytes: u64) -> Result<(), EncodeError> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        *done += bytes;
        match (self.report)(Bytes(*done)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(EncodeError::Cancelled),
        }
    }
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
    progress: Progress<'a>,
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
            let copies = self.match_base(segment, &target, base, self.settings.xdelta3_level)?;
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
    ) -> Result<Vec<crate::codec::Copy>, EncodeError> {
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
            tried.push((CodecId::VCDIFF, frame.base, encode_vcdiff(bytes, &frame.copies)?));
        }
        let copied: u32 = frame.copies.iter().map(|copy| copy.bytes).sum();
        if copied < bytes.len() as u32 / FEW_COPIES || frame.base.is_none() {
            tried.push((CodecId::ZSTD, None, encode_zstd(bytes, self.settings.zstd_level)?));
        }
        let smallest = tried.into_iter().min_by_key(|(_, _, payload)| payload.len());
        let (codec, base, payload) = smallest
            .filter(|(_, _, payload)| payload.len() < bytes.len())
            .unwrap_or_else(|| (CodecId::STORED, None, encode_stored(bytes)));
        Ok(EncodedFrame { codec, base, target_bytes: bytes.len() as u32, payload })
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
