//! From a frame's payload back to its range of the target: check first, then decode.

use std::ops::ControlFlow;

use lighter_delta::{CodecError, Going, Map, Piece, Rebuilt, Weight};
use lighter_types::{Blake3, ReadAt, broken};

use crate::error::ApplyError;
use crate::header::{Frame, Header};

/// Checks that `payload` is the one that the header names for frame `index`.
///
/// # Errors
/// [`ApplyError::PayloadLength`] and [`ApplyError::PayloadHash`] (the sender's fault); [`ApplyError::NoSuchFrame`].
pub fn verify_frame(header: &Header, index: u32, payload: &[u8]) -> Result<(), ApplyError> {
    let frame = frame(header, index)?;
    if payload.len() != frame.payload_bytes as usize {
        return Err(ApplyError::PayloadLength { frame: index, expected: frame.payload_bytes, found: payload.len() });
    }
    let found = Blake3::new(*blake3::hash(payload).as_bytes());
    if found != frame.payload_hash {
        return Err(ApplyError::PayloadHash { frame: index, expected: frame.payload_hash, found });
    }
    Ok(())
}

/// How much memory it takes to decode a frame. A caller that decodes several frames at once should decode heavy ones
/// alone. `payload` is not checked.
pub fn frame_weight(frame: &Frame, payload: &[u8]) -> Weight {
    frame.codec.find().map_or(Weight::Light, |codec| (codec.weight)(payload))
}

/// About how long a frame takes to decode, in bytes of decoded content; what makes no bytes counts too. So a caller can
/// bound the work of a patch, and begin long frames early. `payload` is not checked; 0 if it cannot be decoded.
pub fn frame_work(frame: &Frame, payload: &[u8]) -> u64 {
    frame.codec.find().map_or(0, |codec| (codec.work)(payload, frame.target_bytes))
}

/// A rebuilt range of the target: decoded bytes, and ranges of bases and of the target before it. The caller reads
/// these later.
pub struct RebuiltRange {
    rebuilt: Rebuilt,
    /// The piece that is read next, and how much of it is read.
    piece: usize,
    done: u64,
}

impl RebuiltRange {
    /// About how many bytes of memory it takes: those that are not copies.
    pub fn held_bytes(&self) -> usize {
        self.rebuilt.material.len()
    }

    /// The next bytes of the range, at most as many as fit into `buffer`; 0 at its end. `bases` are those given to
    /// [`apply_frame`]. `target` gives what stands in the target before the range, and all that this has returned so
    /// far: ranges are read in the target's order, and written before the next read.
    ///
    /// # Errors
    /// [`ApplyError::BaseRead`], [`ApplyError::TargetRead`].
    pub fn read(
        &mut self,
        header: &Header,
        bases: &[&dyn ReadAt],
        target: &dyn ReadAt,
        buffer: &mut [u8],
    ) -> Result<usize, ApplyError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let Some(piece) = self.rebuilt.pieces.get(self.piece) else { break };
            let left = &mut buffer[filled..];
            let (count, whole) =
                match piece {
                    Piece::Material(range) => {
                        let part = &self.rebuilt.material[range.clone()][self.done as usize..];
                        let count = part.len().min(left.len());
                        left[..count].copy_from_slice(&part[..count]);
                        (count, range.len() as u64)
                    }
                    Piece::Base { index, offset, bytes } => {
                        let count = (bytes - self.done).min(left.len() as u64) as usize;
                        let offset = offset + self.done;
                        bases[*index].read_exact_at(&mut left[..count], offset).map_err(|source| {
                            ApplyError::BaseRead { diff_id: header.bases()[*index].diff_id, offset, source }
                        })?;
                        (count, *bytes)
                    }
                    // It may read bytes that are still in the buffer: the caller has to write them first.
                    Piece::Target { .. } if filled > 0 => break,
                    Piece::Target { offset, bytes } => {
                        let count = (bytes - self.done).min(left.len() as u64) as usize;
                        let offset = offset + self.done;
                        let read = target.read_exact_at(&mut left[..count], offset);
                        read.map_err(|source| ApplyError::TargetRead { offset, source })?;
                        (count, *bytes)
                    }
                };
            filled += count;
            self.done += count as u64;
            if self.done == whole {
                self.piece += 1;
                self.done = 0;
            }
        }
        Ok(filled)
    }
}

