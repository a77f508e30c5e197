//! Makes a blob again out of its tar and its recipe: whole, checked by its sha256, or a range of it.
//!
//! The blob is cut into segments at the checkpoints. One thread makes all of them in one run, without starting again;
//! several threads take turns, each with a segment at a time. A segment needs the content before its checkpoint that
//! its engine looks back at, and some content behind the next checkpoint: an engine writes a block when it has seen
//! what follows. The content that it reads there is bounded, so a recipe cannot ask for more work than twice the tar.
//! Memory: an engine and two segments for each thread, 4 MiB of blob each or less; a recipe with larger segments is
//! made by one thread, piece by piece.

mod corrected;

use std::io::Write;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use lighter_types::{OciDigest, ReadAt};
use sha2::{Digest, Sha256};

use crate::bits::BitPosition;
use crate::encoder::Encoder;
use crate::engine::{Engine, Mark, Start};
use crate::error::RebuildError;
use crate::gzip;
use crate::recipe::{Checkpoint, Encoded, Form, Member, Recipe};

/// Content that is read at once.
const PIECE_BYTES: u64 = 64 << 10;
/// Larger segments are not kept in memory.
const SEGMENT_BYTES_MAX: u64 = 16 << 20;
/// How much content behind a checkpoint may be needed for the blob before it: no engine keeps more.
const LOOKAHEAD_BYTES_MAX: u64 = 1 << 20;

/// A blob that can be made again.
#[derive(Clone, Copy)]
pub struct Rebuild<'a> {
    recipe: &'a Recipe,
    /// The bytes behind the head of the recipe.
    body: &'a dyn ReadAt,
    tar: &'a dyn ReadAt,
}

/// A function that takes each part of the blob.
type Sink<'s> = dyn FnMut(&[u8]) -> Result<(), RebuildError> + 's;

impl<'a> Rebuild<'a> {
    /// `body` is what stands behind the head of the recipe. The tar is not needed where the blob is kept as it is.
    ///
    /// # Errors
    /// A tar or a body of another length than the recipe says.
    pub fn new(recipe: &'a Recipe, body: &'a dyn ReadAt, tar: &'a dyn ReadAt) -> Result<Self, RebuildError> {
        let (expected, found) = (recipe.tar_bytes, tar.len().0);
        if expected != found && recipe.form != Form::Verbatim {
            return Err(RebuildError::TarBytes { expected, found });
        }
        let (expected, found) = (recipe.form.body_bytes(recipe.blob_bytes), body.len().0);
        if expected != found {
            return Err(RebuildError::BodyBytes { expected, found });
        }
        Ok(Self { recipe, body, tar })
    }

    /// Writes the whole blob with up to so many threads. The caller drops what was written before an error.
    ///
    /// # Errors
    /// A recipe that does not fit; a result with another sha256; failures of the tar and of the output.
    pub fn whole(&self, threads: usize, out: &mut dyn Write) -> Result<(), RebuildError> {
        let mut hasher = Sha256::new();
        let mut sink = |bytes: &[u8]| {
            hasher.update(bytes);
            out.write_all(bytes).map_err(|source| RebuildError::Output { source })
        };
        match &self.recipe.form {
            Form::Verbatim => self.copy(0..self.recipe.blob_bytes, &mut sink)?,
            Form::Corrected(corrected) => self.corrected(corrected, self.recipe.blob_bytes, &mut sink)?,
            Form::Encoded(encoded) => {
                let segments = self.segments(encoded);
                let is_parallel = threads > 1
                    && segments.len() > 1
                    && segments.iter().all(|segment| segment.end - segment.start.blob.bytes <= SEGMENT_BYTES_MAX);
                if is_parallel {
                    let threads = threads.min(segments.len()).min(encoded.encoder.threads_max());
                    self.in_parallel(encoded, &segments, threads, &mut sink)?;
                } else {
                    self.segment(encoded, Segment { start: BEGINNING, ..segments[segments.len() - 1] }, &mut sink)?;
                }
            }
        }
        let found = OciDigest::new(hasher.finalize().into());
        let expected = self.recipe.blob;
        if found == expected { Ok(()) } else { Err(RebuildError::Mismatch { expected, found }) }
    }

