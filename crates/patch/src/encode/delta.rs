//! Frames of the delta codec.

use std::io;

use lighter_delta::{CodecError, Drafted, Files, Layers, Search, parallel};
use lighter_types::{Bytes, DiffId, Effort, File, ReadAt};

use super::progress::Progress;
use super::source::{EncodedFrame, Source};
use crate::codec;
use crate::error::EncodeError;
use crate::settings::Settings;

/// Frames for each thread that are encoded before their payloads go out: threads rarely wait for the last of them.
const FRAMES_AT_ONCE: usize = 16;

/// A patch planned in so few frames is small: lower efforts are tried too, and the smallest patch is taken.
const SMALL_FRAMES: usize = 2;
/// The draft of so many files is kept for the lower efforts.
const KEPT_FILES_MAX: usize = 1 << 16;

/// Encodes the target in frames of steps against all bases at once. Returns the bases that they read.
///
/// # Errors
/// As [`super::encode_to`].
pub(super) fn encode(
    target: &Source<'_>,
    bases: &[Source<'_>],
    effort: Effort,
    settings: &Settings,
    progress: &Progress<'_>,
    out: &mut dyn FnMut(Vec<EncodedFrame>) -> Result<(), EncodeError>,
) -> Result<Vec<usize>, EncodeError> {
    let named = Named(*target, progress);
    let named_bases: Vec<Named<'_>> = bases.iter().map(|base| Named(*base, progress)).collect();
    let layers = || Layers::new(&named, named_bases.iter().map(|base| base as &dyn ReadAt).collect());
    let planned = plans(target, &layers, effort, settings, progress)?;
    if let [planned] = &planned[..] {
        for frames in planned.frames.chunks(FRAMES_AT_ONCE * settings.threads) {
            let encoded = planned.encode(frames, settings.threads, &|bytes| progress.add(bytes))?;
            out(encoded)?;
        }
        return Ok(planned.used.clone());
    }
    let mut best: Option<(Vec<EncodedFrame>, Vec<usize>)> = None;
    for planned in planned {
        let frames = planned.encode(&planned.frames, settings.threads, &|_| progress.add(0))?;
        if best.as_ref().is_none_or(|(best, _)| payload_bytes(&frames) < payload_bytes(best)) {
            best = Some((frames, planned.used));
        }
    }
    let (frames, used) = best.unwrap_or_default();
    progress.add(target.bytes.len().0)?;
    out(frames)?;
    Ok(used)
}

/// The plan of an effort. If that is small, also those of lower efforts: the higher one finds more on average, but in a
/// small patch it may find less, as a few bytes decide.
fn plans<'a>(
    target: &'a Source<'a>,
    layers: &dyn Fn() -> Layers<'a>,
    effort: Effort,
    settings: &Settings,
    progress: &Progress<'_>,
) -> Result<Vec<Plan<'a>>, EncodeError> {
    let unread = |error| unread(target, error);
    let plan = |drafted: Drafted<'_>, effort| {
        progress.add(0)?;
        let mut layers = layers();
        let search = Search::new(effort, settings.window_bytes(), settings.threads);
        let mut steps = lighter_delta::plan(&mut layers, drafted, &search).map_err(unread)?;
        let (layers, used) = lighter_delta::drop_unused(layers, &mut steps);
        let mut frames = lighter_delta::cut(steps);
        lighter_delta::copy_repeats(&layers, &mut frames, settings.threads).map_err(unread)?;
        let frames = frames.into_iter().enumerate().collect();
        Ok::<_, EncodeError>(Plan { target, layers, used, frames, style: lighter_delta::style(effort) })
    };
    let files = Files::of(&layers(), settings.threads).map_err(unread)?;
    let draft = || Drafted::new(&layers(), &files, settings.threads).map_err(unread);
    let drafted = draft()?;
    // A draft of many files takes much memory, and is made again.
    let kept = (drafted.open_files() <= KEPT_FILES_MAX).then(|| drafted.clone());
    let mut plans = vec![plan(drafted, effort)?];
    if plans[0].frames.len() <= SMALL_FRAMES {
        for lower in Effort::WITH_BASES.into_iter().filter(|lower| *lower < effort) {
            let planned = plan(kept.clone().map_or_else(draft, Ok)?, lower)?;
            plans.extend(Some(planned).filter(|planned| planned.frames.len() <= SMALL_FRAMES));
        }
    }
    Ok(plans)
}

