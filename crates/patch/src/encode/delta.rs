//! Frames of the delta codec.

use std::io;

use lighter_delta::{CodecError, Layers, Search, parallel};
use lighter_types::{Bytes, DiffId, Effort, File, ReadAt};

use super::progress::Progress;
use super::source::{EncodedFrame, Source};
use crate::codec;
use crate::error::EncodeError;
use crate::settings::Settings;

/// Frames for each thread that are encoded before their payloads go out: threads rarely wait for the last of them.
const FRAMES_AT_ONCE: usize = 16;

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
    let named = Named(*target);
    let named_bases: Vec<Named<'_>> = bases.iter().map(|base| Named(*base)).collect();
    let mut layers = Layers::new(&named, named_bases.iter().map(|base| base as &dyn ReadAt).collect());
    let search = Search::new(effort, settings.window_bytes(), settings.threads);
    let style = lighter_delta::style(effort);
    progress.add(0)?;
    let mut steps = lighter_delta::plan(&mut layers, &search).map_err(|source| unread(target, source))?;
    let (layers, used) = lighter_delta::drop_unused(layers, &mut steps);
    let frames = lighter_delta::cut(steps);
    let whole = |frame: lighter_delta::EncodedFrame| EncodedFrame {
        codec: codec::DELTA.id,
        base: None,
        target_bytes: frame.target_bytes,
        payload: frame.payload,
    };
    let frames: Vec<(usize, Vec<lighter_delta::Planned>)> = frames.into_iter().enumerate().collect();
    for frames in frames.chunks(FRAMES_AT_ONCE * settings.threads) {
        let encoded = parallel::map(frames, settings.threads, |(index, frame)| {
            progress.add(0)?;
            let frames = lighter_delta::encode_frames(&layers, frame, *index == 0, style);
            let frames = frames.map_err(|error| failed(target, error))?;
            progress.add(frames.iter().map(|frame| frame.target_bytes).sum())?;
            Ok::<_, EncodeError>(frames)
        })?;
        out(encoded.into_iter().flatten().map(whole).collect())?;
    }
    Ok(used)
}

/// A layer whose errors name the layer.
struct Named<'a>(Source<'a>);

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
        Err(source) => EncodeError::Read { layer: target.diff_id, offset: 0, source },
    }
}

fn failed(target: &Source<'_>, error: CodecError) -> EncodeError {
    let other = |what: String| EncodeError::Compress { target_offset: 0, source: io::Error::other(what) };
    match error {
        CodecError::Base { source, .. } | CodecError::Target { source } => unread(target, source),
        CodecError::Damaged(what) => other(what.to_owned()),
        CodecError::Unsupported => other("a codec that is not known".to_owned()),
        CodecError::Memory { needed } => other(format!("no memory for {needed}")),
    }
}