    /// Writes bytes of the blob, beginning at the checkpoint before them. No digest proves them: the caller has
    /// rebuilt the blob once with this recipe, or has made the recipe.
    ///
    /// # Errors
    /// As for `whole`, but for the sha256; a range outside the blob.
    pub fn range(&self, range: Range<u64>, out: &mut dyn Write) -> Result<(), RebuildError> {
        let (from, to, blob_bytes) = (range.start, range.end, self.recipe.blob_bytes);
        if from > to || to > blob_bytes {
            return Err(RebuildError::Range { from, to, blob_bytes });
        }
        if from == to {
            return Ok(());
        }
        let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(|source| RebuildError::Output { source });
        let encoded = match &self.recipe.form {
            Form::Verbatim => return self.copy(range, &mut write),
            Form::Corrected(corrected) => {
                return self.corrected(corrected, to, &mut cut(0, from, to, &mut write));
            }
            Form::Encoded(encoded) => encoded,
        };
        let segments = self.segments(encoded);
        let first = segments.partition_point(|segment| segment.start.blob.bytes <= from).saturating_sub(1);
        let last = segments.partition_point(|segment| segment.end < to).min(segments.len() - 1);
        let start = segments[first].start;
        // Stops at the end of the range: the rest of the segment is not made.
        let segment = Segment { start, end: to, is_cut: true, ..segments[last] };
        self.segment(encoded, segment, &mut cut(start.blob.bytes, from, to, &mut write))
    }

    fn copy(&self, range: Range<u64>, sink: &mut Sink<'_>) -> Result<(), RebuildError> {
        let mut buffer = vec![0; PIECE_BYTES as usize];
        let mut at = range.start;
        while at < range.end {
            let piece = &mut buffer[..(range.end - at).min(PIECE_BYTES) as usize];
            self.body.read_exact_at(piece, at).map_err(|source| RebuildError::Body { source })?;
            sink(piece)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// The blob from each checkpoint to the next.
    fn segments(&self, encoded: &Encoded) -> Vec<Segment> {
        let starts: Vec<Checkpoint> = std::iter::once(BEGINNING).chain(encoded.checkpoints.iter().copied()).collect();
        let ends =
            starts.iter().skip(1).map(|next| (next.blob.bytes, true, next.tar.saturating_add(LOOKAHEAD_BYTES_MAX)));
        let ends = ends.chain([(self.recipe.blob_bytes, false, u64::MAX)]);
        let segment = |(&start, (end, is_cut, tar_end))| Segment { start, end, is_cut, tar_end };
        starts.iter().zip(ends).map(segment).collect()
    }

    /// Each thread makes every n-th segment; the caller's thread puts them in order.
    #[expect(clippy::disallowed_methods, reason = "blobs are wanted at the speed of all cores; the scope ends them")]
    fn in_parallel(
        &self,
        encoded: &Encoded,
        segments: &[Segment],
        threads: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), RebuildError> {
        std::thread::scope(|scope| {
            let (mut workers, mut results) = (Vec::new(), Vec::new());
            for first in 0..threads {
                let (sender, receiver) = sync_channel(1);
                let own = segments.iter().skip(first).step_by(threads);
                workers.push(scope.spawn(move || self.make(encoded, own, &sender)));
                results.push(receiver);
            }
            let written = write_in_order(&results, segments.len(), sink);
            // Workers that wait for room end here.
            drop(results);
            workers.into_iter().for_each(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
            written
        })
    }

    fn make<'s>(&self, encoded: &Encoded, own: impl Iterator<Item = &'s Segment>, results: &SyncSender<Made>) {
        for segment in own {
            let mut blob = Vec::new();
            let made = self.segment(encoded, *segment, &mut |bytes| {
                blob.extend_from_slice(bytes);
                Ok(())
            });
            let is_made = made.is_ok();
            if results.send(made.map(|()| blob)).is_err() || !is_made {
                return;
            }
        }
    }

    /// Makes one segment, piece by piece.
    fn segment(&self, encoded: &Encoded, segment: Segment, sink: &mut Sink<'_>) -> Result<(), RebuildError> {
        let mut output = Output { at: segment.start.blob.bytes, segment, sink };
        let (mut index, mut member_start) = (0, 0);
        while let Some(member) = encoded.framing.members.get(index) {
            let end = member_start + member.tar_bytes;
            if segment.start.tar == member_start || segment.start.tar < end {
                break;
            }
            (index, member_start) = (index + 1, end);
        }
        let mut start = Some(segment.start).filter(|start| start.tar != member_start);
        for member in encoded.framing.members.get(index..).unwrap_or_default() {
            if output.is_full() {
                return Ok(());
            }
            self.member(encoded, member, member_start, start.take(), &mut output)?;
            member_start += member.tar_bytes;
        }
        output.put(&encoded.framing.tail)?;
        output.finish()
    }

    /// Makes a member, from its beginning or from a checkpoint in it.
    fn member(
        &self,
        encoded: &Encoded,
        member: &Member,
        member_start: u64,
        checkpoint: Option<Checkpoint>,
        output: &mut Output<'_, '_>,
    ) -> Result<(), RebuildError> {
        if checkpoint.is_none() {
            output.put(encoded.framing.header(member))?;
        }
        let mut crc = flate2::Crc::new();
        let mut at = checkpoint.map_or(member_start, |checkpoint| checkpoint.tar);
        let mut engine = self.open(encoded.encoder, member, member_start, checkpoint)?;
        let end = member_start + member.tar_bytes;
        let (mut content, mut made) = (vec![0; PIECE_BYTES.min(end - at) as usize], Vec::new());
        while at < end {
            let piece = &mut content[..PIECE_BYTES.min(end - at) as usize];
            self.read(piece, at)?;
            if member.trailer.is_none() {
                crc.update(piece);
            }
            engine.write(piece, &mut made);
            at += piece.len() as u64;
            output.put(&made)?;
            made.clear();
            if output.is_full() {
                return Ok(());
            }
            if at > output.segment.tar_end {
                return Err(RebuildError::Length { blob_offset: output.segment.start.blob.bytes });
            }
        }
        engine.finish(&mut made);
        output.put(&made)?;
        match &member.trailer {
            Some(trailer) => output.put(trailer),
            // The engine has made all of a frame.
            None if encoded.encoder.class.kind().is_zstd() => Ok(()),
            None => output.put(&gzip::trailer(&crc)),
        }
    }

    fn open(
        &self,
        encoder: Encoder,
        member: &Member,
        member_start: u64,
        checkpoint: Option<Checkpoint>,
    ) -> Result<Box<dyn Engine>, RebuildError> {
        let mut history = Vec::new();
        let content_bytes = Some(member.tar_bytes);
        let mut start = Start { content_bytes, ..Start::BEGINNING };
        if let Some(Checkpoint { tar, blob }) = checkpoint {
            let content = tar - member_start;
            let bytes = (encoder.history_bytes() as u64).min(content);
            history.resize(bytes as usize, 0);
            self.read(&mut history, tar - bytes)?;
            let mark = Mark { content, blob: BitPosition { bytes: 0, ..blob } };
            start = Start { mark, history: &history, content_bytes };
        }
        let blob_offset = checkpoint.map_or(0, |checkpoint| checkpoint.blob.bytes);
        encoder.open(&start).ok_or(RebuildError::Length { blob_offset })
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), RebuildError> {
        self.tar.read_exact_at(buffer, offset).map_err(|source| RebuildError::Tar { offset, source })
    }
}

const BEGINNING: Checkpoint = Checkpoint { tar: 0, blob: BitPosition::START };

/// The blob from a checkpoint to an end.
#[derive(Clone, Copy)]
struct Segment {
    start: Checkpoint,
    end: u64,
    /// More of the blob follows.
    is_cut: bool,
    /// The tar that may be read for it.
    tar_end: u64,
}

/// Passes on the bytes of a range of what begins at `at`.
fn cut<'s>(
    mut at: u64,
    from: u64,
    to: u64,
    sink: &'s mut Sink<'s>,
) -> impl FnMut(&[u8]) -> Result<(), RebuildError> + 's {
    move |bytes| {
        let skipped = from.saturating_sub(at).min(bytes.len() as u64) as usize;
        let kept = to.saturating_sub(at).min(bytes.len() as u64) as usize;
        at += bytes.len() as u64;
        sink(bytes.get(skipped..kept).unwrap_or_default())
    }
}