fn payload_bytes(frames: &[EncodedFrame]) -> usize {
    frames.iter().map(|frame| frame.payload.len()).sum()
}

/// The planned frames of a patch.
struct Plan<'a> {
    target: &'a Source<'a>,
    layers: Layers<'a>,
    used: Vec<usize>,
    /// Each with its number.
    frames: Vec<(usize, Vec<lighter_delta::Planned>)>,
    style: lighter_delta::Style,
}

impl Plan<'_> {
    /// Encodes some of the frames. `done` hears of the bytes of each.
    fn encode(
        &self,
        frames: &[(usize, Vec<lighter_delta::Planned>)],
        threads: usize,
        done: &(dyn Fn(u64) -> Result<(), EncodeError> + Sync),
    ) -> Result<Vec<EncodedFrame>, EncodeError> {
        let whole = |frame: lighter_delta::EncodedFrame| EncodedFrame {
            codec: codec::DELTA.id,
            base: None,
            target_bytes: frame.target_bytes,
            payload: frame.payload,
        };
        let encoded = parallel::map(frames, threads, |(index, frame)| {
            done(0)?;
            let frames = lighter_delta::encode_frames(&self.layers, frame, *index == 0, self.style);
            let frames = frames.map_err(|error| failed(self.target, error))?;
            done(frames.iter().map(|frame| frame.target_bytes).sum())?;
            Ok::<_, EncodeError>(frames)
        })?;
        Ok(encoded.into_iter().flatten().map(whole).collect())
    }
}

/// A layer whose errors name the layer. Each read asks whether the caller still wants the patch: reading is what all
/// steps of the differ have in common, and none takes long without it.
struct Named<'a>(Source<'a>, &'a Progress<'a>);

/// The error of a layer's reader, and where it happened.
#[derive(Debug, thiserror::Error)]
#[error("byte {offset} of a layer")]
struct Unread {
    layer: DiffId,
    offset: u64,
    source: io::Error,
}

impl ReadAt for Named<'_> {
    fn len(&self) -> Bytes {
        self.0.bytes.len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.1.add(0).map_err(io::Error::other)?;
        let named = |source| io::Error::other(Unread { layer: self.0.diff_id, offset, source });
        self.0.bytes.read_exact_at(buf, offset).map_err(named)
    }

    fn files(&self) -> Option<&[File]> {
        self.0.bytes.files()
    }
}

/// The error of the layer that could not be read.
fn unread(target: &Source<'_>, error: io::Error) -> EncodeError {
    match error.downcast::<Unread>() {
        Ok(Unread { layer, offset, source }) => EncodeError::Read { layer, offset, source },
        Err(error) => match error.downcast::<EncodeError>() {
            Ok(cancelled) => cancelled,
            Err(source) => EncodeError::Read { layer: target.diff_id, offset: 0, source },
        },
    }
}

fn failed(target: &Source<'_>, error: CodecError) -> EncodeError {
    let other = |what: String| EncodeError::Compress { target_offset: 0, source: io::Error::other(what) };
    match error {
        CodecError::Base { source, .. } | CodecError::Target { source } => unread(target, source),
        CodecError::Damaged(what) => other(what.to_owned()),
        CodecError::Unsupported => other("a codec that is not known".to_owned()),
        CodecError::Memory { needed } => other(format!("no memory for {needed}")),
        CodecError::Stopped => EncodeError::Cancelled,
    }
}
