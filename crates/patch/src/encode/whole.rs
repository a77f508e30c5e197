//! Frames of a whole layer at the effort *plain*: nobody has a base for it, and the processor must not be slower than
//! the link.
//!
//! Each frame has [`FRAME_BYTES`] of the target, compressed by zstd, or as they are where zstd gains little. Samples
//! show whether the layer compresses at all: if none does, every frame is stored. So what is compressed already, as a
//! kept blob is, meets no encoder.
//!
//! A frame depends on its range of the target alone. So whoever has the layer and the header makes any payload when it
//! is wanted ([`payload`]), and nobody has to keep them.

use std::ops::Range;

use lighter_delta::{parallel, zstd};

use super::progress::Progress;
use super::source::{EncodedFrame, Source};
use crate::codec::{STORED, ZSTD};
use crate::error::EncodeError;
use crate::header::{Frame, FrameEntry};
use crate::limits::FRAME_PAYLOAD_BYTES_MAX;
use crate::settings::Settings;

/// A stored frame's payload is as long as its range.
const FRAME_BYTES: u64 = FRAME_PAYLOAD_BYTES_MAX as u64;
/// The level of new bytes at *fast*, too.
const ZSTD_LEVEL: u8 = 3;
/// Frames that are compressed to see whether the layer compresses: evenly spread, the first included.
const SAMPLES: u64 = 16;
/// A frame is compressed if that saves one byte in so many at least: less is not worth the receiver's time.
const GAIN_PARTS: usize = 32;
/// Frames for each thread that are encoded before their payloads go out.
const FRAMES_AT_ONCE: usize = 8;

