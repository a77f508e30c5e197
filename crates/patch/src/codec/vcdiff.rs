//! Codec 2: copies from one base, and the literals between them: VCDIFF instructions (RFC 3284) made by xdelta3,
//! regrouped.
//!
//! The meaning is that of ADD and source COPY, so that a patch can be exported as standard VCDIFF. The layout is the
//! container's: literal lengths, copy lengths, addresses and literals are four separate streams. An address is coded as
//! the change of its diagonal (address minus target position), which is 0 where the target continues as the base does.
//! On nginx r1 r2 that takes 100 KB off what LZMA makes of xdelta3's sections (docs/decisions/0003-xdelta3.md).
//!
//! Decoding allocates at most 10 x [`COPIES_MAX`] bytes for the stream being read, 16 x [`COPIES_MAX`] for the copies,
//! and a dictionary of 8 MiB; bases are read by position.

use std::io;

use lighter_coder::varint::{self, VARINT_BYTES_MAX};
use lighter_delta::CodecError;
use lighter_types::{BaseCache, ReadAt};
use lighter_vcdiff::Copy;

use super::section::{self, Descriptor, Section};

/// Most copies of a frame. A payload of 1 MiB seldom holds more than 300,000.
pub const COPIES_MAX: usize = 1 << 19;

/// The payload for `target`. The base has `copies`: in order, without overlap, within the target, at most
/// [`COPIES_MAX`].
pub fn encode(target: &[u8], copies: &[Copy]) -> io::Result<Vec<u8>> {
    let [mut gaps, mut lengths, mut addresses, mut literals] = [const { Vec::new() }; 4];
    let mut position = 0;
    let mut diagonal = 0i64;
    for copy in copies {
        let gap = &target[position as usize..copy.at as usize];
        literals.extend_from_slice(gap);
        varint::put(&mut gaps, gap.len() as u64);
        varint::put(&mut lengths, copy.bytes.into());
        varint::put(&mut addresses, varint::fold(copy.diagonal().wrapping_sub(diagonal)));
        diagonal = copy.diagonal();
        position = copy.end();
    }
    literals.extend_from_slice(&target[position as usize..]);
    let mut head = Vec::new();
    let mut body = Vec::new();
    varint::put(&mut head, copies.len() as u64);
    for stream in [gaps, lengths, addresses, literals] {
        section::put(&mut head, &mut body, &stream)?;
    }
    head.append(&mut body);
    Ok(head)
}

/// The content of a payload, checked: the copies are in order, do not overlap, and lie in the frame and in the base.
pub struct Copies<'a> {
    pub copies: Vec<Copy>,
    pub literals: Section<'a>,
}

/// Reads a payload. `base_bytes` is the base's length, `target_bytes` the frame's.
pub fn decode_copies(payload: &[u8], target_bytes: usize, base_bytes: u64) -> Result<Copies<'_>, &'static str> {
    let mut rest = payload;
    let count = varint::get(&mut rest).ok_or("a payload that ends within its head")?;
    if count > COPIES_MAX as u64 {
        return Err("too many copies");
    }
    let stream_bytes_max = count as usize * VARINT_BYTES_MAX;
    let [gaps, lengths, addresses] = [(); 3].map(|()| Descriptor::take(&mut rest, stream_bytes_max));
    let [gaps, lengths, addresses] = [gaps?, lengths?, addresses?];
    let literals = Descriptor::take(&mut rest, target_bytes)?;
    let mut copies = vec![Copy { at: 0, bytes: 0, from: 0 }; count as usize];
    read_numbers(&gaps, &mut rest, &mut copies, |copy, gap| {
        copy.at = u32::try_from(gap).ok()?;
        Some(())
    })?;
    read_numbers(&lengths, &mut rest, &mut copies, |copy, bytes| {
        copy.bytes = u32::try_from(bytes).ok()?;
        Some(())
    })?;
    let mut position = 0u32;
    let mut diagonal = 0i64;
    read_numbers(&addresses, &mut rest, &mut copies, |copy, change| {
        copy.at = position.checked_add(copy.at)?;
        position = copy.at.checked_add(copy.bytes)?;
        diagonal = diagonal.checked_add(varint::unfold(change))?;
        copy.from = u64::from(copy.at).checked_add_signed(diagonal)?;
        let inside = copy.from.checked_add(copy.bytes.into())? <= base_bytes && position as usize <= target_bytes;
        (inside && copy.bytes > 0).then_some(())
    })?;
    let in_copies: u64 = copies.iter().map(|copy| u64::from(copy.bytes)).sum();
    if in_copies + literals.bytes as u64 != target_bytes as u64 {
        return Err("literals that do not fill the frame");
    }
    let literals = literals.open(&mut rest)?;
    if !rest.is_empty() {
        return Err("bytes after the sections");
    }
    Ok(Copies { copies, literals })
}

/// Reads one stream of one number for each copy.
fn read_numbers(
    stream: &Descriptor,
    body: &mut &[u8],
    copies: &mut [Copy],
    mut set: impl FnMut(&mut Copy, u64) -> Option<()>,
) -> Result<(), &'static str> {
    let mut section = stream.open(body)?;
    let mut bytes = Vec::with_capacity(stream.bytes);
    section.read(stream.bytes, &mut bytes)?;
    section.finish()?;
    let mut numbers = bytes.as_slice();
    for copy in copies {
        let number = varint::get(&mut numbers).ok_or("a stream with fewer numbers than copies")?;
        set(copy, number).ok_or("a copy outside its frame or its base")?;
    }
    if numbers.is_empty() { Ok(()) } else { Err("a stream with more numbers than copies") }
}

pub fn decode(payload: &[u8], target_bytes: usize, base: &dyn ReadAt, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let Copies { copies, mut literals } = decode_copies(payload, target_bytes, base.len().0)?;
    let mut base = BaseCache::new(&[base]);
    let start = out.len();
    for copy in copies {
        let gap = copy.at as usize - (out.len() - start);
        literals.read(gap, out)?;
        let at = out.len();
        out.resize(at + copy.bytes as usize, 0);
        base.read(0, &mut out[at..], copy.from).map_err(|(offset, source)| CodecError::Base {
            base: 0,
            offset,
            source,
        })?;
    }
    literals.read(target_bytes - (out.len() - start), out)?;
    Ok(literals.finish()?)
}