/// The moves that the first frame of a patch has for all of them: where the parts of executables went. They take at
/// most 8 MiB.
#[derive(Clone, Debug, Default)]
pub struct Moves(Map);

impl Moves {
    /// Reads the moves of a patch from the payload of its first frame, which is checked as [`verify_frame`] does. A
    /// patch without frames has none.
    ///
    /// # Errors
    /// See [`ApplyError::blame`].
    pub fn read(header: &Header, first: &[u8]) -> Result<Self, ApplyError> {
        let Some(frame) = header.frame(0) else { return Ok(Self::default()) };
        verify_frame(header, 0, first)?;
        let unsupported = ApplyError::CodecUnsupported { frame: 0, codec: frame.codec };
        let Some(codec) = frame.codec.find() else { return Err(unsupported) };
        (codec.moves)(first).map(Self).map_err(|error| refused(header, 0, frame, error))
    }
}

/// Rebuilds the range of the target of frame `index`: checks the payload as [`verify_frame`] does, and decodes it.
/// `bases` are readers of the header's bases, in its order, and `moves` are those of the patch. Frames may be applied
/// in any order, and on several threads; only reading the rebuilt range needs the target before it.
///
/// A base that has the right length and the wrong bytes gives wrong bytes: only the sha256 of the whole target tells.
///
/// Allocates at most 48 MiB beside `payload`, 64 MiB with streams of LZ4, at most 24 MiB of it in what is returned; and
/// 16 MiB more while it writes an xz stream.
///
/// # Errors
/// See [`ApplyError::blame`].
pub fn apply_frame(
    header: &Header,
    index: u32,
    payload: &[u8],
    bases: &[&dyn ReadAt],
    moves: &Moves,
) -> Result<RebuiltRange, ApplyError> {
    apply_frame_while(header, index, payload, (bases, moves), &|| ControlFlow::Continue(()))
}

/// As [`apply_frame`], as long as `going` says so: it is asked after each step, and every 256 KiB of decoded bytes.
///
/// # Errors
/// As [`apply_frame`], and [`ApplyError::Stopped`].
pub fn apply_frame_while(
    header: &Header,
    index: u32,
    payload: &[u8],
    (bases, moves): (&[&dyn ReadAt], &Moves),
    going: Going<'_>,
) -> Result<RebuiltRange, ApplyError> {
    verify_frame(header, index, payload)?;
    let frame = frame(header, index)?;
    if bases.len() != header.bases().len() {
        return Err(ApplyError::BaseCount { expected: header.bases().len(), found: bases.len() });
    }
    for (base, entry) in bases.iter().zip(header.bases()) {
        if base.len() != entry.bytes {
            return Err(ApplyError::BaseLength { diff_id: entry.diff_id, expected: entry.bytes, found: base.len() });
        }
    }
    let first = frame.base.map_or(0, usize::from);
    let unsupported = ApplyError::CodecUnsupported { frame: index, codec: frame.codec };
    let Some(codec) = frame.codec.find() else { return Err(unsupported) };
    let rebuilt = (codec.decode)(payload, frame.range(), &bases[first..], &moves.0, going);
    let rebuilt = rebuilt.map_err(|error| refused(header, index, frame, error))?;
    Ok(RebuiltRange { rebuilt, piece: 0, done: 0 })
}

/// Why a frame was not decoded.
fn refused(header: &Header, index: u32, frame: &Frame, error: CodecError) -> ApplyError {
    match error {
        CodecError::Damaged(what) => ApplyError::Damaged { frame: index, codec: frame.codec, what },
        CodecError::Stopped => ApplyError::Stopped { frame: index },
        CodecError::Unsupported => ApplyError::CodecUnsupported { frame: index, codec: frame.codec },
        CodecError::Target { source } => {
            broken("a decoder that reads the target");
            ApplyError::TargetRead { offset: frame.target_offset, source }
        }
        CodecError::Memory { needed } => ApplyError::Memory { frame: index, needed },
        CodecError::Base { base, offset, source } => {
            let first = frame.base.map_or(0, usize::from);
            ApplyError::BaseRead { diff_id: header.bases()[first + base].diff_id, offset, source }
        }
    }
}

fn frame(header: &Header, index: u32) -> Result<&Frame, ApplyError> {
    header.frame(index).ok_or(ApplyError::NoSuchFrame { frame: index, frames: header.frames().len() as u32 })
}