/// Encodes the whole target.
///
/// # Errors
/// As [`super::encode_to`].
pub(super) fn encode(
    target: &Source<'_>,
    settings: &Settings,
    progress: &Progress<'_>,
    out: &mut dyn FnMut(Vec<EncodedFrame>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let is_compressible = compresses(target)?;
    for ranges in ranges(target).chunks(FRAMES_AT_ONCE * settings.threads) {
        let frames = parallel::map(ranges, settings.threads, |range| {
            let frame = frame(read(target, range)?, is_compressible)?;
            progress.add(frame.target_bytes)?;
            Ok::<_, EncodeError>(frame)
        })?;
        out(frames)?;
    }
    Ok(())
}

/// The entries of all frames, without their payloads. Reads the target once, and holds one frame for each thread.
///
/// # Errors
/// As [`super::encode_to`].
pub(super) fn entries(
    target: &Source<'_>,
    settings: &Settings,
    progress: &Progress<'_>,
) -> Result<Vec<FrameEntry>, EncodeError> {
    let is_compressible = compresses(target)?;
    parallel::map(&ranges(target), settings.threads, |range| {
        let frame = frame(read(target, range)?, is_compressible)?;
        progress.add(frame.target_bytes)?;
        Ok::<_, EncodeError>(frame.entry())
    })
}

/// The payload of a frame that this module made, once more; bytes of another frame are none that its header names.
///
/// # Errors
/// As [`super::encode_to`].
pub(super) fn payload(target: &Source<'_>, frame: &Frame) -> Result<Vec<u8>, EncodeError> {
    let content = read(target, &frame.range())?;
    if frame.codec == ZSTD.id { compressed(&content, frame.target_offset) } else { Ok(content) }
}

fn ranges(target: &Source<'_>) -> Vec<Range<u64>> {
    let bytes = target.bytes.len().0;
    (0..bytes).step_by(FRAME_BYTES as usize).map(|start| start..(start + FRAME_BYTES).min(bytes)).collect()
}

/// Whether any of the samples becomes smaller. The same bytes give the same answer on every machine.
fn compresses(target: &Source<'_>) -> Result<bool, EncodeError> {
    let ranges = ranges(target);
    let step = (ranges.len() as u64).div_ceil(SAMPLES).max(1) as usize;
    for range in ranges.iter().step_by(step) {
        let content = read(target, range)?;
        if is_smaller(zstd::estimate(&content), content.len()) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn frame(content: Vec<u8>, is_compressible: bool) -> Result<EncodedFrame, EncodeError> {
    let target_bytes = content.len() as u64;
    if is_compressible {
        let payload = compressed(&content, 0)?;
        if is_smaller(payload.len(), content.len()) {
            return Ok(EncodedFrame { codec: ZSTD.id, base: None, target_bytes, payload });
        }
    }
    Ok(EncodedFrame { codec: STORED.id, base: None, target_bytes, payload: content })
}

fn compressed(content: &[u8], target_offset: u64) -> Result<Vec<u8>, EncodeError> {
    zstd::encode(content, ZSTD_LEVEL).map_err(|source| EncodeError::Compress { target_offset, source })
}

fn is_smaller(compressed: usize, content: usize) -> bool {
    compressed + content / GAIN_PARTS < content
}

fn read(target: &Source<'_>, range: &Range<u64>) -> Result<Vec<u8>, EncodeError> {
    let mut content = vec![0; (range.end - range.start) as usize];
    let read = target.bytes.read_exact_at(&mut content, range.start);
    read.map_err(|source| EncodeError::Read { layer: target.diff_id, offset: range.start, source })?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use lighter_types::{Bytes, DiffId, Effort};

    use super::*;
    use crate::settings::Method;
    use crate::{Header, Moves, Patch, apply_frame, encode, plain_header, plain_payload, verify_frame};

    fn settings() -> Settings {
        Settings { method: Method::Delta(Effort::Plain), ..Settings::default() }
    }

    fn source(bytes: &Vec<u8>) -> Source<'_> {
        Source { diff_id: DiffId::new([7; 32]), bytes }
    }

    fn go_on(_: Bytes) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn noise(bytes: usize) -> Vec<u8> {
        let mut noise = vec![0; bytes];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        noise
    }

    fn text(bytes: usize) -> Vec<u8> {
        b"the lighter takes the cargo off the ship ".iter().copied().cycle().take(bytes).collect()
    }

    fn rebuilt(patch: &Patch) -> Vec<u8> {
        let mut target = Vec::new();
        for (payload, index) in patch.payloads.iter().zip(0..) {
            let mut range = apply_frame(&patch.header, index, payload, &[], &Moves::default()).unwrap();
            let mut buffer = vec![0; patch.header.frame(index).unwrap().target_bytes as usize];
            assert_eq!(range.read(&patch.header, &[], &target, &mut buffer).unwrap(), buffer.len());
            target.extend(buffer);
        }
        target
    }

    fn check(target: &Vec<u8>, codecs: &[&str]) -> Header {
        let patch = encode(&source(target), &[], &settings(), &go_on).unwrap();
        let found: Vec<String> = patch.header.frames().iter().map(|frame| frame.codec.to_string()).collect();
        assert_eq!(found, codecs);
        assert_eq!(rebuilt(&patch), *target);
        patch.header.check_from_peer().unwrap();
        let alone = plain_header(&source(target), &settings(), &go_on).unwrap();
        assert_eq!(alone.encode(), patch.header.encode(), "the header without its payloads");
        for (index, payload) in (0..).zip(&patch.payloads) {
            assert_eq!(plain_payload(&alone, index, target).unwrap(), *payload, "frame {index} once more");
        }
        patch.header
    }

    #[test]
    fn each_frame_is_compressed_where_that_pays() {
        check(
            &[text(FRAME_BYTES as usize), noise(FRAME_BYTES as usize), text(5)].concat(),
            &["zstd", "stored", "stored"],
        );
        check(&Vec::new(), &[]);
    }

    #[test]
    fn a_layer_that_does_not_compress_is_stored() {
        assert!(check(&noise((2 << 20) + 77), &["stored", "stored", "stored"]).is_stored());
        assert!(!check(&[noise(1 << 20), text(1 << 20)].concat(), &["stored", "zstd"]).is_stored());
    }

    #[test]
    fn payloads_of_another_layer_or_frame_are_not_those_of_the_header() {
        let target = text(2 << 20);
        let header = check(&target, &["zstd", "zstd"]);
        let other = plain_payload(&header, 1, &noise(2 << 20)).unwrap();
        assert!(verify_frame(&header, 1, &other).is_err());
        let shorter = plain_payload(&header, 1, &target[..FRAME_BYTES as usize].to_vec());
        assert!(matches!(shorter, Err(EncodeError::Read { .. })), "{shorter:?}");
        assert!(matches!(plain_payload(&header, 2, &target), Err(EncodeError::NoFrame { frame: 2, frames: 2 })));
    }
}