/// A segment, or why there is none.
type Made = Result<Vec<u8>, RebuildError>;

fn write_in_order(results: &[Receiver<Made>], segments: usize, sink: &mut Sink<'_>) -> Result<(), RebuildError> {
    for receiver in results.iter().cycle().take(segments) {
        // A worker that panicked sends nothing: joining it says why.
        let Ok(made) = receiver.recv() else { return Ok(()) };
        sink(&made?)?;
    }
    Ok(())
}

/// Counts what is made of a segment, and stops at its end.
struct Output<'s, 'f> {
    at: u64,
    segment: Segment,
    sink: &'s mut Sink<'f>,
}

impl Output<'_, '_> {
    fn is_full(&self) -> bool {
        self.segment.is_cut && self.at >= self.segment.end
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), RebuildError> {
        let room = usize::try_from(self.segment.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        if bytes.len() > room && !self.segment.is_cut {
            return Err(RebuildError::Length { blob_offset: self.segment.start.blob.bytes });
        }
        let bytes = &bytes[..bytes.len().min(room)];
        self.at += bytes.len() as u64;
        (self.sink)(bytes)
    }

    fn finish(&self) -> Result<(), RebuildError> {
        match self.at == self.segment.end {
            true => Ok(()),
            false => Err(RebuildError::Length { blob_offset: self.segment.start.blob.bytes }),
        }
    }
}
