//! From a frame's payload back to its range of the target: check first, then decode.

use lighter_types::{Blake3, Bytes};

use crate::base_cache::BaseCache;
use crate::codec::{self, CodecError};
use crate::{ApplyError, Frame, Header, ReadAt};

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

/// Rebuilds the range of the target that frame `index` stands for: checks the payload as [`verify_frame`] does, decodes
/// it, and leaves exactly the frame's `target_bytes` bytes in `out`, whose former content is dropped. `bases` are
/// readers of the header's bases, in its order. Frames may be applied in any order, and on several threads.
///
/// A base that has the right length and the wrong bytes gives wrong bytes: only the sha256 of the whole target tells.
///
/// Allocates at most 48 MiB beside `payload`, 16 MiB of it in `out`, which is worth using again for the next frame.
///
/// # Errors
/// See [`ApplyError::blame`]. After an error `out` holds nothing of use.
pub fn apply_frame(
    header: &Header,
    index: u32,
    payload: &[u8],
    bases: &[&dyn ReadAt],
    out: &mut Vec<u8>,
) -> Result<(), ApplyError> {
    verify_frame(header, index, payload)?;
    let frame = frame(header, index)?;
    if bases.len() != header.bases().len() {
        return Err(ApplyError::BaseCount { expected: header.bases().len(), found: bases.len() });
    }
    let base = match frame.base {
        None => None,
        Some(number) => Some(open_base(header, number, bases)?),
    };
    let target_bytes = frame.target_bytes as usize;
    out.clear();
    out.try_reserve_exact(target_bytes)
        .map_err(|_| ApplyError::Memory { frame: index, needed: Bytes(target_bytes as u64) })?;
    codec::decode(frame.codec, payload, target_bytes, base, out).map_err(|error| match error {
        CodecError::Damaged(what) => ApplyError::Damaged { frame: index, codec: frame.codec, what },
        CodecError::Unsupported => ApplyError::CodecUnsupported { frame: index, codec: frame.codec },
        CodecError::Base { offset, source } => {
            let diff_id = header.bases()[usize::from(frame.base.unwrap_or_default())].diff_id;
            ApplyError::BaseRead { diff_id, offset, source }
        }
    })
}

fn frame(header: &Header, index: u32) -> Result<&Frame, ApplyError> {
    header.frame(index).ok_or(ApplyError::NoSuchFrame { frame: index, frames: header.frames().len() as u32 })
}

/// A reader of one base, whose length is what the header says.
fn open_base<'a>(header: &Header, number: u8, bases: &[&'a dyn ReadAt]) -> Result<BaseCache<'a>, ApplyError> {
    let number = usize::from(number);
    // Header and list have the same length, and a header's frames name bases of its table.
    let (base, entry) = (BaseCache::new(bases[number]), header.bases()[number]);
    if base.bytes() != entry.bytes.0 {
        let found = Bytes(base.bytes());
        return Err(ApplyError::BaseLength { diff_id: entry.diff_id, expected: entry.bytes, found });
    }
    Ok(base)
}
